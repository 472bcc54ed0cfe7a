//! `keys`: prints the key bindings of the cockpit with the user's overrides applied.

use clap::Args;
use color_eyre::eyre::{Result, WrapErr};
use serde::Serialize;

use super::{
    Global,
    output::{self, Format, Table},
    session,
};
use crate::{
    config,
    ui::{
        keymap::{Binding, Danger, KeyContext, Keymap, format_config_key, format_key},
        own_commands::{OwnCommand, OwnCommands},
    },
};

#[derive(Debug, Args)]
pub struct KeysArgs {
    /// How to print them; as JSON or YAML the keys are written as a keys file takes them
    #[arg(long, short, default_value = "table")]
    output: Format,
}

/// One action with its keys, for machine-readable output.
#[derive(Debug, Serialize)]
struct Row {
    context: &'static str,
    /// Name of the action, or title of the user's own command.
    action: String,
    keys: Vec<String>,
    sentence: String,
    danger: &'static str,
    /// One of the user's own commands; its key stands in another file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own: bool,
}

pub(super) fn print_keys(global: &Global, args: &KeysArgs) -> Result<()> {
    let own = session::load_config(global)?.keys_text()?;
    let keymap = match own {
        Some(text) => Keymap::with_overrides(&text).wrap_err("keys.toml")?,
        None => Keymap::default(),
    };
    let commands = match config::read_commands_file()? {
        Some((file, text)) => OwnCommands::parse(&file, &text, &keymap)?,
        None => OwnCommands::default(),
    };
    output::print(&format_keys(&keymap, &commands, args.output)?)
}

fn format_keys(keymap: &Keymap, commands: &OwnCommands, format: Format) -> Result<String> {
    match format {
        Format::Json | Format::Yaml => output::format_value(&key_rows(keymap, commands), format),
        Format::Name => Ok(key_rows(keymap, commands)
            .iter()
            .map(|r| format!("{}.{}\n", r.context, r.action))
            .collect()),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["WHERE", "ACTION", "KEYS", "WHAT"]);
            for binding in by_context(keymap) {
                let keys: Vec<String> = binding.keys.iter().map(|k| format_key(*k)).collect();
                let asks = if binding.action.danger() == Danger::Dangerous {
                    " (asks first)"
                } else {
                    ""
                };
                let what = format!("{}{asks}", binding.action.sentence());
                table.add_row([
                    binding.context.word().into(),
                    binding.action.word().into(),
                    keys.join(" "),
                    what,
                ]);
            }
            for (context, own) in by_place(commands) {
                let asks = if own.asks { " (asks first)" } else { "" };
                table.add_row([
                    context.word().into(),
                    own.title.clone(),
                    format_key(own.key),
                    format!("runs {}{asks}", own.written_line()),
                ]);
            }
            Ok(table.render())
        }
    }
}

/// Bindings in the order of the help, each action of a context once.
fn by_context(keymap: &Keymap) -> Vec<Binding> {
    let mut all: Vec<Binding> = vec![];
    for context in KeyContext::ALL {
        for binding in keymap.bindings().iter().filter(|b| b.context == context) {
            match all
                .iter_mut()
                .find(|b| b.context == context && b.action == binding.action)
            {
                Some(own) => own.keys.extend(&binding.keys),
                None => all.push(binding.clone()),
            }
        }
    }
    all
}

/// Own commands in the order of the help, once for each place.
fn by_place(commands: &OwnCommands) -> Vec<(KeyContext, &OwnCommand)> {
    let of_place = |place: KeyContext| {
        let all = commands.list().iter();
        all.filter(move |own| own.places.contains(&place))
            .map(move |own| (place, own))
    };
    KeyContext::ALL.into_iter().flat_map(of_place).collect()
}

fn key_rows(keymap: &Keymap, commands: &OwnCommands) -> Vec<Row> {
    let row = |b: &Binding| Row {
        context: b.context.word(),
        action: b.action.word().into(),
        keys: b.keys.iter().map(|k| format_config_key(*k)).collect(),
        sentence: b.action.sentence().into(),
        danger: match b.action.danger() {
            Danger::Safe => "safe",
            Danger::Change => "change",
            Danger::Dangerous => "dangerous",
        },
        own: false,
    };
    let own_row = |(context, own): (KeyContext, &OwnCommand)| Row {
        context: context.word(),
        action: own.title.clone(),
        keys: vec![format_config_key(own.key)],
        sentence: own.written_line(),
        danger: match own {
            own if own.asks => "dangerous",
            own if own.safe => "safe",
            _ => "change",
        },
        own: true,
    };
    let built_in = by_context(keymap);
    let own = by_place(commands).into_iter().map(own_row);
    built_in.iter().map(row).chain(own).collect()
}
