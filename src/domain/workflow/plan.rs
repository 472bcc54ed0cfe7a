//! Plan of a release when it begins: the tasks of its stage, its images, and the values of its
//! variable groups.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    build::{BUILD_TIME, format_datetime},
    outcome::release_entry,
    plan_error::PlanError,
    reducer::Reducer,
    task_error::TaskError,
    view::TaskView,
};
use crate::{
    api::{
        App, CleanUpTask, Environment, HistoryEntry, ReleasePhase, ReleaseSpec, ReleaseStatus,
        Task, TaskKind, TaskPhase, TaskSpec, TaskStatus, VariableGroup,
    },
    domain::{
        template::{self, Context},
        text::join_lines,
        variables::{self, Values},
    },
};

/// Time until a release that cannot begin is looked at again.
const PLAN_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// Name of the only task of a teardown.
const TEARDOWN: &str = "teardown";

/// What is fixed when a release begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReleasePlan {
    /// Tasks in order.
    pub tasks: Vec<TaskStatus>,
    /// Image name to reference: chosen by the release, or the default of an image that no task
    /// builds.
    pub images: BTreeMap<String, String>,
    /// Values of the variable groups, by environment that is deployed to.
    pub variables: BTreeMap<String, Values>,
}

/// Plans a release of an App that begins `at`. Whatever would keep one of its deploys from being
/// rendered (a missing group or key, a mistake in a manifest) keeps the release from beginning.
pub fn plan_release<'g>(
    app: &App,
    spec: &ReleaseSpec,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
    at: Timestamp,
) -> Result<ReleasePlan, Vec<PlanError>> {
    let images = &app.spec.images;
    if let Some(unknown) = spec.images.keys().find(|i| !images.contains_key(*i)) {
        let known = images
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(vec![PlanError::NoImage {
            app: spec.app.clone(),
            image: unknown.clone(),
            known,
        }]);
    }
    let specs = task_specs(app, spec).map_err(|error| vec![error])?;
    if specs.is_empty() {
        return Err(vec![PlanError::NoTasks {
            app: spec.app.clone(),
            stage: spec.stage.clone(),
        }]);
    }
    let mut tasks: Vec<TaskStatus> = vec![];
    for task in &specs {
        let several = || {
            vec![PlanError::TaskKind {
                task: task.name.clone(),
                stage: spec.stage.clone(),
            }]
        };
        let kind = task.spec().ok_or_else(several)?;
        if tasks.iter().any(|t| t.name == task.name) {
            return Err(vec![PlanError::DuplicateTask {
                stage: spec.stage.clone(),
                task: task.name.clone(),
            }]);
        }
        tasks.push(TaskStatus {
            name: task.name.clone(),
            kind: kind.kind(),
            environment: environment_of(kind).map(str::to_owned),
            attempt: 1,
            ..TaskStatus::default()
        });
    }
    let variables = resolve_variables(app, spec, group_of, at)?;
    Ok(ReleasePlan {
        tasks,
        images: choose_images(app, spec, &specs),
        variables,
    })
}

/// Values of the variable groups for the deploys of a release that begins `at`, by environment; or
/// all errors that would keep a deploy from being rendered, each with its place.
pub fn resolve_variables<'g>(
    app: &App,
    spec: &ReleaseSpec,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
    at: Timestamp,
) -> Result<BTreeMap<String, Values>, Vec<PlanError>> {
    let specs = task_specs(app, spec).unwrap_or_default();
    let images = &app.spec.images;
    let mut to_be = choose_images(app, spec, &specs);
    for build in specs.iter().filter_map(|t| t.build.as_ref()) {
        if let Some(source) = images.get(&build.image) {
            let tag = build.tag.replace(BUILD_TIME, &format_datetime(Some(at)));
            to_be
                .entry(build.image.clone())
                .or_insert_with(|| format!("{}:{tag}", source.repository));
        }
    }
    let (mut variables, mut problems) = (BTreeMap::new(), vec![]);
    for environment in deployed_environments(app, &specs) {
        match variables::resolve_shared_values(&spec.app, &app.spec, environment, &group_of) {
            Ok(shared) => {
                let context =
                    Context::for_environment(&spec.app, environment, &shared, to_be.clone());
                for manifest in &app.spec.manifests {
                    let wrong =
                        template::render_manifests(&manifest.name, &manifest.template, &context)
                            .err();
                    let told = |error| PlanError::Template {
                        environment: environment.name.clone(),
                        source: Box::new(error),
                    };
                    problems.extend(wrong.into_iter().flatten().map(told));
                }
                variables.insert(environment.name.clone(), shared);
            }
            Err(all) => problems.extend(all.into_iter().map(PlanError::Variables)),
        }
    }
    // Environments without any values are left out.
    variables.retain(|_, values| !values.is_empty());
    if problems.is_empty() {
        Ok(variables)
    } else {
        Err(problems)
    }
}

