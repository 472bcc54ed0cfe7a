//! All namespaces at once: what is shown of each, and that nothing is ever done in another one than the question names.

use std::sync::Arc;

use graylane::{
    domain::{
        intent::Intent,
        text::Clean,
        world::{ObjectKey, World, Worlds},
    },
    ui::{
        Effect, IntentOutcome, Model, Msg, effect::ShownNamespace, fixture, model::Overlay,
        pane::Pane, question::Question, update,
    },
};

use crate::{
    scenes::{namespaces, with_all},
    screen::{press, shown},
    worlds::{A, RELEASE, all_namespaces},
};

fn asked(model: &Model) -> &Question {
    match model.overlays.last() {
        Some(Overlay::Confirm(question)) => question,
        other => panic!("{other:?}, {:?}", model.notices.front()),
    }
}

fn tell(model: &mut Model, worlds: &Worlds) {
    update(model, Msg::Worlds(Arc::new(worlds.clone())));
}

fn change(worlds: &mut Worlds, namespace: &str, how: impl FnOnce(&mut World)) {
    let world = worlds.by_namespace.get_mut(namespace).expect("it is shown");
    how(Arc::make_mut(world));
}

/// Selects a row of the Apps pane.
fn select(model: &mut Model, namespace: &str, app: &str) {
    let rows = model.visible_apps();
    let row = rows
        .iter()
        .position(|row| row.scope.name() == namespace && row.name == app);
    let row = row.unwrap_or_else(|| panic!("no {namespace}/{app}"));
    model.select_row(row);
}

fn sent(effects: &[Effect]) -> Vec<(&str, &Intent)> {
    let perform = effects.iter().filter_map(|effect| match effect {
        Effect::Perform(_, namespace, intent) => Some((namespace.as_str(), intent)),
        _ => None,
    });
    perform.collect()
}

#[test]
fn the_rows_of_all_stand_in_one_list_those_that_wait_first() {
    let model = with_all("");
    let rows: Vec<String> = model
        .visible_apps()
        .iter()
        .map(|row| format!("{}/{}", row.scope.name(), row.name))
        .collect();
    assert_eq!(rows.len(), 7, "{rows:?}");
    let at = |row: &str| rows.iter().position(|r| r == row).expect(row);
    assert!(
        at("shop/spring-cloud-a") < at("payments/ledger"),
        "{rows:?}"
    );
    assert_eq!(model.ambiguous_apps().len(), 3);
}

/// One key goes from row to row over the border of namespaces; all panes follow.
#[test]
fn the_selected_row_says_which_namespace_is_current() {
    let mut model = with_all("");
    for (namespace, app) in [("shop", A), ("demo", A), ("payments", "ledger")] {
        select(&mut model, namespace, app);
        assert_eq!(model.world.namespace, namespace);
        assert_eq!(model.app.as_deref(), Some(app));
        let own = model.row_position(Pane::Apps).1.expect("it is selected");
        let row = model.visible_apps()[own];
        assert_eq!((row.scope.name(), row.name.as_str()), (namespace, app));
        assert_eq!(model.others.len(), 2, "none is lost, none is double");
    }
    let mut all: Vec<&str> = model.scopes().map(|scope| scope.name()).collect();
    assert!(all.is_sorted(), "{all:?}");
    all.dedup();
    assert_eq!(all.len(), 3);
}

