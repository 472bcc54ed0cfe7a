//! One container during the life of its pod: start, watch, stop, back off, restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, ObjectReference, Pod};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::board::{Board, ended};
use super::probe::{self, Target, Told};
use super::process::{Launch, Process, find};
use super::{Node, env, strangers, volumes};
use crate::pocket::controllers::events::about;
use crate::pocket::images::Image;
use crate::pocket::shim;

/// A run of this length resets the restart back-off.
const HEALTHY: Duration = Duration::from_secs(600);

/// Request to stop, with the grace period in seconds.
pub type Stop = watch::Receiver<Option<u64>>;

pub struct Runner {
    pub node: Arc<Node>,
    pub pod: Arc<Pod>,
    pub container: Container,
    /// Whether it is an init container: it runs to completion and has no probes.
    pub init: bool,
    pub ip: std::net::Ipv4Addr,
    pub board: Board,
    pub stop: Stop,
}

/// Why a run ended.
enum Ending {
    Exited(i32),
    Asked(u64),
    Unhealthy(String, u64),
}

impl Runner {
    fn reference(&self) -> ObjectReference {
        let list = if self.init {
            "initContainers"
        } else {
            "containers"
        };
        ObjectReference {
            field_path: Some(format!("spec.{list}{{{}}}", self.container.name)),
            ..about(&*self.pod)
        }
    }

    fn warn(&self, reason: &str, message: impl Into<String>) {
        self.node.events.warning(self.reference(), reason, message);
    }

    fn say(&self, reason: &str, message: impl Into<String>) {
        self.node.events.normal(self.reference(), reason, message);
    }

