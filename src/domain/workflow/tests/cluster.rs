//! A cluster for tests: objects, Deployments with their controllers, lane routes, and a look that can be stale
//! or cut off anywhere.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::*;
use crate::{
    api::{AppStatus, ApprovalSpec, Control, EnvironmentState, label},
    domain::batches::simulator::Sim,
};

pub const PROD: &str = "a-prod";
pub const GRAY: &str = "a-gray";

pub struct Cluster {
    pub app: App,
    pub release: Release,
    pub others: Vec<Release>,
    pub approvals: Vec<Approval>,
    pub objects: BTreeMap<InventoryItem, ObjectSeen>,
    /// Contexts that cannot be looked at.
    pub away: BTreeMap<String, String>,
    /// Objects that the server refuses to show, and its words.
    pub unseen: BTreeMap<InventoryItem, String>,
    pub sims: BTreeMap<Name, Sim>,
    pub jobs: BTreeMap<String, JobSeen>,
    pub probes: Option<ProbesSeen>,
    pub routes: RoutesSeen,
    pub trouble: Option<Trouble>,
    /// Since when the engine looks, and now.
    pub since: i64,
    pub now: i64,
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
            {"name": "gray", "lane": "gray", "namespace": "demo", "values": {"replicas": 1}, "rollout": {"drainSeconds": 3}},
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
    let spec = json!({"app": "a", "stage": "production", "requester": "me", "images": {"backend": image}});
    let mut release = Release::new(name, serde_json::from_value(spec).unwrap());
    release.metadata.uid = Some(format!("uid-{name}"));
    release.metadata.namespace = Some("demo".into());
    release
}

impl Cluster {
    /// Production runs v1; nothing is gray.
    pub fn new(tasks: Value) -> Self {
        let mut cluster = Self {
            app: app(tasks),
            release: release("a-7", "v2"),
            others: vec![],
            approvals: vec![],
            objects: BTreeMap::new(),
            away: BTreeMap::new(),
            unseen: BTreeMap::new(),
            sims: BTreeMap::new(),
            jobs: BTreeMap::new(),
            probes: None,
            routes: RoutesSeen::default(),
            trouble: None,
            since: 1_767_225_600,
            now: 1_767_225_600,
            broken: vec![],
            made: vec![],
            ids: 0,
        };
        let images = BTreeMap::from([("backend".to_owned(), "v1".to_owned())]);
        let environment = cluster.app.spec.environment("prod").unwrap().clone();
        let objects = rendered(&cluster.app, &environment, &images).unwrap();
        let mut inventory = vec![];
        for object in &objects {
            cluster.apply(object);
            inventory.push(InventoryItem { uid: cluster.objects[&key(object)].uid.clone(), ..key(object) });
        }
        cluster.sims.values_mut().for_each(Sim::settle);
        let status = EnvironmentStatus {
            state: EnvironmentState::Running,
            version: Some("20250101000000-001".into()),
            images,
            inventory,
            ..EnvironmentStatus::default()
        };
        cluster.app.status.as_mut().unwrap().environments.insert("prod".into(), status);
        cluster.made.clear();
        cluster
    }

    pub fn look(&self) -> Decision {
        let seen = |sim: &Sim| (key(&sim.live), WorkloadSeen::Deployment(Box::new(sim.seen())));
        let workloads = self.sims.values().map(seen).collect();
        let pods = ["gray", "prod"]
            .map(|e| (e.to_owned(), self.sims.get(&name(&format!("a-{e}"))).map_or(0, |s| s.pods.len() as u32)));
        let mut objects = self.objects.clone();
        objects.retain(|item, _| !self.unseen.contains_key(item));
        let decision = decide(&Observed {
            release: &self.release,
            app: Some(&self.app),
            others: &self.others.iter().collect::<Vec<_>>(),
            approvals: &self.approvals.iter().collect::<Vec<_>>(),
            objects: &objects,
            workloads: &workloads,
            pods: &BTreeMap::from(pods),
            routes: &self.routes,
            away: &self.away,
            unseen: &self.unseen,
            jobs: &self.jobs,
            probes: self.probes.as_ref(),
            trouble: self.trouble.as_ref(),
            since: Timestamp::from_second(self.since).unwrap(),
            now: Timestamp::from_second(self.now).unwrap(),
        });
        let rolled_at_once = decision.steps.iter().find(|step| match step {
            Step::Apply { object, .. } => object["kind"] == "Deployment" && self.objects.contains_key(&key(object)),
            _ => false,
        });
        assert_eq!(rolled_at_once, None, "a Deployment that exists is patched, not applied");
        decision
    }

