//! Opens what the selected release changes.

use super::open::{push_text, report_nothing};
use crate::{
    domain::{
        text::join_errors,
        workflow::{ReleaseDiffLine, ReleaseDiffLineKind, compare_release},
    },
    ui::{
        effect::Effect,
        model::{Model, Source, Text},
        theme::Role,
        widget::RichText,
    },
};

/// Compares the selected release with what ran before it. Computed once, because each deploy is
/// rendered twice for it.
pub(in crate::ui) fn open_release_diff(model: &mut Model) -> Vec<Effect> {
    match compare_selected(model) {
        Ok((name, lines)) => {
            let mut text = Text::new(format!("Release {name}: what it changes"), Source::Changes);
            text.append_lines(lines.iter().map(style_line));
            push_text(model, text)
        }
        Err(why) => report_nothing(model, &why.to_string()),
    }
}

/// Why it is not known what a release changes.
#[derive(Debug, thiserror::Error)]
enum NoReleaseDiff {
    #[error("there is no release to compare")]
    NoRelease,
    #[error("what {0} changes is not known: it is not frozen yet")]
    NotFrozen(String),
    #[error("what {0} changes is not known: its ControllerRevision is missing")]
    NoRevision(String),
    #[error("what {0} changes is not known: {1}")]
    NotRendered(String, String),
}

fn compare_selected(model: &Model) -> Result<(String, Vec<ReleaseDiffLine>), NoReleaseDiff> {
    let (name, release) = model.selected_release().ok_or(NoReleaseDiff::NoRelease)?;
    let status = release.status.as_ref();
    if status.is_none_or(|s| s.revision.is_none()) {
        return Err(NoReleaseDiff::NotFrozen(name.clone()));
    }
    let world = &model.world;
    let app = world
        .frozen_app(release)
        .ok_or_else(|| NoReleaseDiff::NoRevision(name.clone()))?;
    let diff = compare_release(
        &app,
        release,
        world.releases_of(&release.spec.app),
        |revision| world.revisions.get(revision).cloned(),
    );
    let diff =
        diff.map_err(|all| NoReleaseDiff::NotRendered(name.clone(), join_errors(&all, "; ")))?;
    Ok((name.clone(), diff.report_lines()))
}

fn style_line(line: &ReleaseDiffLine) -> RichText {
    let (role, indent) = match line.kind {
        ReleaseDiffLineKind::Environment => (Role::Title, ""),
        ReleaseDiffLineKind::Note => (Role::Muted, "  "),
        ReleaseDiffLineKind::Change => (Role::Text, "  "),
        ReleaseDiffLineKind::Object => (Role::Accent, "  "),
        ReleaseDiffLineKind::Hunk => (Role::Muted, "  "),
        ReleaseDiffLineKind::Context => (Role::Text, "  "),
        ReleaseDiffLineKind::Minus => (Role::Bad, "  "),
        ReleaseDiffLineKind::Plus => (Role::Ok, "  "),
    };
    RichText::styled(role, indent).add(role, &*line.text)
}
