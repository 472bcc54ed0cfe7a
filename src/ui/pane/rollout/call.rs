//! What a release waits for, and the keys to act.

use super::pair;
use crate::{
    api::Release,
    ui::{
        facts::ReleaseState,
        keymap::{Action, KeyContext},
        model::Model,
        rights::missing_right,
        theme::Role,
        view::labels,
        widget::{RichText, wrap_to_lines},
    },
};

/// An action with what it does here.
type NamedAction = (Action, &'static str);

/// What the release waits for, and the keys to act.
pub(super) fn call_to_action(
    model: &Model,
    release: &Release,
    now: ReleaseState<'_>,
    width: usize,
) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let name = release.metadata.name.as_deref().unwrap_or_default();
    if let Some(pending) = model.pending_about(&model.world.namespace, name) {
        let line = RichText::styled(Role::Busy, glyphs.spinner_frame(model.beat))
            .add(Role::Text, format!(" {}", pending.words));
        return vec![line];
    }
    let Some((role, words, actions)) = describe_call(release, now) else {
        return vec![];
    };
    let keys = action_keys(model, release, actions);
    let (_, sign) = labels::release_sign(glyphs, model.beat, now);
    let mut lines: Vec<RichText> = wrap_to_lines(&words, width.saturating_sub(2), 3)
        .into_iter()
        .enumerate()
        .map(|(i, line)| {
            RichText::styled(
                role,
                if i == 0 {
                    format!("{sign} ")
                } else {
                    "  ".into()
                },
            )
            .add(role, line)
        })
        .collect();
    if !keys.is_empty() {
        match lines.last_mut() {
            Some(last) if last.width() + keys.width() <= width => *last = last.clone().join(keys),
            _ => lines.push(keys),
        }
    }
    lines
}

/// The keys of actions with what they do. When the new version is worse, they are shown with that
/// verdict.
fn action_keys(model: &Model, release: &Release, actions: &[NamedAction]) -> RichText {
    let mut line = RichText::new();
    let told = pair::has_keys(model, release);
    for (action, word) in actions.iter().filter(|_| !model.read_only && !told) {
        if let Some(why) = missing_right(model, *action) {
            // Say it once: a missing right applies to the other keys too.
            return line.add(Role::Muted, format!("  {word}: {why}"));
        }
        let key = model
            .options
            .keymap
            .first_key(&[KeyContext::Release], *action)
            .unwrap_or_default();
        line = line
            .add(Role::Key, format!("  {key}"))
            .add(Role::Text, format!(" {word}"));
    }
    line
}

/// Role and words of what a release waits for, and what can be done; none if there is nothing to
/// say.
fn describe_call(
    release: &Release,
    now: ReleaseState<'_>,
) -> Option<(Role, String, &'static [NamedAction])> {
    let message = release.status.as_ref().and_then(|s| s.message.clone());
    Some(match now {
        ReleaseState::Approve(task) => (
            Role::Warn,
            task.message
                .clone()
                .unwrap_or_else(|| format!("{} waits for approval", task.name)),
            &[(Action::Approve, "approve"), (Action::Refuse, "refuse")],
        ),
        ReleaseState::Batch(task, next) => (
            Role::Warn,
            task.message
                .clone()
                .unwrap_or_else(|| format!("batch {next} waits to proceed")),
            &[
                (Action::Continue, "next batch"),
                (Action::Abort, "roll back"),
            ],
        ),
        ReleaseState::Proceed(task) => (
            Role::Warn,
            task.message
                .clone()
                .unwrap_or_else(|| format!("{} waits", task.name)),
            &[(Action::Continue, "proceed"), (Action::Abort, "roll back")],
        ),
        ReleaseState::Held => (
            Role::Warn,
            message.unwrap_or_else(|| "paused".into()),
            &[(Action::Resume, "resume"), (Action::Abort, "roll back")],
        ),
        ReleaseState::Failed(task) => (
            Role::Bad,
            task.and_then(|t| t.message.clone())
                .or(message)
                .unwrap_or_else(|| "a task failed".into()),
            &[
                (Action::Retry, "retry"),
                (Action::Skip, "skip"),
                (Action::Abort, "roll back"),
            ],
        ),
        ReleaseState::Aborting => (
            Role::Warn,
            message.unwrap_or_else(|| "rolling back".into()),
            &[],
        ),
        ReleaseState::Busy(Some(task)) if task.message.is_some() => {
            (Role::Busy, task.message.clone().unwrap_or_default(), &[])
        }
        _ => (Role::Muted, message?, &[]),
    })
}
