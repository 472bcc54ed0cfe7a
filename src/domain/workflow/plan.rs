//! What a release is to do: the tasks of its stage and its images, as they are when it begins and as long as the App
//! still says so.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::run::Run;
use crate::api::{App, CleanUpTask, ReleasePhase, ReleaseSpec, Task, TaskKind, TaskStatus};

/// The name of a teardown's only task.
const TEARDOWN: &str = "teardown";

impl Run<'_> {
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