/// Names of the variable groups that a release of an App reads when it begins.
pub fn group_names(app: &App, spec: &ReleaseSpec) -> BTreeSet<String> {
    let specs = task_specs(app, spec).unwrap_or_default();
    deployed_environments(app, &specs)
        .flat_map(|e| e.variable_groups.clone())
        .collect()
}

/// Environments that these tasks deploy to.
fn deployed_environments<'a>(
    app: &'a App,
    specs: &[Task],
) -> impl Iterator<Item = &'a Environment> {
    let named: BTreeSet<String> = specs
        .iter()
        .filter_map(|t| t.deploy.as_ref())
        .map(|d| d.environment.clone())
        .collect();
    app.spec
        .environments
        .iter()
        .filter(move |e| named.contains(&e.name))
}

/// Images of a release: named by it, or the default of an image that none of its tasks builds.
fn choose_images(app: &App, spec: &ReleaseSpec, specs: &[Task]) -> BTreeMap<String, String> {
    let mut images = spec.images.clone();
    let built = |name: &String| {
        specs
            .iter()
            .filter_map(|t| t.build.as_ref())
            .any(|b| b.image == *name)
    };
    for (name, source) in app.spec.images.iter().filter(|(name, _)| !built(name)) {
        if let Some(default) = &source.default {
            images
                .entry(name.clone())
                .or_insert_with(|| default.clone());
        }
    }
    images
}

impl ReleasePlan {
    /// Status of a release that begins with this plan.
    pub fn into_status(self) -> ReleaseStatus {
        let (tasks, images, variables) = (self.tasks, self.images, self.variables);
        ReleaseStatus {
            phase: ReleasePhase::Running,
            tasks,
            images,
            variables,
            ..ReleaseStatus::default()
        }
    }
}

/// Begins a release that has not begun; false when there is nothing to run.
pub(super) fn ensure_begun(reducer: &mut Reducer) -> bool {
    if reducer.status.tasks.is_empty() {
        return begin_release(reducer);
    }
    if reducer.status.revision.is_none() {
        freeze_late(reducer);
    }
    true
}

/// Begins a release with its tasks as they are now; false when there is nothing to run.
fn begin_release(reducer: &mut Reducer) -> bool {
    let observed = reducer.observed;
    let (spec, started_at) = (&observed.release.spec, observed.recorded_now());
    let at = started_at.timestamp().unwrap_or(observed.now);
    let planned = observed
        .facts
        .app
        .as_ref()
        .map_err(|unknown| vec![unknown.clone().into()])
        .and_then(|app| {
            let plan = plan_release(app, spec, |name| observed.facts.groups.get(name), at)?;
            Ok((app, plan))
        });
    match planned {
        Ok((app, plan)) => {
            reducer.status.started_at = Some(started_at);
            reducer.status.revision = Some(app.revision().name().to_owned());
            reducer.status.tasks = plan.tasks;
            reducer.status.phase = ReleasePhase::Running;
            reducer.status.images = plan.images;
            reducer.status.variables = plan.variables;
            reducer.add_history("begin", None);
            true
        }
        // Aborted before it had anything to run.
        Err(all) if spec.control.abort => {
            reducer.finish(ReleasePhase::Aborted, Some(join_lines(&all)));
            false
        }
        Err(all) => {
            reducer.status.phase = ReleasePhase::Failed;
            reducer.status.message = Some(join_lines(&all));
            reducer.requeue_after(PLAN_INTERVAL);
            false
        }
    }
}

