//! Gathers what is needed to reconcile a Release from the caches. Objects of other kinds are read
//! from the API.

pub(super) mod events;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, ResourceExt};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    Options, act, build_digests, cache::Cache, remote_clusters::RemoteNamespace,
    workloads::WorkloadSnapshot,
};
use crate::{
    api::{
        App, ClusterName, Environment, EnvironmentState, EnvironmentStatus, InventoryItem,
        LaneMode, NamespaceRef, ObjectRef, Release,
        ReleasePhase::Aborting,
        RolloutRecord, Served, TaskKind, TaskPhase, Uid, VariableGroup,
        gateway_api::{HttpRoute, RouteParentStatus},
        label,
    },
    cluster::error,
    domain::{
        account::Account,
        batches::{WorkloadSeen, is_batched},
        owner::{self, Owner, OwnershipMarks},
        revision::{FrozenApp, FrozenAppError, Revision},
        text::Clean,
        workflow::{
            ClosedLane, JobSeen, ObjectSeen, ReleaseFacts, RoutesSeen, check_lane_open,
            group_names, objects_to_observe,
        },
        world::ObjectKey,
    },
};

/// Maximum number of concurrent reads for one release.
const MAX_CONCURRENT_READS: usize = 8;

/// What was observed of one Release.
pub(super) struct Observation {
    pub(super) facts: ReleaseFacts,
    /// Workloads that it may roll out, existing or not.
    pub(super) rolled: Vec<ObjectKey>,
    /// Namespaces of remote clusters that it uses.
    pub(super) remote_namespaces: BTreeSet<NamespaceRef>,
}

/// Runs CPU-bound work, such as rendering templates, without blocking other tasks of this thread,
/// in particular renewals of the Lease.
pub(super) fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
pub(super) async fn observe_release(
    options: &Options,
    cache: &Cache,
    release: &Release,
) -> kube::Result<Observation> {
    let (name, uid) = (release.name_any(), release.uid());
    let (app, groups) = if release.status.as_ref().is_none_or(|s| s.tasks.is_empty()) {
        read_for_new_release(options, cache, release).await?
    } else {
        (
            read_frozen_app(options, cache, release).await?,
            BTreeMap::new(),
        )
    };
    let app = app.map(|app| app.at_home(|cluster| options.clusters.is_home(cluster)));
    let wanted = app
        .as_ref()
        .map(|a| run_blocking(|| objects_to_observe(release, a, &groups)))
        .unwrap_or_default();
    let home = cache.workloads.take_snapshot();
    let mut seen = ObjectsSeen::default();
    let asked = seen
        .take_cached(options, cache, release, &wanted, &home)
        .await;
    seen.read_others(options, asked).await?;
    let pods = count_pods(release, &wanted, &home, &seen.places);
    let mut approvals = cache.approvals.list();
    approvals.retain(|a| a.spec.release == name);
    let jobs = cache.jobs.list();
    let jobs = jobs
        .iter()
        .filter(|j| j.annotations().get(label::CREATED_BY) == uid.as_ref());
    let mut jobs = jobs.map(|j| (j.name_any(), to_job_seen(j))).collect();
    build_digests::fill_digests(options, release, &mut jobs).await?;
    let closed = find_closed_lanes(cache, release, app.as_deref().ok());
    let facts = ReleaseFacts {
        claims: find_claims(cache, &release.spec.app, &seen.objects),
        app,
        groups,
        approvals,
        objects: seen.objects,
        records: find_rollout_records(cache, &seen.workloads),
        workloads: seen.workloads,
        pods,
        routes: observe_routes(cache, &release.spec.app, closed),
        jobs,
        away: seen.away,
        unseen: seen.unseen,
    };
    Ok(Observation {
        facts,
        rolled: seen.rolled,
        remote_namespaces: seen.places.into_keys().collect(),
    })
}

