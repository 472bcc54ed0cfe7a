//! Whole traces, asked of a trace store by a key.

use std::sync::Arc;

use graylane::{
    api::{HopSource, LaneGroup, TraceStore},
    ui::{Effect, Model, fixture, keymap::Action, update::is_available},
};

use crate::{
    scenes::{after, probed},
    screen::{self, press, see},
};

/// The lane group names a trace store.
fn with_store(model: &mut Model) {
    let mut world = (*model.world).clone();
    let groups = Arc::make_mut(&mut world.groups);
    let group: &mut LaneGroup = Arc::make_mut(groups.get_mut("mse-demo").expect("it is there"));
    group.spec.hops = vec![HopSource {
        jaeger: Some(TraceStore::default()),
        ..HopSource::default()
    }];
    world.revision += 1;
    see(model, world);
}

fn fetched(effects: &[Effect]) -> Vec<String> {
    let trace = |effect: &Effect| match effect {
        Effect::FetchTrace { group, trace, .. } if group == "mse-demo" => trace.clone(),
        other => panic!("{other:?}"),
    };
    effects.iter().map(trace).collect()
}

/// What is drawn at 120 columns.
fn shown(model: &mut Model) -> String {
    screen::shown(model, 120, 60)
}

#[test]
fn enter_on_a_probe_shows_both_traces_and_asks_the_store_for_the_rest() {
    let mut model = probed();
    with_store(&mut model);
    let effects = press(&mut model, "<enter>");
    let traces = fetched(&effects);
    assert_eq!(traces.len(), 2, "{effects:?}");
    assert_ne!(traces[0], traces[1]);
    let screen = shown(&mut model);
    for trace in &traces {
        assert!(screen.contains(&format!("trace {trace}")), "{screen}");
    }
    // The tagged one has two apps in gray and leaks at the third.
    assert!(screen.contains("leak down"), "{screen}");

    // What the store tells later is shown in the same place.
    let mut world = (*model.world).clone();
    let mut hops = (*world.hops).clone();
    let late = hops
        .iter()
        .find(|h| h.trace == traces[1] && h.app == "spring-cloud-c")
        .expect("a last hop")
        .clone();
    hops.push(Arc::new(graylane::domain::hop::Hop {
        span: "feedfeedfeedfeed".into(),
        parent: Some(late.span.clone()),
        app: "warehouse".into(),
        amends: false,
        ..(*late).clone()
    }));
    world.hops = Arc::new(hops);
    world.hops_seen += 1;
    world.revision += 1;
    see(&mut model, world);
    assert!(
        shown(&mut model).contains("warehouse"),
        "{}",
        shown(&mut model)
    );
    // Back to the probe.
    press(&mut model, "<esc>");
    assert!(shown(&mut model).contains("Probe of mse-demo"));
}

#[test]
fn without_a_store_traces_are_shown_as_far_as_they_are_known() {
    let mut model = probed();
    assert!(is_available(&model, Action::WholeTrace));
    assert_eq!(press(&mut model, "<enter>"), []);
    assert!(shown(&mut model).contains("Traces of the probe of mse-demo"));
}

#[test]
fn an_opened_request_is_asked_for_again_where_there_is_a_store() {
    let mut model = after("5v<enter>");
    assert!(!is_available(&model, Action::WholeTrace), "no store");
    press(&mut model, "<enter>");
    assert!(shown(&mut model).contains("names no trace store"));
    with_store(&mut model);
    assert!(is_available(&model, Action::WholeTrace));
    assert_eq!(fetched(&press(&mut model, "<enter>")).len(), 1);
}

#[test]
fn a_probe_that_is_on_its_way_has_no_trace() {
    let mut model = after("p");
    assert!(!is_available(&model, Action::WholeTrace));
    assert_eq!(press(&mut model, "<enter>"), []);
    // In other overlays the key does nothing.
    let mut model = fixture::model();
    press(&mut model, "?");
    let depth = model.overlays.len();
    assert_eq!(press(&mut model, "<enter>"), []);
    assert_eq!(model.overlays.len(), depth);
}
