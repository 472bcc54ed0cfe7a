//! One look under way: the status as it becomes, the steps so far, and what all kinds of tasks share.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, Unit};

use super::{Decision, Observed, Step, approval, build, clean_up, deploy, verify};
use crate::{
    api::{
        App, CleanUpTask, HistoryEntry, InventoryItem, ReleasePhase, ReleaseSpec, ReleaseStatus, Task, TaskKind,
        TaskPhase, TaskStatus,
    },
    domain::{batches::WorkloadSeen, text::Clean},
};

/// So many entries of history are kept.
const HISTORY: usize = 200;
/// The name of a teardown's only task.
pub(super) const TEARDOWN: &str = "teardown";

pub(super) struct Run<'a> {
    pub o: &'a Observed<'a>,
    pub status: ReleaseStatus,
    pub steps: Vec<Step>,
    pub again: Option<SignedDuration>,
}

/// Whether the next task may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Stay,
}

impl<'a> Run<'a> {
    pub fn new(o: &'a Observed<'a>) -> Self {
        Self { o, status: o.release.status.clone().unwrap_or_default(), steps: vec![], again: None }
    }

    pub fn spec(&self) -> &'a ReleaseSpec {
        &self.o.release.spec
    }

    pub fn name(&self) -> &'a str {
        self.o.release.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &'a str {
        self.o.release.metadata.uid.as_deref().unwrap_or_default()
    }

    /// What is rolled out in batches and behind this item, if it is there.
    pub fn workload(&self, item: &InventoryItem) -> Option<&'a WorkloadSeen> {
        self.o.workloads.get(&InventoryItem { uid: String::new(), ..item.clone() })
    }

    /// Now, to the second, as Kubernetes writes it.
    pub fn at(&self) -> String {
        self.o.now.round(Unit::Second).unwrap_or(self.o.now).to_string()
    }

    pub fn end(mut self) -> Decision {
        let too_many = self.status.history.len().saturating_sub(HISTORY);
        self.status.history.drain(..too_many);
        Decision { status: self.status, steps: self.steps, look_again: self.again }
    }

    /// Look again at the latest then.
    pub fn look_in(&mut self, wait: SignedDuration) {
        let wait = wait.max(SignedDuration::from_millis(100));
        self.again = Some(self.again.map_or(wait, |a| a.min(wait)));
    }

    pub fn history(&mut self, by: &str, action: impl Into<String>, task: Option<&str>, message: Option<String>) {
        let at = self.at();
        let task = task.map(str::to_owned);
        self.status.history.push(HistoryEntry { at, by: by.into(), action: action.into(), task, message });
    }

    /// A person's wish goes into the history once.
    pub fn tell_wishes(&mut self) {
        let Some(last) = &self.spec().control.last else { return };
        let known = |h: &HistoryEntry| h.at == last.at && h.by == last.by && h.action == last.action;
        // Pushed out by newer entries, it is no news either.
        let older = self.status.history.len() >= HISTORY && self.status.history.first().is_some_and(|h| last.at < h.at);
        if !older && !self.status.history.iter().any(known) {
            let entry = HistoryEntry {
                at: last.at.clone(),
                by: Clean::from_untrusted(&last.by).to_string(),
                action: Clean::from_untrusted(&last.action).to_string(),
                task: None,
                message: last.comment.as_deref().map(|c| Clean::from_untrusted(c).to_string()),
            };
            self.status.history.push(entry);
        }
    }

    /// The tasks as they are now; false when there is nothing to run.
    pub fn begin(&mut self) -> bool {
        self.status.started_at = Some(self.at());
        match self.plan() {
            Ok(tasks) => {
                self.status.tasks = tasks;
                self.status.phase = ReleasePhase::Running;
                self.status.images = self.images();
                self.history("engine", "begin", None, None);
                true
            }
            // Aborted before there was anything to run.
            Err(why) if self.spec().control.abort => {
                self.finish(ReleasePhase::Aborted, Some(why));
                false
            }
            Err(why) => {
                self.status.phase = ReleasePhase::Failed;
                self.status.message = Some(why);
                self.look_in(SignedDuration::from_secs(10));
                false
            }
        }
    }

    /// What is chosen: named by the release, else the default of an image that no task of it builds.
    fn images(&self) -> BTreeMap<String, String> {
        let mut images = self.spec().images.clone();
        let Some(app) = self.o.app else { return images };
        let tasks = specs(app, self.spec()).unwrap_or_default();
        let built = |name: &String| tasks.iter().filter_map(|t| t.build.as_ref()).any(|b| b.image == *name);
        for (name, source) in app.spec.images.iter().filter(|(name, _)| !built(name)) {
            if let Some(default) = &source.default {
                images.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
        images
    }

    fn plan(&self) -> Result<Vec<TaskStatus>, String> {
        let spec = self.spec();
        let app = self.app()?;
        let images = &app.spec.images;
        if let Some(unknown) = spec.images.keys().find(|i| !images.contains_key(*i)) {
            let known = images.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("app {} has no image {unknown:?}; it has {known}", spec.app));
        }
        let specs = specs(app, spec)?;
        if specs.is_empty() {
            return Err(format!("stage {:?} of app {} has no tasks", spec.stage, spec.app));
        }
        let mut tasks: Vec<TaskStatus> = vec![];
        for task in &specs {
            let kind = task
                .kind()
                .ok_or_else(|| format!("task {:?} of stage {:?} must name exactly one kind", task.name, spec.stage))?;
            if tasks.iter().any(|t| t.name == task.name) {
                return Err(format!("stage {:?} has two tasks named {:?}", spec.stage, task.name));
            }
            tasks.push(TaskStatus {
                name: task.name.clone(),
                kind: kind.word().into(),
                environment: environment_of(kind).map(str::to_owned),
                attempt: 1,
                ..TaskStatus::default()
            });
        }
        Ok(tasks)
    }

    pub fn app(&self) -> Result<&'a App, String> {
        self.o.app.ok_or_else(|| {
            let (app, namespace) = (&self.spec().app, self.o.release.metadata.namespace.as_deref().unwrap_or_default());
            format!("there is no app {app:?} in namespace {namespace}")
        })
    }

    /// What a task of this release is to do, as long as the App still says so.
    pub fn task(&self, index: usize) -> Result<Task, String> {
        let told = &self.status.tasks[index];
        let found = specs(self.app()?, self.spec())?.into_iter().find(|t| t.name == told.name);
        let changed =
            || format!("the App's workflow changed: task {:?} is not what it was when the release began", told.name);
        let task = found.ok_or_else(changed)?;
        let kind = task.kind().ok_or_else(changed)?;
        let same = kind.word() == told.kind && environment_of(kind) == told.environment.as_deref();
        if same { Ok(task) } else { Err(changed()) }
    }

    /// Every task that is passed lets the next one be looked at, in this same look.
    pub fn tasks(&mut self) {
        for index in 0..self.status.tasks.len() {
            if self.status.tasks[index].phase.is_passed() {
                continue;
            }
            if self.one(index) == Flow::Stay {
                return;
            }
        }
        self.status.task = None;
        self.finish(ReleasePhase::Succeeded, None);
    }

    pub fn finish(&mut self, phase: ReleasePhase, message: Option<String>) {
        self.status.phase = phase;
        self.status.finished_at = Some(self.at());
        self.status.message.clone_from(&message);
        self.status.task = None;
        let word = if phase == ReleasePhase::Succeeded { "succeeded" } else { "aborted" };
        self.history("engine", word, None, message);
    }

    fn one(&mut self, index: usize) -> Flow {
        let control = &self.spec().control;
        let name = self.status.tasks[index].name.clone();
        self.status.task = Some(name.clone());
        self.retry(index, control.retry.get(&name).copied().unwrap_or(0));
        let before = self.status.tasks[index].phase;
        // Holding a deploy still has steps: where the latch stands open it is closed.
        let held = control.paused || before == TaskPhase::Failed;
        if before == TaskPhase::Paused && !control.paused {
            self.resumed(index);
        }
        if !control.paused && control.skip.contains(&name) && self.skip(index) {
            return Flow::Next;
        }
        if control.paused && before != TaskPhase::Failed {
            self.set_phase(index, TaskPhase::Paused, None);
        }
        let flow = match self.task(index) {
            Err(why) => {
                self.fail(index, why);
                Flow::Stay
            }
            Ok(task) => match task.kind() {
                Some(TaskKind::Deploy(_)) => deploy::look(self, index, held),
                _ if held => Flow::Stay,
                Some(TaskKind::Build(t)) => build::look(self, index, t),
                Some(TaskKind::Approval(t)) => approval::look(self, index, t),
                Some(TaskKind::Verify(t)) => verify::look(self, index, t),
                Some(TaskKind::Proceed(t)) => self.proceed(index, t.prompt.as_deref()),
                Some(TaskKind::CleanUp(t)) => clean_up::look(self, index, t),
                None => Flow::Stay,
            },
        };
        if flow == Flow::Stay {
            let task = &self.status.tasks[index];
            self.status.phase = match task.phase {
                TaskPhase::Failed => ReleasePhase::Failed,
                TaskPhase::Waiting => ReleasePhase::Waiting,
                TaskPhase::Paused => ReleasePhase::Paused,
                _ => ReleasePhase::Running,
            };
            self.status.message.clone_from(&task.message);
        }
        flow
    }

    fn retry(&mut self, index: usize, retries: u32) {
        let at = self.at();
        let task = &mut self.status.tasks[index];
        if task.phase != TaskPhase::Failed || retries < task.attempt {
            return;
        }
        task.attempt = retries + 1;
        task.phase = TaskPhase::Running;
        task.started_at = task.started_at.is_some().then(|| at.clone());
        task.finished_at = None;
        task.message = None;
        task.probes.clear();
        task.drain_since = None;
        // What is done is read off the Deployments again.
        task.batches.clear();
        let (name, attempt) = (task.name.clone(), task.attempt);
        self.history("engine", format!("attempt {attempt}"), Some(&name), None);
    }

    /// Somebody has asked that this attempt takes fields of other managers.
    pub(super) fn takes_over(&self, index: usize) -> bool {
        let task = &self.status.tasks[index];
        self.spec().control.take_over.get(&task.name) == Some(&task.attempt)
    }

    /// The time it was held does not count against a batch.
    fn resumed(&mut self, index: usize) {
        let at = self.at();
        let task = &mut self.status.tasks[index];
        task.phase = if task.started_at.is_some() { TaskPhase::Running } else { TaskPhase::Pending };
        restart_batch(task, &at);
    }

    fn skip(&mut self, index: usize) -> bool {
        let task = &self.status.tasks[index];
        let refused = match task.kind.as_str() {
            "approval" => Some("an approval cannot be skipped: approve it, or abort"),
            "deploy" if deploy::is_half_way(self, index) => {
                Some("a deploy that is half-way cannot be skipped: retry it, or abort")
            }
            _ => None,
        };
        if let Some(why) = refused {
            let name = task.name.clone();
            if !self.status.history.iter().any(|h| h.task.as_ref() == Some(&name) && h.message.as_deref() == Some(why))
            {
                self.history("engine", "not skipped", Some(&name), Some(why.into()));
            }
            return false;
        }
        self.set_phase(index, TaskPhase::Skipped, None);
        true
    }

    fn proceed(&mut self, index: usize, prompt: Option<&str>) -> Flow {
        self.start(index);
        let name = &self.status.tasks[index].name;
        if self.spec().control.allow.get(name).is_some_and(|n| *n >= 1) {
            self.set_phase(index, TaskPhase::Succeeded, None);
            return Flow::Next;
        }
        let words = prompt.map_or_else(|| "waits for somebody to proceed".to_owned(), |p| format!("waits: {p}"));
        self.set_phase(index, TaskPhase::Waiting, Some(words));
        Flow::Stay
    }

    /// A task's own time begins.
    pub fn start(&mut self, index: usize) {
        let at = self.at();
        let task = &mut self.status.tasks[index];
        if task.started_at.is_none() {
            task.started_at = Some(at);
        }
    }

    pub fn seconds_since(&self, text: Option<&str>) -> Option<i64> {
        let since: Timestamp = text?.parse().ok()?;
        Some(self.o.now.duration_since(since).as_secs())
    }

    /// Seconds since then in which the engine was there to act: what a time limit counts.
    pub fn spent(&self, text: Option<&str>) -> Option<i64> {
        let since: Timestamp = text?.parse().ok()?;
        Some(self.o.now.duration_since(since.max(self.o.since)).as_secs())
    }

    pub fn fail(&mut self, index: usize, why: impl Into<String>) {
        self.set_phase(index, TaskPhase::Failed, Some(why.into()));
    }

    /// Writes a task's phase and message; a change of phase goes into the history.
    pub fn set_phase(&mut self, index: usize, phase: TaskPhase, message: Option<String>) {
        let at = self.at();
        let task = &mut self.status.tasks[index];
        let changed = task.phase != phase;
        // Held is held in the words of what it was doing.
        if phase != TaskPhase::Paused || message.is_some() {
            task.message.clone_from(&message);
        }
        task.phase = phase;
        if !changed {
            return;
        }
        if matches!(phase, TaskPhase::Succeeded | TaskPhase::Failed | TaskPhase::Skipped | TaskPhase::Aborted) {
            task.finished_at = Some(at);
        }
        let word = match phase {
            TaskPhase::Pending => return,
            TaskPhase::Running => "running",
            TaskPhase::Waiting => "waiting",
            TaskPhase::Paused => "paused",
            TaskPhase::Succeeded => "succeeded",
            TaskPhase::Failed => "failed",
            TaskPhase::Skipped => "skipped",
            TaskPhase::Aborted => "aborted",
        };
        let name = task.name.clone();
        self.history("engine", word, Some(&name), message);
    }
}