    async fn stopped(stop: &mut Stop) -> u64 {
        match stop.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or(0),
            // The sender is dropped only when the pod is gone.
            Err(_) => 0,
        }
    }

    /// Sleeps for `wait`; returns `false` if asked to stop meanwhile.
    async fn pause(&mut self, wait: Duration) -> bool {
        tokio::select! {
            _ = Self::stopped(&mut self.stop) => false,
            () = sleep(wait) => true,
        }
    }

    /// Runs until the container must not run any more: asked to stop, or ended for good by its
    /// restart policy.
    pub async fn run(mut self) {
        let name = self.container.name.clone();
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        let before = self.board.get(&name);
        let was = before.state.as_ref().and_then(|s| s.terminated.as_ref());
        let last = before
            .last_state
            .as_ref()
            .and_then(|s| s.terminated.as_ref());
        // Number of the next run: 0 for the first, otherwise one more than the last.
        let mut number = if was.is_some() || last.is_some() {
            before.restart_count + 1
        } else {
            0
        };
        let lost = was.is_some_and(|w| w.reason.as_deref() == Some("ContainerStatusUnknown"));
        if let Some(was) = was
            && !self.again(was.exit_code)
        {
            return;
        }
        let (mut wait, mut pending) = (Duration::ZERO, was.is_some() && !lost);
        loop {
            if pending && !wait.is_zero() && !self.back_off(wait, &uid).await {
                return;
            }
            let Some((image, launch)) = self.prepare(&uid, number).await else {
                return;
            };
            let started = Instant::now();
            let code = self.once(&image, &launch, &uid, number).await;
            if self.stop.borrow().is_some() || !self.again(code) {
                return;
            }
            if started.elapsed() >= HEALTHY {
                wait = Duration::ZERO;
            } else if pending {
                wait = if wait.is_zero() {
                    self.node.back_off.0
                } else {
                    (wait * 2).min(self.node.back_off.1)
                };
            }
            (pending, number) = (true, number + 1);
        }
    }

    fn again(&self, code: i32) -> bool {
        let policy = super::status::restart_policy(&self.pod);
        match policy {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => !self.init || code != 0,
        }
    }

    async fn back_off(&mut self, wait: Duration, uid: &str) -> bool {
        let name = &self.container.name;
        let pod = self.pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let text = format!(
            "back-off {wait:?} restarting failed container={name} pod={pod}_{namespace}({uid})"
        );
        self.board.wait(name, "CrashLoopBackOff", Some(text));
        self.warn(
            "BackOff",
            format!("Back-off restarting failed container {name} in pod {pod}_{namespace}({uid})"),
        );
        self.pause(wait).await
    }

    /// Waits for the image and the launch configuration; `None` if asked to stop first.
    async fn prepare(&mut self, uid: &str, number: i32) -> Option<(Image, Launch)> {
        let name = self.container.name.clone();
        let wanted = self.container.image.clone().unwrap_or_default();
        let mut told = false;
        let image = loop {
            match self.node.images.get(&wanted) {
                Ok(image) => break image,
                Err(why) => {
                    let why = why.to_string();
                    if told {
                        self.board.wait(
                            &name,
                            "ImagePullBackOff",
                            Some(format!("Back-off pulling image {wanted:?}: {why}")),
                        );
                        self.say("BackOff", format!("Back-off pulling image {wanted:?}"));
                    } else {
                        self.board.wait(&name, "ErrImagePull", Some(why.clone()));
                        self.warn("Failed", format!("Failed to pull image {wanted:?}: {why}"));
                        self.warn("Failed", "Error: ErrImagePull");
                    }
                }
            }
            // Checking a local folder is cheap, so a new image is used at once.
            let mut left = if told { u32::MAX } else { 10 };
            while left > 0 && self.node.images.get(&wanted).is_err() {
                if !self.pause(Duration::from_millis(200)).await {
                    return None;
                }
                left -= 1;
            }
            told = true;
        };
        // Images are usually present, so an event is recorded only after a wait.
        if told {
            self.say(
                "Pulled",
                format!("Container image {wanted:?} is present now"),
            );
        }
        loop {
            match self.launch(&image, uid, number).await {
                Ok(launch) => return Some((image, launch)),
                Err(why) => {
                    self.board
                        .wait(&name, "CreateContainerConfigError", Some(why.clone()));
                    self.warn("Failed", format!("Error: {why}"));
                }
            }
            if !self.pause(Duration::from_secs(2)).await {
                return None;
            }
        }
    }

    async fn launch(&self, image: &Image, uid: &str, number: i32) -> Result<Launch, String> {
        let node = &self.node;
        let found = node
            .references(&self.pod)
            .await
            .map_err(|e| e.to_string())?;
        let dir = node.pods.join(uid);
        let mut base: BTreeMap<String, String> = BTreeMap::new();
        base.insert(
            "PATH".into(),
            std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into()),
        );
        base.insert(
            "HOSTNAME".into(),
            self.pod.metadata.name.clone().unwrap_or_default(),
        );
        base.insert("POD_IP".into(), self.ip.to_string());
        base.insert(
            volumes::VARIABLE.into(),
            dir.join("volumes").to_string_lossy().into_owned(),
        );
        base.extend(image.manifest.env.clone());
        let from = env::Sources {
            pod: &self.pod,
            pod_ip: self.ip,
            host_ip: node.ip(),
            services: &found.services,
            config_maps: &found.config_maps,
            secrets: &found.secrets,
        };
        let vars = env::variables(&self.container, base, &from)?;
        let words = env::command_line(&self.container, image.entrypoint(&node.graylane), &vars);
        if words.is_empty() {
            return Err("no command specified".into());
        }
        let dir = self
            .container
            .working_dir
            .as_ref()
            .filter(|d| !d.is_empty());
        let dir = dir.map_or_else(|| image.working_dir(), |d| image.dir.join(d));
        let lock = node.pods.join(uid).join(&self.container.name);
        std::fs::create_dir_all(&lock).map_err(|e| format!("{}: {e}", lock.display()))?;
        let mark = node.marks.run(uid, &self.container.name, number);
        Ok(Launch {
            words,
            env: vars,
            dir,
            lock: Some(lock.join("lock")),
            mark,
        })
    }

    /// Runs the container once and returns its exit code.
    async fn once(&mut self, image: &Image, launch: &Launch, uid: &str, number: i32) -> i32 {
        let name = self.container.name.clone();
        let missing = !launch.dir.is_dir();
        if missing || find(&launch.words[0], &launch.env, &launch.dir).is_none() {
            let why = match missing {
                true => format!("working directory {} does not exist", launch.dir.display()),
                false => format!("exec: {:?}: executable file not found", launch.words[0]),
            };
            return self.failed_to_start(number, why);
        }
        let log = match self.node.logs.start(uid, &name, number) {
            Ok(log) => log,
            Err(why) => {
                return self.failed_to_start(number, format!("log of the container: {why}"));
            }
        };
        let mut process = match Process::start(&self.node.graylane, launch, Some(log)) {
            Ok(process) => process,
            Err(why) => return self.failed_to_start(number, why.to_string()),
        };
        if let Some(why) = strangers::find_any(self.ip, &launch.mark) {
            self.warn("AddressTaken", why);
        }
        let started = crate::pocket::clock::now();
        let id = format!("pocket://{uid}/{name}/{number}");
        self.board.run(
            &name,
            &format!("{}@{}", image_name(&self.container), image.digest),
            number,
            id,
        );
        // There is no separate Created event, because creating a container is starting its process.
        self.say("Started", format!("Started container {name}"));
        let target = Target {
            ip: self.ip,
            container: self.container.clone(),
            launch: launch.clone(),
            graylane: self.node.graylane.clone(),
            http: self.node.http.clone(),
        };
        let ending = {
            let watching = self.watch(&target);
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                code = process.wait() => Ending::Exited(code),
                grace = Self::stopped(&mut stop) => Ending::Asked(grace),
                (why, grace) = watching => Ending::Unhealthy(why, grace),
            }
        };
        let (code, message) = match ending {
            // The failure may be due to another process that listens on the container's port.
            Ending::Exited(code) => (code, (code != 0).then(|| target.stranger()).flatten()),
            Ending::Asked(grace) => {
                self.say("Killing", format!("Stopping container {name}"));
                (self.end(&mut process, &target, grace).await, None)
            }
            Ending::Unhealthy(why, grace) => {
                self.say(
                    "Killing",
                    format!("Container {name} {why}, will be restarted"),
                );
                self.board.container(&name, |s| s.ready = false);
                (self.end(&mut process, &target, grace).await, None)
            }
        };
        let reason = match code {
            0 => "Completed",
            c if c == i32::from(shim::CANNOT_START) => "StartError",
            _ => "Error",
        };
        self.board
            .end(&name, ended(code, reason, message, Some(started)));
        code
    }

    fn failed_to_start(&self, number: i32, why: String) -> i32 {
        let code = i32::from(shim::CANNOT_START);
        self.warn(
            "Failed",
            format!(
                "Error: failed to start container {:?}: {why}",
                self.container.name
            ),
        );
        self.board
            .container(&self.container.name, |s| s.restart_count = number);
        self.board.end(
            &self.container.name,
            ended(code, "StartError", Some(why), None),
        );
        code
    }

    /// Runs the preStop hook, sends TERM, and sends KILL after the grace period.
    async fn end(&self, process: &mut Process, target: &Target, grace: u64) -> i32 {
        let deadline = after(grace);
        let hook = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| grace > 0) {
            tokio::select! {
                code = process.wait() => return code,
                done = tokio::time::timeout_at(deadline, handle(target, hook)) => if let Ok(Err(why)) = done {
                    self.warn("FailedPreStopHook", format!("PreStopHook failed: {why}"));
                },
            }
        }
        process.terminate().await;
        // As in a kubelet, two more seconds remain after a hook that used up the whole grace
        // period. A later request may shorten the time.
        let mut until = deadline.max(after(grace.min(2)));
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                code = process.wait() => return code,
                () = tokio::time::sleep_until(until) => break,
                Ok(()) = stop.changed() => {
                    let shorter = stop.borrow_and_update().unwrap_or(0);
                    until = until.min(after(shorter));
                }
            }
        }
        process.kill().await
    }

    /// Runs hooks and probes; returns the reason and the grace period when the container must be
    /// restarted.
    async fn watch(&self, target: &Target) -> (String, u64) {
        let name = &self.container.name;
        let own_grace = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(30);
        let grace = |p: Option<i64>| u64::try_from(p.unwrap_or(own_grace)).unwrap_or(0);
        if let Some(hook) = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.post_start.as_ref())
            && let Err(why) = handle(target, hook).await
        {
            self.warn(
                "FailedPostStartHook",
                format!("PostStartHook failed: {why}"),
            );
            return ("failed its PostStartHook".into(), grace(None));
        }
        if self.init {
            return std::future::pending().await;
        }
        let (tx, mut told) = mpsc::unbounded_channel();
        let c = &self.container;
        if let Some(probe) = &c.startup_probe {
            let watching = probe::watch(target, probe, false, |t| drop(tx.send(t)));
            tokio::pin!(watching);
            loop {
                let news = tokio::select! {
                    () = &mut watching => continue,
                    news = told.recv() => news,
                };
                match news {
                    Some(Told::Now(true, _)) => break,
                    Some(Told::Now(false, _)) => {
                        return (
                            "failed startup probe".into(),
                            grace(probe.termination_grace_period_seconds),
                        );
                    }
                    Some(Told::Failed(why)) => {
                        self.warn("Unhealthy", format!("Startup probe failed: {why}"))
                    }
                    None => {}
                }
            }
        }
        let stranger = c
            .readiness_probe
            .is_none()
            .then(|| target.stranger())
            .flatten();
        self.board.container(name, |s| {
            s.started = Some(true);
            s.ready = c.readiness_probe.is_none() && stranger.is_none();
        });
        let ready = async {
            let Some(probe) = &c.readiness_probe else {
                if let Some(why) = stranger {
                    self.warn("Unhealthy", format!("Not ready: {why}"));
                    while target.stranger().is_some() {
                        sleep(Duration::from_secs(1)).await;
                    }
                    self.board.container(name, |s| s.ready = true);
                }
                return std::future::pending().await;
            };
            probe::watch(target, probe, false, |told| match told {
                Told::Now(yes, _) if self.board.get(name).ready != yes => {
                    self.board.container(name, |s| s.ready = yes)
                }
                Told::Now(..) => {}
                Told::Failed(why) => {
                    self.warn("Unhealthy", format!("Readiness probe failed: {why}"))
                }
            })
            .await;
        };
        let (tx, mut dead) = mpsc::unbounded_channel();
        let live = async {
            let Some(probe) = &c.liveness_probe else {
                return std::future::pending().await;
            };
            probe::watch(target, probe, true, |told| match told {
                Told::Now(false, _) => drop(tx.send(grace(probe.termination_grace_period_seconds))),
                Told::Now(true, _) => {}
                Told::Failed(why) => {
                    self.warn("Unhealthy", format!("Liveness probe failed: {why}"))
                }
            })
            .await;
        };
        tokio::select! {
            () = ready => std::future::pending().await,
            () = live => std::future::pending().await,
            Some(grace) = dead.recv() => ("failed liveness probe".into(), grace),
        }
    }
}

fn image_name(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    image
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .map_or(image, |(name, _)| name)
}

async fn handle(target: &Target, hook: &LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        target
            .run(action.command.as_deref().unwrap_or_default())
            .await
    } else if let Some(action) = &hook.http_get {
        let limit = Duration::from_secs(30);
        timeout(limit, target.get(action))
            .await
            .unwrap_or_else(|_| Err("no answer in 30 s".into()))
    } else if let Some(action) = &hook.sleep {
        sleep(Duration::from_secs(
            u64::try_from(action.seconds).unwrap_or(0),
        ))
        .await;
        Ok(())
    } else {
        Ok(())
    }
}
/// Returns the instant `seconds` from now; limited to one year, because an `Instant` can overflow.
fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(31_536_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_grace_is_too_long_for_a_clock() {
        let now = Instant::now();
        for seconds in [0, 30, i64::MAX as u64, u64::MAX] {
            assert!(after(seconds) >= now);
        }
    }
}
