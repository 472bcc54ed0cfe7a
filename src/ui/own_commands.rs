//! The user's own commands: read from `commands.toml`, and filled with what is selected.

use std::fmt;

use crokey::KeyCombination;
use serde::Deserialize;
use toml::Spanned;

use super::{
    keymap::{KeyContext, Keymap, format_key, parse_key},
    pane::Pane,
};
use crate::domain::{command_line::CommandLine, own_command::CommandTemplate, text::Clean};

mod selection;

/// Where a command's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandOutput {
    /// The command gets the terminal.
    Terminal,
    /// It runs in the background, and its output is shown as a text.
    Text,
}

/// One of the user's own commands.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnCommand {
    /// Its key.
    pub key: KeyCombination,
    /// Its name in help and palette.
    pub title: String,
    /// What it runs.
    pub command: CommandTemplate,
    /// Where its key works.
    pub places: Vec<KeyContext>,
    /// It asks first.
    pub asks: bool,
    /// It stays on in read-only mode.
    pub safe: bool,
    /// Where its output goes.
    pub output: CommandOutput,
}

impl OwnCommand {
    /// Whether it works in one of these contexts.
    pub fn works_in(&self, contexts: &[KeyContext]) -> bool {
        self.places.iter().any(|place| contexts.contains(place))
    }

    /// The command with its placeholders, on one line.
    pub fn written_line(&self) -> String {
        let words = self.command.as_written();
        match CommandLine::from_words(&words).to_shell_line() {
            Some(line) => line,
            // A script of several lines: a sign stands for each line break.
            None => Clean::from_untrusted(&words.join(" ")).into_string(),
        }
    }
}

/// A command with what was selected filled in: what is shown is what runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedCommand {
    /// Its name.
    pub title: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// It stays on in read-only mode.
    pub safe: bool,
    /// Where its output goes.
    pub output: CommandOutput,
}

/// All of the user's own commands, in the order of their file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnCommands(Vec<OwnCommand>);

/// An error in the file of own commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFault {
    /// The file.
    pub file: String,
    /// Line in it, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for CommandFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.why)
    }
}

/// All errors in the file of own commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFaults(pub Vec<CommandFault>);

impl fmt::Display for CommandFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for CommandFaults {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandsFile {
    #[serde(default)]
    commands: Vec<CommandEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandEntry {
    key: Spanned<String>,
    title: Spanned<String>,
    command: Spanned<Vec<String>>,
    #[serde(rename = "where")]
    places: Spanned<Vec<Spanned<String>>>,
    confirm: Option<bool>,
    #[serde(default)]
    safe: bool,
    output: CommandOutput,
}

/// Contexts in which own commands can have keys: everywhere, and those of panes.
fn allowed_places() -> impl Iterator<Item = KeyContext> {
    let all = KeyContext::ALL.into_iter();
    all.filter(|context| *context == KeyContext::Global || context.is_of_panes())
}

impl OwnCommands {
    /// Parses a file; its name is for errors. With any error there are none.
    pub fn parse(file: &str, text: &str, keymap: &Keymap) -> Result<Self, CommandFaults> {
        let fault = |at: usize, why: String| CommandFault {
            file: file.to_owned(),
            line: line_number(text, at),
            why,
        };
        let entries: CommandsFile = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            CommandFaults(vec![fault(at, e.message().trim().replace('\n', " "))])
        })?;
        let (mut own, mut faults) = (Self::default(), vec![]);
        for entry in entries.commands {
            let mut found = vec![];
            if let Some(command) = read_entry(entry, &own, keymap, &mut found) {
                own.0.push(command);
            }
            faults.extend(found.into_iter().map(|(at, why)| fault(at, why)));
        }
        if faults.is_empty() {
            Ok(own)
        } else {
            Err(CommandFaults(faults))
        }
    }

    /// All of them.
    pub fn list(&self) -> &[OwnCommand] {
        &self.0
    }

