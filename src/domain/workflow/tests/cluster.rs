//! A cluster for tests: objects, Deployments with their controllers, lane routes, and reconcile
//! passes that can be stale or cut off anywhere.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::*;
use crate::{
    api::{App, AppStatus, ApprovalSpec, ClusterName, Control, EnvironmentState, Uid, label},
    domain::{
        account::DEPLOYER,
        batches::{is_batched, simulator::Sim, stateful::simulator::Sim as StatefulSim},
        revision::{Revision, RevisionError},
        variables::Values,
        world::ObjectKey,
    },
};

pub const PROD: &str = "a-prod";
pub const GRAY: &str = "a-gray";
/// Account that deploys to gray.
const GRAYS: &str = "deploys-gray";

pub struct Cluster {
    pub app: App,
    pub release: Release,
    pub groups: BTreeMap<String, VariableGroup>,
    pub others: Vec<Release>,
    pub approvals: Vec<Approval>,
    pub objects: BTreeMap<ObjectRef, ObjectSeen>,
    /// Owners of unmarked objects in other Apps' inventories.
    pub claims: BTreeMap<ObjectRef, Owner>,
    /// Contexts that cannot be reached.
    pub away: BTreeMap<ClusterName, String>,
    /// Objects that the server refuses to show, and its error.
    pub unseen: BTreeMap<ObjectRef, String>,
    pub sims: BTreeMap<ObjectKey, Sim>,
    /// StatefulSets by name.
    pub sets: BTreeMap<ObjectKey, StatefulSim>,
    /// What a Deployment or StatefulSet that was deleted alone leaves behind: a recreated one
    /// adopts it.
    pub orphans: BTreeMap<ObjectKey, Sim>,
    pub orphans_of_sets: BTreeMap<ObjectKey, StatefulSim>,
    pub records: BTreeMap<ObjectRef, RolloutRecord>,
    pub jobs: BTreeMap<String, JobSeen>,
    pub probes: Option<ProbesSeen>,
    pub routes: RoutesSeen,
    pub trouble: Option<StepFailure>,
    /// Wall-clock time, and time on the engine's own clock.
    pub now: i64,
    pub clock: u64,
    /// Timers of the engine; another engine starts with none.
    pub timers: RefCell<Timers>,
    pub rendered: ProposalCache,
    /// Revisions that releases were frozen with.
    pub revisions: RefCell<BTreeMap<String, Arc<Revision>>>,
    pub broken: Vec<String>,
    pub made: Vec<String>,
    ids: u32,
}

pub fn template() -> Value {
    json!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a-{{ .AppStack.envName }}}\nspec:\n  replicas: {{ .Values.replicas }}\n  \
        selector: {matchLabels: {app: a-{{ .AppStack.envName }}}}\n  template:\n    metadata: {labels: {app: a-{{ .AppStack.envName }}}}\n    \
        spec: {containers: [{name: c, image: '{{ .AppStack.image.backend }}'}]}\n---\napiVersion: v1\nkind: Service\n\
        metadata: {name: a-{{ .AppStack.envName }}}\nspec: {ports: [{port: 80}]}\n---\napiVersion: v1\nkind: ConfigMap\n\
        metadata: {name: a-{{ .AppStack.envName }}-conf}\ndata: {a: b}\n"
    )
}

pub fn app(tasks: Value) -> App {
    let spec = json!({
        "images": {"backend": {"repository": "reg/a"}},
        "manifests": [{"name": "a.yaml", "template": template()}],
        "environments": [
            {"name": "gray", "lane": "gray", "namespace": "demo", "serviceAccountName": GRAYS, "values": {"replicas": 1}, "rollout": {"drainSeconds": 3}},
            {"name": "prod", "namespace": "demo", "values": {"replicas": 4}, "rollout": {"batches": [1, "50%", "100%"]}},
        ],
        "workflow": {"stages": [{"name": "production", "tasks": tasks}]},
    });
    let mut app = App::new("a", serde_json::from_value(spec).unwrap());
    app.metadata.namespace = Some("demo".into());
    app.status = Some(AppStatus::default());
    app
}

