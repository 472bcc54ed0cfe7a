//! What is done to the objects of a deploy that goes back.

use jiff::SignedDuration;
use serde_json::Value;

use super::Undo;
use crate::{
    api::{InventoryItem, ObjectRef, RolloutRecord, RolloutState, Uid, label},
    domain::{
        account::Account,
        batches::{UndoAction, restore_object},
        owner::is_same,
        text::join_errors,
        workflow::{
            ReleaseStep,
            environment::{delete_items, describe_unreadable},
            objects::{render_placed_objects, set_annotation},
            outcome::earliest,
            view::TaskView,
        },
    },
};

/// What is done to bring objects back, and what is waited for.
#[derive(Default)]
pub(super) struct UndoneObjects {
    pub(super) steps: Vec<ReleaseStep>,
    pub(super) waits: Vec<String>,
    pub(super) records: Vec<RolloutRecord>,
    pub(super) requeue: Option<SignedDuration>,
}

impl UndoneObjects {
    fn waits(why: String) -> Self {
        Self {
            waits: vec![why],
            ..Self::default()
        }
    }

    fn takes(step: ReleaseStep, why: String) -> Self {
        Self {
            steps: vec![step],
            ..Self::waits(why)
        }
    }

    fn extend(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.waits.extend(other.waits);
        self.records.extend(other.records);
        self.requeue = earliest(self.requeue, other.requeue);
    }
}

impl Undo<'_> {
    /// Brings back what was there before and takes away what this release created.
    pub(super) fn undo_objects(&self) -> UndoneObjects {
        let (view, name) = (&self.view, &self.environment.name);
        let gray = self.environment.lane.is_some();
        let mut undone = self.restore_missing();
        let going: &[InventoryItem] = if gray { &self.made } else { &[] };
        for workload in affected_workloads(view, &self.kept, going) {
            undone.extend(self.undo_workload(workload));
        }
        if !gray {
            return undone;
        }
        if self.made.is_empty() && self.kept.is_empty() {
            undone.waits.extend(delete_items(view, name, &[]).left);
        } else {
            // Pods that were there before stay.
            let deletion = delete_items(view, name, &self.made);
            undone.steps.extend(deletion.steps);
            let left = deletion.left;
            undone
                .waits
                .extend(left.filter(|_| self.kept.is_empty() || !self.made.is_empty()));
        }
        undone
    }

    /// Brings one workload back to its old version.
    fn undo_workload(&self, workload: &ObjectRef) -> UndoneObjects {
        let view = &self.view;
        let Some(seen) = view.workload(workload) else {
            return UndoneObjects::default();
        };
        if view.object(workload).is_some_and(|o| o.terminating) {
            let what = workload.kind_and_name();
            return UndoneObjects::waits(format!("waits until the old {what} is gone"));
        }
        let name = &workload.key.name;
        let by = Account::for_object(self.environment, workload);
        let known = view.known_records(workload);
        match seen.undo(&view.release_uid(), &known.as_records()) {
            UndoAction::Patch(patch) => {
                let why = "back, with the user's own settings";
                let step = ReleaseStep::patch(workload, patch, why, by);
                UndoneObjects::takes(step, format!("{name} goes back to its old version"))
            }
            UndoAction::Delete(pod, why) => {
                let step = ReleaseStep::delete_pod(workload, *pod, why.clone(), by);
                UndoneObjects::takes(step, why)
            }
            UndoAction::Wait(why, requeue) => UndoneObjects {
                requeue,
                ..UndoneObjects::waits(format!("{name}: {why}"))
            },
            UndoAction::Done => UndoneObjects::default(),
        }
    }

    /// Recreates missing workloads with their old version.
    fn restore_missing(&self) -> UndoneObjects {
        let (view, environment) = (&self.view, self.environment);
        let gone = |r: &&RolloutRecord| {
            r.state != RolloutState::Gone
                && view.workload(&r.workload.object).is_none()
                && describe_unreadable(view, [&r.workload.object]).is_none()
        };
        let gone: Vec<&RolloutRecord> = view.task.rollouts.iter().filter(gone).collect();
        let Some(first) = gone.first() else {
            return UndoneObjects::default();
        };
        let shared = view.release.variables.get(&environment.name);
        let shared = shared.cloned().unwrap_or_default();
        let images = &view.release.images;
        let objects = match render_placed_objects(self.app, environment, &shared, images) {
            Ok(objects) => objects,
            Err(all) => {
                return UndoneObjects::waits(format!(
                    "{} is gone, and cannot be made again: {}",
                    first.workload.object.key.name,
                    join_errors(&all, "; ")
                ));
            }
        };
        let mut undone = UndoneObjects::default();
        for record in gone {
            undone.extend(self.recreate_workload(&objects, record));
        }
        undone
    }

    /// Creates a missing workload with its old version.
    fn recreate_workload(&self, objects: &[Value], record: &RolloutRecord) -> UndoneObjects {
        let workload = &record.workload.object;
        let what = workload.kind_and_name();
        let mut objects = objects.iter();
        let object = objects.find(|o| is_same(&ObjectRef::from_object(o), workload));
        let Some(mut object) = object.and_then(|o| restore_object(o, &record.latch)) else {
            let why = format!("{what} is gone, and the manifests no longer make it");
            return UndoneObjects::waits(why);
        };
        set_annotation(&mut object, label::RELEASE, self.view.release_name());
        let by = Account::for_object(self.environment, workload);
        UndoneObjects {
            records: vec![RolloutRecord {
                workload: InventoryItem::new(workload.clone(), Uid::default()),
                state: RolloutState::Restores,
                ..record.clone()
            }],
            ..UndoneObjects::takes(
                ReleaseStep::create(object, by),
                format!("recreates {what} with its old version"),
            )
        }
    }
}

/// Workloads that this task may have in progress: what was there before and what it has records of,
/// except what is being deleted.
fn affected_workloads<'a>(
    view: &TaskView<'a>,
    kept: &'a [InventoryItem],
    going: &'a [InventoryItem],
) -> impl Iterator<Item = &'a ObjectRef> {
    let known = move |workload: &ObjectRef| {
        let mut items = kept.iter().chain(going);
        items.any(|i| is_same(&i.object, workload))
    };
    let records = view.task.rollouts.iter().map(|r| &r.workload.object);
    let kept = kept.iter().map(|i| &i.object);
    kept.chain(records.filter(move |workload| !known(workload)))
}
