//! Takes the steps of a release, the only writes that its tasks ask for: [`StepRunner::take_step`]
//! names them all. Every step is idempotent. The first that fails ends the pass and is reported.

mod app;
mod objects;

use std::time::Duration;

use kube::{Api, ResourceExt, core::DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Options,
    cache::Cache,
    probes::Probes,
    workloads::{self, WrittenWorkload},
};
use crate::{
    api::{InventoryItem, NamespaceRef, ObjectKey, ObjectRef, Release, Uid, label},
    cluster::error,
    domain::{
        account::Account, batches::is_batched, command_line::CommandLine, owner::describe_object,
        workflow::ReleaseStep,
    },
};
use objects::{create_object, delete_object};

pub(super) use objects::{apply_object, is_manager_conflict, object_api, other_managers};

/// Maximum number of writes after conflicts.
const MAX_CONFLICT_TRIES: usize = 5;

/// Takes the steps of one release.
pub(super) struct StepRunner<'a> {
    pub(super) options: &'a Options,
    pub(super) cache: &'a Cache,
    pub(super) probes: &'a Probes,
    pub(super) release: &'a Release,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Others have undone the same write too often to try it again now.
    #[error("{message}")]
    Undone {
        message: String,
        /// Minimum time before the next try.
        wait: Duration,
    },
    #[error("{job} exists already, and not from this release: delete it and retry, or abort")]
    ForeignJob { job: String },
    /// The server did not take it.
    #[error(
        "{what}: {}{}", error::describe_error(.source),
        .force.as_ref().map(|f| format!("; `{f}` takes these fields over")).unwrap_or_default()
    )]
    Server {
        /// What was to be written.
        what: String,
        /// Command that also takes fields of other managers, if these were the reason. They stay
        /// theirs until a person decides.
        force: Option<CommandLine>,
        source: kube::Error,
    },
}

impl StepError {
    /// Whether trying again without a change does not help.
    pub(super) fn is_permanent(&self) -> bool {
        match self {
            Self::Undone { .. } => false,
            Self::ForeignJob { .. } => true,
            Self::Server { force, source, .. } => {
                force.is_some() || matches!(error::status_code(source), Some(400 | 405 | 415 | 422))
            }
        }
    }

    /// Whether the server refused it. A server that has just started refuses everything, so this
    /// becomes permanent only if it lasts.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Server { source, .. } if error::status_code(source) == Some(403))
    }

    /// Minimum time before the next try.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Undone { wait, .. } => Some(*wait),
            Self::ForeignJob { .. } | Self::Server { .. } => None,
        }
    }
}

