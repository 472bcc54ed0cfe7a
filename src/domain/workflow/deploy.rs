//! Brings the images to an environment: the objects in their order, Deployments batch by batch, a lane's
//! Service only when its pods are ready.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::{
    ObjectSeen, Step,
    build::datetime,
    environment::{AWAY, away, locked, set, told},
    gate,
    objects::{annotate, key, placed},
    run::{Flow, Run},
};
use crate::{
    api::{
        Amount, App, BatchPhase, BatchStatus, Environment, EnvironmentState, EnvironmentStatus, InventoryItem,
        PausePolicy, TaskPhase, label,
    },
    domain::{
        batches::{self, Goal, Latch, Move, Previous, Progress, template::digest},
        observe::{DeploymentSeen, autoscaled},
        text::Clean,
    },
};

/// `held`: somebody paused the release, or the task has failed: nothing goes on, but what stands open is closed.
pub(super) fn look(run: &mut Run, index: usize, held: bool) -> Flow {
    let looked = Deploy::new(run, index).and_then(|deploy| match deploy {
        Some(deploy) => deploy.look(run, held),
        None => Ok(Flow::Stay),
    });
    match looked {
        Ok(flow) => flow,
        Err(_) if held => Flow::Stay,
        Err(why) => {
            failed(run, index, &why);
            Flow::Stay
        }
    }
}

/// Some Deployment has left its old version by this task.
pub(super) fn is_half_way(run: &Run, index: usize) -> bool {
    let task = &run.status.tasks[index].name;
    let begun = run.status.tasks[index].started_at.is_some();
    let name = run.status.tasks[index].environment.as_deref().unwrap_or_default();
    if begun && run.app().is_ok_and(|app| away(run, app, name).is_some()) {
        return true;
    }
    run.o.deployments.values().any(|d| {
        let latched = Latch::of(&d.live).ok().flatten().is_some_and(|l| l.release_uid == run.uid() && l.task == *task);
        let by = Previous::of(&d.live).and_then(|p| p.by);
        latched || by.is_some_and(|by| by.release_uid == run.uid() && by.task == *task)
    })
}

fn failed(run: &mut Run, index: usize, why: &str) {
    let name = run.status.tasks[index].environment.clone().unwrap_or_default();
    let begun = run.status.tasks[index].started_at.is_some();
    run.fail(index, why);
    if let (Ok(app), true) = (run.app(), begun) {
        let message = Some(why.to_owned());
        let status = EnvironmentStatus { state: EnvironmentState::Error, message, ..told(app, &name) };
        set(run, app, &name, status);
    }
}

struct Deploy<'a> {
    index: usize,
    app: &'a App,
    environment: &'a Environment,
    objects: Vec<Value>,
}

/// What all Deployments of the environment say together.
struct Looked {
    waits: Vec<String>,
    stops: Vec<String>,
    acting: bool,
    all_done: bool,
}

impl<'a> Deploy<'a> {
    fn new(run: &mut Run<'a>, index: usize) -> Result<Option<Self>, String> {
        let name = run.status.tasks[index].environment.clone().unwrap_or_default();
        let app = run.app()?;
        let environment =
            app.spec.environment(&name).ok_or_else(|| format!("app {} has no environment {name:?}", run.spec().app))?;
        let objects = placed(app, environment, &run.status.images).map_err(|all| all.join("\n"))?;
        Ok(Some(Self { index, app, environment, objects }))
    }

