//! Labels and symbols that several panes share.

use jiff::Timestamp;

use crate::{
    api::{EnvironmentState, RecordedTime, Served, TaskPhase, TaskStatus},
    domain::{signals::Column, text::format_coarse_age},
    ui::{facts::ReleaseState, glyph::Glyphs, model::Model, theme::Role, widget::RichText},
};

/// Formats a duration: `0:42`, `12:03`, `1h02`.
pub(in crate::ui) fn format_clock(seconds: i64) -> String {
    let s = seconds.max(0);
    if s < 3600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}h{:02}", s / 3600, s % 3600 / 60)
    }
}

/// Elapsed time of a task or a release, until now while it has not finished. Only what is `running`
/// is told by the second: what waits for a person may wait for hours.
pub(in crate::ui) fn format_elapsed(
    model: &Model,
    started: Option<&RecordedTime>,
    finished: Option<&RecordedTime>,
    running: bool,
) -> String {
    let Some(from) = started.and_then(RecordedTime::timestamp) else {
        return String::new();
    };
    let finished = finished.and_then(RecordedTime::timestamp);
    let seconds = finished.unwrap_or(model.now).duration_since(from).as_secs();
    if finished.is_some() || running || seconds < 60 {
        format_clock(seconds)
    } else {
        format_coarse_age(model.now, from)
    }
}

/// Name of a release window without its `window-` prefix.
pub(in crate::ui) fn window_name(name: &str) -> &str {
    name.strip_prefix("window-").unwrap_or(name)
}

/// Time of day in UTC, as servers and logs use it: `21:03:14`.
pub(in crate::ui) fn format_time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// Symbol of a task.
pub(in crate::ui) fn task_sign(
    glyphs: &Glyphs,
    beat: u64,
    task: &TaskStatus,
) -> (Role, &'static str) {
    match task.phase {
        TaskPhase::Pending => (Role::Muted, glyphs.idle),
        TaskPhase::Running => (Role::Busy, glyphs.spinner_frame(beat)),
        TaskPhase::Waiting => (Role::Warn, glyphs.wait),
        TaskPhase::Paused => (Role::Warn, glyphs.held),
        TaskPhase::Succeeded => (Role::Ok, glyphs.ok),
        TaskPhase::Failed => (Role::Bad, glyphs.bad),
        TaskPhase::Skipped => (Role::Muted, glyphs.gone),
        // A task that never ran did not fail.
        TaskPhase::Aborted if task.started_at.is_none() => (Role::Muted, glyphs.idle),
        TaskPhase::Aborted => (Role::Muted, glyphs.gone),
    }
}

/// Symbol of a release.
pub(in crate::ui) fn release_sign(
    glyphs: &Glyphs,
    beat: u64,
    turn: ReleaseState<'_>,
) -> (Role, &'static str) {
    match turn {
        ReleaseState::Pending | ReleaseState::Busy(_) => (Role::Busy, glyphs.spinner_frame(beat)),
        ReleaseState::Aborting => (Role::Warn, glyphs.spinner_frame(beat)),
        ReleaseState::Approve(_) | ReleaseState::Batch(..) | ReleaseState::Proceed(_) => {
            (Role::Warn, glyphs.wait)
        }
        ReleaseState::Held => (Role::Warn, glyphs.held),
        ReleaseState::Failed(_) => (Role::Bad, glyphs.bad),
        ReleaseState::Succeeded => (Role::Ok, glyphs.ok),
        ReleaseState::Aborted => (Role::Muted, glyphs.gone),
    }
}

/// Symbol of an environment; gray environments use the lane colour.
pub(in crate::ui) fn environment_sign(
    glyphs: &Glyphs,
    state: EnvironmentState,
    lane: bool,
) -> (Role, &'static str) {
    match state {
        EnvironmentState::New => (Role::Muted, glyphs.idle),
        EnvironmentState::Deploying => (Role::Busy, glyphs.half),
        EnvironmentState::Running if lane => (Role::Lane, glyphs.full),
        EnvironmentState::Running => (Role::Ok, glyphs.full),
        EnvironmentState::Error => (Role::Bad, glyphs.bad),
        EnvironmentState::Cleaned => (Role::Muted, glyphs.gone),
    }
}

