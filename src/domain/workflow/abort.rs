//! The way back. First the status records that the release is being aborted: from then on its lanes
//! are closed. Then every deploy that it began is undone, the last one first. A baseline workload
//! goes back by one patch. In a gray environment, once its routes are closed and drained, the
//! objects that this release created are deleted, and what was there before is restored.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Observed, ReleaseStep,
    environment::{
        LEFT_ALONE_PREFIX, check_drained, delete_items, describe_left_alone, describe_unreachable,
        describe_unreadable, environment_status, find_owned_object, set_status,
    },
    gate,
    objects::{render_placed_objects, set_annotation},
    outcome::{ENGINE, TaskOutcome, earliest, release_entry},
    records::merge_records,
    timers::TimerKind,
    view::TaskView,
};
use crate::{
    api::{
        Control, Environment, EnvironmentState, EnvironmentStatus, HistoryEntry, InventoryItem,
        ObjectRef, ReleasePhase, ReleaseStatus, RolloutRecord, RolloutState, TaskKind, TaskPhase,
        TaskStatus, Uid, label,
    },
    domain::{
        account::Account,
        batches::{UndoAction, restore_object},
        command_line::CommandLine,
        owner::is_same,
        revision::FrozenApp,
        text::{Clean, join_errors},
    },
};

/// Seconds to wait for objects that the server refuses to show; after that, the rest is enough.
const HIDDEN_WAIT_SECONDS: i64 = 20;

/// What remains of the way back of one task.
pub(super) enum UndoOutcome {
    /// Nothing is left to do. Holds what people should know.
    Done(TaskOutcome, Option<String>),
    /// Holds what is still to do.
    Waits(TaskOutcome, String),
}

/// Undoes one task of a release that is being aborted.
pub(super) fn undo_task(view: &TaskView) -> UndoOutcome {
    match view.task.kind {
        _ if !gate::has_begun(view.task) => nothing_to_undo(view),
        TaskKind::Deploy => undo_deploy(view),
        TaskKind::CleanUp => stop_clean_up(view),
        TaskKind::Build
        | TaskKind::Approval
        | TaskKind::Verify
        | TaskKind::Proceed
        | TaskKind::Unknown => nothing_to_undo(view),
    }
}

fn nothing_to_undo(view: &TaskView) -> UndoOutcome {
    UndoOutcome::Done(TaskOutcome::unchanged(view), None)
}

/// Why it was rolled back: who asked for it, what had failed, and what was left behind.
pub(super) fn abort_reason(control: &Control, status: &ReleaseStatus) -> String {
    let clean = |text: &str| Clean::from_untrusted(text).to_string();
    let wish = control.last.as_ref().filter(|wish| wish.action == "abort");
    let comment = wish
        .and_then(|w| w.comment.as_deref())
        .map(|c| format!(": {}", clean(c)));
    let by = wish.map(|w| format!("aborted by {}{}", clean(&w.by), comment.unwrap_or_default()));
    let failure = last_failure(&status.history).map(|h| {
        let task = h.task.as_deref().unwrap_or_default();
        let why = h.message.as_deref().unwrap_or("no reason is known");
        format!("{task} had failed: {why}")
    });
    let aborted = |t: &&TaskStatus| t.phase == TaskPhase::Aborted;
    let left = status.tasks.iter().filter(aborted);
    let mut told = vec![by.unwrap_or_else(|| "aborted".into())];
    told.extend(failure);
    told.extend(left.filter_map(|t| t.message.clone()));
    told.join("; ")
}

/// The last phase change of a task before the abort, if it was a failure.
fn last_failure(history: &[HistoryEntry]) -> Option<&HistoryEntry> {
    let begun = history
        .iter()
        .rposition(|h| h.by == ENGINE && h.action == "abort")
        .unwrap_or(history.len());
    let turns = [
        "failed",
        "running",
        "waiting",
        "paused",
        "succeeded",
        "skipped",
    ];
    let mut before = history[..begun].iter().rev();
    before
        .find(|h| h.by == ENGINE && h.task.is_some() && turns.contains(&h.action.as_str()))
        .filter(|h| h.action == "failed")
}

