//! Commands in the pages are commands of this program.

use std::process::Command as Process;

use clap::{CommandFactory, Parser};
use graylane::cli::Cli;

use super::pages::{code_lines, inline_code, pages};

/// The words of a command as a shell takes them, up to a comment.
fn split_words(line: &str) -> Vec<String> {
    let script = format!("set -- {line}\nfor word in \"$@\"; do printf '%s\\0' \"$word\"; done");
    let told = Process::new("sh").args(["-c", &script]).output().unwrap();
    assert!(told.status.success(), "{line}");
    let text = String::from_utf8(told.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// The command of this program that a line runs.
fn own_command(line: &str) -> Option<String> {
    let run = line.strip_prefix("cargo run --release -- ");
    run.map(|rest| format!("graylane {rest}"))
        .or_else(|| line.starts_with("graylane ").then(|| line.to_owned()))
}

#[test]
fn commands_in_code_blocks_are_understood() {
    let mut seen = 0;
    for (page, text) in pages() {
        if page == "docs/command-line.md" {
            // Its blocks are usage lines of clap's own.
            continue;
        }
        for line in code_lines(&text).into_iter().filter_map(own_command) {
            let words = split_words(&line);
            if let Err(why) = Cli::try_parse_from(&words) {
                panic!("{page}: {line}\n{why}");
            }
            seen += 1;
        }
    }
    assert!(seen > 18, "only {seen} commands");
}

/// In running text a command may leave out what it needs; its words must exist all the same.
#[test]
fn commands_in_running_text_name_what_exists() {
    let mut seen = 0;
    for (page, text) in pages() {
        let codes = inline_code(&text);
        for code in codes.iter().filter(|c| c.starts_with("graylane ")) {
            let mut root = Cli::command();
            root.build();
            let mut command = &root;
            let mut words = code.split(' ').skip(1).peekable();
            while let Some(sub) = words.peek().and_then(|w| command.find_subcommand(w)) {
                command = sub;
                words.next();
            }
            assert!(
                command.get_name() != "graylane" || words.peek().is_none_or(|w| w.starts_with('-')),
                "{page}: `{code}` is no command"
            );
            for option in words.filter_map(|w| w.strip_prefix("--")) {
                let name = option.split('=').next().unwrap_or_default();
                assert!(
                    command.get_arguments().any(|a| a.get_long() == Some(name)),
                    "{page}: `{code}` has no option --{name}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} commands");
}
