//! The one table of keys, from outside: every action can be reached and is explained, no key means two things, what
//! the screen hints at is what the table says, and docs/keys.md shows the table that `graylane keys` prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use crate::generated::check_generated;
use crate::scenes::{NAMES, scene};
use crate::screen::{draw, press};
use graylane::ui::{
    Model, fixture,
    keymap::{Action, KeyContext, Keymap, format_key, parse_key},
    pane::Pane,
    theme::{Role, Theme},
    update::is_available,
};
use ratatui::{buffer::Buffer, style::Color};

/// A keys file that gives every action of every context another key than it has.
fn all_others() -> String {
    let mut file: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let letters = ('a'..='z')
        .map(|c| format!("alt-{c}"))
        .chain((1..=24).map(|n| format!("f{n}")));
    for context in KeyContext::ALL {
        let actions: BTreeSet<&str> = Keymap::default()
            .bindings()
            .iter()
            .filter(|b| b.context == context)
            .map(|b| b.action.word())
            .collect();
        let keys = actions.into_iter().zip(letters.clone());
        file.insert(
            context.word(),
            keys.map(|(action, key)| (action, format!("[\"{key}\"]")))
                .collect(),
        );
    }
    let table = |(context, keys): (&str, BTreeMap<&str, String>)| {
        let rows: String = keys
            .iter()
            .map(|(action, key)| format!("{action} = {key}\n"))
            .collect();
        format!("[{context}]\n{rows}")
    };
    file.into_iter().map(table).collect()
}

