//! Builds commands that are displayed for pasting into a POSIX shell.
//!
//! Names of objects, tasks and contexts are untrusted: a name must stay a single argument whatever
//! it contains. Only this type builds commands (`tests/parts/commands.rs` checks the source for
//! others), and a command with a name that cannot be quoted safely is not displayed at all.

use std::fmt;

use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::text::{Clean, display_width};

/// Displayed instead of a command that cannot be quoted; to a shell it is a comment.
const NOT_SHOWN: &str = "# not shown as a command: a name in it cannot be quoted safely";

/// A command and its arguments, to be shown and to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The arguments as the program gets them; `None` when one would be taken for an option.
    argv: Option<Vec<String>>,
    /// The quoted arguments; `None` when one of them cannot be quoted safely.
    quoted: Option<Vec<String>>,
}

impl CommandLine {
    /// `graylane` with fixed arguments, separated by spaces.
    pub fn graylane(words: &'static str) -> Self {
        Self::empty().push("graylane").fixed_args(words)
    }

    /// `kubectl` with fixed arguments, separated by spaces.
    pub fn kubectl(words: &'static str) -> Self {
        Self::empty().push("kubectl").fixed_args(words)
    }

    /// A program and its arguments as a user wrote them; a leading `-` is meant.
    pub fn from_words(words: &[String]) -> Self {
        let line = Self::empty();
        words
            .iter()
            .fold(line, |line, word| line.push_pair(word, quote_word(word)))
    }

    const fn empty() -> Self {
        Self {
            argv: Some(vec![]),
            quoted: Some(vec![]),
        }
    }

    /// Adds fixed arguments, separated by spaces and not quoted.
    #[must_use]
    pub fn fixed_args(self, words: &'static str) -> Self {
        words.split_whitespace().fold(self, Self::push)
    }

    /// Adds untrusted text as one argument.
    #[must_use]
    pub fn arg(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if text.starts_with('-') {
            // It would be an option.
            (self.argv, self.quoted) = (None, None);
        }
        self.push_pair(text, quote_word(text))
    }

    /// Adds each text as one argument.
    #[must_use]
    pub fn args<T: AsRef<str>>(self, texts: impl IntoIterator<Item = T>) -> Self {
        texts.into_iter().fold(self, |line, text| line.arg(text))
    }

    /// Adds an option with untrusted text as its value.
    #[must_use]
    pub fn option(self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        let quoted = quote_word(value);
        if value.starts_with('-') {
            let quoted = quoted.map(|word| format!("{name}={word}"));
            self.push_pair(&format!("{name}={value}"), quoted)
        } else {
            self.push(name).push_pair(value, quoted)
        }
    }

    /// Adds an option if there is a value.
    #[must_use]
    pub fn option_if(self, name: &'static str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// Adds an option with JSON as its value. JSON can escape every character that is not ASCII.
    #[must_use]
    pub fn json_option(self, name: &'static str, value: &Value) -> Self {
        let mut text = String::new();
        let mut units = [0; 2];
        for c in value.to_string().chars() {
            match c {
                ' '..='~' => text.push(c),
                c => c
                    .encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
            }
        }
        self.option(name, text)
    }

    /// Names the namespace, unless the command does already.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        let words = self.quoted.as_deref().unwrap_or_default();
        if words.iter().any(|w| w == "-n" || w == "--namespace") {
            self
        } else {
            self.option("-n", namespace)
        }
    }

    /// The program and its arguments, each as it is; `None` when an argument would be taken for an
    /// option.
    pub fn to_argv(&self) -> Option<&[String]> {
        self.argv.as_deref()
    }

    /// The command as one line; `None` when it cannot be quoted safely.
    pub fn to_shell_line(&self) -> Option<String> {
        self.quoted.as_ref().map(|words| words.join(" "))
    }

    /// The command wrapped to lines of at most `most` columns. Every line but the last ends with a
    /// backslash, so that a shell reads them as one command.
    pub fn wrap_lines(&self, most: usize) -> Vec<String> {
        let Some(words) = &self.quoted else {
            return vec![NOT_SHOWN.into()];
        };
        let most = most.saturating_sub(2).max(1);
        let (mut lines, mut line) = (vec![], String::new());
        for word in words {
            if !line.is_empty() && display_width(&line) + 1 + display_width(word) > most {
                lines.push(std::mem::take(&mut line) + " \\");
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for part in word.graphemes(true) {
                if !line.is_empty() && display_width(&line) + display_width(part) > most {
                    lines.push(std::mem::take(&mut line) + "\\");
                }
                line.push_str(part);
            }
        }
        lines.push(line);
        lines
    }

    /// Adds a word that needs no quotes.
    fn push(self, word: &str) -> Self {
        self.push_pair(word, Some(word.to_owned()))
    }

    /// Adds an argument, and how it is quoted.
    fn push_pair(mut self, word: &str, quoted: Option<String>) -> Self {
        if let Some(argv) = &mut self.argv {
            argv.push(word.to_owned());
        }
        match (&mut self.quoted, quoted) {
            (Some(words), Some(quoted)) => words.push(quoted),
            (words, _) => *words = None,
        }
        self
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_shell_line().as_deref().unwrap_or(NOT_SHOWN))
    }
}

