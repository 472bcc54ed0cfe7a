//! What a deploy will do: the batches that are left, or nothing.
//!
//! It asks the same functions as the engine: [`deploy::allowed_batch`] and those of [`batches`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ForecastInput, ForecastStep, ForecastStop};
use crate::{
    api::{BatchPhase, Environment, ObjectRef, ReleaseStatus, TaskStatus, label},
    domain::{
        batches::{self, Manifest, ManifestError, is_batched},
        text::join_errors,
        workflow::{
            deploy, object_error::RenderError, objects::render_placed_objects,
            proposal::expected_images,
        },
        world::Workload,
    },
};

/// What a deploy to an environment does, and where it stops.
pub(super) fn forecast_deploy(
    known: &ForecastInput,
    status: &ReleaseStatus,
    told: &TaskStatus,
    environment: &str,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let task = told.name.clone();
    let failed = |why: String| {
        Some(ForecastStop::Failed {
            task: told.name.clone(),
            why,
        })
    };
    let Some(found) = known.app.spec.environment(environment) else {
        return failed(format!(
            "app {} has no environment {environment:?}",
            known.release.spec.app
        ));
    };
    let objects = match expected_objects(known, status, found) {
        Ok(objects) => objects,
        Err(all) => return failed(join_errors(&all, "; ")),
    };
    let workloads = match forecast_workloads(known, &objects) {
        Ok(workloads) => workloads,
        Err(error) => return failed(error.to_string()),
    };
    let there = || workloads.iter().filter(|w| w.live.is_some());
    let begun = told.batches.iter().any(|b| b.started_at.is_some());
    let targets: Vec<u32> = if begun {
        told.batches.iter().map(|b| b.target).collect()
    } else {
        let sizes: Vec<u32> = there().map(|w| w.size).collect();
        let amounts = batches::plan_batches(&found.rollout.batches, &sizes);
        batches::sum_targets(&amounts, workloads.iter().map(|w| w.size))
    };
    if !begun && !workloads.is_empty() && workloads.iter().all(|w| w.same) {
        let environment = environment.to_owned();
        steps.push(ForecastStep::Unchanged { task, environment });
        return None;
    }
    let at_once = there().next().is_some() && there().all(|w| w.at_once);
    forecast_batches(known, told, found, &targets, at_once, steps)
}

/// The batches that are left. `at_once` means that without batches the first one takes all pods.
fn forecast_batches(
    known: &ForecastInput,
    told: &TaskStatus,
    environment: &Environment,
    targets: &[u32],
    at_once: bool,
    steps: &mut Vec<ForecastStep>,
) -> Option<ForecastStop> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (of, size) = (count(targets.len()), targets.last().copied().unwrap_or(0));
    let done = told
        .batches
        .iter()
        .take_while(|b| b.phase == BatchPhase::Done)
        .count();
    let control = &known.release.spec.control;
    let allowed = deploy::allowed_batch(environment, control, &told.name, targets.len());
    let reached = |n: usize| {
        n.checked_sub(1)
            .and_then(|i| targets.get(i))
            .copied()
            .unwrap_or(0)
    };
    let batch = |numbers, pods| ForecastStep::Batch {
        task: told.name.clone(),
        environment: environment.name.clone(),
        numbers,
        of,
        pods,
        size,
    };
    if at_once && done < targets.len() {
        steps.push(batch((count(done + 1), of), (reached(done), size)));
        return None;
    }
    for n in done + 1..=targets.len() {
        let number = count(n);
        if n > allowed {
            return Some(ForecastStop::Batch {
                task: told.name.clone(),
                environment: environment.name.clone(),
                number,
                of,
            });
        }
        steps.push(batch((number, number), (reached(n - 1), reached(n))));
    }
    None
}

/// A workload of an environment as it will be rolled out.
struct ForecastWorkload<'a> {
    live: Option<&'a Workload>,
    /// Pods that the rollout covers.
    size: u32,
    /// All pods are replaced at once.
    at_once: bool,
    /// It already runs what is to be deployed.
    same: bool,
}

/// Objects that a deploy to this environment will apply.
fn expected_objects(
    known: &ForecastInput,
    status: &ReleaseStatus,
    environment: &Environment,
) -> Result<Vec<Value>, Vec<RenderError>> {
    let images: BTreeMap<String, String> = expected_images(known.app, &known.release.spec, status);
    let shared = status
        .variables
        .get(&environment.name)
        .cloned()
        .unwrap_or_default();
    render_placed_objects(known.app, environment, &shared, &images)
}

fn forecast_workloads<'a>(
    known: &ForecastInput<'a>,
    objects: &[Value],
) -> Result<Vec<ForecastWorkload<'a>>, ManifestError> {
    let rolled = |object: &Value| {
        let manifest = Manifest::from_object(object)?;
        let live = (known.workload_of)(&ObjectRef::from_object(object));
        let applied = object["metadata"]["annotations"][label::APPLIED].as_str();
        let same = live.is_some_and(|w| {
            !w.latched && w.applied.as_deref().is_some_and(|a| Some(a) == applied)
        });
        let size = manifest.rollout_size_from_watch(live);
        Ok(ForecastWorkload {
            live,
            size,
            at_once: live.is_some_and(|w| w.recreates) || manifest.uses_recreate(),
            same,
        })
    };
    objects
        .iter()
        .filter(|o| is_batched(&ObjectRef::from_object(o)))
        .map(rolled)
        .collect()
}
