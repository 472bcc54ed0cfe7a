//! Messages that the page on troubleshooting explains are messages of the program.

use std::fs;

use super::{super::commands::literals, pages::pages};
use crate::layers::all_sources;

/// A message with `…` for what is put into it; neighbours of it are no part of what is looked for.
fn normalize(literal: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for c in literal
        .replace("{{", "\u{1}")
        .replace("}}", "\u{2}")
        .chars()
    {
        match c {
            '{' => {
                depth += 1;
                out.push('…');
            }
            '}' => depth -= 1,
            _ if depth > 0 => {}
            '\u{1}' => out.push('{'),
            '\u{2}' => out.push('}'),
            '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Whether the parts of a message between its `…` stand in a literal, in this order.
fn holds(literal: &str, message: &str) -> bool {
    let mut rest = literal;
    for part in message.split('…').map(str::trim).filter(|p| p.len() > 2) {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn messages(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_start_matches("| `").split("` |").next());
    cells
        .map(|cell| cell.unwrap_or_default().replace("\\`", "`"))
        .collect()
}

#[test]
fn messages_that_are_explained_are_said() {
    let said: Vec<String> = all_sources()
        .iter()
        .flat_map(|file| literals(&fs::read_to_string(file).unwrap()))
        .map(|literal| normalize(&literal))
        .collect();
    let explained = messages(&pages()["docs/troubleshooting.md"]);
    assert!(explained.len() > 35, "{}", explained.len());
    let unknown: Vec<&String> = explained
        .iter()
        .filter(|message| !said.iter().any(|literal| holds(literal, message)))
        .collect();
    assert!(unknown.is_empty(), "nobody says {unknown:#?}");
}

#[test]
fn a_message_is_found_with_what_is_put_into_it() {
    let literal = normalize("release {0} is held by {by:?}: see `{{x}}`");
    assert_eq!(literal, "release … is held by …: see `{x}`");
    assert!(holds(&literal, "release … is held by …"));
    assert!(!holds(&literal, "is held by … release"));
    assert!(!holds(&literal, "release … is kept by …"));
    assert_eq!(messages("| `a \\`b\\` c` | d |\n"), ["a `b` c"]);
}