/// State of an environment that has no workload.
pub(in crate::ui) const fn environment_state_label(state: EnvironmentState) -> &'static str {
    match state {
        EnvironmentState::New => "not deployed yet",
        EnvironmentState::Deploying => "deploying",
        EnvironmentState::Running => "running",
        EnvironmentState::Error => "failed",
        EnvironmentState::Cleaned => "cleaned",
    }
}

/// Symbol of the side that answered; the same in all panes.
pub(in crate::ui) fn served_sign(glyphs: &Glyphs, served: Option<Served>) -> (Role, &'static str) {
    match served {
        Some(Served::Gray) => (Role::Lane, glyphs.full),
        Some(Served::Base) => (Role::Text, glyphs.empty),
        None => (Role::Bad, glyphs.bad),
    }
}

/// Tag or digest of an image reference.
pub(in crate::ui) fn image_tag(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let (name, digest) = last
        .split_once('@')
        .map_or((last, None), |(name, digest)| (name, Some(digest)));
    match (name.rsplit_once(':'), digest) {
        (Some((_, tag)), _) => tag,
        (None, Some(digest)) => digest.get(..digest.len().min(15)).unwrap_or(digest),
        (None, None) => name,
    }
}

/// Name and tag of an image, without its registry.
pub(in crate::ui) fn image_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once('@').map_or(
        last,
        |(name, _)| if name.contains(':') { name } else { last },
    )
}

/// Bar of pods by version: one symbol per pod while they fit, in proportion beyond.
pub(in crate::ui) fn pod_bar(
    glyphs: &Glyphs,
    new: u32,
    coming: u32,
    old: u32,
    most: usize,
) -> RichText {
    let total = u64::from(new) + u64::from(coming) + u64::from(old);
    let scale = |n: u32| {
        let n = u64::from(n);
        let cells = if total as usize <= most {
            n
        } else {
            (n * most as u64).div_ceil(total.max(1))
        };
        usize::try_from(cells).unwrap_or(most).min(most)
    };
    let (a, b) = (scale(new), scale(coming));
    let c = if total as usize <= most {
        scale(old)
    } else {
        most.saturating_sub(a + b)
    };
    RichText::new()
        .add(Role::Lane, glyphs.new.repeat(a))
        .add(Role::Busy, glyphs.coming.repeat(b))
        .add(Role::Muted, glyphs.old.repeat(c))
}

/// Sparkline; columns with failures are red.
pub(in crate::ui) fn format_sparkline(glyphs: &Glyphs, columns: &[Column], most: u64) -> RichText {
    columns.iter().fold(RichText::new(), |mut line, column| {
        let role = match (column.requests, column.failed) {
            (0, _) => Role::Muted,
            (_, 0) => Role::Accent,
            _ => Role::Bad,
        };
        let sign = glyphs.spark_column(column.requests, most);
        match line.runs.last_mut().filter(|(last, _)| *last == role) {
            Some((_, text)) => text.push_str(sign),
            None => line.push(role, sign),
        }
        line
    })
}

/// App name without the prefix that its lane group shares: `spring-cloud-a` becomes `A`.
pub(in crate::ui) fn short_app_name<'a>(model: &'a Model, app: &'a str) -> &'a str {
    model.facts.short_name(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_exact_until_it_cannot_be() {
        let glyphs = crate::ui::glyph::UNICODE;
        assert_eq!(pod_bar(&glyphs, 1, 1, 3, 20).plain_text(), "■▣□□□");
        assert_eq!(pod_bar(&glyphs, 50, 0, 50, 10).plain_text(), "■■■■■□□□□□");
        assert_eq!(pod_bar(&glyphs, 1, 0, 999, 10).plain_text(), "■□□□□□□□□□");
    }

    #[test]
    fn clocks_and_tags() {
        assert_eq!(
            (
                format_clock(42).as_str(),
                format_clock(723).as_str(),
                format_clock(3725).as_str()
            ),
            ("0:42", "12:03", "1h02")
        );
        assert_eq!(image_tag("registry:5000/team/app:1.2"), "1.2");
        assert_eq!(image_tag("app@sha256:0123456789abcdef"), "sha256:01234567");
        assert_eq!(image_tag("app"), "app");
    }
}