    /// The command of a key in these contexts.
    pub fn find_command(
        &self,
        contexts: &[KeyContext],
        key: KeyCombination,
    ) -> Option<&OwnCommand> {
        let key = super::keymap::normalize_key(key);
        self.0
            .iter()
            .find(|own| own.key == key && own.works_in(contexts))
    }
}

/// Line of a byte, counted from 1.
fn line_number(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// Errors with the byte where they are.
type Found = Vec<(usize, String)>;

fn read_entry(
    entry: CommandEntry,
    others: &OwnCommands,
    keymap: &Keymap,
    found: &mut Found,
) -> Option<OwnCommand> {
    let before = found.len();
    let title = read_title(&entry.title, others, found);
    let template = CommandTemplate::parse(entry.command.get_ref());
    let command = template.map_err(|why| found.push((entry.command.span().start, why.to_string())));
    let places = read_places(&entry.places, found);
    let key_at = entry.key.span().start;
    let word = entry.key.get_ref();
    let key = parse_key(word);
    match key {
        None => {
            let words = "is not a key; write b, B, ctrl-b, alt-b, f5, …";
            found.push((key_at, format!("{word:?} {words}")));
        }
        Some(key) => {
            found.extend(find_clash(key, &places, others, keymap).map(|why| (key_at, why)));
        }
    }
    if found.len() > before {
        return None;
    }
    Some(OwnCommand {
        key: key?,
        title,
        command: command.ok()?,
        places,
        asks: entry.confirm.unwrap_or(!entry.safe),
        safe: entry.safe,
        output: entry.output,
    })
}

fn read_title(title: &Spanned<String>, others: &OwnCommands, found: &mut Found) -> String {
    let at = title.span().start;
    let words = Clean::from_untrusted(title.get_ref()).trim().to_owned();
    if words.is_empty() {
        found.push((at, "the title is empty".into()));
    } else if others.0.iter().any(|own| own.title == words) {
        found.push((at, format!("another command is called {words:?} too")));
    }
    words
}

fn read_places(written: &Spanned<Vec<Spanned<String>>>, found: &mut Found) -> Vec<KeyContext> {
    let mut places = vec![];
    if written.get_ref().is_empty() {
        found.push((written.span().start, "where names no place".into()));
    }
    for word in written.get_ref() {
        let place = allowed_places().find(|c| c.word() == word.get_ref());
        match place {
            Some(place) if places.contains(&place) => {}
            Some(place) => places.push(place),
            None => {
                let known = allowed_places()
                    .map(KeyContext::word)
                    .collect::<Vec<_>>()
                    .join(", ");
                let why = format!("where: no place {:?}; there are {known}", word.get_ref());
                found.push((word.span().start, why));
            }
        }
    }
    places
}

/// What a key would mean too in a pane where the command works.
fn find_clash(
    key: KeyCombination,
    places: &[KeyContext],
    others: &OwnCommands,
    keymap: &Keymap,
) -> Option<String> {
    Pane::ALL.into_iter().find_map(|pane| {
        let contexts = pane.key_contexts();
        if !places.iter().any(|place| contexts.contains(place)) {
            return None;
        }
        let built_in = keymap.find_action(&contexts, key).map(|a| a.word());
        let own = || others.find_command(&contexts, key).map(|own| &*own.title);
        let meaning = built_in.or_else(own)?;
        Some(format!(
            "{} means {meaning} in {} already",
            format_key(key),
            pane.title()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OwnCommands, Vec<String>> {
        let read = OwnCommands::parse("c.toml", text, &Keymap::default());
        read.map_err(|all| all.0.iter().map(ToString::to_string).collect())
    }

    /// An entry with some of its lines replaced or added.
    fn entry(changes: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("key", "\"ctrl-b\""),
            ("title", "\"Show\""),
            ("command", "[\"echo\", \"{app}\"]"),
            ("where", "[\"apps\"]"),
            ("output", "\"text\""),
        ];
        for change in changes {
            match fields.iter_mut().find(|(name, _)| name == &change.0) {
                Some(field) => *field = *change,
                None => fields.push(*change),
            }
        }
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name} = {value}\n"));
        format!("[[commands]]\n{}", lines.collect::<String>())
    }

    #[test]
    fn a_command_asks_unless_it_is_safe_or_says_otherwise() {
        for (changes, asks, safe) in [
            (&[][..], true, false),
            (&[("safe", "true")], false, true),
            (&[("confirm", "false")], false, false),
            (&[("confirm", "true"), ("safe", "true")], true, true),
        ] {
            let own = parse(&entry(changes)).unwrap();
            let [only] = own.list() else {
                panic!("{own:?}")
            };
            assert_eq!((only.asks, only.safe), (asks, safe), "{changes:?}");
            assert_eq!(only.written_line(), "echo '{app}'");
        }
        assert_eq!(parse(""), Ok(OwnCommands::default()));
    }

    #[test]
    fn every_error_is_told_with_its_line() {
        for (changes, line, words) in [
            (&[("key", "\"nokey\"")], 2, "\"nokey\" is not a key"),
            (&[("key", "\"n\"")], 2, "n means start in Apps already"),
            (&[("key", "\"q\"")], 2, "q means quit in Apps already"),
            (&[("key", "\"a\"")], 2, "a means approve in Apps already"),
            (&[("key", "7")], 2, "expected a string"),
            (&[("title", "\" \"")], 3, "the title is empty"),
            (&[("command", "[]")], 4, "names no program"),
            (&[("command", "\"echo\"")], 4, "expected a sequence"),
            (
                &[("command", "[\"a\", \"{node}\"]")],
                4,
                "no placeholder {node}",
            ),
            (
                &[("command", "[\"{app}\"]")],
                4,
                "program itself must be fixed",
            ),
            (
                &[("where", "[\"forms\"]")],
                5,
                "no place \"forms\"; there are global",
            ),
            (&[("where", "[\"form\"]")], 5, "no place \"form\""),
            (&[("where", "[]")], 5, "where names no place"),
            (&[("output", "\"window\"")], 6, "unknown variant `window`"),
            (&[("confirm", "1")], 7, "expected a boolean"),
            (&[("confirmm", "true")], 7, "unknown field `confirmm`"),
        ] {
            let text = entry(changes);
            let told = parse(&text).unwrap_err();
            let [one] = &told[..] else { panic!("{told:?}") };
            assert!(
                one.starts_with(&format!("c.toml:{line}: ")),
                "{one}\n{text}"
            );
            assert!(one.contains(words), "{one}\n{text}");
        }
        let told = parse("[[commands]]\nkey = \"f5\"\n").unwrap_err();
        assert!(told[0].starts_with("c.toml:1: missing field"), "{told:?}");
    }

    #[test]
    fn keys_clash_only_where_both_work() {
        let two = |first: &str, second: &str| {
            let other = entry(&[("title", "\"Other\""), ("where", second)]);
            parse(&[entry(&[("where", first)]), other].concat())
        };
        assert_eq!(
            two("[\"apps\"]", "[\"lanes\", \"trace\"]")
                .unwrap()
                .list()
                .len(),
            2
        );
        for (first, second) in [
            ("apps", "apps"),
            ("release", "environments"),
            ("trace", "global"),
        ] {
            let told = two(&format!("[\"{first}\"]"), &format!("[\"{second}\"]")).unwrap_err();
            assert!(
                told[0].starts_with("c.toml:8: Ctrl-b means Show in "),
                "{told:?}"
            );
        }
        let told = parse(&entry(&[("key", "\"w\"")]).repeat(2)).unwrap_err();
        assert_eq!(told.len(), 2, "both the key and the title: {told:?}");
        // A key that the user took from an action is free.
        let keymap = Keymap::with_overrides("[apps]\nstart = [\"f9\"]").unwrap();
        let read = |key| OwnCommands::parse("c.toml", &entry(&[("key", key)]), &keymap);
        assert!(read("\"n\"").is_ok());
        assert!(read("\"f9\"").is_err());
    }
}
