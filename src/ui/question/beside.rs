//! How the old and the new version respond now; shown before a batch goes on or a release is rolled
//! back.

use super::Question;
use crate::{
    api::Release,
    domain::text::{duration, rate},
    ui::{
        facts::Side,
        glyph::Glyphs,
        keymap::{Action, Context},
        model::Model,
    },
};

/// Sparkline columns in a question: three minutes.
const COLUMNS: usize = 18;

/// Adds the figures of both versions, and an alarm when the new version is worse.
pub(super) fn add_versions(model: &Model, question: &mut Question, release: &Release) {
    let Some(pair) = model.facts.shown.pairs.get(&release.spec.app) else {
        return;
    };
    if release.metadata.name.as_ref() != Some(&pair.release) {
        return;
    }
    question.alarms.extend(pair.words(&model.facts));
    if pair.is_silent() {
        let key = model.key(Context::Global, Action::Probe);
        let app = model.facts.short(&pair.app);
        question.fact(
            "versions",
            format!("no request of {app}, old or new, seen in 5 min; {key} probes"),
        );
        return;
    }
    let most = pair
        .old
        .columns
        .iter()
        .chain(&pair.new.columns)
        .map(|c| c.requests)
        .max()
        .unwrap_or(0);
    for side in [&pair.old, &pair.new] {
        let sampled = if pair.is_sampled() { " (sampled)" } else { "" };
        question.fact(
            &side.name,
            format!("{}{sampled}", words(&model.options.glyphs, side, most)),
        );
    }
}

fn words(glyphs: &Glyphs, side: &Side, most: u64) -> String {
    let five = &side.five;
    let latency = five
        .p95()
        .map_or_else(|| "no p95".into(), |p95| format!("p95 {}", duration(p95)));
    let first = side.columns.len().saturating_sub(COLUMNS);
    let drawn: String = side
        .columns
        .iter()
        .skip(first)
        .map(|c| glyphs.column(c.requests, most))
        .collect();
    let rate = rate(side.minute.rate());
    format!(
        "{rate}, {} of {} failed, {latency}  {drawn}",
        five.failed, five.requests
    )
}
