//! How the old and the new version respond now; shown before a batch goes on or a release is rolled
//! back.

use super::Question;
use crate::{
    api::Release,
    domain::text::{format_duration, format_rate},
    ui::{
        facts::VersionFigures,
        glyph::Glyphs,
        keymap::{Action, KeyContext},
        model::Model,
    },
};

/// Sparkline columns in a question: three minutes.
const QUESTION_COLUMNS: usize = 18;

/// Adds the figures of both versions, and an alarm when the new version is worse.
pub(super) fn add_versions(model: &Model, question: &mut Question, release: &Release) {
    let Some(pair) = model.facts.figures.pairs.get(&release.spec.app) else {
        return;
    };
    if release.metadata.name.as_ref() != Some(&pair.release) {
        return;
    }
    question
        .alarms
        .extend(pair.describe_regression(&model.facts));
    if pair.is_silent() {
        let key = model.key_for(KeyContext::Global, Action::Probe);
        let app = model.facts.short_name(&pair.app);
        question.add_fact(
            "versions",
            format!("no request of {app}, old or new, seen in 5 min; {key} probes"),
        );
        return;
    }
    let most = pair.most_requests();
    for side in [&pair.old, &pair.new] {
        let sampled = if pair.is_sampled() { " (sampled)" } else { "" };
        question.add_fact(
            &side.name,
            format!(
                "{}{sampled}",
                describe_version(&model.options.glyphs, side, most)
            ),
        );
    }
}

fn describe_version(glyphs: &Glyphs, side: &VersionFigures, most: u64) -> String {
    let five = &side.five;
    let latency = five.p95().map_or_else(
        || "no p95".into(),
        |p95| format!("p95 {}", format_duration(p95)),
    );
    let first = side.columns.len().saturating_sub(QUESTION_COLUMNS);
    let drawn: String = side
        .columns
        .iter()
        .skip(first)
        .map(|c| glyphs.spark_column(c.requests, most))
        .collect();
    let rate = format_rate(side.minute.rate());
    format!(
        "{rate}, {} of {} failed, {latency}  {drawn}",
        five.failed, five.requests
    )
}