pub fn production() -> Value {
    json!([
        {"name": "gate", "approval": {"requesterMayApprove": true}},
        {"name": "deploy-gray", "deploy": {"environment": "gray"}},
        {"name": "go", "proceed": {}},
        {"name": "deploy-prod", "deploy": {"environment": "prod"}},
        {"name": "clean", "cleanUp": {"environment": "gray"}},
    ])
}

pub fn release(name: &str, image: &str) -> Release {
    let spec =
        json!({"app": "a", "stage": "production", "requester": "me", "images": {"backend": image}});
    let mut release = Release::new(name, serde_json::from_value(spec).unwrap());
    release.metadata.uid = Some(format!("uid-{name}"));
    release.metadata.namespace = Some("demo".into());
    release
}

impl Cluster {
    /// Production runs v1; there is no gray version.
    pub fn new(tasks: Value) -> Self {
        Self::of(app(tasks))
    }

    /// Same, but production is a StatefulSet.
    pub fn with_stateful(tasks: Value) -> Self {
        let mut app = app(tasks);
        let template = &mut app.spec.manifests[0].template;
        let kind =
            "kind: {{ if eq .AppStack.envName \"prod\" }}StatefulSet{{ else }}Deployment{{ end }}";
        *template = template.replace("kind: Deployment", kind);
        Self::of(app)
    }

    pub fn of(app: App) -> Self {
        let mut cluster = Self {
            app,
            release: release("a-7", "v2"),
            groups: BTreeMap::new(),
            others: vec![],
            approvals: vec![],
            objects: BTreeMap::new(),
            claims: BTreeMap::new(),
            away: BTreeMap::new(),
            unseen: BTreeMap::new(),
            sims: BTreeMap::new(),
            sets: BTreeMap::new(),
            orphans: BTreeMap::new(),
            orphans_of_sets: BTreeMap::new(),
            records: BTreeMap::new(),
            jobs: BTreeMap::new(),
            probes: None,
            routes: RoutesSeen::default(),
            trouble: None,
            now: 1_767_225_600,
            clock: 0,
            timers: RefCell::default(),
            rendered: ProposalCache::default(),
            revisions: RefCell::default(),
            broken: vec![],
            made: vec![],
            ids: 0,
        };
        let images = BTreeMap::from([("backend".to_owned(), "v1".to_owned())]);
        let environment = cluster.app.spec.environment("prod").unwrap().clone();
        let objects = render_objects(&cluster.app, &environment, &Values::new(), &images).unwrap();
        let mut inventory = vec![];
        for object in &objects {
            cluster.apply(object);
            let object = ObjectRef::from_object(object);
            let uid = cluster.objects[&object].uid.clone();
            inventory.push(InventoryItem::new(object, uid));
        }
        cluster.settle_sims();
        let status = EnvironmentStatus {
            state: EnvironmentState::Running,
            version: Some("20250101000000-001".into()),
            images,
            inventory,
            ..EnvironmentStatus::default()
        };
        cluster
            .app
            .status
            .as_mut()
            .unwrap()
            .environments
            .insert("prod".into(), status);
        cluster.made.clear();
        cluster
    }

