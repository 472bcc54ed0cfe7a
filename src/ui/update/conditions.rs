//! When actions are possible, by what is selected and open.

use super::logs;
use crate::{
    domain::{
        apps,
        facts::{ReleaseState, release_state},
    },
    ui::{
        keymap::Action,
        model::{Model, Overlay, Source},
        question,
    },
};

pub(in crate::ui) const fn always(_: &Model, _: Action) -> bool {
    true
}

/// Whether the release that the action is about, or one of the marked ones, is in such a state.
fn release_is(model: &Model, action: Action, test: fn(ReleaseState<'_>) -> bool) -> bool {
    if question::is_about_marked(model, action) {
        let marked = model.marked.iter();
        let mut releases = marked.filter_map(|key| {
            let scope = model.scope_of(&key.namespace.name)?;
            scope.world.releases.get(scope.facts.release_of(&key.name)?)
        });
        releases.any(|r| test(release_state(r)))
    } else {
        let selected = model.selected_release();
        selected.is_some_and(|(_, r)| test(release_state(r)))
    }
}

pub(in crate::ui) fn release_awaits_approval(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| matches!(t, ReleaseState::Approve(_)))
}

pub(in crate::ui) fn release_awaits_go_ahead(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| {
        matches!(t, ReleaseState::Batch(..) | ReleaseState::Proceed(_))
    })
}

pub(in crate::ui) fn release_can_pause(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| {
        !t.is_over() && !matches!(t, ReleaseState::Held | ReleaseState::Aborting)
    })
}

pub(in crate::ui) fn release_is_held(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| matches!(t, ReleaseState::Held))
}

pub(in crate::ui) fn release_has_failed(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| matches!(t, ReleaseState::Failed(_)))
}

pub(in crate::ui) fn release_can_skip(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| {
        t.waits_for_person() && !matches!(t, ReleaseState::Held)
    })
}

pub(in crate::ui) fn release_can_abort(model: &Model, action: Action) -> bool {
    release_is(model, action, |t| {
        !t.is_over() && !matches!(t, ReleaseState::Aborting)
    })
}

pub(in crate::ui) fn has_app(model: &Model, _: Action) -> bool {
    model.app.is_some()
}

pub(in crate::ui) fn has_environment(model: &Model, _: Action) -> bool {
    model.selected_environment().is_some()
}

pub(in crate::ui) fn has_lane(model: &Model, _: Action) -> bool {
    model.selected_lane().is_some()
}

pub(in crate::ui) fn has_lane_group(model: &Model, _: Action) -> bool {
    !model.world.groups.is_empty()
}

pub(in crate::ui) fn has_release_diff(model: &Model, _: Action) -> bool {
    let selected = model.selected_release();
    selected.is_some_and(|(_, r)| r.status.as_ref().is_some_and(|s| s.revision.is_some()))
}

pub(in crate::ui) fn has_template(model: &Model, _: Action) -> bool {
    let app = model.selected_app();
    app.is_some_and(|app| apps::template_name(app).is_some())
}

pub(in crate::ui) fn can_tear_down(model: &Model, action: Action) -> bool {
    !model.drilled && question::build_question(model, action).is_ok()
}

pub(in crate::ui) fn in_pods(model: &Model, _: Action) -> bool {
    model.drilled && model.selected_pod().is_some()
}

pub(in crate::ui) fn in_log(model: &Model, _: Action) -> bool {
    logs::top_log(model).is_some()
}

pub(in crate::ui) fn log_has_containers(model: &Model, _: Action) -> bool {
    logs::top_log(model).is_some_and(|log| log.containers.len() > 1)
}

pub(in crate::ui) fn log_has_scopes(model: &Model, _: Action) -> bool {
    logs::top_log(model).is_some_and(|log| log.scopes.len() > 1)
}

pub(in crate::ui) fn in_text(model: &Model, _: Action) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Text(_)))
}

pub(in crate::ui) fn in_search(model: &Model, _: Action) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Text(t)) if !t.search.is_empty())
}

pub(in crate::ui) fn in_overlay(model: &Model, _: Action) -> bool {
    !model.overlays.is_empty()
}

pub(in crate::ui) fn can_describe(model: &Model, _: Action) -> bool {
    match model.overlays.last() {
        Some(Overlay::Text(text)) => matches!(text.source, Source::Yaml(_)),
        _ => true,
    }
}

pub(in crate::ui) fn can_scroll(model: &Model, _: Action) -> bool {
    match model.overlays.last() {
        Some(overlay) => matches!(overlay, Overlay::Text(text) if !text.wrap),
        None => true,
    }
}

pub(in crate::ui) fn can_sort(model: &Model, _: Action) -> bool {
    model.sortable_list(model.pane).is_some()
}

pub(in crate::ui) fn can_confirm(model: &Model, _: Action) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.can_confirm())
}

pub(in crate::ui) fn is_stale(model: &Model, _: Action) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.stale.is_some())
}