impl Run<'_> {
    /// The current batch's time begins anew.
    pub fn restart_batch(&mut self, index: usize) {
        let at = self.at();
        restart_batch(&mut self.status.tasks[index], &at);
    }
}

fn restart_batch(task: &mut TaskStatus, at: &str) {
    if let Some(batch) = task.batches.iter_mut().find(|b| b.finished_at.is_none() && b.started_at.is_some()) {
        batch.started_at = Some(at.to_owned());
    }
}

fn specs(app: &App, spec: &ReleaseSpec) -> Result<Vec<Task>, String> {
    if let Some(CleanUpTask { environment, .. }) = &spec.teardown {
        let clean_up = spec.teardown.clone();
        // Removed by this very task: it is done then.
        let known = app.spec.environment(environment).is_some() || app.status.is_some();
        let task = Task { name: TEARDOWN.into(), clean_up, ..Task::default() };
        return if known {
            Ok(vec![task])
        } else {
            Err(format!("app {} has no environment {environment:?}", spec.app))
        };
    }
    let stage = app.spec.stage(&spec.stage).ok_or_else(|| {
        let known: Vec<&str> = app.spec.workflow.stages.iter().map(|s| s.name.as_str()).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        format!("app {} has no stage {:?}; it has {known}", spec.app, spec.stage)
    })?;
    Ok(stage.tasks.clone())
}

fn environment_of(kind: TaskKind<'_>) -> Option<&str> {
    match kind {
        TaskKind::Deploy(t) => Some(&t.environment),
        TaskKind::CleanUp(t) => Some(&t.environment),
        _ => None,
    }
}
