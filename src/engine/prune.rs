//! Deletes the finished releases that their App's history no longer keeps, with their Approvals and
//! build Jobs. These are garbage-collected by their owner reference; older ones without it are
//! deleted here. Each pass deletes a limited number, oldest first.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use super::{Options, cache::Cache, observe};
use crate::{
    api::{App, Approval, InventoryItem, NamespaceRef, ObjectKey, Release, Uid, label},
    cluster::error,
    domain::{account::Account, owner::is_same, prune},
};

/// Maximum number of releases, and of orphaned objects, for one pass.
const MAX_PER_PASS: usize = 32;
/// Maximum number of concurrent deletions.
const MAX_CONCURRENT_DELETES: usize = 4;

/// The server refused something that a pass needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "{doing} {what}: {}{}",
    error::describe_error(.error),
    if error::status_code(.error) == Some(403) {
        "; `graylane install` gives the engine this right"
    } else {
        ""
    }
)]
pub(super) struct PruneError {
    doing: &'static str,
    /// Kind and name of the object.
    what: String,
    error: kube::Error,
}

/// Result of a pass.
pub(super) struct PruneOutcome {
    /// Whether another pass should follow soon.
    pub(super) more: bool,
}

/// Deletes some finished releases and orphaned objects.
#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn prune_releases(
    options: &Options,
    cache: &Cache,
) -> Result<PruneOutcome, PruneError> {
    let releases = cache.releases.list();
    let dependents = Dependents::collect_unowned(options, cache, &releases);
    let over = releases_to_prune(cache, &releases);
    let mut more = over.len() > MAX_PER_PASS;
    let over = over
        .into_iter()
        .take(MAX_PER_PASS)
        .map(|(release, why)| delete_release(options, &dependents, release, why));
    stream::iter(over)
        .buffer_unordered(MAX_CONCURRENT_DELETES)
        .try_collect::<Vec<()>>()
        .await?;
    // Objects of releases that somebody else has deleted.
    let orphans = dependents.orphans();
    more |= orphans.len() > MAX_PER_PASS;
    let orphans = orphans
        .into_iter()
        .take(MAX_PER_PASS)
        .map(|one| delete_orphan(options, one));
    stream::iter(orphans)
        .buffer_unordered(MAX_CONCURRENT_DELETES)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(PruneOutcome { more })
}

fn releases_to_prune(
    cache: &Cache,
    releases: &[Arc<Release>],
) -> Vec<(Arc<Release>, prune::PruneReason)> {
    let apps: BTreeMap<String, Arc<App>> = cache
        .apps
        .list()
        .into_iter()
        .map(|a| (a.name_any(), a))
        .collect();
    let app_of = |name: &str| apps.get(name).map(|a| &**a);
    let stands = |item: &InventoryItem| workload_exists(cache, &apps, item);
    let around = prune::Surroundings {
        app_of: &app_of,
        stands: &stands,
        now: Timestamp::now(),
    };
    let all: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    let found: BTreeMap<String, prune::PruneReason> =
        observe::run_blocking(|| prune::releases_to_prune(&all, &around))
            .into_iter()
            .map(|(r, why)| (r.name_any(), why))
            .collect();
    let mut over: Vec<_> = releases
        .iter()
        .filter_map(|r| Some((Arc::clone(r), *found.get(&r.name_any())?)))
        .collect();
    over.sort_by_key(|(r, _)| (r.creation_timestamp().map(|t| t.0), r.name_any()));
    over
}

/// In the home cluster the watch knows. Workloads of remote clusters are not watched for this; one
/// that is in an inventory may exist.
fn workload_exists(cache: &Cache, apps: &BTreeMap<String, Arc<App>>, item: &InventoryItem) -> bool {
    let InventoryItem { object, uid } = item;
    let ObjectKey { namespace, name } = &object.key;
    if cache.remote_clusters.is_remote(namespace) {
        let environments = apps
            .values()
            .flat_map(|a| &a.status)
            .flat_map(|s| s.environments.values());
        return environments
            .flat_map(|e| &e.inventory)
            .any(|held| is_same(&held.object, object));
    }
    let live = if object.kind == "StatefulSet" {
        cache
            .workloads
            .stateful
            .get_named(&namespace.name, name)
            .map(|s| Uid::from_meta(s.meta()))
    } else {
        cache
            .workloads
            .deployments
            .get_named(&namespace.name, name)
            .map(|d| Uid::from_meta(d.meta()))
    };
    live.is_some_and(|live| uid.is_empty() || live == *uid)
}

/// Approvals and build Jobs without an owner reference to their release, by its UID.
struct Dependents {
    by_uid: BTreeMap<Uid, Vec<Dependent>>,
    known: HashSet<Uid>,
}

#[derive(Clone)]
enum Dependent {
    Approval(Arc<Approval>),
    Job(Arc<Job>),
}