/// The same release name in two namespaces: the one that was asked about is approved, and no other.
#[test]
fn an_approval_goes_to_the_namespace_of_its_question() {
    let mut model = with_all("");
    select(&mut model, "shop", A);
    press(&mut model, "3a");
    let question = asked(&model);
    assert_eq!(question.namespace, "shop");
    let told = |q: &Question| q.facts.contains(&("namespace".into(), "shop".into()));
    assert!(told(question), "{:?}", question.facts);
    for line in &question.kubectl {
        let line = line.to_string();
        assert!(line.contains("-n shop"), "{line}");
    }
    let effects = press(&mut model, "<ctrl-y>");
    let [("shop", Intent::Release { name, .. })] = sent(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(name, RELEASE);
    // It is under way in shop, and not in demo, where a release has the same name.
    let pending = |namespace| model.pending_about(namespace, RELEASE).is_some();
    assert!(pending("shop") && !pending("demo"));
    let Some(Effect::Perform(ticket, ..)) = effects.first() else {
        unreachable!()
    };
    let done = IntentOutcome {
        text: Clean::from("task approve is approved"),
        ..IntentOutcome::default()
    };
    update(&mut model, Msg::Settled(*ticket, Ok(done)));
    assert_eq!(model.notices[0].text, "shop: task approve is approved");
}

/// What is open stays about its namespace, whatever happens to the Apps there.
#[test]
fn a_question_never_moves_to_another_namespace() {
    let mut model = with_all("");
    select(&mut model, "shop", A);
    press(&mut model, "3a");
    let mut worlds = all_namespaces();
    change(&mut worlds, "shop", |world| {
        Arc::make_mut(&mut world.apps).clear();
        Arc::make_mut(&mut world.releases).clear();
    });
    tell(&mut model, &worlds);
    assert_eq!(model.world.namespace, "shop");
    assert!(asked(&model).stale.is_some(), "its release is gone");
    assert!(sent(&press(&mut model, "<ctrl-y>")).is_empty());
    // The whole namespace goes: a release of that name in another one is not meant.
    worlds.by_namespace.remove("shop");
    tell(&mut model, &worlds);
    assert_eq!(asked(&model).namespace, "shop");
    assert!(sent(&press(&mut model, "<ctrl-y>")).is_empty());
    press(&mut model, "<esc>");
    tell(&mut model, &worlds);
    assert_ne!(model.world.namespace, "shop");
    assert!(model.app.is_some());
    assert!(model.others.contains_key("payments") || model.world.namespace == "payments");
}

/// A release of the same name in another namespace changes: this question is not about it.
#[test]
fn a_change_elsewhere_makes_no_question_stale() {
    let mut model = with_all("");
    select(&mut model, "shop", A);
    press(&mut model, "3a");
    let mut worlds = all_namespaces();
    change(&mut worlds, "demo", |world| {
        Arc::make_mut(&mut world.releases).clear();
    });
    tell(&mut model, &worlds);
    assert_eq!(asked(&model).stale, None);
    assert_eq!(sent(&press(&mut model, "<ctrl-y>")).len(), 1);
}

#[test]
fn marks_span_namespaces_and_each_is_acted_on_in_its_own() {
    let mut model = with_all("Ms");
    let question = asked(&model);
    // Two releases run in demo and two in shop.
    assert!(question.facts.iter().any(|f| f.1.contains("demo")));
    let effects = press(&mut model, "<ctrl-y>");
    let mut places: Vec<&str> = sent(&effects).iter().map(|(ns, _)| *ns).collect();
    places.sort_unstable();
    assert_eq!(places, ["demo", "demo", "shop", "shop"]);
    // What failed is marked again where it is.
    for effect in &effects {
        let Effect::Perform(ticket, namespace, _) = effect else {
            continue;
        };
        let outcome = match namespace.as_str() {
            "shop" => Err(graylane::ui::Fault::new("the server said no")),
            _ => Ok(IntentOutcome::default()),
        };
        update(&mut model, Msg::Settled(*ticket, outcome));
    }
    let marked: Vec<&ObjectKey> = model.marked.iter().collect();
    assert_eq!(marked.len(), 2);
    assert!(marked.iter().all(|key| key.namespace == "shop".into()));
}

#[test]
fn a_window_is_of_one_namespace() {
    let mut model = with_all("");
    for namespace in ["demo", "shop"] {
        select(&mut model, namespace, "spring-cloud-b");
        model
            .marked
            .insert(ObjectKey::at_home(namespace, "spring-cloud-b"));
    }
    press(&mut model, "n");
    assert!(model.overlays.is_empty());
    let why = &model.notices[0].text;
    assert!(why.contains("a window is of one namespace"), "{why}");
}

#[test]
fn lanes_of_all_are_listed_and_lead_to_their_namespace() {
    let mut model = with_all("");
    select(&mut model, "demo", A);
    press(&mut model, "4");
    let row = model
        .visible_lanes()
        .iter()
        .position(|row| row.scope.name() == "shop");
    model.select_row(row.expect("shop has lanes"));
    assert_eq!(model.world.namespace, "shop");
    assert!(model.app.is_some() && model.selected_lane().is_some());
}

/// Only what has changed is looked at.
#[test]
fn a_change_of_one_namespace_leaves_the_others_as_they_are() {
    let mut model = with_all("");
    let current = model.world.namespace.clone();
    let before = model.others.clone();
    let mut worlds = all_namespaces();
    // The same worlds again, but for one.
    for (name, view) in &before {
        worlds.by_namespace.insert(name.clone(), view.world.clone());
    }
    worlds
        .by_namespace
        .insert(current.clone(), model.world.clone());
    let (changed, _) = before.iter().next().expect("others");
    change(&mut worlds, changed, |world| world.revision += 1);
    tell(&mut model, &worlds);
    for (name, view) in &model.others {
        let same = Arc::ptr_eq(view, &before[name]);
        assert_eq!(same, name != changed, "{name}");
    }
}

#[test]
fn all_is_chosen_from_the_list_or_typed_and_is_the_first_of_it() {
    let all = |effects: &[Effect]| {
        effects
            .iter()
            .any(|e| matches!(e, Effect::SwitchNamespace(ShownNamespace::All)))
    };
    let mut model = namespaces();
    let screen = shown(&mut model, 120, 36);
    let row = |name: &str| screen.lines().position(|line| line.contains(name));
    assert!(row("all namespaces") < row("kube-system"), "{screen}");
    assert!(all(&press(&mut model, "all names<enter>")));
    assert!(model.options.place.ends_with(", all namespaces"));
    let mut model = fixture::model();
    assert!(all(&press(&mut model, ":ns all<enter>")));
    tell(&mut model, &all_namespaces());
    assert!(model.shows_all);
    // Once more leads nowhere; one of them leads there.
    assert!(!all(&press(&mut model, ":ns all<enter>")));
    let effects = press(&mut model, ":ns shop<enter>");
    let one = ShownNamespace::One("shop".into());
    assert!(effects.contains(&Effect::SwitchNamespace(one)));
    assert!(!model.shows_all && model.others.is_empty());
}

#[test]
fn the_palette_tells_equal_names_apart_and_goes_to_the_right_one() {
    for namespace in ["demo", "shop"] {
        let mut model = with_all(&format!(":app {A} in {namespace}"));
        press(&mut model, "<enter>");
        assert_eq!(model.world.namespace, namespace);
        assert_eq!(model.app.as_deref(), Some(A));
    }
}

/// Where a list has no room for the column, names that two namespaces share are qualified.
#[test]
fn equal_names_never_look_alike() {
    for (width, height) in [(60, 20), (80, 24), (120, 36), (200, 60)] {
        let mut model = with_all("");
        let screen = shown(&mut model, width, height);
        let pane: Vec<String> = screen
            .lines()
            .map(|line| line.chars().take(40).collect::<String>())
            .collect();
        let of = |namespace: &str| pane.iter().any(|line| line.contains(namespace));
        assert!(of("demo") && of("shop"), "{width}x{height}:\n{screen}");
    }
}
