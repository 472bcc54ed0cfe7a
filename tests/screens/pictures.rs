//! Every screen as text at 120x36, 80x24 and 60x20, so that a change of looks is read before it is taken
//! (`cargo insta review`, or `INSTA_UPDATE=always cargo test --test screens`). Of what lies on top of the panes only
//! that part is kept; `cursor` tells where letters go.

use crate::scenes::{NAMES, Part, after, leaking, scene};
use crate::screen::draw;
use graylane::ui::{Model, theme::Theme};
use ratatui::{buffer::Buffer, style::Color};

const SIZES: [(u16, u16); 3] = [(120, 36), (80, 24), (60, 20)];

fn row(buffer: &Buffer, y: u16, from: u16, to: u16) -> String {
    let mut text = String::new();
    let mut skip = 0;
    for x in from..to {
        let symbol = buffer[(x, y)].symbol();
        if skip > 0 {
            skip -= 1;
            continue;
        }
        skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
        text.push_str(if symbol.is_empty() { " " } else { symbol });
    }
    text.trim_end().to_owned()
}

/// The smallest part of the rows above the footer in which two screens differ.
fn differs(a: &Buffer, b: &Buffer) -> (u16, u16, u16, u16) {
    let (width, height) = (a.area.width, a.area.height - 1);
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    all.filter(|at| a[*at].symbol() != b[*at].symbol())
        .fold((width, height, 0, 0), |(x0, y0, x1, y1), (x, y)| {
            (x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1))
        })
}

fn shown(model: &mut Model, part: Part, (width, height): (u16, u16)) -> String {
    let (buffer, cursor) = draw(model, width, height);
    let (x0, y0, x1, y1) = match part {
        Part::Whole => (0, 0, width, height - 1),
        Part::Panes => (0, 2.min(height), width, height - 1),
        Part::Header => (0, 0, width, 2),
        Part::Top => {
            let mut beneath = model.clone();
            beneath.overlays.clear();
            differs(&buffer, &draw(&mut beneath, width, height).0)
        }
    };
    let mut lines = vec![format!("── {width}x{height}")];
    let rows: Vec<String> = (y0..y1).map(|y| row(&buffer, y, x0, x1)).collect();
    for same in rows.chunk_by(|a, b| a == b) {
        lines.push(same[0].clone());
        if same.len() > 2 {
            lines.push(format!("⋮ and {} like it", same.len() - 1));
        } else {
            lines.extend_from_slice(&same[1..]);
        }
    }
    if part != Part::Header {
        lines.push(row(&buffer, height - 1, 0, width));
    }
    if let Some((x, y)) = cursor {
        lines.push(format!("cursor {x},{y}"));
    }
    lines.join("\n")
}

fn kept(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Every screen, and after all of them the names of those that differ.
#[test]
fn screens() {
    let differ: Vec<&str> = NAMES
        .iter()
        .copied()
        .filter(|name| {
            let (name, part, mut model) = scene(name);
            let all: Vec<String> = SIZES
                .into_iter()
                .map(|size| shown(&mut model, part, size))
                .collect();
            std::panic::catch_unwind(|| kept(name, &all.join("\n"))).is_err()
        })
        .collect();
    assert!(differ.is_empty(), "not as kept: {}", differ.join(", "));
}

/// A screen that is no longer drawn leaves no file behind.
#[test]
fn every_kept_screen_is_drawn() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens/snapshots");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if let Some(name) = name.strip_suffix(".snap") {
            assert!(
                NAMES.contains(&name) || ["roles", "too_small"].contains(&name),
                "{name} is drawn nowhere"
            );
        }
    }
}

#[test]
fn too_small() {
    let sizes = [(59, 20), (60, 19), (40, 8), (20, 3), (8, 1)];
    let text = |model: &mut Model| sizes.map(|size| shown(model, Part::Whole, size)).join("\n");
    kept(
        "too_small",
        &format!("{}\n{}", text(&mut after("")), text(&mut leaking(""))),
    );
}

/// What is shown in which role, by name: so that a palette can change without a hundred snapshots.
#[test]
fn roles() {
    let mut model = leaking("5");
    model.options.theme = Theme::for_tests();
    let (buffer, _) = draw(&mut model, 120, 36);
    let word = |n: u8| graylane::ui::theme::Role::ALL[usize::from(n)].word();
    let mut text = String::new();
    for y in 0..36 {
        let mut x = 0;
        while x < 120 {
            let looks = |x: u16| (buffer[(x, y)].fg, buffer[(x, y)].bg);
            let end = (x..120).find(|n| looks(*n) != looks(x)).unwrap_or(120);
            let words = row(&buffer, y, x, end);
            if let ((Color::Indexed(fg), bg), false) = (looks(x), words.trim().is_empty()) {
                let on = if bg == Color::Indexed(9) {
                    " on selected"
                } else {
                    ""
                };
                text.push_str(&format!(
                    "{y:>2}:{x:<3} {}{on}: {}\n",
                    word(fg),
                    words.trim()
                ));
            }
            x = end;
        }
    }
    kept("roles", &text);
}
