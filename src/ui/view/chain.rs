//! Renders a chain of requests in one format for all panes: `A● → B○ → C●`.

use super::labels;
use crate::{
    api::Served,
    domain::{chain::ChainStep, versions::VersionAge},
    ui::{facts::Facts, glyph::Glyphs, model::Model, theme::Role, widget::RichText},
};

/// One hop: the App, and the side that served it.
pub(in crate::ui) fn hop_label(
    glyphs: &Glyphs,
    facts: &Facts,
    app: &str,
    served: Option<Served>,
) -> (Role, String) {
    let (role, sign) = labels::served_sign(glyphs, served);
    let name = if app.is_empty() {
        "?"
    } else {
        facts.short_name(app)
    };
    (role, format!("{name}{sign}"))
}

/// The side that answered; during a rollout also which version of the baseline.
pub(in crate::ui) fn side_sign(model: &Model, step: &ChainStep) -> (Role, &'static str) {
    let glyphs = &model.options.glyphs;
    match (
        step.served,
        model.facts.version_age(&step.app, &step.version),
    ) {
        (Some(Served::Base), VersionAge::New) => (Role::Lane, glyphs.new),
        (Some(Served::Base), VersionAge::Old) => (Role::Text, glyphs.old),
        (served, _) => labels::served_sign(glyphs, served),
    }
}

/// One recorded hop; failed or leaking hops are red.
fn step_label(model: &Model, step: &ChainStep) -> (Role, String) {
    let (role, sign) = side_sign(model, step);
    let name = if step.app.is_empty() {
        "?"
    } else {
        labels::short_app_name(model, &step.app)
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
pub(in crate::ui) fn chain_line<'a>(
    model: &Model,
    steps: impl IntoIterator<Item = &'a ChainStep>,
) -> RichText {
    join_hops(
        &model.options.glyphs,
        steps.into_iter().map(|s| step_label(model, s)),
    )
}

/// Joins hops with arrows.
pub(in crate::ui) fn join_hops(
    glyphs: &Glyphs,
    hops: impl Iterator<Item = (Role, String)>,
) -> RichText {
    let mut line = RichText::new();
    for (role, text) in hops {
        if !line.is_empty() {
            line.push(Role::Muted, format!(" {} ", glyphs.arrow));
        }
        line.push(role, text);
    }
    line
}
