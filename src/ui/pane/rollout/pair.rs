//! The old and the new version of an App in release, one line each: how both respond, and whether
//! the new one is worse.

use crate::{
    api::Release,
    domain::text::{self, format_duration, format_rate},
    ui::{
        facts::{ReleaseState, VersionFigures, VersionPair, release_state},
        keymap::{Action, KeyContext},
        model::Model,
        rights::missing_right,
        theme::Role,
        view::labels,
        widget::{RichText, join_by_rank, longest_fitting},
    },
};

/// The version pair to show for a release; `None` unless both versions exist.
pub(super) fn shown_pair<'a>(model: &'a Model, release: &Release) -> Option<&'a VersionPair> {
    let pair = model.facts.figures.pairs.get(&release.spec.app)?;
    (release.metadata.name.as_ref() == Some(&pair.release) && !release_state(release).is_over())
        .then_some(pair)
}

/// Two lines of figures, or one that says why there are none; then whether the new version is
/// worse.
pub(super) fn pair_lines(model: &Model, release: &Release, width: usize) -> Vec<RichText> {
    let Some(pair) = shown_pair(model, release) else {
        return vec![];
    };
    let mut lines = if pair.is_silent() {
        vec![no_requests_line(model, pair)]
    } else {
        figure_lines(model, pair, width)
    };
    lines.extend(worse_lines(model, release, pair, width));
    lines
}

/// Cells of one version; both lines use the same columns.
struct FigureCells {
    name: String,
    image: String,
    rate: String,
    failed: String,
    latency: String,
}

fn figure_cells(side: &VersionFigures) -> FigureCells {
    let five = &side.five;
    FigureCells {
        name: side.name.clone(),
        image: side
            .image
            .as_deref()
            .map(|image| format!(" {}", labels::image_tag(image)))
            .unwrap_or_default(),
        rate: format_rate(side.minute.rate()),
        failed: format!("{} of {} failed", five.failed, five.requests),
        latency: five.p95().map_or_else(
            || "no p95".into(),
            |p95| format!("p95 {}", format_duration(p95)),
        ),
    }
}

fn figure_lines(model: &Model, pair: &VersionPair, width: usize) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let (old, new) = (figure_cells(&pair.old), figure_cells(&pair.new));
    let widest = |of: fn(&FigureCells) -> &String| {
        text::display_width(of(&old)).max(text::display_width(of(&new)))
    };
    let (name, image, rate) = (
        widest(|c| &c.name),
        widest(|c| &c.image),
        widest(|c| &c.rate),
    );
    let (failed, latency) = (widest(|c| &c.failed), widest(|c| &c.latency));
    let most = pair.most_requests();
    let worse = pair.comparison.is_worse();
    let line = |side: &VersionFigures, cells: &FigureCells, is_new: bool| {
        let (role, sign) = if is_new {
            (Role::Lane, glyphs.new)
        } else {
            (Role::Text, glyphs.old)
        };
        let bad = if is_new && worse {
            Role::Bad
        } else {
            Role::Text
        };
        let failures = if side.five.failed == 0 {
            Role::Muted
        } else {
            bad
        };
        let mut parts = vec![
            (
                0,
                RichText::styled(role, format!("{sign} ")).add_column(role, &cells.name, name),
            ),
            (
                4,
                RichText::new().add_column(Role::Muted, &cells.image, image),
            ),
            (
                3,
                RichText::new().add_right_column(Role::Text, &cells.rate, rate + 2),
            ),
            (
                0,
                RichText::new().add_right_column(failures, &cells.failed, failed + 2),
            ),
            (
                2,
                RichText::new().add_right_column(Role::Text, &cells.latency, latency + 2),
            ),
        ];
        let sampled = if pair.is_sampled() { "  sampled" } else { "" };
        parts.push((1, RichText::styled(Role::Warn, sampled)));
        let fixed: usize = parts.iter().map(|(_, part)| part.width()).sum();
        // The newest columns matter most, so a sparkline is cut at its start.
        let room = width.saturating_sub(fixed + 2).min(side.columns.len());
        let drawn =
            labels::format_sparkline(glyphs, &side.columns[side.columns.len() - room..], most);
        if room >= 6 {
            parts.insert(5, (5, RichText::styled(Role::Text, "  ").join(drawn)));
        }
        join_by_rank(parts, width)
    };
    vec![line(&pair.old, &old, false), line(&pair.new, &new, true)]
}

/// Says that no requests came, and what to do about it.
fn no_requests_line(model: &Model, pair: &VersionPair) -> RichText {
    let app = model.facts.short_name(&pair.app);
    let key = model.key_for(KeyContext::Global, Action::Probe);
    let grouped = model
        .world
        .groups
        .iter()
        .find(|(_, g)| g.spec.apps.iter().any(|a| a.app == pair.app));
    let line = RichText::styled(
        Role::Warn,
        format!("no request of {app}, old or new, seen in 5 min"),
    );
    match grouped {
        Some(_) => line
            .add(Role::Key, format!("  {key}"))
            .add(Role::Text, " probes"),
        None => line.add(Role::Muted, ": it is in no lane group"),
    }
}

/// Says that the new version is worse, with the two keys that matter.
fn worse_lines(
    model: &Model,
    release: &Release,
    pair: &VersionPair,
    width: usize,
) -> Vec<RichText> {
    let Some(words) = pair.describe_regression(&model.facts) else {
        return vec![];
    };
    // The lines above name the new version, so a narrow screen shows only how it is worse.
    let brief = words.strip_prefix("new is ").unwrap_or(&words);
    let forms = [&*words, brief];
    let words = longest_fitting(&forms, width.saturating_sub(2));
    let mut line = RichText::styled(Role::Bad, format!("{} {words}", model.options.glyphs.bad));
    let keys = decision_keys(model, release);
    if line.width() + keys.width() <= width {
        line = line.join(keys);
        return vec![line];
    }
    if keys.is_empty() {
        vec![line]
    } else {
        vec![line, keys]
    }
}

/// Keys to roll back, and to go on when the release waits for that.
fn decision_keys(model: &Model, release: &Release) -> RichText {
    let mut line = RichText::new();
    let on = matches!(
        release_state(release),
        ReleaseState::Batch(..) | ReleaseState::Proceed(_)
    );
    for (action, word) in [(Action::Abort, "roll back"), (Action::Continue, "proceed")] {
        let may = !model.read_only && missing_right(model, action).is_none();
        if may
            && (action == Action::Abort || on)
            && release_state(release) != ReleaseState::Aborting
        {
            let key = model.key_for(KeyContext::Release, action);
            line = line
                .add(Role::Key, format!("  {key}"))
                .add(Role::Text, format!(" {word}"));
        }
    }
    line
}

/// Whether the keys are already shown beside the verdict.
pub(super) fn has_keys(model: &Model, release: &Release) -> bool {
    let told = shown_pair(model, release).is_some_and(|pair| pair.comparison.is_worse());
    told && matches!(
        release_state(release),
        ReleaseState::Batch(..) | ReleaseState::Proceed(_)
    ) && !decision_keys(model, release).is_empty()
}