    pub fn look(&self) -> Decision {
        let seen = |sim: &Sim| {
            (
                ObjectRef::from_object(&sim.live),
                WorkloadSeen::Deployment(Box::new(sim.seen())),
            )
        };
        let of_set = |sim: &StatefulSim| {
            (
                ObjectRef::from_object(&sim.live),
                WorkloadSeen::StatefulSet(Box::new(sim.seen())),
            )
        };
        let workloads = self
            .sims
            .values()
            .map(seen)
            .chain(self.sets.values().map(of_set))
            .collect();
        let pods = ["gray", "prod"].map(|e| {
            let name = name(&format!("a-{e}"));
            let of_set = self.sets.get(&name).map_or(0, |s| s.pods.len());
            (
                e.to_owned(),
                (self.sims.get(&name).map_or(0, |s| s.pods.len()) + of_set) as u32,
            )
        });
        let mut objects = self.objects.clone();
        objects.retain(|object, _| !self.unseen.contains_key(object));
        let (clock, now) = (
            Duration::from_secs(self.clock),
            Timestamp::from_second(self.now).unwrap(),
        );
        let mut timers = self.timers.borrow_mut();
        timers.track_status(&self.status(), clock, now);
        let facts = ReleaseFacts {
            app: self.frozen(),
            groups: self.groups.clone(),
            approvals: self.approvals.iter().cloned().map(Arc::new).collect(),
            objects,
            claims: self.claims.clone(),
            workloads,
            records: self.records.clone(),
            pods: BTreeMap::from(pods),
            routes: self.routes.clone(),
            away: self.away.clone(),
            unseen: self.unseen.clone(),
            jobs: self.jobs.clone(),
        };
        let decision = decide_steps(&Observed {
            release: &self.release,
            others: &self.others.iter().collect::<Vec<_>>(),
            facts: &facts,
            probes: self.probes.as_ref(),
            trouble: self.trouble.as_ref(),
            timers: &timers,
            rendered: &self.rendered,
            clock,
            now,
        });
        timers.track_status(&decision.status, clock, now);
        if let (Ok(app), Some(name)) = (&facts.app, &decision.status.revision) {
            self.revisions
                .borrow_mut()
                .entry(name.clone())
                .or_insert_with(|| Arc::clone(app.revision()));
        }
        let rolled_at_once = decision.steps.iter().find(|step| match step {
            ReleaseStep::Apply { object, .. } => {
                object["kind"] == "Deployment"
                    && self.objects.contains_key(&ObjectRef::from_object(object))
            }
            _ => false,
        });
        assert_eq!(
            rolled_at_once, None,
            "a Deployment that exists is patched, not applied"
        );
        for step in &decision.steps {
            let (object, by) = match step {
                ReleaseStep::Apply { object, by, .. } => (ObjectRef::from_object(object), by),
                ReleaseStep::Patch { workload, by, .. } => (workload.clone(), by),
                ReleaseStep::DeletePod { pod: item, by, .. } | ReleaseStep::Delete { item, by } => {
                    (item.object.clone(), by)
                }
                _ => continue,
            };
            let name = if object.key.name.starts_with(GRAY) {
                GRAYS
            } else {
                DEPLOYER
            };
            let is = (&by.namespace, by.name.as_str());
            assert_eq!(is, (&object.key.namespace, name), "as whom: {step:?}");
        }
        decision
    }

    /// The App as frozen for this release.
    pub fn frozen(&self) -> Result<FrozenApp, FrozenAppError> {
        let Some(name) = self.status().revision else {
            return Ok(FrozenApp::for_new_release(&self.app));
        };
        let known = self.revisions.borrow().get(&name).cloned();
        known
            .map(|revision| FrozenApp::for_revision(&self.app, &revision))
            .ok_or(RevisionError::Gone(name).into())
    }

    /// Carries out the first `most` actions of a decision: the status is one, each step another.
    pub fn take(&mut self, decision: &Decision, most: usize) {
        if most == 0 {
            return;
        }
        self.release.status = Some(decision.status.clone());
        for step in decision.steps.iter().take(most - 1) {
            self.step(step);
        }
    }

