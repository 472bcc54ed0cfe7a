//! The pictures of the README and of docs/: a fixed world through the real `view`. Drift fails; `UPDATE_SCREENSHOTS=1` accepts it.

use crate::{
    screen::{draw, press, see},
    svg::svg,
};
use graylane::ui::{Model, fixture};

fn picture(name: &str, title: &str, model: &mut Model, (width, height): (u16, u16)) {
    let (buffer, cursor) = draw(model, width, height);
    compare_picture(name, &svg(&buffer, cursor, title));
}

/// Compares a picture with the one that is kept, or keeps it.
pub fn compare_picture(name: &str, made: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("screenshots")
        .join(format!("{name}.svg"));
    if std::env::var_os("UPDATE_SCREENSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not what the screen shows now. Is it meant? UPDATE_SCREENSHOTS=1 cargo test --test screens",
        path.display()
    );
}

#[test]
fn cockpit() {
    picture(
        "cockpit",
        "Five panes in the middle of a rollout",
        &mut fixture::model(),
        (120, 36),
    );
}

#[test]
fn confirmation() {
    let mut model = fixture::model();
    press(&mut model, "3c");
    picture(
        "confirmation",
        "A confirmation: what the next batch does",
        &mut model,
        (120, 36),
    );
}

#[test]
fn lane_editor() {
    let mut model = fixture::model();
    press(
        &mut model,
        "4e<tab><tab><ctrl-u>5<tab><tab><tab>header x-user in mia,noah",
    );
    picture(
        "lane-editor",
        "The lane editor, with what would change",
        &mut model,
        (120, 36),
    );
}

#[test]
fn leak() {
    let mut model = fixture::model();
    see(
        &mut model,
        fixture::with_hops(fixture::world(), fixture::leaking_hops()),
    );
    press(&mut model, "5");
    picture(
        "leak",
        "A tagged request met the baseline: the trace tells where and why",
        &mut model,
        (120, 36),
    );
}

#[test]
fn help() {
    let mut model = fixture::model();
    press(&mut model, "3?");
    picture("help", "The keys that work here", &mut model, (120, 36));
}

#[test]
fn compact() {
    picture(
        "compact",
        "The same at 80 by 24",
        &mut fixture::model(),
        (80, 24),
    );
}
