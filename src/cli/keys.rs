//! `keys`: prints the key bindings of the cockpit with the user's overrides applied.

use clap::Args;
use color_eyre::eyre::{Result, WrapErr};
use serde::Serialize;

use super::{
    Global,
    output::{self, Format, Table},
    session,
};
use crate::ui::keymap::{Binding, Danger, KeyContext, Keymap, format_config_key, format_key};

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
    action: &'static str,
    keys: Vec<String>,
    sentence: &'static str,
    danger: &'static str,
}

pub(super) fn print_keys(global: &Global, args: &KeysArgs) -> Result<()> {
    let own = session::load_config(global)?.keys_text()?;
    let keymap = match own {
        Some(text) => Keymap::with_overrides(&text).wrap_err("keys.toml")?,
        None => Keymap::default(),
    };
    output::print(&format_keys(&keymap, args.output)?)
}

fn format_keys(keymap: &Keymap, format: Format) -> Result<String> {
    match format {
        Format::Json | Format::Yaml => output::format_value(&key_rows(keymap), format),
        Format::Name => Ok(key_rows(keymap)
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

fn key_rows(keymap: &Keymap) -> Vec<Row> {
    let row = |b: &Binding| Row {
        context: b.context.word(),
        action: b.action.word(),
        keys: b.keys.iter().map(|k| format_config_key(*k)).collect(),
        sentence: b.action.sentence(),
        danger: match b.action.danger() {
            Danger::Safe => "safe",
            Danger::Change => "change",
            Danger::Dangerous => "dangerous",
        },
    };
    by_context(keymap).iter().map(row).collect()
}