/// Only records that the release is being aborted; this closes the lanes.
pub(super) fn enter_abort(observed: &Observed, status: &mut ReleaseStatus) -> Vec<ReleaseStep> {
    status.phase = ReleasePhase::Aborting;
    status.message = Some("rolls back".into());
    let entry = release_entry(observed, "abort", None);
    let at = entry.at.clone();
    status.history.push(entry);
    // A finished clean-up has nothing to undo; one in progress stops.
    for task in &mut status.tasks {
        if task.kind == TaskKind::Deploy && gate::has_begun(task) {
            task.phase = TaskPhase::Running;
            task.started_at = Some(at.clone());
            task.finished_at = None;
            task.drain_since = None;
            task.message = Some("rolls back".into());
        }
    }
    let jobs = status.tasks.iter();
    jobs.filter_map(|task| running_job(observed, task))
        .map(|job| ReleaseStep::Delete {
            by: Account::deployer(job.object.key.namespace.clone()),
            item: job,
        })
        .collect()
}

fn running_job(observed: &Observed, task: &TaskStatus) -> Option<InventoryItem> {
    let seen = observed.facts.jobs.get(task.job.as_ref()?)?;
    (task.phase == TaskPhase::Running && !seen.succeeded && seen.failed.is_none())
        .then(|| seen.item.clone())
}

/// A deploy on its way back.
struct Undo<'a> {
    view: TaskView<'a>,
    app: &'a FrozenApp,
    environment: &'a Environment,
    /// Status of the environment, with the uids of restored workloads.
    before: EnvironmentStatus,
    /// The environment's objects that exist: those that this release created, and the others.
    made: Vec<InventoryItem>,
    kept: Vec<InventoryItem>,
}

fn undo_deploy(view: &TaskView) -> UndoOutcome {
    let mut outcome = TaskOutcome::unchanged(view);
    let name = view.environment();
    let Ok(app) = view.app() else {
        let words = "the App is gone: nothing was rolled back";
        return UndoOutcome::Done(outcome, Some(words.into()));
    };
    let Some(environment) = app.spec.environment(name) else {
        return UndoOutcome::Done(outcome, None);
    };
    if let Some(why) = describe_unreachable(view, app, name) {
        // Time in which the context could not be reached does not count.
        outcome.status.started_at = Some(view.observed.recorded_now());
        return UndoOutcome::Waits(outcome, why);
    }
    let before = with_restored_uids(view, environment_status(app, name));
    let (made, kept) = split_by_creator(view, name, &before.inventory);
    let undo = Undo {
        view: *view,
        app,
        environment,
        before,
        made,
        kept,
    };
    undo.decide(outcome)
}