    fn step(&mut self, step: &ReleaseStep) {
        match step {
            ReleaseStep::SetEnvironment {
                environment,
                status,
            } => {
                let all = &mut self.app.status.as_mut().unwrap().environments;
                all.insert(environment.clone(), (**status).clone());
            }
            ReleaseStep::Apply { object, .. } => self.apply(object),
            ReleaseStep::Patch {
                workload, patch, ..
            } => {
                let name = &workload.key;
                let (done, live) = if workload.kind == "StatefulSet" {
                    let sim = self.sets.get_mut(name).expect("patched what is not there");
                    (sim.patch(patch), &sim.live)
                } else {
                    let sim = self.sims.get_mut(name).expect("patched what is not there");
                    (sim.patch(patch), &sim.live)
                };
                if done.is_ok() {
                    let applied = live["metadata"]["annotations"][label::APPLIED]
                        .as_str()
                        .map(str::to_owned);
                    self.objects
                        .get_mut(&ObjectRef::from_object(live))
                        .unwrap()
                        .applied = applied;
                }
            }
            ReleaseStep::Delete { item, .. } => {
                let InventoryItem { object, uid } = item;
                if self.objects.get(object).is_some_and(|o| o.uid == *uid) {
                    self.objects.remove(object);
                    match object.kind.as_str() {
                        "Deployment" => drop(self.sims.remove(&object.key)),
                        "StatefulSet" => drop(self.sets.remove(&object.key)),
                        _ => {}
                    }
                }
            }
            ReleaseStep::DeletePod { pod, version, .. } => {
                assert!(
                    !self.sets.is_empty(),
                    "a Deployment's pods are its controllers'"
                );
                // A stale deletion is refused.
                for sim in self.sets.values_mut() {
                    let _ = sim.delete_pod(&pod.uid, version);
                }
            }
            ReleaseStep::CreateJob(job) => {
                let name = job["metadata"]["name"].as_str().unwrap().to_owned();
                self.made.push(format!("Job {name}"));
                self.jobs.entry(name).or_default();
            }
            ReleaseStep::RunProbes { task, attempt, .. } => {
                self.probes = Some(ProbesSeen {
                    task: task.clone(),
                    attempt: *attempt,
                    running: true,
                    last: None,
                });
            }
            ReleaseStep::RemoveEnvironment(name) => {
                self.app.spec.environments.retain(|e| e.name != *name);
            }
        }
    }

    fn apply(&mut self, object: &Value) {
        let named = ObjectRef::from_object(object);
        let told = |k: &str| {
            object["metadata"]["annotations"][k]
                .as_str()
                .map(str::to_owned)
        };
        let labelled = |k: &str| object["metadata"]["labels"][k].as_str().unwrap().to_owned();
        self.ids += 1;
        let new = !self.objects.contains_key(&named);
        if is_batched(&named) && !new {
            // The server refuses a stale decision to create it: it exists already.
            return;
        }
        let seen = self.objects.entry(named.clone()).or_default();
        if new {
            seen.uid = format!("uid-{}", self.ids).into();
            self.made.push(named.kind_and_name());
        }
        seen.applied = told(label::APPLIED);
        seen.created_by = told(label::CREATED_BY).map(Uid::from);
        seen.marks.app = Some(labelled(label::APP));
        seen.marks.environment = Some(labelled(label::ENVIRONMENT));
        seen.marks.by_us = true;
        let name = named.key;
        match named.kind.as_str() {
            "Deployment" => {
                let mut sim = Sim::create(object, seen.uid.as_str(), self.now);
                sim.broken.clone_from(&self.broken);
                self.orphans
                    .remove(&name)
                    .into_iter()
                    .for_each(|left| sim.adopt(left));
                self.sims.insert(name, sim);
            }
            "StatefulSet" => {
                let mut sim = StatefulSim::create(object, seen.uid.as_str(), self.now);
                sim.broken.clone_from(&self.broken);
                self.orphans_of_sets
                    .remove(&name)
                    .into_iter()
                    .for_each(|left| sim.adopt(left));
                self.sets.insert(name, sim);
            }
            _ => {}
        }
    }

    /// Lets all controllers and kubelets settle.
    pub fn settle_sims(&mut self) {
        self.sims.values_mut().for_each(Sim::settle);
        self.sets.values_mut().for_each(StatefulSim::settle);
    }

    /// Somebody deletes the Deployment of production.
    pub fn delete_prod(&mut self) -> Option<Sim> {
        let sim = self.sims.remove(&name(PROD))?;
        self.objects.remove(&ObjectRef::from_object(&sim.live));
        Some(sim)
    }

    /// Somebody deletes the StatefulSet of production.
    pub fn delete_set(&mut self) -> Option<StatefulSim> {
        let sim = self.sets.remove(&name(PROD))?;
        self.objects.remove(&ObjectRef::from_object(&sim.live));
        Some(sim)
    }

    /// Somebody recreates it, from a file or from a saved copy.
    pub fn make_prod(&mut self, object: &Value) {
        let mut object = object.clone();
        for field in ["uid", "resourceVersion", "generation"] {
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .shift_remove(field);
        }
        object.as_object_mut().unwrap().shift_remove("status");
        self.apply(&object);
    }

