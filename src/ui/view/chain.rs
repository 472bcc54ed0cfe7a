//! Renders a chain of requests in one format for all panes: `A● → B○ → C●`.

use super::words;
use crate::{
    api::Served,
    domain::{chain::Step, versions::Age},
    ui::{glyph::Glyphs, model::Model, theme::Role, widget::Rich},
};

/// One hop: the App, and the side that served it.
pub(super) fn hop(model: &Model, app: &str, served: Option<Served>) -> (Role, String) {
    let (role, sign) = words::served(&model.options.glyphs, served);
    let name = if app.is_empty() {
        "?"
    } else {
        words::short(model, app)
    };
    (role, format!("{name}{sign}"))
}

/// The side that answered; during a rollout also which version of the baseline.
pub(super) fn sign(model: &Model, step: &Step) -> (Role, &'static str) {
    let glyphs = &model.options.glyphs;
    match (step.served, model.facts.age(&step.app, &step.version)) {
        (Some(Served::Base), Age::New) => (Role::Lane, glyphs.new),
        (Some(Served::Base), Age::Old) => (Role::Text, glyphs.old),
        (served, _) => words::served(glyphs, served),
    }
}

/// One recorded hop; failed or leaking hops are red.
fn step(model: &Model, step: &Step) -> (Role, String) {
    let (role, sign) = sign(model, step);
    let name = if step.app.is_empty() {
        "?"
    } else {
        words::short(model, &step.app)
    };
    (
        if step.verdict.is_bad() || step.has_failed() {
            Role::Bad
        } else {
            role
        },
        format!("{name}{sign}"),
    )
}

/// All hops of a request.
pub(super) fn chain<'a>(model: &Model, steps: impl IntoIterator<Item = &'a Step>) -> Rich {
    joined(
        &model.options.glyphs,
        steps.into_iter().map(|s| step(model, s)),
    )
}

/// Joins hops with arrows.
pub(super) fn joined(glyphs: &Glyphs, hops: impl Iterator<Item = (Role, String)>) -> Rich {
    let mut line = Rich::new();
    for (role, text) in hops {
        if !line.is_empty() {
            line.push(Role::Muted, format!(" {} ", glyphs.arrow));
        }
        line.push(role, text);
    }
    line
}