impl Dependent {
    /// Name and UID of its release.
    fn release_ref(&self) -> Option<(&str, Uid)> {
        match self {
            Self::Approval(approval) => {
                Some((&approval.spec.release, approval.spec.release_uid.clone()))
            }
            Self::Job(job) => {
                let told = |key: &str| job.annotations().get(key).map(String::as_str);
                // Jobs from manifests have these annotations too, but they belong to an environment
                // and stay.
                let is_build = told(label::APPLIED).is_none()
                    && !job.labels().contains_key(label::ENVIRONMENT);
                Some((told(label::RELEASE)?, told(label::CREATED_BY)?.into())).filter(|_| is_build)
            }
        }
    }

    fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        match self {
            Self::Approval(approval) => approval.meta(),
            Self::Job(job) => job.meta(),
        }
    }

    async fn delete_dependent(&self, options: &Options) -> Result<(), PruneError> {
        match self {
            Self::Approval(approval) => delete_object(own_api(options), &**approval, false).await,
            Self::Job(job) => {
                let by = Account::deployer(NamespaceRef::at_home(options.namespace.as_str()));
                delete_object(
                    Api::namespaced(options.clusters.client_acting_as(&by), &options.namespace),
                    &**job,
                    false,
                )
                .await
            }
        }
        .map(drop)
    }
}

impl Dependents {
    fn collect_unowned(options: &Options, cache: &Cache, releases: &[Arc<Release>]) -> Self {
        let approvals = cache.approvals.list().into_iter().map(Dependent::Approval);
        let mut jobs = cache.jobs.list();
        jobs.retain(|j| j.namespace().as_deref() == Some(&options.namespace));
        let mut by_uid: BTreeMap<Uid, Vec<Dependent>> = BTreeMap::new();
        for dependent in approvals.chain(jobs.into_iter().map(Dependent::Job)) {
            let meta = dependent.meta();
            let Some((_, uid)) = dependent
                .release_ref()
                .filter(|_| meta.deletion_timestamp.is_none())
            else {
                continue;
            };
            if !meta
                .owner_references
                .iter()
                .flatten()
                .any(|o| o.uid == uid.as_str())
            {
                by_uid.entry(uid).or_default().push(dependent);
            }
        }
        Self {
            by_uid,
            known: releases.iter().map(|r| Uid::from_meta(r.meta())).collect(),
        }
    }

    fn orphans(&self) -> Vec<Dependent> {
        let gone = self
            .by_uid
            .iter()
            .filter(|(uid, _)| !self.known.contains(*uid));
        gone.flat_map(|(_, dependents)| dependents)
            .cloned()
            .collect()
    }
}

#[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
async fn delete_release(
    options: &Options,
    dependents: &Dependents,
    release: Arc<Release>,
    why: prune::PruneReason,
) -> Result<(), PruneError> {
    if !delete_object(own_api(options), &*release, true).await? {
        return Ok(());
    }
    options.telemetry.count_pruned_release();
    tracing::info!(app = release.spec.app, release = release.name_any(), %why, "a finished release is pruned");
    // If this is interrupted, the next pass finds the rest.
    for dependent in dependents
        .by_uid
        .get(&Uid::from_meta(release.meta()))
        .into_iter()
        .flatten()
    {
        dependent.delete_dependent(options).await?;
    }
    Ok(())
}

/// Deletes an orphan. The release is read first, because watches of different kinds are not
/// ordered.
#[tracing::instrument(level = "debug", skip_all)]
async fn delete_orphan(options: &Options, orphan: Dependent) -> Result<(), PruneError> {
    let Some((name, uid)) = orphan.release_ref() else {
        return Ok(());
    };
    let api: Api<Release> = own_api(options);
    let there = api
        .get_metadata_opt(name)
        .await
        .map_err(|error| PruneError {
            doing: "reading",
            what: format!("release {name}"),
            error,
        })?;
    if there.is_some_and(|r| uid.is_of(&r.metadata)) {
        return Ok(());
    }
    orphan.delete_dependent(options).await
}

/// API for one of graylane's own kinds.
fn own_api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    options: &Options,
) -> Api<K> {
    Api::namespaced(options.client.clone(), &options.namespace)
}

/// Deletes this object with its dependents; with `as_seen` only in the version that was read.
/// Returns false if it is gone, or has been replaced or changed.
async fn delete_object<K>(api: Api<K>, object: &K, as_seen: bool) -> Result<bool, PruneError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let resource_version = object.resource_version().filter(|_| as_seen);
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: object.uid(),
        resource_version,
    });
    match api.delete(&object.name_any(), &params).await {
        Ok(_) => Ok(true),
        Err(why) if matches!(error::status_code(&why), Some(404 | 409)) => Ok(false),
        Err(error) => Err(PruneError {
            doing: "deleting",
            what: format!("{} {}", K::kind(&()).to_lowercase(), object.name_any()),
            error,
        }),
    }
}