    /// Takes a decision's first `most` actions: the status is one, each step another.
    pub fn take(&mut self, decision: &Decision, most: usize) {
        if most == 0 {
            return;
        }
        self.release.status = Some(decision.status.clone());
        for step in decision.steps.iter().take(most - 1) {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::SetEnvironment { environment, status } => {
                let all = &mut self.app.status.as_mut().unwrap().environments;
                all.insert(environment.clone(), (**status).clone());
            }
            Step::Apply { object, .. } => self.apply(object),
            Step::Patch { workload, patch, .. } => {
                let name = (workload.namespace.clone(), workload.name.clone());
                let sim = self.sims.get_mut(&name).expect("patched what is not there");
                if sim.patch(patch).is_ok() {
                    let applied = sim.live["metadata"]["annotations"][label::APPLIED].as_str().map(str::to_owned);
                    let item = key(&sim.live);
                    self.objects.get_mut(&item).unwrap().applied = applied;
                }
            }
            Step::Delete(item) => {
                let found = InventoryItem { uid: String::new(), ..item.clone() };
                if self.objects.get(&found).is_some_and(|o| o.uid == item.uid) {
                    self.objects.remove(&found);
                    self.sims
                        .remove(&(item.namespace.clone(), item.name.clone()))
                        .filter(|_| item.kind == "Deployment");
                }
            }
            Step::DeletePod { .. } => panic!("a Deployment's pods are its controllers'"),
            Step::CreateJob(job) => {
                let name = job["metadata"]["name"].as_str().unwrap().to_owned();
                self.made.push(format!("Job {name}"));
                self.jobs.entry(name).or_default();
            }
            Step::RunProbes { task, attempt, .. } => {
                self.probes = Some(ProbesSeen { task: task.clone(), attempt: *attempt, running: true, last: None });
            }
            Step::RemoveEnvironment(name) => self.app.spec.environments.retain(|e| e.name != *name),
        }
    }

    fn apply(&mut self, object: &Value) {
        let item = key(object);
        let told = |k: &str| object["metadata"]["annotations"][k].as_str().map(str::to_owned);
        let labelled = |k: &str| object["metadata"]["labels"][k].as_str().unwrap().to_owned();
        self.ids += 1;
        let new = !self.objects.contains_key(&item);
        if item.kind == "Deployment" && !new {
            // It is created, not applied: the server refuses what an overtaken thought wants.
            return;
        }
        let seen = self.objects.entry(item.clone()).or_default();
        if new {
            seen.uid = format!("uid-{}", self.ids);
            self.made.push(format!("{} {}", item.kind, item.name));
        }
        seen.applied = told(label::APPLIED);
        seen.created_by = told(label::CREATED_BY);
        seen.owner = Some((labelled(label::APP), labelled(label::ENVIRONMENT)));
        if item.kind == "Deployment" {
            let mut sim = Sim::create(object, &seen.uid, self.now);
            sim.broken.clone_from(&self.broken);
            self.sims.insert((item.namespace, item.name), sim);
        }
    }

    /// The lane reconciler looks once: routes are there while the lane may be open and somebody serves it.
    pub fn route(&mut self) {
        let app_of = |name: &str| (name == "a").then_some(&self.app);
        let all: Vec<&Release> = self.others.iter().chain([&self.release]).collect();
        let open = lane_open("a", "gray", &app_of, &all).is_ok();
        let service = self.objects.keys().any(|i| i.kind == "Service" && i.name == GRAY);
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
        self.status().tasks.into_iter().find(|t| t.name == name).unwrap()
    }

    pub fn approve(&mut self, task: &str, by: &str, decision: crate::api::Decision) {
        let spec = ApprovalSpec {
            release: "a-7".into(),
            release_uid: "uid-a-7".into(),
            task: task.into(),
            attempt: self.status().tasks.iter().find(|t| t.name == task).map_or(1, |t| t.attempt),
            decision,
            approver: by.into(),
            comment: None,
            images: self.status().images,
        };
        self.approvals.push(Approval::new(&format!("{task}-{by}"), spec));
    }

    /// Everything goes on until nothing does any more.
    pub fn settle(&mut self) {
        let mut before = None;
        for _ in 0..300 {
            let decision = self.look();
            self.take(&decision, usize::MAX);
            self.tick();
            self.sims.values_mut().for_each(Sim::settle);
            self.route();
            let now =
                (self.release.status.clone(), self.app.status.clone(), decision.steps.is_empty(), self.routes.clone());
            let still = decision.look_again.is_none_or(|a| a.as_secs() > 10) && decision.steps.is_empty();
            if still && before.as_ref() == Some(&now) {
                return;
            }
            before = Some(now);
        }
        panic!("never settles: {:#?}", self.status());
    }

    pub fn tick(&mut self) {
        self.now += 1;
        let now = self.now;
        self.sims.values_mut().for_each(|s| s.now = s.now.max(now));
    }

    pub fn environment(&self, name: &str) -> EnvironmentStatus {
        self.app.status.as_ref().unwrap().environments.get(name).cloned().unwrap_or_default()
    }

    /// What was made for an environment and stands in no inventory: nobody would ever clean it up.
    pub fn unnoted(&self) -> Vec<&InventoryItem> {
        let noted = |item: &InventoryItem, environment: &str| {
            self.environment(environment).inventory.iter().any(|i| i.kind == item.kind && i.name == item.name)
        };
        let ours = |seen: &ObjectSeen| seen.owner.as_ref().map(|(_, environment)| environment.clone());
        let all = self.objects.iter().filter(|(item, seen)| ours(seen).is_some_and(|e| !noted(item, &e)));
        all.map(|(item, _)| item).collect()
    }

    /// New and old pods in production.
    pub fn prod(&self) -> (u32, u32) {
        let sim = &self.sims[&name(PROD)];
        (sim.of("v2").0, sim.of("v1").0)
    }

    pub fn has_gray(&self) -> bool {
        self.objects.keys().any(|i| i.name.starts_with(GRAY))
    }
}

pub fn name(name: &str) -> Name {
    ("demo".into(), name.into())
}