/// The objects of a release, as far as they are seen.
#[derive(Default)]
struct ObjectsSeen {
    objects: BTreeMap<ObjectRef, ObjectSeen>,
    workloads: BTreeMap<ObjectRef, WorkloadSeen>,
    rolled: Vec<ObjectKey>,
    /// Watched namespaces of remote clusters.
    places: BTreeMap<NamespaceRef, Arc<RemoteNamespace>>,
    /// Clusters that cannot be reached, and why.
    away: BTreeMap<ClusterName, String>,
    /// Objects that a server refuses to show, and its error.
    unseen: BTreeMap<ObjectRef, String>,
}

/// An object to read, the account to read it with, and its cluster.
type AskedObject = (ObjectRef, Account, ClusterName);

impl ObjectsSeen {
    /// Takes the workloads from the cache; patches carry the resourceVersion that was read.
    /// Returns the objects to read from a server.
    async fn take_cached(
        &mut self,
        options: &Options,
        cache: &Cache,
        release: &Release,
        wanted: &BTreeMap<ObjectRef, Account>,
        home: &WorkloadSnapshot<'_>,
    ) -> Vec<AskedObject> {
        let mut asked = vec![];
        for (object, by) in wanted {
            let namespace = options.clusters.normalize_namespace(&object.key.namespace);
            if !namespace.cluster.is_home() {
                self.enter_remote(cache, &namespace);
                if self.away.contains_key(&namespace.cluster) {
                    continue;
                }
            }
            if is_batched(object) {
                self.rolled.push(object.key.clone());
                let seen = if namespace.cluster.is_home() {
                    home.find_workload(object)
                } else {
                    self.places
                        .get(&namespace)
                        .and_then(|p| p.workloads.take_snapshot().find_workload(object))
                };
                if let Some(mut seen) = seen {
                    let client = options.clusters.client_for(&namespace.cluster);
                    if is_under_way(release) {
                        cache
                            .events
                            .add_causes(&client, &namespace.name, &mut seen)
                            .await;
                    }
                    self.objects
                        .insert(object.clone(), to_object_seen(seen.meta()));
                    self.workloads.insert(object.clone(), seen);
                    continue;
                }
            }
            asked.push((object.clone(), by.clone(), namespace.cluster));
        }
        asked
    }

    /// Watches a namespace of a remote cluster, unless it is watched already.
    fn enter_remote(&mut self, cache: &Cache, namespace: &NamespaceRef) {
        if namespace.name.is_empty() || self.places.contains_key(namespace) {
            return;
        }
        let seen = cache.remote_clusters.get_or_watch(namespace);
        if let Some(why) = seen.unreachable_reason() {
            self.away.entry(namespace.cluster.clone()).or_insert(why);
        }
        self.places.insert(namespace.clone(), seen);
    }

    async fn read_others(
        &mut self,
        options: &Options,
        asked: Vec<AskedObject>,
    ) -> kube::Result<()> {
        let asked = asked.into_iter().map(|(object, by, cluster)| async move {
            let api = act::object_api(options, &object, &by);
            let answer = api.get_metadata_opt(&object.key.name).await;
            (answer, object, cluster)
        });
        let mut answers = stream::iter(asked).buffer_unordered(MAX_CONCURRENT_READS);
        while let Some((answer, object, cluster)) = answers.next().await {
            match (answer, cluster) {
                (Ok(Some(found)), _) => {
                    drop(self.objects.insert(object, to_object_seen(&found.metadata)));
                }
                (Ok(None), _) => {}
                (Err(why), _) if is_refusal(&why) => {
                    drop(self.unseen.insert(object, error::describe_error(&why)));
                }
                (Err(why), ClusterName::Home) => return Err(why),
                (Err(why), cluster) => {
                    drop(self.away.insert(cluster, error::describe_error(&why)));
                }
            }
        }
        Ok(())
    }
}