    fn look(&self, run: &mut Run, held: bool) -> Result<Flow, String> {
        let index = self.index;
        if let Some(why) = away(run, self.app, &self.environment.name) {
            if !held {
                let begun = run.status.tasks[index].started_at.is_some();
                run.set_phase(index, if begun { TaskPhase::Running } else { TaskPhase::Pending }, Some(why));
                run.restart_batch(index);
                run.look_in(AWAY);
            }
            return Ok(Flow::Stay);
        }
        let lock = locked(self.environment);
        if run.status.tasks[index].started_at.is_none() && !self.begin(run, held, lock.clone())? {
            return Ok(Flow::Stay);
        }
        if let Some(trouble) = run.o.trouble.filter(|t| t.permanent && !held) {
            return Err(trouble.message.clone());
        }
        let task = &run.status.tasks[index];
        if task.phase == TaskPhase::Waiting && lock.is_none() {
            run.restart_batch(index);
        }
        let hold = held || lock.is_some();
        let noted = told(self.app, &self.environment.name);
        let finished = noted.state == EnvironmentState::Running
            && noted.release.as_deref() == Some(run.name())
            && noted.version == run.status.tasks[index].new_version;
        if !hold && !finished {
            self.note_inventory(run, EnvironmentState::Deploying);
        }
        let lane = self.environment.lane.is_some();
        let phase = |o: &Value| match o["kind"].as_str() {
            Some("Deployment") => 1,
            Some("Service") if lane => 2,
            _ => 0,
        };
        let mut waits = vec![];
        let mut first_done = true;
        for object in self.objects.iter().filter(|o| phase(o) == 0) {
            first_done &= self.applied(run, object, hold, &mut waits);
        }
        let looked = self.deployments(run, hold)?;
        if let (Some(why), false) = (looked.stops.first(), held) {
            return Err(why.clone());
        }
        if held {
            return Ok(Flow::Stay);
        }
        if let Some(lock) = lock {
            run.set_phase(index, TaskPhase::Waiting, Some(lock));
            return Ok(Flow::Stay);
        }
        waits.extend(looked.waits);
        let mut done = first_done && looked.all_done;
        if done {
            for object in self.objects.iter().filter(|o| phase(o) == 2) {
                done &= self.applied(run, object, hold, &mut waits);
            }
        }
        if done {
            if self.note_inventory(run, EnvironmentState::Running) {
                run.set_phase(index, TaskPhase::Succeeded, None);
                return Ok(Flow::Next);
            }
            waits.push("all is up".into());
        }
        self.tell(run, waits, looked.acting)
    }

