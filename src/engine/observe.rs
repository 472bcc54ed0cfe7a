//! Gathers what one look at a Release needs, from the caches; objects of other kinds are asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{Options, act, cache::Cache};
use crate::{
    api::{
        App, Approval, Environment, EnvironmentState, EnvironmentStatus, InventoryItem, LaneMode, Release, Served,
        gateway_api::RouteParentStatus, label,
    },
    cluster::{clusters::Clusters, error},
    domain::{
        batches::{WorkloadSeen, is_rolled},
        text::Clean,
        workflow::{
            Closed, JobSeen, Name, ObjectSeen, Observed, ProbesSeen, RoutesSeen, Trouble, lane_open, looked_at,
        },
        world::place,
    },
};

/// What is seen of one Release's surroundings; [`Observed`] borrows it.
pub(super) struct Facts {
    app: Option<Arc<App>>,
    approvals: Vec<Arc<Approval>>,
    objects: BTreeMap<InventoryItem, ObjectSeen>,
    workloads: BTreeMap<InventoryItem, WorkloadSeen>,
    pods: BTreeMap<String, u32>,
    routes: RoutesSeen,
    jobs: BTreeMap<String, JobSeen>,
    rolled: Vec<Name>,
    away: BTreeMap<String, String>,
    unseen: BTreeMap<InventoryItem, String>,
    places: BTreeSet<String>,
}

pub(super) async fn facts(options: &Options, cache: &Cache, release: &Release) -> kube::Result<Facts> {
    let (name, uid) = (release.name_any(), release.uid().unwrap_or_default());
    let app = cache.apps.get(&ObjectRef::new(&release.spec.app).within(&options.namespace));
    let app = app.map(|app| at_home(&options.clusters, app));
    let wanted = app.as_deref().map(|a| looked_at(release, a)).unwrap_or_default();
    let home = cache.workloads.look();
    let (mut objects, mut workloads, mut rolled) = (BTreeMap::new(), BTreeMap::new(), vec![]);
    let (mut away, mut places, mut unseen) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    // Elsewhere somebody else's App may have the same name.
    let own: BTreeSet<String> = wanted.iter().map(|i| i.namespace.clone()).collect();
    for item in wanted {
        let elsewhere = cache.elsewhere.of(&item.namespace);
        if let Some((context, namespace)) = elsewhere {
            if !namespace.is_empty() && !places.contains_key(&item.namespace) {
                let seen = cache.elsewhere.place(&item.namespace, context, namespace);
                if let Some(why) = seen.away() {
                    away.entry(context.to_owned()).or_insert(why);
                }
                places.insert(item.namespace.clone(), seen);
            }
            if away.contains_key(context) {
                continue;
            }
        }
        // Of workloads the cache is asked: a patch carries the resourceVersion that was read.
        if is_rolled(&item) {
            rolled.push((item.namespace.clone(), item.name.clone()));
            let seen = match elsewhere {
                Some((_, namespace)) => {
                    places.get(&item.namespace).and_then(|p| p.workloads.look().seen(&item, namespace))
                }
                None => home.seen(&item, &item.namespace),
            };
            if let Some(seen) = seen {
                objects.insert(item.clone(), object(seen.meta()));
                workloads.insert(item, seen);
                continue;
            }
        }
        match (act::get(options, &item).await, elsewhere) {
            (Ok(Some(found)), _) => drop(objects.insert(item, object(&found.metadata))),
            (Ok(None), _) => {}
            (Err(why), _) if is_refusal(&why) => drop(unseen.insert(item, error::words(&why))),
            (Err(why), Some((context, _))) => drop(away.insert(context.to_owned(), error::words(&why))),
            (Err(why), None) => return Err(why),
        }
    }
    let mut alive = BTreeMap::new();
    let afar: Vec<_> = places.values().flat_map(|p| p.workloads.pods.state()).collect();
    let near = home.pods.iter().filter(|p| p.namespace().is_some_and(|n| own.contains(&n)));
    for pod in near.chain(&afar).filter(|p| p.labels().get(label::APP) == Some(&release.spec.app)) {
        if let Some(environment) = pod.labels().get(label::ENVIRONMENT) {
            *alive.entry(environment.clone()).or_insert(0) += 1;
        }
    }
    let mut approvals = cache.approvals.state();
    approvals.retain(|a| a.spec.release == name);
    let jobs = cache.jobs.state();
    let jobs = jobs.iter().filter(|j| j.annotations().get(label::CREATED_BY) == Some(&uid));
    let closed = closed(cache, release, app.as_deref());
    Ok(Facts {
        app,
        approvals,
        objects,
        workloads,
        pods: alive,
        routes: routes(cache, &release.spec.app, closed),
        jobs: jobs.map(|j| (j.name_any(), job(j))).collect(),
        rolled,
        away,
        unseen,
        places: places.into_keys().collect(),
    })
}