/// Number of the App's pods by environment.
fn count_pods(
    release: &Release,
    wanted: &BTreeMap<ObjectRef, Account>,
    home: &WorkloadSnapshot<'_>,
    places: &BTreeMap<NamespaceRef, Arc<RemoteNamespace>>,
) -> BTreeMap<String, u32> {
    // Apps in other namespaces may have the same name.
    let own: BTreeSet<&str> = wanted
        .keys()
        .map(|object| &object.key.namespace)
        .filter(|namespace| namespace.cluster.is_home())
        .map(|namespace| &*namespace.name)
        .collect();
    let afar: Vec<_> = places
        .values()
        .flat_map(|p| p.workloads.pods.list())
        .collect();
    let near = home
        .pods
        .iter()
        .filter(|p| p.namespace().is_some_and(|n| own.contains(&*n)));
    let mut alive = BTreeMap::new();
    for pod in near
        .chain(&afar)
        .filter(|p| p.labels().get(label::APP) == Some(&release.spec.app))
    {
        if let Some(environment) = pod.labels().get(label::ENVIRONMENT) {
            *alive.entry(environment.clone()).or_insert(0) += 1;
        }
    }
    alive
}

/// Reads what a new release freezes from the API, because watches of different kinds are not
/// ordered. An App or variable group that was changed before the release was started is included.
#[tracing::instrument(level = "debug", skip_all)]
async fn read_for_new_release(
    options: &Options,
    cache: &Cache,
    release: &Release,
) -> kube::Result<(
    Result<FrozenApp, FrozenAppError>,
    BTreeMap<String, VariableGroup>,
)> {
    let apps: Api<App> = Api::namespaced(options.client.clone(), &options.namespace);
    let Some(app) = apps.get_opt(&release.spec.app).await? else {
        return Ok((Err(no_app(options, release)), BTreeMap::new()));
    };
    cache.apps.record_write(&app);
    let api: Api<VariableGroup> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut groups = BTreeMap::new();
    for name in group_names(&app, &release.spec) {
        if let Some(group) = api.get_opt(&name).await? {
            groups.insert(name, group);
        }
    }
    Ok((Ok(FrozenApp::for_new_release(&app)), groups))
}

/// Frozen App of a release that has begun; or why it is not known.
#[tracing::instrument(level = "debug", skip_all)]
async fn read_frozen_app(
    options: &Options,
    cache: &Cache,
    release: &Release,
) -> kube::Result<Result<FrozenApp, FrozenAppError>> {
    let Some(app) = cache.apps.get_named(&options.namespace, &release.spec.app) else {
        return Ok(Err(no_app(options, release)));
    };
    let Some(name) = release.status.as_ref().and_then(|s| s.revision.as_ref()) else {
        return Ok(Ok(FrozenApp::for_new_release(&app)));
    };
    let aborting =
        release.spec.control.abort || release.status.as_ref().is_some_and(|s| s.phase == Aborting);
    Ok(match cache.revisions.get(options, name).await? {
        Ok(revision) => Ok(FrozenApp::for_revision(&app, &revision)),
        // The App still has the spec that the revision's name stands for.
        Err(_) if Revision::from_app(&app).name() == name => {
            let app = FrozenApp::for_new_release(&app);
            cache
                .revisions
                .ensure_revision(options, &app, &cache.releases.list())
                .await?;
            Ok(app)
        }
        // A rollback uses what the rollouts recorded themselves.
        Err(_) if aborting => Ok(FrozenApp::for_new_release(&app)),
        Err(unusable) => Err(unusable.into()),
    })
}

fn no_app(options: &Options, release: &Release) -> FrozenAppError {
    FrozenAppError::NoApp {
        app: release.spec.app.clone(),
        namespace: options.namespace.clone(),
    }
}

/// Whether the release waits for something that pods may explain.
fn is_under_way(release: &Release) -> bool {
    let tasks = release.status.iter().flat_map(|s| &s.tasks);
    let mut deploys = tasks.filter(|t| t.kind == TaskKind::Deploy && t.started_at.is_some());
    deploys.any(|t| {
        matches!(
            t.phase,
            TaskPhase::Running | TaskPhase::Paused | TaskPhase::Failed
        )
    })
}

/// Whether the server has answered and refuses to show the object. Being overloaded or
/// unauthenticated does not count.
fn is_refusal(why: &kube::Error) -> bool {
    error::status_code(why)
        .is_some_and(|code| (400..500).contains(&code) && !matches!(code, 401 | 408 | 429))
}

