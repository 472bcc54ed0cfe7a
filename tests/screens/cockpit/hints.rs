//! Nobody is left alone with a key: the key bar is always there, a key that does nothing here says where it works, help
//! opens everywhere, and the palette finds what cannot be done now, too.

use graylane::ui::{
    Model, fixture,
    model::{Overlay, Source},
    pane::Pane,
};

use crate::{
    screen::{draw, press},
    worlds,
};

fn lines(model: &mut Model, (width, height): (u16, u16)) -> Vec<String> {
    let (buffer, _) = draw(model, width, height);
    (0..height)
        .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect())
        .collect()
}

/// Seen once: what was reported hid the keys for eight seconds.
#[test]
fn what_is_reported_leaves_the_keys_where_they_are() {
    for size in [(60, 20), (80, 24), (120, 36), (200, 60)] {
        let mut model = fixture::model();
        let before = lines(&mut model, size).pop();
        press(&mut model, "u");
        let now = lines(&mut model, size);
        assert!(
            now[now.len() - 2].contains("is not paused"),
            "{size:?}: {now:#?}"
        );
        assert_eq!(now.last(), before.as_ref(), "{size:?}");
    }
}

#[test]
fn a_key_that_does_nothing_here_says_where_it_works() {
    let mut model = fixture::model();
    press(&mut model, "5a");
    let told = &model.notices[0].text;
    assert_eq!(
        told,
        "a does nothing here: approve in Releases (in Apps, Environments and Rollout)"
    );
    // What works nowhere says nothing.
    let mut model = fixture::model();
    press(&mut model, "5<f9>");
    assert!(model.notices.is_empty(), "{:?}", model.notices);
}

#[test]
fn help_opens_over_everything_and_closes_by_its_own_key() {
    for keys in ["", "Y", "3A", "n", ":", "/", "4D"] {
        let mut model = fixture::model();
        press(&mut model, keys);
        let before = model.overlays.len();
        press(&mut model, "<f1>");
        let is_help = |model: &Model| matches!(model.overlays.last(), Some(Overlay::Text(text)) if matches!(text.source, Source::Help));
        assert!(is_help(&model), "{keys}");
        press(&mut model, "<f1>");
        assert_eq!(model.overlays.len(), before, "{keys}");
    }
}

#[test]
fn the_palette_finds_what_cannot_be_done_now_and_windows() {
    let mut model = fixture::model();
    press(&mut model, ":appro");
    let Some(Overlay::Palette(palette)) = model.overlays.last() else {
        panic!("no palette")
    };
    assert!(
        palette.all[palette.found[0]].0.starts_with("approve "),
        "{:?}",
        palette.all[palette.found[0]]
    );
    press(&mut model, "<enter>");
    assert!(model.overlays.is_empty() && model.notices[0].text.contains("waits for no approval"));
    let mut model = fixture::model_of(worlds::approval());
    press(&mut model, "5:window w-1123<enter>");
    assert_eq!(
        (
            model.pane,
            model.selected_release().map(|(n, _)| n.as_str())
        ),
        (Pane::Rollout, Some(worlds::RELEASE))
    );
}
