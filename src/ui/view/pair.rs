//! The old and the new version of an App in release, one line each: how both respond, and whether
//! the new one is worse.

use super::words;
use crate::{
    api::Release,
    domain::text::{self, duration, rate},
    ui::{
        facts::{Pair, Side, Turn, turn},
        keymap::{Action, Context},
        model::Model,
        rights::forbidden,
        theme::Role,
        widget::{Rich, fitting, ranked},
    },
};

/// The version pair to show for a release; `None` unless both versions exist.
pub(super) fn of<'a>(model: &'a Model, release: &Release) -> Option<&'a Pair> {
    let pair = model.facts.shown.pairs.get(&release.spec.app)?;
    (release.metadata.name.as_ref() == Some(&pair.release) && !turn(release).is_over())
        .then_some(pair)
}

/// Two lines of figures, or one that says why there are none; then whether the new version is
/// worse.
pub(super) fn lines(model: &Model, release: &Release, width: usize) -> Vec<Rich> {
    let Some(pair) = of(model, release) else {
        return vec![];
    };
    let mut lines = if pair.is_silent() {
        vec![silence(model, pair)]
    } else {
        figures(model, pair, width)
    };
    lines.extend(worse(model, release, pair, width));
    lines
}

/// Cells of one version; both lines use the same columns.
struct Cells {
    name: String,
    image: String,
    rate: String,
    failed: String,
    latency: String,
}

fn cells(side: &Side) -> Cells {
    let five = &side.five;
    Cells {
        name: side.name.clone(),
        image: side
            .image
            .as_deref()
            .map(|image| format!(" {}", words::tag(image)))
            .unwrap_or_default(),
        rate: rate(side.minute.rate()),
        failed: format!("{} of {} failed", five.failed, five.requests),
        latency: five
            .p95()
            .map_or_else(|| "no p95".into(), |p95| format!("p95 {}", duration(p95))),
    }
}

fn figures(model: &Model, pair: &Pair, width: usize) -> Vec<Rich> {
    let glyphs = &model.options.glyphs;
    let (old, new) = (cells(&pair.old), cells(&pair.new));
    let widest = |of: fn(&Cells) -> &String| text::width(of(&old)).max(text::width(of(&new)));
    let (name, image, rate) = (
        widest(|c| &c.name),
        widest(|c| &c.image),
        widest(|c| &c.rate),
    );
    let (failed, latency) = (widest(|c| &c.failed), widest(|c| &c.latency));
    let most = pair
        .old
        .columns
        .iter()
        .chain(&pair.new.columns)
        .map(|c| c.requests)
        .max()
        .unwrap_or(0);
    let worse = pair.comparison.is_worse();
    let line = |side: &Side, cells: &Cells, is_new: bool| {
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
                Rich::of(role, format!("{sign} ")).col(role, &cells.name, name),
            ),
            (4, Rich::new().col(Role::Muted, &cells.image, image)),
            (3, Rich::new().right(Role::Text, &cells.rate, rate + 2)),
            (0, Rich::new().right(failures, &cells.failed, failed + 2)),
            (
                2,
                Rich::new().right(Role::Text, &cells.latency, latency + 2),
            ),
        ];
        let sampled = if pair.is_sampled() { "  sampled" } else { "" };
        parts.push((1, Rich::of(Role::Warn, sampled)));
        let fixed: usize = parts.iter().map(|(_, part)| part.width()).sum();
        // The newest columns matter most, so a sparkline is cut at its start.
        let room = width.saturating_sub(fixed + 2).min(side.columns.len());
        let drawn = words::spark(glyphs, &side.columns[side.columns.len() - room..], most);
        if room >= 6 {
            parts.insert(5, (5, Rich::of(Role::Text, "  ").join(drawn)));
        }
        ranked(parts, width)
    };
    vec![line(&pair.old, &old, false), line(&pair.new, &new, true)]
}

/// Says that no requests came, and what to do about it.
fn silence(model: &Model, pair: &Pair) -> Rich {
    let app = model.facts.short(&pair.app);
    let key = model.key(Context::Global, Action::Probe);
    let grouped = model
        .world
        .groups
        .iter()
        .find(|(_, g)| g.spec.apps.iter().any(|a| a.app == pair.app));
    let line = Rich::of(
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
fn worse(model: &Model, release: &Release, pair: &Pair, width: usize) -> Vec<Rich> {
    let Some(words) = pair.words(&model.facts) else {
        return vec![];
    };
    // The lines above name the new version, so a narrow screen shows only how it is worse.
    let brief = words.strip_prefix("new is ").unwrap_or(&words);
    let forms = [&*words, brief];
    let words = fitting(&forms, width.saturating_sub(2));
    let mut line = Rich::of(Role::Bad, format!("{} {words}", model.options.glyphs.bad));
    let keys = keys(model, release);
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
fn keys(model: &Model, release: &Release) -> Rich {
    let mut line = Rich::new();
    let on = matches!(turn(release), Turn::Batch(..) | Turn::Proceed(_));
    for (action, word) in [(Action::Abort, "roll back"), (Action::Continue, "go on")] {
        let may = !model.read_only && forbidden(model, action).is_none();
        if may && (action == Action::Abort || on) && turn(release) != Turn::Aborting {
            let key = model.key(Context::Release, action);
            line = line
                .add(Role::Key, format!("  {key}"))
                .add(Role::Text, format!(" {word}"));
        }
    }
    line
}

/// Whether the keys are already shown beside the verdict.
pub(super) fn has_keys(model: &Model, release: &Release) -> bool {
    let told = of(model, release).is_some_and(|pair| pair.comparison.is_worse());
    told && matches!(turn(release), Turn::Batch(..) | Turn::Proceed(_))
        && !keys(model, release).is_empty()
}