/// Owners by inventory of objects without marks, which were applied before marks were written.
fn find_claims(
    cache: &Cache,
    own: &str,
    objects: &BTreeMap<ObjectRef, ObjectSeen>,
) -> BTreeMap<ObjectRef, Owner> {
    let unmarked: Vec<_> = objects
        .iter()
        .filter(|(_, seen)| seen.marks.app.is_none())
        .collect();
    if unmarked.is_empty() {
        return BTreeMap::new();
    }
    let mut others = cache.apps.list();
    others.retain(|app| app.name_any() != own);
    let found = |(object, seen): (&ObjectRef, &ObjectSeen)| {
        let others = others.iter().map(|a| &**a);
        let owner = owner::find_in_inventories(others, object, &seen.uid)?;
        Some((object.clone(), owner))
    };
    unmarked.into_iter().filter_map(found).collect()
}

/// Records of earlier releases for workloads that have a latch but no annotation about it: the
/// newest record of each.
fn find_rollout_records(
    cache: &Cache,
    workloads: &BTreeMap<ObjectRef, WorkloadSeen>,
) -> BTreeMap<ObjectRef, RolloutRecord> {
    let nobodys: Vec<_> = workloads
        .iter()
        .filter(|(_, seen)| seen.is_orphaned())
        .collect();
    if nobodys.is_empty() {
        return BTreeMap::new();
    }
    let mut releases = cache.releases.list();
    releases.sort_by_key(|r| r.creation_timestamp().map(|t| t.0));
    let mut found = BTreeMap::new();
    for record in releases
        .iter()
        .flat_map(|r| r.status.iter())
        .flat_map(|s| &s.tasks)
        .flat_map(|t| &t.rollouts)
    {
        let InventoryItem { object, uid } = &record.workload;
        let is = |(workload, seen): &&(&ObjectRef, &WorkloadSeen)| {
            *workload == object && uid.is_of(seen.meta())
        };
        if nobodys.iter().any(|one| is(&one)) {
            found.insert(object.clone(), record.clone());
        }
    }
    found
}

