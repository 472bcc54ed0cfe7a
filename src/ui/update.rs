//! How each message changes the model. Pure: no I/O, no clock, no randomness; work outside is
//! returned as effects.

use crossterm::event::Event;

use super::{
    effect::Effect,
    form,
    model::{Level, Model, Msg, Overlay},
    question,
};
use crate::domain::{
    text::format_age,
    world::{Link, LinkTrouble, World},
};

pub(super) mod act;
mod answer;
pub(super) mod conditions;
pub(super) mod diff;
pub(super) mod edit;
pub(super) mod forward;
mod input;
pub(super) mod list;
pub(super) mod logs;
mod mouse;
pub(super) mod open;
mod own_command;
pub(super) mod probe;
pub(super) mod reading;
pub(super) mod release_diff;
pub(super) mod traces;

pub use act::is_available;
pub use diff::count_differences;
pub(super) use edit::editable_object;
pub(super) use logs::selected_pods;
pub(super) use own_command::explain_unavailable;
pub use probe::suggest_probes;

/// Applies a message and returns the effects.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Input(event) => {
            let typed = matches!(event, Event::Key(_) | Event::Paste(_) | Event::Mouse(_));
            let effects = input::handle_event(model, event);
            if typed {
                preview_theme(model);
            }
            effects
        }
        // A late world of a cluster that is no longer shown.
        Msg::World(world) if !is_shown(model, &world) => vec![],
        Msg::World(world) => {
            let gone = |app: &String| !world.apps.contains_key(app);
            let row = model
                .app
                .as_ref()
                .filter(|app| gone(app))
                .and_then(|_| model.selected_app_row());
            let link = world.link.clone();
            model.take_world(world);
            report_link(model, link);
            model.repair_selection(row);
            recheck_overlays(model);
            vec![]
        }
        Msg::Worlds(worlds) if !is_shown(model, &worlds.cluster) => vec![],
        Msg::Worlds(worlds) => {
            model.take_worlds(&worlds);
            report_link(model, worlds.cluster.link.clone());
            recheck_overlays(model);
            vec![]
        }
        Msg::Settled(ticket, outcome) => answer::handle_settled(model, ticket, outcome),
        Msg::Answer(ticket, answer) => answer::handle_answer(model, ticket, answer),
        Msg::Returned(ticket, returned) => answer::handle_returned(model, ticket, returned),
        Msg::Tick(now) => {
            model.now = now;
            model.advance_clock(now);
            if model.is_busy() {
                model.beat = model.beat.wrapping_add(1);
            }
            vec![]
        }
        Msg::Resumed => vec![Effect::Repaint],
    }
}

/// Draws with the theme that is selected in the palette of themes.
fn preview_theme(model: &mut Model) {
    if let Some(Overlay::Palette(palette)) = model.overlays.last()
        && let Some(theme) = palette.previewed_theme()
    {
        model.options.theme = theme;
    }
}

/// Whether a world is of what the header names.
fn is_shown(model: &Model, world: &World) -> bool {
    world.cluster_name.is_empty() || *world.cluster_name == *model.options.place
}

/// Reports a new connection problem once, in full: the header has no room for it.
fn report_link(model: &mut Model, link: Link) {
    let before = std::mem::replace(&mut model.link, link.clone());
    match (before.stale_since(), link.stale_since()) {
        // The text of an authorization error says what to do, so a new text counts as news; other
        // texts vary.
        (was, Some((_, trouble, why)))
            if was.is_none_or(|(_, before, words)| {
                before != trouble || (trouble == LinkTrouble::Unauthorized && words != why)
            }) =>
        {
            let detail = vec![
                why.to_string(),
                trouble
                    .advice()
                    .unwrap_or("it is retried all the time")
                    .into(),
            ];
            model.add_notice(Level::Bad, trouble.as_sentence(), detail);
        }
        (Some((since, ..)), None) => {
            let words = format!("connected again after {}", format_age(model.now, since));
            model.add_notice(Level::Good, words, vec![]);
        }
        _ => {}
    }
}

/// Compares open questions and forms with the current world.
fn recheck_overlays(model: &mut Model) {
    let mut overlays = std::mem::take(&mut model.overlays);
    for overlay in &mut overlays {
        match overlay {
            Overlay::Confirm(asked) => {
                asked.check_stale(model);
                let fresh = asked
                    .again
                    .and_then(|action| question::build_question(model, action).ok());
                fresh
                    .into_iter()
                    .for_each(|fresh| asked.refresh_from(fresh));
            }
            Overlay::Form(open) => form::check_form(model, open),
            Overlay::Text(_) | Overlay::Palette(_) | Overlay::Filter(..) | Overlay::Prompt(_) => {}
        }
    }
    model.overlays = overlays;
}