/// Freezes the App for a release that began before revisions existed, as the App is now. Its
/// approvals were not bound to objects, so they are asked for again, unless a deploy is half-way.
fn freeze_late(reducer: &mut Reducer) {
    let Ok(app) = &reducer.observed.facts.app else {
        return;
    };
    reducer.status.revision = Some(app.revision().name().to_owned());
    let words = "began before releases were frozen: from now on it uses the App as it is now";
    reducer.add_history("freeze", Some(words.into()));
    let tasks = &mut reducer.status.tasks;
    let deploys = |t: &&TaskStatus| t.kind == TaskKind::Deploy && !t.phase.is_passed();
    let half_way = tasks.iter().filter(deploys).any(|t| t.started_at.is_some());
    let last = tasks.iter().rposition(|t| deploys(&t));
    let Some(last) = last.filter(|_| !half_way) else {
        return;
    };
    let asked =
        |t: &&mut TaskStatus| t.kind == TaskKind::Approval && t.phase == TaskPhase::Succeeded;
    for task in tasks[..last].iter_mut().filter(asked) {
        (task.phase, task.message) = (TaskPhase::Pending, None);
        (task.started_at, task.finished_at) = (None, None);
        let words = "the approval named no objects: it must be given again";
        reducer.status.history.push(HistoryEntry {
            task: Some(task.name.clone()),
            ..release_entry(reducer.observed, "asked again", Some(words.into()))
        });
    }
}

/// Spec of one of the release's tasks. For a release that began before it was frozen, the App may
/// have changed.
pub(super) fn find_task_spec(view: &TaskView) -> Result<Task, TaskError> {
    let told = view.task;
    let found = task_specs(view.app()?, view.spec())?
        .into_iter()
        .find(|t| t.name == told.name);
    let changed = || TaskError::WorkflowChanged(told.name.clone());
    let task = found.ok_or_else(changed)?;
    let kind = task.spec().ok_or_else(changed)?;
    let same = kind.kind() == told.kind && environment_of(kind) == told.environment.as_deref();
    if same { Ok(task) } else { Err(changed()) }
}

pub(super) fn task_specs(app: &App, spec: &ReleaseSpec) -> Result<Vec<Task>, PlanError> {
    if let Some(CleanUpTask { environment, .. }) = &spec.teardown {
        let clean_up = spec.teardown.clone();
        // The task itself may have removed it: then it is done.
        let known = app.spec.environment(environment).is_some() || app.status.is_some();
        let task = Task {
            name: TEARDOWN.into(),
            clean_up,
            ..Task::default()
        };
        return if known {
            Ok(vec![task])
        } else {
            Err(PlanError::NoEnvironment {
                app: spec.app.clone(),
                environment: environment.clone(),
            })
        };
    }
    let stage = app.spec.stage(&spec.stage).ok_or_else(|| {
        let known = app.spec.workflow.stage_names();
        let known = if known.is_empty() {
            "none".into()
        } else {
            known.join(", ")
        };
        PlanError::NoStage {
            app: spec.app.clone(),
            stage: spec.stage.clone(),
            known,
        }
    })?;
    Ok(stage.tasks.clone())
}

fn environment_of(spec: TaskSpec<'_>) -> Option<&str> {
    match spec {
        TaskSpec::Deploy(t) => Some(&t.environment),
        TaskSpec::CleanUp(t) => Some(&t.environment),
        TaskSpec::Build(_) | TaskSpec::Approval(_) | TaskSpec::Verify(_) | TaskSpec::Proceed(_) => {
            None
        }
    }
}