fn to_object_seen(meta: &ObjectMeta) -> ObjectSeen {
    let annotation = |key: &str| meta.annotations.as_ref()?.get(key).cloned();
    ObjectSeen {
        uid: Uid::from_meta(meta),
        version: meta.resource_version.clone().unwrap_or_default(),
        applied: annotation(label::APPLIED),
        created_by: annotation(label::CREATED_BY).map(Uid::from),
        marks: OwnershipMarks::from_metadata(meta),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// Services that the lanes' routes name, and whether every gateway has answered to the latest
/// routes of the App's groups.
fn observe_routes(cache: &Cache, app: &str, closed: BTreeMap<String, ClosedLane>) -> RoutesSeen {
    let groups: BTreeMap<_, _> = cache
        .groups
        .list()
        .into_iter()
        .map(|g| (g.name_any(), g))
        .collect();
    let (mut backends, mut troubles) = (BTreeSet::new(), BTreeMap::new());
    let mut pending = false;
    // Lanes do not control routes of others.
    for route in cache
        .routes
        .list()
        .iter()
        .filter(|r| r.labels().contains_key(label::LANE_GROUP))
    {
        let home = route.namespace().unwrap_or_default();
        let group = route
            .labels()
            .get(label::LANE_GROUP)
            .and_then(|own| groups.get(own));
        let told = group
            .and_then(|g| g.status.as_ref())
            .map(|s| s.routes.as_slice())
            .unwrap_or_default();
        let trouble = told
            .iter()
            .find(|r| r.name == route.name_any())
            .and_then(|r| r.message.as_deref());
        for backend in route.spec.rules.iter().flat_map(|r| &r.backend_refs) {
            let namespace = backend.namespace.as_deref().unwrap_or(&home);
            let service = ObjectKey::at_home(namespace, backend.name.as_str());
            let trouble = trouble.map(|why| {
                format!(
                    "HTTPRoute {}: {}",
                    route.name_any(),
                    Clean::from_untrusted(why)
                )
            });
            troubles.extend(trouble.map(|why| (service.clone(), why)));
            backends.insert(service);
        }
        if !group.is_some_and(|g| g.spec.apps.iter().any(|a| a.app == app)) {
            continue;
        }
        pending |= is_unanswered(route);
    }
    RoutesSeen {
        backends,
        troubles,
        pending,
        closed,
    }
}

/// Whether a gateway has not answered to the latest version of the route. A parent without any
/// answer receives no requests either.
fn is_unanswered(route: &HttpRoute) -> bool {
    let generation = route.metadata.generation;
    let late = |parent: &RouteParentStatus| {
        let mut taken = parent.conditions.iter().filter(|c| c.type_ == "Accepted");
        taken.any(|c| c.observed_generation < generation)
    };
    let wanted = |p: &&RouteParentStatus| route.spec.parent_refs.contains(&p.parent_ref);
    let parents = route.status.iter().flat_map(|s| &s.parents);
    parents.filter(wanted).any(late)
}

/// Enabled lanes, by group, that do not yet lead to the versions that this release deployed.
fn find_closed_lanes(
    cache: &Cache,
    release: &Release,
    app: Option<&App>,
) -> BTreeMap<String, ClosedLane> {
    let Some(app) = app else {
        return BTreeMap::new();
    };
    let name = app.name_any();
    let brought = |environment: &Environment| has_brought_up(release, app, environment);
    // Most releases have no gray version.
    if !app.spec.environments.iter().any(brought) {
        return BTreeMap::new();
    }
    let apps = cache.apps.list();
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let releases = cache.releases.list();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    let mut routed = cache.groups.list();
    // Where services route themselves there is no route to wait for.
    routed.retain(|g| g.spec.mode != LaneMode::Agent && g.spec.apps.iter().any(|a| a.app == name));
    let mut all = BTreeMap::new();
    for lane in cache.lanes.list() {
        let (group, tag) = (&lane.spec.group, &lane.spec.tag);
        let up = app.spec.environment_of_lane(tag).is_some_and(brought);
        if !lane.spec.enabled || !up || !routed.iter().any(|g| g.name_any() == *group) {
            continue;
        }
        let told = lane
            .status
            .iter()
            .flat_map(|s| &s.apps)
            .find(|a| a.app == name);
        if told.is_some_and(|a| a.served == Served::Gray) {
            continue;
        }
        let reason = told.map_or("its routes are not written yet", |a| a.reason.as_str());
        let why = format!(
            "lane {} does not lead to {name} yet: {}",
            lane.name_any(),
            Clean::from_untrusted(reason)
        );
        all.insert(
            group.clone(),
            ClosedLane {
                why,
                waits: check_lane_open(&name, tag, &app_of, &releases).is_err(),
            },
        );
    }
    all
}

/// Whether this release has deployed the lane's version of an environment.
fn has_brought_up(release: &Release, app: &App, environment: &Environment) -> bool {
    let ours = |status: &EnvironmentStatus| {
        status.state == EnvironmentState::Running
            && status.release.as_deref() == Some(&release.name_any())
    };
    let status = app
        .status
        .as_ref()
        .and_then(|s| s.environments.get(&environment.name));
    environment.lane.is_some() && status.is_some_and(ours)
}

fn to_job_seen(job: &Job) -> JobSeen {
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let mut all = status.conditions.iter().flatten();
        all.find(|c| c.type_ == kind && c.status == "True").cloned()
    };
    let words = |c: k8s_openapi::api::batch::v1::JobCondition| {
        let told: Vec<String> = [c.reason, c.message]
            .into_iter()
            .flatten()
            .filter(|w| !w.is_empty())
            .collect();
        if told.is_empty() {
            "it failed".into()
        } else {
            told.join(": ")
        }
    };
    let running = status.active.unwrap_or(0);
    let key = ObjectKey::at_home(job.namespace().unwrap_or_default(), job.name_any());
    JobSeen {
        item: InventoryItem::new(
            ObjectRef::new("batch/v1", "Job", key),
            Uid::from_meta(&job.metadata),
        ),
        succeeded: condition("Complete").is_some(),
        digest: None,
        failed: condition("Failed").map(words),
        message: (running > 0).then(|| format!("{running} pod at work")),
    }
}