/// The App as it is for this engine: an environment may name home by its own context.
fn at_home(clusters: &Clusters, app: Arc<App>) -> Arc<App> {
    let is_home = |context: &str| clusters.canonical(Some(context)).is_none();
    let named = |item: &InventoryItem| place(&item.namespace).0.is_some_and(is_home);
    let held = |s: &EnvironmentStatus| s.inventory.iter().any(named);
    let held = app.status.iter().flat_map(|s| s.environments.values()).any(held);
    if !held && !app.spec.environments.iter().any(|e| e.context.as_deref().is_some_and(is_home)) {
        return app;
    }
    let mut app = App::clone(&app);
    for environment in &mut app.spec.environments {
        environment.context.take_if(|context| is_home(context));
    }
    let inventories = app.status.iter_mut().flat_map(|s| s.environments.values_mut()).map(|e| &mut e.inventory);
    for item in inventories.flatten().filter(|i| named(i)) {
        item.namespace = place(&item.namespace).1.to_owned();
    }
    Arc::new(app)
}

/// The server has answered, and will not show it: no right, no such method. That it has no time, is no such answer.
fn is_refusal(why: &kube::Error) -> bool {
    error::code(why).is_some_and(|code| (400..500).contains(&code) && !matches!(code, 401 | 408 | 429))
}

impl Facts {
    pub(super) fn observed<'a>(
        &'a self,
        release: &'a Release,
        others: &'a [&'a Release],
        approvals: &'a [&'a Approval],
        probes: Option<&'a ProbesSeen>,
        trouble: Option<&'a Trouble>,
        (since, now): (Timestamp, Timestamp),
    ) -> Observed<'a> {
        Observed {
            release,
            app: self.app.as_deref(),
            others,
            approvals,
            objects: &self.objects,
            workloads: &self.workloads,
            pods: &self.pods,
            routes: &self.routes,
            away: &self.away,
            unseen: &self.unseen,
            jobs: &self.jobs,
            probes,
            trouble,
            since,
            now,
        }
    }

    /// The workloads it may roll, there or not.
    pub(super) fn rolled(&self) -> impl Iterator<Item = &Name> {
        self.rolled.iter()
    }

    /// The namespaces of other contexts that it looks at.
    pub(super) fn places(self) -> BTreeSet<String> {
        self.places
    }

    /// The Approvals that name the Release.
    pub(super) fn approvals(&self) -> Vec<&Approval> {
        self.approvals.iter().map(|a| &**a).collect()
    }
}