impl Undo<'_> {
    fn decide(&self, outcome: TaskOutcome) -> UndoOutcome {
        let view = &self.view;
        let rollout = &self.environment.rollout;
        let most = i64::from(rollout.timeout_seconds) + i64::from(rollout.drain_seconds);
        let spent = view.seconds_spent(TimerKind::Task);
        let noted = self.before.inventory.iter().map(|i| &i.object);
        let hidden = describe_unreadable(view, noted);
        let patient = spent <= HIDDEN_WAIT_SECONDS;
        let mut waits = Vec::from_iter(hidden.clone().filter(|_| patient));
        let drain = check_drained(view, self.environment, &self.before.inventory);
        let mut outcome = outcome.with_drain(&drain);
        if let Some(drains) = drain.pending {
            waits.push(drains.to_string());
        } else {
            let undone = self.undo_objects();
            waits.extend(undone.waits);
            let records = std::mem::take(&mut outcome.status.rollouts);
            outcome.status.rollouts = merge_records(records, undone.records);
            outcome.requeue = earliest(outcome.requeue, undone.requeue);
            outcome = outcome.with_steps(undone.steps);
        }
        let late = spent > most && !waits.is_empty();
        if !waits.is_empty() && !late {
            return UndoOutcome::Waits(outcome, waits.join("; "));
        }
        let timeout = late.then(|| {
            let waits = waits.join("; ");
            format!("rolled back, but not ready within {most} s: {waits}")
        });
        let hidden = hidden.map(|why| format!("rolled back, but {why}"));
        let status = outcome.status.clone();
        let view = &view.with_task(&status);
        let status = self.undone_status(view, late, timeout.or(hidden));
        self.end_undo(view, outcome, status)
    }

    /// Writes the environment's status, and ends once the App has it.
    fn end_undo(
        &self,
        view: &TaskView,
        outcome: TaskOutcome,
        status: EnvironmentStatus,
    ) -> UndoOutcome {
        let name = &self.environment.name;
        // After the status is written, the old inventory is no longer known.
        let noted = view.task.message.clone();
        let noted = noted.filter(|m| m.starts_with(LEFT_ALONE_PREFIX));
        let left = describe_left_alone(view, name, &self.before.inventory).or(noted);
        let told: Vec<String> = status.message.iter().chain(&left).cloned().collect();
        match set_status(view, self.app, name, status) {
            Some(step) => {
                let words = left.unwrap_or_else(|| "rolled back".into());
                UndoOutcome::Waits(outcome.with_steps([step]), words)
            }
            None => UndoOutcome::Done(outcome, Some(told.join("; ")).filter(|m| !m.is_empty())),
        }
    }

    /// Brings back what was there before and takes away what this release created.
    fn undo_objects(&self) -> UndoneObjects {
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

    /// Status of the environment once its deploy is undone. `late` means that some of it is not
    /// done, `problem` what did not go well.
    fn undone_status(
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

/// What is done to bring objects back, and what is waited for.
#[derive(Default)]
struct UndoneObjects {
    steps: Vec<ReleaseStep>,
    waits: Vec<String>,
    records: Vec<RolloutRecord>,
    requeue: Option<SignedDuration>,
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

/// The environment's objects that exist: those that this release created, and the others.
fn split_by_creator(
    view: &TaskView,
    environment: &str,
    inventory: &[InventoryItem],
) -> (Vec<InventoryItem>, Vec<InventoryItem>) {
    let (mut made, mut kept) = (vec![], vec![]);
    for item in inventory {
        match find_owned_object(view, environment, item) {
            Some(seen) if seen.created_by == Some(view.release_uid()) => made.push(item.clone()),
            Some(_) => kept.push(item.clone()),
            None => {}
        }
    }
    (made, kept)
}

/// Updates the uids of restored workloads.
fn with_restored_uids(view: &TaskView, mut told: EnvironmentStatus) -> EnvironmentStatus {
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

/// A stopped clean-up leaves what it has not deleted yet.
fn stop_clean_up(view: &TaskView) -> UndoOutcome {
    let outcome = TaskOutcome::unchanged(view);
    let name = view.environment();
    let deployed = view.release.tasks.iter().any(|t| {
        t.kind == TaskKind::Deploy && t.environment.as_deref() == Some(name) && gate::has_begun(t)
    });
    // This release's own deploy there is undone as a whole.
    let app = view.app().ok().filter(|_| !deployed);
    let Some(app) = app.filter(|app| app.spec.environment(name).is_some()) else {
        return UndoOutcome::Done(outcome, None);
    };
    if let Some(why) = describe_unreachable(view, app, name) {
        return UndoOutcome::Waits(outcome, why);
    }
    let before = environment_status(app, name);
    if before.inventory.is_empty() {
        return UndoOutcome::Done(outcome, None);
    }
    let mut inventory = before.inventory.iter();
    let whole = inventory.all(|i| find_owned_object(view, name, i).is_some_and(|s| !s.terminating));
    let (state, message) = if whole {
        (EnvironmentState::Running, None)
    } else {
        let words = "its clean-up was stopped half-way: tear it down again";
        (EnvironmentState::Error, Some(words.to_owned()))
    };
    let status = EnvironmentStatus {
        state,
        message,
        release: Some(view.release_name().to_owned()),
        ..before
    };
    match set_status(view, app, name, status) {
        None => UndoOutcome::Done(outcome, None),
        Some(step) => {
            UndoOutcome::Waits(outcome.with_steps([step]), "the clean-up is stopped".into())
        }
    }
}