fn text(buffer: &Buffer) -> String {
    let row = |y| {
        (0..buffer.area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..buffer.area.height)
        .map(row)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every action has a key somewhere, and one sentence that help shows next to its keys.
#[test]
fn every_action_has_a_key_and_a_help_line() {
    let keymap = Keymap::default();
    let mut model = fixture::model();
    press(&mut model, "?");
    let help = text(&draw(&mut model, 160, 160).0);
    for action in Action::ALL {
        let own: Vec<_> = keymap
            .bindings()
            .iter()
            .filter(|b| b.action == *action)
            .collect();
        assert!(
            own.iter().any(|b| !b.keys.is_empty()),
            "{action:?} has no key"
        );
        assert!(!action.sentence().is_empty());
        for binding in own {
            let keys: Vec<String> = binding.keys.iter().map(|k| format_key(*k)).collect();
            let line = format!("  {:18}{}", keys.join(" "), action.sentence());
            assert!(help.contains(&line), "help has no line {line:?}:\n{help}");
        }
    }
}

#[test]
fn no_two_actions_share_a_key_where_both_are_in_force() {
    let keymap = Keymap::default();
    let mut model = fixture::model();
    for pane in Pane::ALL {
        model.pane = pane;
        let mut seen = BTreeMap::new();
        for context in model.active_contexts() {
            for binding in keymap.bindings().iter().filter(|b| b.context == context) {
                for key in &binding.keys {
                    let before = seen.insert(format_key(*key), binding.action);
                    assert_eq!(
                        before.filter(|a| *a != binding.action),
                        None,
                        "{pane:?}: {}",
                        format_key(*key)
                    );
                    assert_eq!(
                        keymap.find_action(&model.active_contexts(), *key),
                        Some(binding.action),
                        "{pane:?}"
                    );
                }
            }
        }
    }
    for context in [
        KeyContext::Text,
        KeyContext::Form,
        KeyContext::Confirm,
        KeyContext::Line,
    ] {
        let keys: Vec<String> = keymap
            .bindings()
            .iter()
            .filter(|b| b.context == context)
            .flat_map(|b| &b.keys)
            .map(|k| format_key(*k))
            .collect();
        assert_eq!(
            keys.iter().collect::<BTreeSet<_>>().len(),
            keys.len(),
            "{context:?}: {keys:?}"
        );
    }
}

/// Words drawn in the role of a key.
fn keys_on(buffer: &Buffer) -> BTreeSet<String> {
    let key = Color::Indexed(Role::Key as u8);
    let mut found = BTreeSet::new();
    for y in 0..buffer.area.height {
        let row: Vec<_> = (0..buffer.area.width).map(|x| &buffer[(x, y)]).collect();
        for run in row.split(|c| c.fg != key || c.symbol() == " ") {
            found.insert(run.iter().map(|c| c.symbol()).collect::<String>());
        }
    }
    found.remove("");
    found
}

fn drawn(model: &mut Model, keymap: Keymap) -> Buffer {
    model.options.theme = Theme::for_tests();
    model.options.keymap = keymap;
    draw(model, 120, 36).0
}

/// Whatever is drawn as a key is one, in the user's own table as well as in ours; and no other one is spoken of.
#[test]
fn hints_on_the_screen_come_from_the_table() {
    let other = Keymap::with_overrides(&all_others()).unwrap_or_else(|e| panic!("{e}"));
    // Signs before a line of text, marks of rows, and the palette's actions are drawn in that role, too.
    let signs: BTreeSet<String> = ["/", "&", ":", "+", "marked", "save", "to"]
        .map(Into::into)
        .into();
    for keymap in [Keymap::default(), other.clone()] {
        let mut known: BTreeSet<String> = keymap
            .bindings()
            .iter()
            .flat_map(|b| &b.keys)
            .map(|k| format_key(*k))
            .collect();
        known.extend(signs.clone());
        known.extend(Action::ALL.iter().map(|a| a.word().to_owned()));
        for name in NAMES {
            let (_, _, mut model) = scene(name);
            let buffer = drawn(&mut model, keymap.clone());
            let mut known = known.clone();
            for own in model.options.own_commands.list() {
                known.extend([format_key(own.key), own.title.clone()]);
            }
            let unknown: Vec<String> = keys_on(&buffer).difference(&known).cloned().collect();
            assert!(
                unknown.is_empty(),
                "{name} hints at {unknown:?}:\n{}",
                text(&buffer)
            );
        }
    }
    for name in NAMES {
        let (_, _, mut model) = scene(name);
        let text = text(&drawn(&mut model, other.clone()));
        for word in [
            "Enter",
            "Esc",
            "Tab",
            "Ctrl-",
            "Space",
            "up and down",
            "left and right",
        ] {
            assert!(
                !text.contains(word),
                "{name} speaks of {word} though that key is another one now:\n{text}"
            );
        }
    }
}

/// The footer offers what can be done now and nothing else: each key that it names does something.
#[test]
fn the_footer_offers_only_what_makes_sense() {
    for name in NAMES {
        let (_, _, mut model) = scene(name);
        let keymap = Keymap::default();
        let buffer = drawn(&mut model, keymap.clone());
        let last = Buffer {
            area: ratatui::layout::Rect::new(0, 0, 120, 1),
            content: buffer.content[120 * 35..].into(),
        };
        for key in keys_on(&last) {
            let Some(parsed) = parse_key(&key.to_lowercase())
                .filter(|_| key.chars().count() > 1)
                .or_else(|| parse_key(&key))
            else {
                continue;
            };
            if let Some(action) = keymap.find_action(&model.active_contexts(), parsed) {
                assert!(
                    is_available(&model, action),
                    "{name} offers {key} for {action:?}, which makes no sense now"
                );
            }
        }
    }
}

/// Read-only: no key of a change is offered, and none does anything.
#[test]
fn read_only_offers_no_change() {
    let model = &mut fixture::model();
    press(model, "R");
    for action in Action::ALL
        .iter()
        .filter(|a| a.danger() != graylane::ui::keymap::Danger::Safe)
    {
        assert!(!is_available(model, *action), "{action:?}");
    }
}

fn keys(config: &std::path::Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command
        .arg("keys")
        .args(args)
        .env("XDG_CONFIG_HOME", config)
        .env("GRAYLANE_STATE", config);
    command
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts")
}

#[test]
fn the_page_on_keys_shows_what_graylane_keys_prints() {
    let config = tempfile::tempdir().unwrap();
    let told = keys(config.path(), &[]);
    assert!(told.status.success());
    let printed = String::from_utf8(told.stdout).unwrap();
    check_generated("docs/keys.md", &format!("```text\n{printed}```"));
}

/// What it prints as JSON is a keys file in all but form: read back it gives the very same table.
#[test]
fn printed_keys_can_be_written_into_a_keys_file() {
    let config = tempfile::tempdir().unwrap();
    let told = keys(config.path(), &["-o", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&told.stdout).expect("JSON");
    let mut file = String::new();
    for context in KeyContext::ALL {
        file.push_str(&format!("[{}]\n", context.word()));
        for row in rows.iter().filter(|r| r["context"] == context.word()) {
            file.push_str(&format!(
                "{} = {}\n",
                row["action"].as_str().unwrap(),
                row["keys"]
            ));
        }
    }
    let read = Keymap::with_overrides(&file).unwrap_or_else(|e| panic!("{e}\n{file}"));
    let own = Keymap::default();
    for binding in own.bindings() {
        for key in &binding.keys {
            assert_eq!(
                read.find_action(&[binding.context], *key),
                Some(binding.action),
                "{}",
                format_key(*key)
            );
        }
    }
    assert_eq!(
        rows.iter().filter(|r| r["danger"] == "dangerous").count(),
        own.bindings()
            .iter()
            .filter(|b| b.action.danger() == graylane::ui::keymap::Danger::Dangerous)
            .count()
    );
}

/// The user's own keys are printed; a faulty file is refused with all its faults.
#[test]
fn the_users_own_keys_are_printed() {
    let config = tempfile::tempdir().unwrap();
    let folder = config.path().join("graylane");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("keys.toml"), "[global]\nquit = [\"ctrl-q\"]\n").unwrap();
    let told = String::from_utf8(keys(config.path(), &[]).stdout).unwrap();
    assert!(
        told.lines()
            .any(|l| l.starts_with("global") && l.contains("Ctrl-q") && l.contains("Quit")),
        "{told}"
    );
    std::fs::write(
        folder.join("keys.toml"),
        "[global]\nquit = [\"nokey\"]\nfly = [\"f\"]\n",
    )
    .unwrap();
    let told = keys(config.path(), &[]);
    let why = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(why.contains("nokey") && why.contains("fly"), "{why}");
}

/// The user's own commands are printed beside the keys; a faulty file is refused with its place.
#[test]
fn the_users_own_commands_are_printed() {
    let config = tempfile::tempdir().unwrap();
    let folder = config.path().join("graylane");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("commands.toml");
    std::fs::write(&file, crate::scenes::documented_commands()).unwrap();
    let told = String::from_utf8(keys(config.path(), &[]).stdout).unwrap();
    let row = told.lines().find(|l| l.contains("Debug the pod")).unwrap();
    for words in [
        "environments",
        "  K  ",
        "'--context={context}'",
        "(asks first)",
    ] {
        assert!(row.contains(words), "{row}");
    }
    let json = keys(config.path(), &["-o", "json"]).stdout;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let own = rows.iter().filter(|row| row["own"] == true);
    let dangers: Vec<_> = own.map(|row| row["danger"].clone()).collect();
    assert_eq!(dangers, ["safe", "dangerous", "safe", "dangerous"]);
    std::fs::write(&file, "[[commands]]\nkey = 'q'\ntitel = 'x'\n").unwrap();
    let told = keys(config.path(), &[]);
    let why = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1));
    let place = format!("{}:3: unknown field `titel`", file.display());
    assert!(why.contains(&place), "{why}");
}