/// Quotes text as one word of a POSIX shell; `None` when it would not read as displayed: with
/// control characters, line breaks, invisible characters or bidirectional overrides.
fn quote_word(text: &str) -> Option<String> {
    if Clean::from_untrusted(text).as_str() != text {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    // Some shells expand `=name` to a path.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(plain) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The arguments that a shell reads from a line, without the command itself.
    fn read(line: &CommandLine) -> Vec<String> {
        let script = line
            .to_shell_line()
            .unwrap()
            .replacen("graylane", "printf '%s\\0'", 1);
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(
            out.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn only_what_needs_quotes_has_them() {
        for (text, shown) in [
            ("a-7", "a-7"),
            ("demo/web:v2@sha256:00", "demo/web:v2@sha256:00"),
            ("k=v", "k=v"),
            ("", "''"),
            ("a b", "'a b'"),
            ("=ls", "'=ls'"),
            ("~root", "'~root'"),
            ("a;touch PWN;", "'a;touch PWN;'"),
            ("s';touch PWN;'", r"'s'\'';touch PWN;'\'''"),
            ("$(id) `id` !x * # \\ é", "'$(id) `id` !x * # \\ é'"),
        ] {
            let line = CommandLine::graylane("retry").arg(text);
            assert_eq!(
                line.to_shell_line(),
                Some(format!("graylane retry {shown}"))
            );
            assert_eq!(read(&line), ["retry", text]);
        }
    }

    #[test]
    fn what_cannot_be_quoted_safely_is_no_command() {
        let hidden = [
            "a\nb",
            "a\rb",
            "a\tb",
            "\u{1b}[31m",
            "a\u{7f}",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "a\u{85}b",
        ];
        for text in hidden {
            for line in [
                CommandLine::graylane("retry").arg(text),
                CommandLine::graylane("x").option("--task", text),
            ] {
                assert_eq!(line.to_shell_line(), None, "{text:?}");
                assert_eq!(line.clone().arg("more").to_string(), NOT_SHOWN);
            }
        }
        assert_eq!(
            CommandLine::graylane("retry")
                .arg("--force")
                .to_shell_line(),
            None
        );
    }

    /// What cannot be shown can still be run, but for what would be an option.
    #[test]
    fn a_program_gets_each_argument_as_it_is() {
        let argv = |line: CommandLine| line.to_argv().map(|argv| argv.join("|"));
        let line = CommandLine::kubectl("exec -it")
            .arg("a b'\n")
            .option("-c", "-x");
        assert_eq!(argv(line).as_deref(), Some("kubectl|exec|-it|a b'\n|-c=-x"));
        assert_eq!(argv(CommandLine::kubectl("exec").arg("--force")), None);
        let own = ["ls".to_owned(), "-l".to_owned()];
        assert_eq!(CommandLine::from_words(&own).to_argv(), Some(&own[..]));
    }

    #[test]
    fn a_value_is_never_taken_for_an_option() {
        let line = CommandLine::graylane("skip")
            .arg("a-7")
            .option("--task", "--force")
            .option("--batch", "2");
        assert_eq!(
            line.to_string(),
            "graylane skip a-7 --task=--force --batch 2"
        );
        let none: Option<&str> = None;
        assert_eq!(
            CommandLine::kubectl("")
                .option_if("--context", none)
                .fixed_args("get pods")
                .to_string(),
            "kubectl get pods"
        );
    }

    #[test]
    fn a_wrapped_line_is_one_command() {
        let line = CommandLine::graylane("retry")
            .arg("reboot")
            .option("--task", "a b c d e f g h i j k l")
            .arg("m".repeat(30));
        for most in 1..60 {
            let lines = line.wrap_lines(most);
            assert!(
                lines.iter().rev().skip(1).all(|l| l.ends_with('\\')),
                "{lines:?}"
            );
            assert!(
                most < 4 || lines.iter().all(|l| l.len() <= most),
                "{most}: {lines:?}"
            );
        }
        assert_eq!(
            line.wrap_lines(30)[..2],
            [
                "graylane retry reboot --task \\",
                "'a b c d e f g h i j k l' \\"
            ]
        );
        assert_eq!(line.wrap_lines(usize::MAX), [line.to_string()]);
    }

    #[test]
    fn json_holds_any_text() {
        let value = json!({"a'b;touch PWN": "\u{1b}]52;\u{202e}é\u{1f600}\n"});
        let read = read(&CommandLine::graylane("").json_option("-p", &value));
        assert_eq!(read.len(), 2);
        assert!(read[1].is_ascii(), "{}", read[1]);
        assert_eq!(serde_json::from_str::<Value>(&read[1]).unwrap(), value);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_argument_stays_itself(texts in prop::collection::vec("[ -~é'\"$`\\\\\n]{0,12}", 1..4)) {
            let line = CommandLine::graylane("").args(&texts);
            if line.to_shell_line().is_some() {
                prop_assert_eq!(read(&line), texts);
            } else {
                prop_assert!(texts.iter().any(|t| t.starts_with('-') || t.contains('\n')));
            }
        }
    }
}
