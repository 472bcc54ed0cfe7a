//! Builds an image with a Job, unless the release names an existing one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use serde_json::{Value, json};

use super::{
    ReleaseStep,
    objects::short_name,
    reconciliation::{Flow, Reconciliation},
    task_error::{JobError, TaskError},
    timers::TimerKind,
};
use crate::{
    api::{BuildTask, ImageSource, TaskPhase, label},
    domain::{
        account::check_not_own_object,
        template::{self, Context},
        text::Clean,
    },
};

pub(super) fn reconcile_build(run: &mut Reconciliation, index: usize, task: &BuildTask) -> Flow {
    if let Some(existing) = run.spec().images.get(&task.image) {
        let words = format!(
            "uses the existing image {}",
            Clean::from_untrusted(existing)
        );
        run.set_phase(index, TaskPhase::Succeeded, Some(words));
        return Flow::Next;
    }
    run.start_task(index);
    match run_build(run, index, task) {
        Ok(flow) => flow,
        Err(why) => {
            run.fail_task(index, why);
            Flow::Stay
        }
    }
}

fn run_build(run: &mut Reconciliation, index: usize, task: &BuildTask) -> Result<Flow, TaskError> {
    let told = run.status.tasks[index].clone();
    let app = run.app()?;
    let source = app
        .spec
        .images
        .get(&task.image)
        .ok_or_else(|| TaskError::NoImage(task.image.clone()))?;
    let tag = task
        .tag
        .replace("${DATETIME}", &format_datetime(told.started_at.as_deref()));
    let image = format!("{}:{tag}", source.repository);
    let job = short_name(
        &format!("{}-{}-{}", run.name(), told.name, told.attempt),
        63,
    );
    run.status.tasks[index].job = Some(job.clone());
    if let Some(seen) = run.observed.jobs.get(&job) {
        if seen.succeeded {
            let digest = seen.digest.clone();
            take_image(run, task, &image, digest);
            run.set_phase(index, TaskPhase::Succeeded, Some(format!("built {image}")));
            return Ok(Flow::Next);
        }
        if let Some(why) = &seen.failed {
            let reason = Clean::from_untrusted(why);
            return Err(TaskError::JobFailed { job, reason });
        }
    }
    let left = i64::from(task.timeout_seconds) - run.seconds_spent(index, TimerKind::Task);
    if left <= 0 {
        return Err(TaskError::JobTimeout {
            job,
            seconds: task.timeout_seconds,
        });
    }
    run.requeue_after(SignedDuration::from_secs(left));
    if let Some(trouble) = run.observed.trouble {
        if trouble.permanent {
            return Err(run.step_error(trouble));
        }
        run.set_phase(index, TaskPhase::Running, Some(trouble.message.clone()));
    } else {
        let how = run.observed.jobs.get(&job).and_then(|j| j.message.clone());
        let words = how.map_or_else(
            || format!("builds {image}"),
            |how| format!("builds {image}: {how}"),
        );
        run.set_phase(index, TaskPhase::Running, Some(words));
    }
    if !run.observed.jobs.contains_key(&job) {
        let build = build_values(source, image, tag);
        let object = render_job(run, task, &told.name, &job, build)?;
        run.steps.push(ReleaseStep::CreateJob(object));
    }
    Ok(Flow::Stay)
}

/// What the Job's template reads as `.Build`.
fn build_values(source: &ImageSource, image: String, tag: String) -> BTreeMap<String, String> {
    let (context, dockerfile) = (source.context.clone(), source.dockerfile.clone());
    BTreeMap::from([
        ("image".to_owned(), image),
        ("tag".to_owned(), tag),
        ("context".to_owned(), context.unwrap_or_default()),
        ("dockerfile".to_owned(), dockerfile.unwrap_or_default()),
    ])
}

/// Takes the built image for the release. It deploys exactly what was built, even if the tag moves
/// later.
fn take_image(run: &mut Reconciliation, task: &BuildTask, image: &str, digest: Option<String>) {
    let pinned = digest
        .as_ref()
        .map_or_else(|| image.to_owned(), |digest| format!("{image}@{digest}"));
    run.status.images.insert(task.image.clone(), pinned);
    let mut bound = run.status.images.clone();
    bound.extend(run.status.digests.clone());
    if let Some(digest) = digest {
        bound.insert(task.image.clone(), digest);
    }
    run.status.digests = bound;
}

/// Renders the Job, whose name is always the same for one attempt.
fn render_job(
    run: &Reconciliation,
    task: &BuildTask,
    name: &str,
    job: &str,
    build: BTreeMap<String, String>,
) -> Result<Value, JobError> {
    let namespace = run
        .observed
        .release
        .metadata
        .namespace
        .clone()
        .unwrap_or_default();
    let context = Context {
        app: run.spec().app.clone(),
        namespace: namespace.clone(),
        images: run.status.images.clone(),
        build,
        ..Context::default()
    };
    let objects = template::render_manifests(&format!("{name}/job"), &task.job, &context)
        .map_err(JobError::Template)?;
    let [object] = objects.as_slice() else {
        return Err(JobError::Count {
            task: name.to_owned(),
            count: objects.len(),
        });
    };
    if object["kind"] != "Job" || object["apiVersion"] != "batch/v1" {
        return Err(JobError::Kind {
            task: name.to_owned(),
            api_version: object["apiVersion"].to_string(),
            kind: object["kind"].to_string(),
        });
    }
    check_not_own_object(object, "").map_err(|source| JobError::Own {
        task: name.to_owned(),
        source,
    })?;
    let mut object = object.clone();
    object["metadata"]["name"] = job.into();
    object["metadata"]["namespace"] = namespace.into();
    object["metadata"]["labels"][label::APP] = run.spec().app.as_str().into();
    object["metadata"]["annotations"][label::RELEASE] = run.name().into();
    object["metadata"]["annotations"][label::CREATED_BY] = run.uid().into();
    // The Job is garbage-collected with its release. `blockOwnerDeletion` stays off: it would
    // require a right on the release's finalizers.
    let owner = json!(run.observed.release.owner_ref(&()));
    match object["metadata"]["ownerReferences"].as_array_mut() {
        Some(owners) => owners.push(owner),
        None => object["metadata"]["ownerReferences"] = json!([owner]),
    }
    Ok(object)
}

/// Timestamp as `yyyyMMddHHmmss`, in UTC.
pub(super) fn format_datetime(at: Option<&str>) -> String {
    let at: Timestamp = at.and_then(|t| t.parse().ok()).unwrap_or_default();
    at.strftime("%Y%m%d%H%M%S").to_string()
}