impl StepRunner<'_> {
    /// Takes the steps in order, until one fails.
    #[tracing::instrument(level = "debug", skip_all, fields(steps = steps.len()))]
    pub(super) async fn execute_steps(&self, steps: &[ReleaseStep]) -> Result<(), StepError> {
        for step in steps {
            self.begin_write(step).await?;
            let taken = self.take_step(step).await;
            // It has changed since it was read: reconcile again.
            if let (
                ReleaseStep::Patch {
                    workload, patch, ..
                },
                Err(StepError::Server { source, .. }),
            ) = (step, &taken)
                && error::is_conflict(source)
            {
                self.cache.conflicts.cancel_write(workload, patch);
                return Ok(());
            }
            self.options.telemetry.count_step(step, taken.is_err());
            taken?;
        }
        Ok(())
    }

    /// Notes the write of an object that others may write too. Fails when they have undone it too
    /// often to try again now.
    async fn begin_write(&self, step: &ReleaseStep) -> Result<(), StepError> {
        let (written, wanted, by) = match step {
            ReleaseStep::Apply { object, by, .. } => (ObjectRef::from_object(object), object, by),
            ReleaseStep::Patch {
                workload,
                patch,
                by,
                ..
            } => (workload.clone(), patch, by),
            _ => return Ok(()),
        };
        let noted = self
            .cache
            .conflicts
            .begin_write(&written, wanted, Instant::now());
        let Err(undone) = noted else { return Ok(()) };
        let managers = other_managers(self.options, &written, by).await;
        Err(StepError::Undone {
            message: undone.describe_conflict(&written, &managers),
            wait: undone.wait,
        })
    }

    /// Takes one step.
    async fn take_step(&self, step: &ReleaseStep) -> Result<(), StepError> {
        let answer = match step {
            ReleaseStep::SetEnvironment {
                environment,
                status,
            } => self.write_environment_status(environment, status).await,
            ReleaseStep::RemoveEnvironment(name) => self.remove_environment(name).await,
            ReleaseStep::Apply {
                object,
                seen,
                force,
                by,
            } => self.apply(object, seen.as_deref(), *force, by).await,
            ReleaseStep::Patch {
                workload,
                patch,
                why,
                by,
            } => self.patch_workload(workload, patch, why, by).await,
            ReleaseStep::CreateJob(job) => return self.create_job(step, job).await,
            ReleaseStep::Delete { item, by } => {
                delete_object(&object_api(self.options, &item.object, by), item, None).await
            }
            ReleaseStep::DeletePod {
                pod,
                version,
                why,
                by,
            } => self.delete_pod(pod, version, why, by).await,
            // Their results are observed in a later pass.
            ReleaseStep::RunProbes {
                task,
                attempt,
                group,
                probes,
            } => {
                let uid = Uid::from_meta(&self.release.metadata);
                self.probes
                    .send_probes(&uid, task, *attempt, group, probes.clone());
                Ok(())
            }
        };
        answer.map_err(|why| self.server_error(step, why))
    }

    async fn apply(
        &self,
        object: &Value,
        seen: Option<&str>,
        force: bool,
        by: &Account,
    ) -> kube::Result<()> {
        let object_ref = ObjectRef::from_object(object);
        let api = object_api(self.options, &object_ref, by);
        // An existing workload is never applied over, because that would roll it out at once.
        if is_batched(&object_ref) {
            return create_object(&api, object).await.map(drop);
        }
        let applied = apply_object(&api, object, seen, force).await;
        if !matches!(applied, Ok(true)) {
            self.cache.conflicts.cancel_write(&object_ref, object);
        }
        applied.map(drop)
    }

    /// Sends the patch of a batch. The server's answer counts as observed at once.
    async fn patch_workload(
        &self,
        workload: &ObjectRef,
        patch: &Value,
        why: &str,
        by: &Account,
    ) -> kube::Result<()> {
        let ObjectRef { kind, key, .. } = workload;
        let ObjectKey { namespace, name } = key;
        tracing::info!(
            release = self.release.name_any(),
            kind,
            %namespace,
            name,
            "{why}"
        );
        let client = self.options.clusters.client_acting_as(by);
        let place = &namespace.name;
        let written = workloads::patch_workload(client, place, workload, patch).await?;
        self.record_write(namespace, written);
        Ok(())
    }

    fn record_write(&self, namespace: &NamespaceRef, written: WrittenWorkload) {
        let remote_clusters = &self.cache.remote_clusters;
        match (
            remote_clusters.is_remote(namespace),
            remote_clusters.get_watched(namespace),
        ) {
            (false, _) => self.cache.workloads.record_write(written),
            (true, Some(place)) => place.workloads.record_write(written),
            (true, None) => {}
        }
    }

    /// Creates a Job, unless this release has created it already.
    async fn create_job(&self, step: &ReleaseStep, job: &Value) -> Result<(), StepError> {
        let job_ref = ObjectRef::from_object(job);
        let by = Account::deployer(job_ref.key.namespace.clone());
        let api = object_api(self.options, &job_ref, &by);
        let created = create_object(&api, job).await;
        let created = created.map_err(|why| self.server_error(step, why))?;
        if created.is_none() && self.is_foreign_job(&api, &job_ref.key.name).await {
            let job = describe_object(&job_ref);
            return Err(StepError::ForeignJob { job });
        }
        Ok(())
    }

    /// Whether a Job of this name exists that this release did not create.
    #[tracing::instrument(level = "debug", skip_all, fields(job = name))]
    async fn is_foreign_job(&self, api: &Api<DynamicObject>, name: &str) -> bool {
        let Ok(Some(job)) = api.get_opt(name).await else {
            return false;
        };
        let created_by = job.annotations().get(label::CREATED_BY);
        created_by.is_none_or(|uid| Some(uid) != self.release.uid().as_ref())
    }

    async fn delete_pod(
        &self,
        pod: &InventoryItem,
        version: &str,
        why: &str,
        by: &Account,
    ) -> kube::Result<()> {
        let ObjectKey { namespace, name } = &pod.object.key;
        tracing::info!(release = self.release.name_any(), %namespace, name, "{why}");
        let api = object_api(self.options, &pod.object, by);
        delete_object(&api, pod, Some(version.to_owned())).await
    }

    fn server_error(&self, step: &ReleaseStep, source: kube::Error) -> StepError {
        let kept = matches!(&source, kube::Error::Api(status) if is_manager_conflict(status));
        let force = kept.then(|| {
            CommandLine::graylane("retry")
                .arg(self.release.name_any())
                .fixed_args("--force-conflicts")
                .option_if("-n", self.release.namespace())
        });
        StepError::Server {
            what: self.describe_step(step),
            force,
            source,
        }
    }

    /// What a step is about.
    fn describe_step(&self, step: &ReleaseStep) -> String {
        match step {
            ReleaseStep::SetEnvironment { .. } | ReleaseStep::RemoveEnvironment(_) => {
                format!("App {}", self.release.spec.app)
            }
            ReleaseStep::Apply { object, .. } | ReleaseStep::CreateJob(object) => {
                describe_object(&ObjectRef::from_object(object))
            }
            ReleaseStep::Patch { workload, .. } => describe_object(workload),
            ReleaseStep::Delete { item, .. } | ReleaseStep::DeletePod { pod: item, .. } => {
                describe_object(&item.object)
            }
            ReleaseStep::RunProbes { task, .. } => format!("probes of {task}"),
        }
    }
}
