//! Builds an image with a Job, unless the release names an existing one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use serde_json::{Value, json};

use super::{
    JobSeen, ReleaseStep,
    objects::short_name,
    outcome::{BuiltImage, TaskOutcome},
    task_error::{JobError, TaskError},
    timers::TimerKind,
    view::TaskView,
};
use crate::{
    api::{BuildTask, ImageSource, RecordedTime, ReleaseSpec, TaskPhase, TaskStatus, label},
    domain::{
        account::check_not_own_object,
        template::{self, Context},
        text::Clean,
    },
};

/// In a tag: the time at which the build begins.
pub(super) const BUILD_TIME: &str = "${DATETIME}";

pub(super) fn decide_build(view: &TaskView, task: &BuildTask) -> TaskOutcome {
    let outcome = TaskOutcome::unchanged(view);
    if let Some(existing) = existing_image(view.spec(), task) {
        let existing = Clean::from_untrusted(existing);
        return outcome.succeeded(Some(format!("uses the existing image {existing}")));
    }
    let mut outcome = outcome.started();
    let build = match PlannedBuild::from_task(view, &outcome.status, task) {
        Ok(build) => build,
        Err(why) => return outcome.failed(why),
    };
    outcome.status.job = Some(build.job.clone());
    let job = view.observed.facts.jobs.get(&build.job);
    match job {
        Some(job) if job.succeeded => return build.take_image(outcome, job),
        Some(JobSeen {
            failed: Some(why), ..
        }) => {
            let (job, reason) = (build.job, Clean::from_untrusted(why));
            return outcome.failed(TaskError::JobFailed { job, reason });
        }
        _ => {}
    }
    let spent = view
        .with_task(&outcome.status)
        .seconds_spent(TimerKind::Task);
    let left = i64::from(task.timeout_seconds) - spent;
    if left <= 0 {
        let (job, seconds) = (build.job, task.timeout_seconds);
        return outcome.failed(TaskError::JobTimeout { job, seconds });
    }
    let outcome = outcome.requeued_after(SignedDuration::from_secs(left));
    let words = match view.observed.trouble {
        Some(trouble) if trouble.permanent => return outcome.failed(view.step_error(trouble)),
        Some(trouble) => trouble.message.clone(),
        None => build.describe_progress(job),
    };
    let outcome = outcome.in_phase(TaskPhase::Running, Some(words));
    if job.is_some() {
        return outcome;
    }
    match build.render_job(view) {
        Ok(object) => outcome.with_steps([ReleaseStep::CreateJob(object)]),
        Err(why) => outcome.failed(why),
    }
}

/// Image that the release names instead of building it.
pub(super) fn existing_image<'a>(spec: &'a ReleaseSpec, task: &BuildTask) -> Option<&'a str> {
    spec.images.get(&task.image).map(String::as_str)
}

/// What one attempt of a build task makes.
struct PlannedBuild<'a> {
    task: &'a BuildTask,
    source: &'a ImageSource,
    /// Name of the task.
    name: &'a str,
    /// Name of the Job; always the same for one attempt.
    job: String,
    tag: String,
    /// Reference of the image.
    image: String,
}

impl<'a> PlannedBuild<'a> {
    /// Plans the Job of a task that has started.
    fn from_task(
        view: &TaskView<'a>,
        started: &TaskStatus,
        task: &'a BuildTask,
    ) -> Result<Self, TaskError> {
        let source = view.app()?.spec.images.get(&task.image);
        let source = source.ok_or_else(|| TaskError::NoImage(task.image.clone()))?;
        let time = format_datetime(
            started
                .started_at
                .as_ref()
                .and_then(RecordedTime::timestamp),
        );
        let tag = task.tag.replace(BUILD_TIME, &time);
        let TaskStatus { name, attempt, .. } = view.task;
        Ok(Self {
            task,
            source,
            name,
            job: short_name(&format!("{}-{name}-{attempt}", view.release_name()), 63),
            image: format!("{}:{tag}", source.repository),
            tag,
        })
    }

    fn take_image(self, mut outcome: TaskOutcome, job: &JobSeen) -> TaskOutcome {
        let words = format!("built {}", self.image);
        outcome.built = Some(BuiltImage {
            name: self.task.image.clone(),
            reference: self.image,
            digest: job.digest.clone(),
        });
        outcome.succeeded(Some(words))
    }

    fn describe_progress(&self, job: Option<&JobSeen>) -> String {
        match job.and_then(|j| j.message.as_ref()) {
            Some(how) => format!("builds {}: {how}", self.image),
            None => format!("builds {}", self.image),
        }
    }

    /// What the Job's template reads as `.Build`.
    fn values(&self) -> BTreeMap<String, String> {
        let ImageSource {
            context,
            dockerfile,
            ..
        } = self.source;
        BTreeMap::from([
            ("image".to_owned(), self.image.clone()),
            ("tag".to_owned(), self.tag.clone()),
            ("context".to_owned(), context.clone().unwrap_or_default()),
            (
                "dockerfile".to_owned(),
                dockerfile.clone().unwrap_or_default(),
            ),
        ])
    }

    fn render_job(&self, view: &TaskView) -> Result<Value, JobError> {
        let (release, app) = (view.observed.release, &view.spec().app);
        let namespace = release.metadata.namespace.clone().unwrap_or_default();
        let context = Context {
            app: app.clone(),
            namespace: namespace.clone(),
            images: view.release.images.clone(),
            build: self.values(),
            ..Context::default()
        };
        let mut object = render_only_job(self.name, &self.task.job, &context)?;
        object["metadata"]["name"] = self.job.as_str().into();
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["labels"][label::APP] = app.as_str().into();
        object["metadata"]["annotations"][label::RELEASE] = view.release_name().into();
        object["metadata"]["annotations"][label::CREATED_BY] = view.release_uid().as_str().into();
        // The Job is garbage-collected with its release. `blockOwnerDeletion` stays off: it would
        // require a right on the release's finalizers.
        let owner = json!(release.owner_ref(&()));
        match object["metadata"]["ownerReferences"].as_array_mut() {
            Some(owners) => owners.push(owner),
            None => object["metadata"]["ownerReferences"] = json!([owner]),
        }
        Ok(object)
    }
}

/// Renders a task's template, which must make exactly one Job.
fn render_only_job(task: &str, template: &str, context: &Context) -> Result<Value, JobError> {
    let objects = template::render_manifests(&format!("{task}/job"), template, context)
        .map_err(JobError::Template)?;
    let [object] = objects.as_slice() else {
        return Err(JobError::Count {
            task: task.to_owned(),
            count: objects.len(),
        });
    };
    if object["kind"] != "Job" || object["apiVersion"] != "batch/v1" {
        return Err(JobError::Kind {
            task: task.to_owned(),
            api_version: object["apiVersion"].to_string(),
            kind: object["kind"].to_string(),
        });
    }
    check_not_own_object(object, "").map_err(|source| JobError::Own {
        task: task.to_owned(),
        source,
    })?;
    Ok(object.clone())
}

/// Timestamp as `yyyyMMddHHmmss`, in UTC.
pub(super) fn format_datetime(at: Option<Timestamp>) -> String {
    at.unwrap_or_default().strftime("%Y%m%d%H%M%S").to_string()
}
