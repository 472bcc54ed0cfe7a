//! What the App says of an environment whose deploy is undone.

use super::Undo;
use crate::{
    api::{
        EnvironmentState, EnvironmentStatus, InventoryItem, ObjectRef, RolloutRecord, RolloutState,
        Uid,
    },
    domain::{
        command_line::CommandLine,
        owner::is_same,
        text::Clean,
        workflow::{environment::describe_unreadable, view::TaskView},
    },
};

impl Undo<'_> {
    /// Status of the environment once its deploy is undone. `late` means that some of it is not
    /// done, `problem` what did not go well.
    pub(super) fn undone_status(
        &self,
        view: &TaskView,
        late: bool,
        problem: Option<String>,
    ) -> EnvironmentStatus {
        let gray = self.environment.lane.is_some();
        let stays = |i: &&InventoryItem| {
            self.kept.contains(i)
                || ((late || !gray) && self.made.contains(i))
                || describe_unreadable(view, [&i.object]).is_some()
        };
        let inventory: Vec<_> = self
            .before
            .inventory
            .iter()
            .filter(stays)
            .cloned()
            .collect();
        let release = Some(view.release_name().to_owned());
        let is_empty = inventory.is_empty();
        let before = EnvironmentStatus {
            release: release.clone(),
            inventory,
            ..self.before.clone()
        };
        let (task, kept) = (view.task, &self.kept);
        let first = "the first deploy was aborted: there is no older version to go back to";
        let others = || {
            kept.iter()
                .find_map(|item| describe_other_rollout(view, &item.object))
        };
        let problem = match problem {
            Some(why) => Some(why),
            None if is_empty => {
                return EnvironmentStatus {
                    state: EnvironmentState::Cleaned,
                    release,
                    ..EnvironmentStatus::default()
                };
            }
            None if task.old_version.is_none() && kept.is_empty() => Some(first.into()),
            None => others().or_else(|| describe_recreated(view)),
        };
        match problem {
            Some(why) => EnvironmentStatus {
                state: EnvironmentState::Error,
                message: Some(why),
                ..before
            },
            None => EnvironmentStatus {
                state: EnvironmentState::Running,
                message: None,
                images: task.old_images.clone(),
                version: task.old_version.clone(),
                ..before
            },
        }
    }
}

/// Updates the uids of restored workloads.
pub(super) fn with_restored_uids(
    view: &TaskView,
    mut told: EnvironmentStatus,
) -> EnvironmentStatus {
    // A record that still has the uid was patched back, not recreated.
    let made = |r: &&RolloutRecord| r.state == RolloutState::Restores && r.workload.uid.is_empty();
    for record in view.task.rollouts.iter().filter(made) {
        let named = |i: &&mut InventoryItem| is_same(&i.object, &record.workload.object);
        let uid = view
            .workload(&record.workload.object)
            .and_then(|seen| Uid::from_meta(seen.meta()).known());
        if let (Some(item), Some(uid)) = (told.inventory.iter_mut().find(named), uid) {
            item.uid = uid;
        }
    }
    told
}

/// Describes a workload that somebody else recreated while it was in progress: it is left alone.
fn describe_recreated(view: &TaskView) -> Option<String> {
    let another = |r: &&RolloutRecord| {
        let uid = view
            .workload(&r.workload.object)
            .and_then(|seen| Uid::from_meta(seen.meta()).known());
        !r.workload.uid.is_empty() && uid.is_some_and(|uid| uid != r.workload.uid)
    };
    let record = view.task.rollouts.iter().find(another)?;
    Some(format!(
        "{} was deleted and recreated by somebody else: check whether it is as it should be",
        record.workload.object.kind_and_name()
    ))
}

/// Describes a workload that is half-way in another release: it is left alone.
fn describe_other_rollout(view: &TaskView, workload: &ObjectRef) -> Option<String> {
    let mark = view
        .workload(workload)?
        .mark()
        .filter(|m| m.release_uid != view.release_uid())?;
    let (what, other) = (
        workload.kind_and_name(),
        Clean::from_untrusted(&mark.release),
    );
    let rescue = CommandLine::graylane("rescue").option_if("-n", view.home());
    Some(format!(
        "{what} is still half-way in release {other}: see `{rescue}`"
    ))
}