    /// False: it may not begin yet.
    fn begin(&self, run: &mut Run, held: bool, lock: Option<String>) -> Result<bool, String> {
        let index = self.index;
        if held {
            return Ok(false);
        }
        if let Some(lock) = lock {
            run.set_phase(index, TaskPhase::Waiting, Some(lock));
            return Ok(false);
        }
        let name = &self.environment.name;
        if let Some(holder) = gate::holder(&run.spec().app, name, run.uid(), run.o.others) {
            let why = format!("{name} is held by release {holder}: this one goes on when that one is over");
            run.set_phase(index, TaskPhase::Pending, Some(why));
            return Ok(false);
        }
        for object in &self.objects {
            let item = key(object);
            let owner = run.o.objects.get(&item).and_then(|s| s.owner.clone());
            if let Some((app, environment)) = owner.filter(|o| (&*o.0, &*o.1) != (&*run.spec().app, &**name)) {
                return Err(format!(
                    "{} {}/{} belongs to {environment} of app {app}: name this one otherwise",
                    item.kind, item.namespace, item.name
                ));
            }
        }
        run.start(index);
        let before = told(self.app, name);
        let number = run.name().rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| u64::from_str_radix(&digest(&run.name().into())[..8], 16).unwrap_or(0));
        let images = run.status.images.clone();
        let task = &mut run.status.tasks[index];
        task.new_version = Some(format!("{}-{:03}", datetime(task.started_at.as_deref()), number % 1000));
        task.new_images = images;
        task.old_images = before.images;
        task.old_version = before.version;
        let message = self.warning(run);
        run.set_phase(index, TaskPhase::Running, message);
        Ok(true)
    }

    /// What others will see, said beforehand.
    fn warning(&self, run: &Run) -> Option<String> {
        let told = self.objects.iter().filter_map(|o| self.seen(run, o)).find_map(|seen| {
            let meta = &seen.live.metadata;
            let gitops = meta.labels.iter().chain(&meta.annotations).flatten().find(|(k, _)| {
                k.starts_with("argocd.argoproj.io/")
                    || k.starts_with("kustomize.toolkit.fluxcd.io/")
                    || k.starts_with("helm.toolkit.fluxcd.io/")
            });
            let recreates = seen.live.spec.as_ref()?.strategy.as_ref()?.type_.as_deref() == Some("Recreate");
            match gitops {
                Some((label, _)) => Some(format!("{label}: a GitOps tool may take the rollout for drift and undo it")),
                None => recreates.then(|| "strategy Recreate: one batch, all pods at once".to_owned()),
            }
        });
        told.map(|t| Clean::from_untrusted(&t).to_string())
    }

    /// Applies an object that is not there as it should be; true when it is.
    fn applied(&self, run: &mut Run, object: &Value, hold: bool, waits: &mut Vec<String>) -> bool {
        let item = key(object);
        let seen = run.o.objects.get(&item);
        if seen.is_some_and(|s| !s.terminating && s.applied.as_deref() == digest_of(object)) {
            return true;
        }
        if seen.is_some_and(|s| s.terminating) {
            waits.push(format!("waits for the old {} {} to be gone", item.kind, item.name));
        } else if !hold {
            waits.push(format!("applies {} {}", item.kind, item.name));
            let object = marked(run, object, seen);
            run.steps.push(Step::Apply { object, force: run.takes_over(self.index) });
        }
        false
    }

    fn seen<'r>(&self, run: &Run<'r>, object: &Value) -> Option<&'r DeploymentSeen> {
        let item = key(object);
        run.o.deployments.get(&(item.namespace, item.name)).filter(|_| item.kind == "Deployment")
    }

    fn deployments(&self, run: &mut Run, hold: bool) -> Result<Looked, String> {
        let mut all: Vec<(InventoryItem, Value, Deployment)> = vec![];
        for object in self.objects.iter().filter(|o| o["kind"] == "Deployment") {
            let marked = marked(run, object, run.o.objects.get(&key(object)));
            let typed = serde_json::from_value(marked.clone()).map_err(|e| e.to_string())?;
            all.push((key(object), marked, typed));
        }
        let rollout = &self.environment.rollout;
        let seen = |item: &InventoryItem| run.o.deployments.get(&(item.namespace.clone(), item.name.clone()));
        let amounts = frozen(run, &all).unwrap_or_else(|| {
            let replicas = |(item, _, d): &(InventoryItem, Value, Deployment)| Some(replicas(seen(item)?, d));
            batches::batches(&rollout.batches, &all.iter().filter_map(replicas).collect::<Vec<_>>())
        });
        let task = run.status.tasks[self.index].clone();
        let may = run.spec().control.allow.get(&task.name).copied().unwrap_or(0) as usize;
        let allowed = match rollout.pause {
            PausePolicy::Never => amounts.len(),
            PausePolicy::First if may >= 2 => amounts.len(),
            PausePolicy::First => 1,
            PausePolicy::Every => may.max(1),
        }
        .min(amounts.len());
        let goal = |manifest, upto| Goal {
            manifest,
            release: run.name(),
            release_uid: run.uid(),
            task: &task.name,
            attempt: task.attempt,
            batches: &amounts,
            upto,
            hold,
            surge: rollout.max_surge,
            now: run.o.now,
        };
        let progress: Vec<Progress> =
            all.iter().map(|(item, _, d)| batches::progress(seen(item), &goal(d, 0))).collect();
        let done = progress.iter().map(|p| p.done).min().unwrap_or(amounts.len());
        let upto = (done + 1).min(allowed);
        let mut looked = Looked { waits: vec![], stops: vec![], acting: upto > done, all_done: true };
        let was_done = task.batches.iter().any(|b| b.phase == BatchPhase::Done);
        let mut again: Option<SignedDuration> = None;
        let mut steps = vec![];
        for (item, marked, manifest) in &all {
            let told = |why: String| if all.len() == 1 { why } else { format!("{}: {why}", item.name) };
            let object = run.o.objects.get(item);
            let seen = seen(item);
            if object.is_some_and(|o| o.terminating) {
                looked.waits.push(told(format!("waits for the old Deployment {} to be gone", item.name)));
                looked.all_done = false;
                continue;
            }
            let begins_anew = was_done && done == 0 && seen.is_some_and(|s| latch(run, s).is_none());
            let next = match batches::next(seen, &goal(manifest, upto)) {
                Move::Patch(..) if begins_anew && !progress_is_new(seen, manifest) => {
                    Move::Stop("the latch was taken off by somebody else: its batches are no longer known".into())
                }
                next => next,
            };
            looked.all_done &= next == Move::Done;
            match next {
                Move::Create => {
                    looked.waits.push(told(format!("makes Deployment {}", item.name)));
                    steps.push(Step::Apply { object: marked.clone(), force: false });
                }
                Move::Patch(patch, why) => {
                    looked.waits.push(told(why.into()));
                    let deployment = (item.namespace.clone(), item.name.clone());
                    steps.push(Step::Patch { deployment, patch, why });
                }
                Move::Wait(why, look) => {
                    looked.waits.push(told(why));
                    again = again.into_iter().chain(look).min();
                }
                Move::Stop(why) => looked.stops.push(format!("Deployment {}: {why}", item.name)),
                Move::Held | Move::Done => {}
            }
        }
        // One of them cannot go on: none does.
        if looked.stops.is_empty() {
            run.steps.extend(steps);
        }
        again.into_iter().for_each(|a| run.look_in(a));
        self.note_batches(run, &all, &progress, &amounts, done, upto, hold);
        Ok(looked)
    }

    #[expect(clippy::too_many_arguments)]
    fn note_batches(
        &self,
        run: &mut Run,
        all: &[(InventoryItem, Value, Deployment)],
        progress: &[Progress],
        amounts: &[Amount],
        done: usize,
        upto: usize,
        hold: bool,
    ) {
        let at = run.at();
        let name = run.status.tasks[self.index].name.clone();
        let targets: Vec<Vec<u32>> = all
            .iter()
            .map(|(item, _, d)| {
                let seen = run.o.deployments.get(&(item.namespace.clone(), item.name.clone()));
                let wanted = d.spec.as_ref().and_then(|s| s.replicas).map_or(1, |n| u32::try_from(n).unwrap_or(0));
                batches::targets(amounts, seen.map_or(wanted, |s| replicas(s, d)))
            })
            .collect();
        let sum = |i: usize| targets.iter().map(|t| t[i]).sum();
        let list = &mut run.status.tasks[self.index].batches;
        let begun = list.iter().any(|b| b.started_at.is_some());
        if !begun {
            *list = (0..amounts.len()).map(|_| BatchStatus::default()).collect();
        }
        // All latches are off and the plan is not known any more: what was told stays.
        let whole = list.len() == amounts.len();
        let done = if whole {
            done
        } else if done == amounts.len() {
            list.len()
        } else {
            0
        };
        let phase = progress.iter().map(|p| p.phase).find(|p| matches!(p, BatchPhase::Surging | BatchPhase::Retiring));
        let mut finished = vec![];
        for (i, batch) in list.iter_mut().enumerate() {
            if whole {
                (batch.number, batch.target) = (u32::try_from(i + 1).unwrap_or(u32::MAX), sum(i));
            }
            if batch.phase == BatchPhase::Done {
                continue;
            }
            if i < done {
                batch.phase = BatchPhase::Done;
                batch.started_at.get_or_insert_with(|| at.clone());
                batch.finished_at = Some(at.clone());
                finished.push((batch.number, batch.target));
            } else if i == done && upto > done && !hold {
                batch.started_at.get_or_insert_with(|| at.clone());
                batch.phase = phase.unwrap_or(BatchPhase::Surging);
            }
        }
        let n = list.len();
        for (number, target) in finished {
            let pods = if target == 1 { "pod" } else { "pods" };
            run.history(
                "engine",
                format!("batch {number} of {n} done"),
                Some(&name),
                Some(format!("{target} new {pods}")),
            );
        }
    }

    /// The task's phase and words, and whether it took too long.
    fn tell(&self, run: &mut Run, waits: Vec<String>, acting: bool) -> Result<Flow, String> {
        let task = &run.status.tasks[self.index];
        let n = task.batches.len();
        let current = task.batches.iter().position(|b| b.phase != BatchPhase::Done);
        let trouble = run.o.trouble.map(|t| t.message.clone());
        if let (Some(i), true, true) = (current, waits.is_empty(), !acting) {
            let done = i.checked_sub(1).map_or(0, |i| task.batches[i].target);
            let total = task.batches.last().map_or(0, |b| b.target);
            let words =
                format!("batch {i} of {n} done, {done} of {total} pods new; batch {} waits to be let through", i + 1);
            run.set_phase(self.index, TaskPhase::Waiting, Some(words));
            return Ok(Flow::Stay);
        }
        let mut words = trouble.unwrap_or_else(|| waits.join("; "));
        if let Some(i) = current {
            let since = task.batches[i].started_at.clone();
            let most = i64::from(self.environment.rollout.timeout_seconds);
            if let Some(spent) = run.spent(since.as_deref()) {
                if spent >= most {
                    return Err(format!("batch {} of {n} is not done within {most} s: {words}", i + 1));
                }
                run.look_in(SignedDuration::from_secs(most - spent));
            }
            if n > 1 {
                words = format!("batch {} of {n}: {words}", i + 1);
            }
        }
        run.set_phase(self.index, TaskPhase::Running, Some(words));
        Ok(Flow::Stay)
    }

    /// The environment's state and inventory; true when the App's status says so already. What is about to be made
    /// is noted before it is made, so that no crash leaves something nobody knows of.
    fn note_inventory(&self, run: &mut Run, state: EnvironmentState) -> bool {
        let name = &self.environment.name;
        let before = told(self.app, name);
        let task = &run.status.tasks[self.index];
        let mut inventory = vec![];
        for object in &self.objects {
            let item = key(object);
            let uid = run.o.objects.get(&item).map(|s| s.uid.clone()).unwrap_or_default();
            inventory.push(InventoryItem { uid, ..item });
        }
        // What an earlier deploy left and the manifests no longer name is kept until the clean-up.
        for item in &before.inventory {
            let named = |i: &InventoryItem| InventoryItem { uid: String::new(), ..i.clone() };
            if !inventory.iter().any(|i| named(i) == named(item)) && super::environment::seen(run, name, item).is_some()
            {
                inventory.push(item.clone());
            }
        }
        let mut status =
            EnvironmentStatus { state, message: None, release: Some(run.name().into()), inventory, ..before };
        if state == EnvironmentState::Running {
            status.images.clone_from(&task.new_images);
            status.version.clone_from(&task.new_version);
        }
        set(run, self.app, name, status)
    }
}

