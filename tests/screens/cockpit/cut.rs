//! Nothing is cut without a sign of it, whatever the screen shows and however large it is; and what must be told apart
//! stays apart.

use std::collections::BTreeSet;

use graylane::ui::glyph::{ASCII, UNICODE};
use ratatui::buffer::Buffer;

use crate::{
    scenes::{NAMES, after, scene},
    screen::draw,
};

/// So large that everything stands there whole.
const LARGE: (u16, u16) = (300, 100);
const SIZES: [(u16, u16); 8] = [
    (60, 20),
    (72, 24),
    (80, 24),
    (90, 30),
    (100, 30),
    (120, 36),
    (160, 48),
    (200, 60),
];

fn rows(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    rows.map(|row| row.iter().map(|c| c.symbol()).collect())
        .collect()
}

/// What stands between the frames; of a box that lies on top only its own rows, for what is beneath it is covered.
fn pieces(buffer: &Buffer) -> Vec<String> {
    let rows = rows(buffer);
    let on_top: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(row.split('┃').nth(1)?.to_owned()))
        .collect();
    if on_top.is_empty() {
        rows.iter()
            .flat_map(|r| r.split('│').map(str::to_owned))
            .collect()
    } else {
        on_top
    }
}

/// What is read as one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || "-_./@:=…".contains(c)))
        .filter(|w| !w.is_empty())
}

/// A long word that goes on in the next row is not cut.
fn goes_on(word: &str, next: Option<&String>, known: &BTreeSet<&str>) -> bool {
    next.is_some_and(|next| {
        words(next).any(|rest| known.contains(format!("{word}{rest}").as_str()))
    })
}

#[test]
fn no_word_is_cut_without_a_sign() {
    let mut faults = BTreeSet::new();
    for name in NAMES {
        let (_, _, mut model) = scene(name);
        model.options.glyphs = UNICODE;
        let whole = pieces(&draw(&mut model, LARGE.0, LARGE.1).0);
        let known: BTreeSet<&str> = whole.iter().flat_map(|p| words(p)).collect();
        for (width, height) in SIZES {
            let drawn = pieces(&draw(&mut model, width, height).0);
            for (n, piece) in drawn.iter().enumerate() {
                for word in words(piece) {
                    let whole = known.contains(word)
                        || word.ends_with('…')
                        || word.chars().filter(|c| c.is_alphabetic()).count() < 2;
                    let begins = known.iter().any(|known| known.starts_with(word));
                    if !whole && begins && !goes_on(word, drawn.get(n + 1), &known) {
                        faults.insert(format!("{name} at {width}x{height}: {word:?} in {piece:?}"));
                    }
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{}",
        faults.into_iter().collect::<Vec<_>>().join("\n")
    );
}

/// In ASCII the sign of a cut is the one of the table, at the same places.
#[test]
fn in_ascii_a_cut_has_its_sign_too() {
    for name in NAMES {
        let (_, _, mut model) = scene(name);
        for (width, height) in [(60, 20), (80, 24)] {
            model.options.glyphs = UNICODE;
            let whole = draw(&mut model, width, height).0;
            model.options.glyphs = ASCII;
            let plain = draw(&mut model, width, height).0;
            for (a, b) in whole
                .content()
                .iter()
                .zip(plain.content())
                .filter(|(a, _)| a.symbol() == "…")
            {
                assert_eq!(b.symbol(), ASCII.more, "{name} at {width}x{height}: {a:?}");
            }
        }
    }
}

#[test]
fn at_80_columns_environments_tags_and_rules_are_told() {
    for keys in ["", "2", "3", "4", "5"] {
        let text = rows(&draw(&mut after(keys), 80, 24).0).join("\n");
        for wanted in ["test pre gray prod", "parameter group == gray ", "1.5.0"] {
            assert!(
                text.contains(wanted),
                "after {keys:?} there is no {wanted:?}:\n{text}"
            );
        }
    }
}

/// Where there is room whole words stand; but a cause can be longer than any header.
#[test]
fn on_a_large_screen_nothing_is_cut() {
    let mut faults = vec![];
    // In what is scrolled or cut by intention something is missing.
    let meant = ["text_logs_cut", "list_scrolled"];
    for name in NAMES.iter().filter(|name| !meant.contains(name)) {
        let cut = rows(&draw(&mut scene(name).2, 200, 60).0)
            .into_iter()
            .skip(2);
        let cause = [
            "LEAK DOWN at C: spring",
            "ring-cloud-c-prod-9c6d58-m4d9q answered",
        ];
        let cut =
            cut.filter(|row| row.contains('…') && !cause.iter().any(|part| row.contains(part)));
        faults.extend(cut.map(|row| format!("{name}: {row}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
