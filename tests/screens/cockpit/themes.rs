//! Themes are tried on while one chooses: Esc gives the old one back, Enter keeps the new one and says how for good.

use graylane::ui::{
    Model, fixture,
    theme::{Depth, Theme},
};

use crate::screen::press;

fn model() -> Model {
    let mut model = fixture::model();
    model.options.depth = Depth::True;
    model.options.theme = Theme::built_in("default", Depth::True).expect("built in");
    model
}

#[test]
fn the_selected_theme_is_tried_on_and_given_back() {
    let mut model = model();
    press(&mut model, "<ctrl-t>");
    assert_eq!(model.options.theme.name, "default");
    press(&mut model, "<down>");
    assert_eq!(model.options.theme.name, "light");
    press(&mut model, "color");
    assert_eq!(model.options.theme.name, "colorblind");
    press(&mut model, "xyz");
    assert_eq!(model.options.theme.name, "default", "nothing is selected");
    press(&mut model, "<enter>");
    assert_eq!(model.options.theme.name, "default");
    press(&mut model, "<ctrl-t>contrast");
    assert_eq!(model.options.theme.name, "contrast");
    press(&mut model, "<esc>");
    assert_eq!(model.options.theme.name, "default");
}

#[test]
fn what_is_taken_stays_and_how_it_is_kept_is_told() {
    let mut model = model();
    press(&mut model, "<ctrl-t>blind<enter>");
    assert_eq!(model.options.theme.name, "colorblind");
    let told = &model.notices[0].text;
    assert!(
        told.contains("theme = \"colorblind\" in config.toml"),
        "{told}"
    );
    // A theme of one's own is in the list, too, and can be come back to.
    model.options.theme.name = "mine".into();
    press(&mut model, "<ctrl-t><down><esc>");
    assert_eq!(model.options.theme.name, "mine");
}