/// With the release's marks; who made it stays said.
fn marked(run: &Run, object: &Value, seen: Option<&ObjectSeen>) -> Value {
    let mut object = object.clone();
    annotate(&mut object, label::RELEASE, run.name());
    let maker = seen.map_or(Some(run.uid()), |s| s.created_by.as_deref());
    maker.into_iter().for_each(|uid| annotate(&mut object, label::CREATED_BY, uid));
    object
}

fn digest_of(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][label::APPLIED].as_str()
}

fn latch(run: &Run, seen: &DeploymentSeen) -> Option<Latch> {
    Latch::of(&seen.live).ok().flatten().filter(|l| l.release_uid == run.uid())
}

fn progress_is_new(seen: Option<&DeploymentSeen>, manifest: &Deployment) -> bool {
    seen.is_some_and(|s| batches::is_template(&s.live, manifest))
}

/// The batches of a rollout under way.
fn frozen(run: &Run, all: &[(InventoryItem, Value, Deployment)]) -> Option<Vec<Amount>> {
    let seen = |i: &InventoryItem| run.o.deployments.get(&(i.namespace.clone(), i.name.clone()));
    all.iter().find_map(|(item, ..)| latch(run, seen(item)?)).map(|l| l.batches)
}

/// The replicas that a rollout is planned for.
fn replicas(seen: &DeploymentSeen, manifest: &Deployment) -> u32 {
    let wanted = manifest.spec.as_ref().and_then(|s| s.replicas).and_then(|n| u32::try_from(n).ok());
    let latched = Latch::of(&seen.live).ok().flatten().is_some();
    match wanted {
        Some(n) if !latched && !autoscaled(&seen.live.metadata) => n,
        _ => seen.replicas(),
    }
}