    /// One pass of the lane reconciler: routes exist while the lane may be open and its Service has
    /// pods.
    pub fn route(&mut self) {
        let app_of = |name: &str| (name == "a").then_some(&self.app);
        let all: Vec<&Release> = self.others.iter().chain([&self.release]).collect();
        let open = check_lane_open("a", "gray", &app_of, &all).is_ok();
        let service = self
            .objects
            .keys()
            .any(|i| i.kind == "Service" && i.key.name == GRAY);
        let ready = self.sims.get(&name(GRAY)).is_some_and(|s| s.ready() > 0);
        self.routes.backends.clear();
        if open && service && ready {
            self.routes.backends.insert(name(GRAY));
        }
    }

    pub fn control(&mut self) -> &mut Control {
        &mut self.release.spec.control
    }

    pub fn status(&self) -> ReleaseStatus {
        self.release.status.clone().unwrap_or_default()
    }

    pub fn task(&self, name: &str) -> crate::api::TaskStatus {
        self.status()
            .tasks
            .into_iter()
            .find(|t| t.name == name)
            .unwrap()
    }

    pub fn approve(&mut self, task: &str, by: &str, decision: crate::api::Decision) {
        let spec = ApprovalSpec {
            release: self.release.name_any(),
            release_uid: Uid::from_meta(&self.release.metadata),
            task: task.into(),
            attempt: self
                .status()
                .tasks
                .iter()
                .find(|t| t.name == task)
                .map_or(1, |t| t.attempt),
            decision,
            approver: by.into(),
            comment: None,
            images: crate::domain::workflow::bound_images(&self.status()),
            revision: self.status().revision,
            digest: self
                .status()
                .tasks
                .iter()
                .find(|t| t.name == task)
                .and_then(|t| t.digest.clone()),
        };
        self.approvals
            .push(Approval::new(&format!("{task}-{by}"), spec));
    }

    /// Runs everything until nothing changes.
    pub fn settle(&mut self) {
        let mut before = None;
        for _ in 0..300 {
            let decision = self.look();
            self.take(&decision, usize::MAX);
            self.tick();
            self.settle_sims();
            self.route();
            let now = (
                self.release.status.clone(),
                self.app.status.clone(),
                decision.steps.is_empty(),
                self.routes.clone(),
            );
            let still =
                decision.look_again.is_none_or(|a| a.as_secs() > 10) && decision.steps.is_empty();
            if still && before.as_ref() == Some(&now) {
                return;
            }
            before = Some(now);
        }
        panic!("never settles: {:#?}", self.status());
    }

    pub fn tick(&mut self) {
        self.pass(1);
    }

    /// Lets this number of seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.now += seconds.cast_signed();
        self.clock += seconds;
        self.sims
            .values_mut()
            .for_each(|s| s.now += seconds.cast_signed());
        self.sets
            .values_mut()
            .for_each(|s| s.now += seconds.cast_signed());
    }

    pub fn environment(&self, name: &str) -> EnvironmentStatus {
        self.app
            .status
            .as_ref()
            .unwrap()
            .environments
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    /// Objects created for an environment that are in no inventory: nobody would ever clean them
    /// up.
    pub fn unnoted(&self) -> Vec<&ObjectRef> {
        let noted = |object: &ObjectRef, environment: &str| {
            let inventory = self.environment(environment).inventory;
            inventory.iter().any(|i| i.object == *object)
        };
        let ours = |seen: &ObjectSeen| seen.marks.environment.clone();
        let all = self
            .objects
            .iter()
            .filter(|(object, seen)| ours(seen).is_some_and(|e| !noted(object, &e)));
        all.map(|(object, _)| object).collect()
    }

    /// Number of new and old pods in production.
    pub fn prod(&self) -> (u32, u32) {
        let sim = &self.sims[&name(PROD)];
        (sim.count_by_image("v2").0, sim.count_by_image("v1").0)
    }

    pub fn has_gray(&self) -> bool {
        self.objects.keys().any(|o| o.key.name.starts_with(GRAY))
    }
}

pub fn name(name: &str) -> ObjectKey {
    ObjectKey::at_home("demo", name)
}