fn object(meta: &ObjectMeta) -> ObjectSeen {
    let annotation = |key: &str| meta.annotations.as_ref()?.get(key).cloned();
    let label = |key: &str| meta.labels.as_ref()?.get(key).cloned();
    ObjectSeen {
        uid: meta.uid.clone().unwrap_or_default(),
        applied: annotation(label::APPLIED),
        created_by: annotation(label::CREATED_BY),
        owner: label(label::APP).zip(label(label::ENVIRONMENT)),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// Which Services the lanes' routes name, and whether every gateway has answered to what was written last for the
/// groups that an App is in.
fn routes(cache: &Cache, app: &str, closed: BTreeMap<String, Closed>) -> RoutesSeen {
    let groups: BTreeMap<_, _> = cache.groups.state().into_iter().map(|g| (g.name_any(), g)).collect();
    let (mut backends, mut troubles) = (BTreeSet::new(), BTreeMap::new());
    let mut pending = false;
    // Routes of others are not in a lane's hands.
    for route in cache.routes.state().iter().filter(|r| r.labels().contains_key(label::LANE_GROUP)) {
        let home = route.namespace().unwrap_or_default();
        let group = route.labels().get(label::LANE_GROUP).and_then(|own| groups.get(own));
        let told = group.and_then(|g| g.status.as_ref()).map(|s| s.routes.as_slice()).unwrap_or_default();
        let trouble = told.iter().find(|r| r.name == route.name_any()).and_then(|r| r.message.as_deref());
        for backend in route.spec.rules.iter().flat_map(|r| &r.backend_refs) {
            let service = (backend.namespace.clone().unwrap_or_else(|| home.clone()), backend.name.clone());
            let trouble = trouble.map(|why| format!("HTTPRoute {}: {}", route.name_any(), Clean::from_untrusted(why)));
            troubles.extend(trouble.map(|why| (service.clone(), why)));
            backends.insert(service);
        }
        if !group.is_some_and(|g| g.spec.apps.iter().any(|a| a.app == app)) {
            continue;
        }
        // A parent that nobody ever answered for takes no requests either.
        let generation = route.metadata.generation;
        let late = |parent: &RouteParentStatus| {
            let mut taken = parent.conditions.iter().filter(|c| c.type_ == "Accepted");
            taken.any(|c| c.observed_generation < generation)
        };
        let wanted = |p: &&RouteParentStatus| route.spec.parent_refs.contains(&p.parent_ref);
        pending |= route.status.iter().flat_map(|s| &s.parents).filter(wanted).any(late);
    }
    RoutesSeen { backends, troubles, pending, closed }
}

/// Enabled lanes that do not lead to the versions which this release has brought up, by their group.
fn closed(cache: &Cache, release: &Release, app: Option<&App>) -> BTreeMap<String, Closed> {
    let Some(app) = app else { return BTreeMap::new() };
    let name = app.name_any();
    let ours = |status: &EnvironmentStatus| {
        status.state == EnvironmentState::Running && status.release.as_deref() == Some(&release.name_any())
    };
    let brought = |environment: &Environment| {
        let status = app.status.as_ref().and_then(|s| s.environments.get(&environment.name));
        environment.lane.is_some() && status.is_some_and(ours)
    };
    // Most looks are at releases that have no gray version up.
    if !app.spec.environments.iter().any(brought) {
        return BTreeMap::new();
    }
    let apps = cache.apps.state();
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let releases = cache.releases.state();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    let mut routed = cache.groups.state();
    // Where services route themselves there is no route to wait for.
    routed.retain(|g| g.spec.mode != LaneMode::Agent && g.spec.apps.iter().any(|a| a.app == name));
    let mut all = BTreeMap::new();
    for lane in cache.lanes.state() {
        let (group, tag) = (&lane.spec.group, &lane.spec.tag);
        let up = app.spec.environment_of_lane(tag).is_some_and(brought);
        if !lane.spec.enabled || !up || !routed.iter().any(|g| g.name_any() == *group) {
            continue;
        }
        let told = lane.status.iter().flat_map(|s| &s.apps).find(|a| a.app == name);
        if told.is_some_and(|a| a.served == Served::Gray) {
            continue;
        }
        let reason = told.map_or("its routes are not written yet", |a| a.reason.as_str());
        let why = format!("lane {} does not lead to {name} yet: {}", lane.name_any(), Clean::from_untrusted(reason));
        all.insert(group.clone(), Closed { why, waits: lane_open(&name, tag, &app_of, &releases).is_err() });
    }
    all
}

fn job(job: &Job) -> JobSeen {
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let mut all = status.conditions.iter().flatten();
        all.find(|c| c.type_ == kind && c.status == "True").cloned()
    };
    let words = |c: k8s_openapi::api::batch::v1::JobCondition| {
        let told: Vec<String> = [c.reason, c.message].into_iter().flatten().filter(|w| !w.is_empty()).collect();
        if told.is_empty() { "it failed".into() } else { told.join(": ") }
    };
    let running = status.active.unwrap_or(0);
    JobSeen {
        item: InventoryItem {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            namespace: job.namespace().unwrap_or_default(),
            name: job.name_any(),
            uid: job.uid().unwrap_or_default(),
        },
        succeeded: condition("Complete").is_some(),
        digest: None,
        failed: condition("Failed").map(words),
        message: (running > 0).then(|| format!("{running} pod at work")),
    }
}
