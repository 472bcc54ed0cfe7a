//! Commands that are shown to be pasted are put together by `domain::command_line` alone, for a name that `format!` puts
//! into one may run what it says. The source is read for others.

use std::{fs, path::Path};

use crate::layers::{all_sources, without_tests};

/// Code of templates, not of commands, stands between these backticks.
const TEMPLATES: &str = "src/domain/template";

/// The string literals of code, as they read.
pub(crate) fn literals(code: &str) -> Vec<String> {
    let (mut found, chars) = (vec![], code.chars().collect::<Vec<_>>());
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => {
                at += chars[at..].iter().take_while(|c| **c != '\n').count();
            }
            // A character; what is left is a lifetime.
            '\'' if chars.get(at + 1) == Some(&'\\') => at += 3,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 2,
            '"' => {
                let hashes = chars[..at].iter().rev().take_while(|c| **c == '#').count();
                let raw = chars[..at - hashes].last() == Some(&'r');
                let (mut text, mut i) = (String::new(), at + 1);
                while i < chars.len() {
                    match chars[i] {
                        '\\' if !raw && chars[i + 1] == '\n' => {
                            i += 1;
                            while chars.get(i + 1).is_some_and(|c| c.is_whitespace()) {
                                i += 1;
                            }
                        }
                        '\\' if !raw => {
                            i += 1;
                            text.push(if chars[i] == 'n' { '\n' } else { chars[i] });
                        }
                        '"' if !raw
                            || chars[i + 1..].iter().take_while(|c| **c == '#').count()
                                >= hashes =>
                        {
                            break;
                        }
                        c => text.push(c),
                    }
                    i += 1;
                }
                found.push(text);
                at = i;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether something is put into a text.
fn is_filled(text: &str) -> bool {
    text.replace("{{", "").contains('{')
}

/// The part of a literal that is a command with something put into it.
fn foreign(literal: &str) -> Option<&str> {
    let end = |from: &str| from.find(['`', '\n', ';']).unwrap_or(from.len());
    for program in ["graylane ", "kubectl "] {
        for (at, _) in literal.match_indices(program) {
            let rest = &literal[at..];
            let command = &rest[..end(rest)];
            let word = command[program.len()..]
                .split(' ')
                .next()
                .unwrap_or_default();
            let option = word.starts_with('-') || command.contains(" -");
            let verb = VERBS.contains(&word.trim_end_matches(['.', ',', ':']));
            let whole = word.starts_with('{')
                && !word.starts_with("{{")
                && command.trim_end() == format!("{program}{word}");
            if is_filled(command) && (option || verb || whole) {
                return Some(command);
            }
        }
    }
    // Between backticks one thing alone may stand: a command that was put together elsewhere.
    let mut within = literal.split('`').skip(1).step_by(2);
    let filled = within.find(|part| is_filled(part) && part.contains(' '));
    // An option is added to what stands before it.
    filled.or_else(|| {
        let at = literal.match_indices(" --").map(|(at, _)| &literal[at..]);
        let mut options = at.filter(|rest| {
            let name = rest[3..].trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '-');
            name.len() < rest.len() - 3
                && (name.starts_with(" {") || name.starts_with("={"))
                && !name[1..].starts_with("{{")
        });
        options.next()
    })
}

/// What follows `graylane` in a command.
const VERBS: &[&str] = &[
    "abort",
    "adopt",
    "app",
    "apply",
    "approve",
    "demo",
    "doctor",
    "engine",
    "get",
    "init",
    "install",
    "lane",
    "lock",
    "logs",
    "man",
    "pocket",
    "probe",
    "proceed",
    "refuse",
    "release",
    "render",
    "rescue",
    "signals",
    "trace",
    "resume",
    "retry",
    "pause",
    "skip",
    "teardown",
    "uninstall",
    "unlock",
    "delete",
    "patch",
    "rollout",
    "create",
    "describe",
    "annotate",
    "label",
    "edit",
];

#[test]
fn no_name_is_put_into_a_command_by_format() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = vec![];
    for file in all_sources() {
        let inside = file
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let tests = inside.ends_with("tests.rs") || inside.contains("/tests/");
        if tests || inside.starts_with(TEMPLATES) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = without_tests(&text);
        wrong.extend(
            literals(code)
                .iter()
                .filter_map(|l| Some(format!("{inside}: {}", foreign(l)?))),
        );
    }
    assert!(
        wrong.is_empty(),
        "put together by domain::command_line instead:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_is_looked_for_is_found() {
    for text in [
        "graylane retry {name} --force-conflicts",
        "see `graylane abort {}`",
        "graylane {command}",
        "kubectl -n {namespace} delete lane {name}",
        "`{kubectl} rollout status {named}` tells when",
        " --image {image}={reference}",
        "proceed {name} --task {}",
        "graylane rescue {}/{name} --kind {kind}",
        "{ours} --kind={kind}",
    ] {
        assert!(foreign(text).is_some(), "{text}");
    }
    for text in [
        "`{line}` tells",
        "graylane needs {}x{}",
        "graylane itself ({})",
        "--set {setting}: twice",
        "graylane retry",
    ] {
        assert_eq!(foreign(text), None);
    }
    let code = "// it's \"\nlet a = \"x\\\n    y\"; b('\"', \"z\", r#\"q\"q\"#, '\\'', 'a')";
    assert_eq!(literals(code), ["xy", "z", "q\"q"]);
}
