//! Logs of several containers, and of the run before the last restart.

use graylane::{
    domain::log::ContainerChoice,
    ui::{Effect, Model, Query, Ticket, model::Overlay},
};

use crate::{scenes::after, screen::press};

/// The log that is asked for, after the one before has been given up.
fn asked(effects: &[Effect], before: Option<Ticket>) -> (Ticket, String, bool) {
    let (dropped, asked) = effects.split_at(usize::from(before.is_some()));
    assert_eq!(dropped, before.map(Effect::CancelQuery).as_slice());
    match asked {
        [Effect::Query(ticket, Query::Logs { request, .. })] => {
            let container = match &request.containers {
                ContainerChoice::Named(names) => names.join(" "),
                other => format!("{other:?}"),
            };
            (*ticket, container, request.previous)
        }
        other => panic!("{other:?}"),
    }
}

fn title(model: &Model) -> &str {
    match model.overlays.as_slice() {
        [Overlay::Text(text)] => &text.title,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_container_and_the_run_before_can_be_read() {
    let mut model = after("2jjj<enter>");
    let (first, container, previous) = asked(&press(&mut model, "L"), None);
    assert_eq!((container.as_str(), previous), ("app", false));
    assert!(
        title(&model).ends_with(", app (1 of 2)"),
        "{}",
        title(&model)
    );
    let (second, container, _) = asked(&press(&mut model, "c"), Some(first));
    assert_eq!(container, "proxy");
    let (third, container, previous) = asked(&press(&mut model, "p"), Some(second));
    assert_eq!((container.as_str(), previous), ("proxy", true));
    assert!(
        title(&model).ends_with(", proxy (2 of 2), the run before"),
        "{}",
        title(&model)
    );
    let (_, container, previous) = asked(&press(&mut model, "c"), Some(third));
    assert_eq!((container.as_str(), previous), ("app", true));
    press(&mut model, "<esc>");
    assert!(model.overlays.is_empty());
}

/// Of many pods, too: which of them were restarted is not known beforehand.
#[test]
fn the_runs_before_of_all_pods_can_be_read() {
    let mut model = after("");
    let (first, containers, previous) = asked(&press(&mut model, "L"), None);
    assert_eq!((containers.as_str(), previous), ("First", false));
    let (_, containers, previous) = asked(&press(&mut model, "p"), Some(first));
    assert_eq!((containers.as_str(), previous), ("First", true));
    assert!(
        title(&model).ends_with(", the run before"),
        "{}",
        title(&model)
    );
}
