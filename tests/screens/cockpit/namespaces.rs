//! Another namespace of the same cluster: nothing of the old one stays, and the header says which one it is.

use graylane::{
    domain::{text::Clean, world::World},
    ui::{
        Effect, Model, Msg,
        effect::{ShownNamespace, cluster_of_place, place_of_namespace},
        fixture, update,
    },
};

use crate::{
    scenes::namespaces,
    screen::{draw, press, see},
};

fn switched_to(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::SwitchNamespace(ShownNamespace::One(name)) => Some(name.as_str()),
        _ => None,
    })
}

fn header(model: &mut Model) -> String {
    let (buffer, _) = draw(model, 160, 30);
    (0..160).map(|x| buffer[(x, 0)].symbol()).collect()
}

#[test]
fn the_old_namespace_leaves_the_screen_and_its_late_words_are_dropped() {
    let mut model = namespaces();
    press(&mut model, "shop");
    let home = fixture::options().place;
    let effects = press(&mut model, "<enter>");
    assert_eq!(switched_to(&effects), Some("shop"));
    assert!(model.world.apps.is_empty() && model.app.is_none());
    assert!(header(&mut model).contains("namespace shop"));
    let of = |place: String| World {
        cluster_name: Clean::from(&*place),
        ..fixture::world()
    };
    update(&mut model, Msg::World(of(home.clone()).into()));
    assert!(model.world.apps.is_empty(), "a late world of the old one");
    see(&mut model, of(place_of_namespace(&home, "shop")));
    assert!(!model.world.apps.is_empty());
    // From there to the next one: the cluster stays the same.
    assert_eq!(
        switched_to(&press(&mut model, ":ns pay<enter>")),
        Some("pay")
    );
    assert_eq!(cluster_of_place(&model.options.place), home);
    assert_eq!(model.options.place, place_of_namespace(&home, "pay"));
}

#[test]
fn what_is_no_name_or_is_shown_already_leads_nowhere() {
    for typed in ["ns Shop", "ns a/b", "ns -x", "ns ", "ns demo"] {
        let mut model = fixture::model();
        let effects = press(&mut model, &format!(":{typed}<enter>"));
        assert_eq!(switched_to(&effects), None, "{typed}");
        assert_eq!(model.options.place, fixture::options().place, "{typed}");
    }
}
