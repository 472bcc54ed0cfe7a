//! One container during the life of its pod: start, watch (`health`), stop, back off, restart.

mod health;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::health::run_hook;
use super::probe::ProbeTarget;
use super::process::{Launch, Process, find_program};
use super::shared_status::{SharedStatus, terminated_state};
use super::{NodeContext, env, foreign_listeners, volumes};
use crate::controllers::events::object_reference;
use crate::images::Image;
use crate::shim;

/// A run of this length resets the restart back-off.
const BACK_OFF_RESET: Duration = Duration::from_mins(10);

/// Request to stop, with the grace period in seconds.
pub type StopSignal = watch::Receiver<Option<u64>>;

pub struct ContainerRunner {
    pub node: Arc<NodeContext>,
    pub pod: Arc<Pod>,
    pub container: Container,
    /// Whether it is an init container: it runs to completion and has no probes.
    pub init: bool,
    pub ip: std::net::Ipv4Addr,
    pub board: SharedStatus,
    pub stop: StopSignal,
}

/// Why a run ended.
enum EndReason {
    Exited(i32),
    StopRequested(u64),
    Unhealthy(String, u64),
}

/// Why a container cannot be launched as its pod says.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error(transparent)]
    References(#[from] kube::Error),
    #[error(transparent)]
    Environment(#[from] env::EnvError),
    #[error("no command specified")]
    NoCommand,
    #[error("{}: {why}", .path.display())]
    Folder { path: PathBuf, why: io::Error },
}

/// Why the process of a container did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("working directory {} does not exist", .0.display())]
    NoFolder(PathBuf),
    #[error("exec: {0:?}: executable file not found")]
    NoProgram(String),
    #[error("log of the container: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Process(io::Error),
}

impl ContainerRunner {
    fn event_reference(&self) -> ObjectReference {
        let list = if self.init {
            "initContainers"
        } else {
            "containers"
        };
        ObjectReference {
            field_path: Some(format!("spec.{list}{{{}}}", self.container.name)),
            ..object_reference(&*self.pod)
        }
    }

    fn emit_warning(&self, reason: &str, message: impl Into<String>) {
        self.node
            .events
            .record_warning(self.event_reference(), reason, message);
    }

    fn emit_event(&self, reason: &str, message: impl Into<String>) {
        self.node
            .events
            .record_normal(self.event_reference(), reason, message);
    }

    async fn wait_for_stop(stop: &mut StopSignal) -> u64 {
        match stop.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or(0),
            // The sender is dropped only when the pod is gone.
            Err(_) => 0,
        }
    }

    /// Sleeps for `wait`; returns `false` if asked to stop meanwhile.
    async fn sleep_unless_stopped(&mut self, wait: Duration) -> bool {
        tokio::select! {
            _ = Self::wait_for_stop(&mut self.stop) => false,
            () = sleep(wait) => true,
        }
    }

    /// Runs until the container must not run any more: asked to stop, or ended for good by its
    /// restart policy.
    pub async fn run_until_done(mut self) {
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
            && !self.should_restart(was.exit_code)
        {
            return;
        }
        let (mut wait, mut pending) = (Duration::ZERO, was.is_some() && !lost);
        loop {
            if pending && !wait.is_zero() && !self.wait_back_off(wait, &uid).await {
                return;
            }
            let Some((image, launch)) = self.prepare_launch(&uid, number).await else {
                return;
            };
            let started = Instant::now();
            let code = self.run_once(&image, &launch, &uid, number).await;
            if self.stop.borrow().is_some() || !self.should_restart(code) {
                return;
            }
            if started.elapsed() >= BACK_OFF_RESET {
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

    fn should_restart(&self, code: i32) -> bool {
        let policy = super::status::restart_policy(&self.pod);
        match policy {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => !self.init || code != 0,
        }
    }

    async fn wait_back_off(&mut self, wait: Duration, uid: &str) -> bool {
        let name = &self.container.name;
        let pod = self.pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let text = format!(
            "back-off {wait:?} restarting failed container={name} pod={pod}_{namespace}({uid})"
        );
        self.board.set_waiting(name, "CrashLoopBackOff", Some(text));
        self.emit_warning(
            "BackOff",
            format!("Back-off restarting failed container {name} in pod {pod}_{namespace}({uid})"),
        );
        self.sleep_unless_stopped(wait).await
    }

    /// Waits for the image and the launch configuration; `None` if asked to stop first.
    async fn prepare_launch(&mut self, uid: &str, number: i32) -> Option<(Image, Launch)> {
        let name = self.container.name.clone();
        let wanted = self.container.image.clone().unwrap_or_default();
        let mut told = false;
        let image = loop {
            match self.node.images.get(&wanted) {
                Ok(image) => break image,
                Err(why) => {
                    let why = why.to_string();
                    if told {
                        self.board.set_waiting(
                            &name,
                            "ImagePullBackOff",
                            Some(format!("Back-off pulling image {wanted:?}: {why}")),
                        );
                        self.emit_event("BackOff", format!("Back-off pulling image {wanted:?}"));
                    } else {
                        self.board
                            .set_waiting(&name, "ErrImagePull", Some(why.clone()));
                        self.emit_warning(
                            "Failed",
                            format!("Failed to pull image {wanted:?}: {why}"),
                        );
                        self.emit_warning("Failed", "Error: ErrImagePull");
                    }
                }
            }
            // Checking a local folder is cheap, so a new image is used at once.
            let mut left = if told { u32::MAX } else { 10 };
            while left > 0 && self.node.images.get(&wanted).is_err() {
                if !self.sleep_unless_stopped(Duration::from_millis(200)).await {
                    return None;
                }
                left -= 1;
            }
            told = true;
        };
        // Images are usually present, so an event is recorded only after a wait.
        if told {
            self.emit_event(
                "Pulled",
                format!("Container image {wanted:?} is present now"),
            );
        }
        loop {
            match self.build_launch(&image, uid, number).await {
                Ok(launch) => return Some((image, launch)),
                Err(why) => {
                    let why = why.to_string();
                    self.board
                        .set_waiting(&name, "CreateContainerConfigError", Some(why.clone()));
                    self.emit_warning("Failed", format!("Error: {why}"));
                }
            }
            if !self.sleep_unless_stopped(Duration::from_secs(2)).await {
                return None;
            }
        }
    }

    async fn build_launch(
        &self,
        image: &Image,
        uid: &str,
        number: i32,
    ) -> Result<Launch, LaunchError> {
        let node = &self.node;
        let found = node.list_references(&self.pod).await?;
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
            volumes::VOLUMES_VARIABLE.into(),
            dir.join("volumes").to_string_lossy().into_owned(),
        );
        base.extend(image.manifest.env.clone());
        let from = env::EnvSources {
            pod: &self.pod,
            pod_ip: self.ip,
            host_ip: node.ip(),
            services: &found.services,
            config_maps: &found.config_maps,
            secrets: &found.secrets,
        };
        let vars = env::build_variables(&self.container, base, &from)?;
        let words = env::command_line(
            &self.container,
            image.entrypoint(node.host.placeholder, &node.program),
            &vars,
        );
        if words.is_empty() {
            return Err(LaunchError::NoCommand);
        }
        let dir = self
            .container
            .working_dir
            .as_ref()
            .filter(|d| !d.is_empty());
        let dir = dir.map_or_else(|| image.working_dir(), |d| image.dir.join(d));
        let lock = node.pods.join(uid).join(&self.container.name);
        std::fs::create_dir_all(&lock).map_err(|why| LaunchError::Folder {
            path: lock.clone(),
            why,
        })?;
        let mark = node.marks.run_mark(uid, &self.container.name, number);
        Ok(Launch {
            words,
            env: vars,
            dir,
            lock: Some(lock.join("lock")),
            mark,
        })
    }

    /// Runs the container once and returns its exit code.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn run_once(&mut self, image: &Image, launch: &Launch, uid: &str, number: i32) -> i32 {
        let name = self.container.name.clone();
        let mut process = match self.start_process(launch, uid, number) {
            Ok(process) => process,
            Err(why) => return self.failed_to_start(number, why),
        };
        if let Some(why) = foreign_listeners::find_at_any_port(self.ip, &launch.mark) {
            self.emit_warning("AddressTaken", why);
        }
        let started = crate::clock::now();
        let id = format!("pocket://{uid}/{name}/{number}");
        self.board.set_running(
            &name,
            &format!("{}@{}", image_name(&self.container), image.digest),
            number,
            id,
        );
        // There is no separate Created event, because creating a container is starting its process.
        self.emit_event("Started", format!("Started container {name}"));
        let target = ProbeTarget {
            ip: self.ip,
            container: self.container.clone(),
            launch: launch.clone(),
            program: self.node.program.clone(),
            http: self.node.http.clone(),
        };
        let ending = self.wait_for_end(&mut process, &target).await;
        let (code, message) = self.end_process(&mut process, &target, ending).await;
        let reason = match code {
            0 => "Completed",
            c if c == i32::from(shim::CANNOT_START) => "StartError",
            _ => "Error",
        };
        self.board.set_terminated(
            &name,
            terminated_state(code, reason, message, Some(started)),
        );
        code
    }

    fn start_process(
        &self,
        launch: &Launch,
        uid: &str,
        number: i32,
    ) -> Result<Process, StartError> {
        let missing = !launch.dir.is_dir();
        if missing {
            return Err(StartError::NoFolder(launch.dir.clone()));
        }
        if find_program(&launch.words[0], &launch.env, &launch.dir).is_none() {
            return Err(StartError::NoProgram(launch.words[0].clone()));
        }
        let log = self
            .node
            .logs
            .start_run(uid, &self.container.name, number)
            .map_err(StartError::Log)?;
        Process::start(&self.node.program, launch, Some(log)).map_err(StartError::Process)
    }

    async fn wait_for_end(&self, process: &mut Process, target: &ProbeTarget) -> EndReason {
        let watching = self.watch_health(target);
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            code = process.wait() => EndReason::Exited(code),
            grace = Self::wait_for_stop(&mut stop) => EndReason::StopRequested(grace),
            (why, grace) = watching => EndReason::Unhealthy(why, grace),
        }
    }

    /// Ends the process if it still runs; returns its exit code and what there is to say.
    async fn end_process(
        &self,
        process: &mut Process,
        target: &ProbeTarget,
        ending: EndReason,
    ) -> (i32, Option<String>) {
        let name = &self.container.name;
        match ending {
            // The failure may be due to another process that listens on the container's port.
            EndReason::Exited(code) => (
                code,
                (code != 0)
                    .then(|| target.find_foreign_listener())
                    .flatten(),
            ),
            EndReason::StopRequested(grace) => {
                self.emit_event("Killing", format!("Stopping container {name}"));
                (self.stop_process(process, target, grace).await, None)
            }
            EndReason::Unhealthy(why, grace) => {
                self.emit_event(
                    "Killing",
                    format!("Container {name} {why}, will be restarted"),
                );
                self.board.update_container(name, |s| s.ready = false);
                (self.stop_process(process, target, grace).await, None)
            }
        }
    }

    fn failed_to_start(&self, number: i32, why: StartError) -> i32 {
        let code = i32::from(shim::CANNOT_START);
        self.emit_warning(
            "Failed",
            format!(
                "Error: failed to start container {:?}: {why}",
                self.container.name
            ),
        );
        self.board
            .update_container(&self.container.name, |s| s.restart_count = number);
        self.board.set_terminated(
            &self.container.name,
            terminated_state(code, "StartError", Some(why.to_string()), None),
        );
        code
    }

    /// Runs the preStop hook, sends TERM, and sends KILL after the grace period.
    #[tracing::instrument(level = "debug", skip_all, fields(grace))]
    async fn stop_process(&self, process: &mut Process, target: &ProbeTarget, grace: u64) -> i32 {
        let deadline = deadline_after(grace);
        let hook = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| grace > 0) {
            tokio::select! {
                code = process.wait() => return code,
                done = tokio::time::timeout_at(deadline, run_hook(target, hook)) => if let Ok(Err(why)) = done {
                    self.emit_warning("FailedPreStopHook", format!("PreStopHook failed: {why}"));
                },
            }
        }
        process.terminate().await;
        // As in a kubelet, two more seconds remain after a hook that used up the whole grace
        // period. A later request may shorten the time.
        let mut until = deadline.max(deadline_after(grace.min(2)));
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                code = process.wait() => return code,
                () = tokio::time::sleep_until(until) => break,
                Ok(()) = stop.changed() => {
                    let shorter = stop.borrow_and_update().unwrap_or(0);
                    until = until.min(deadline_after(shorter));
                }
            }
        }
        process.kill().await
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

/// Returns the instant `seconds` from now; limited to one year, because an `Instant` can overflow.
fn deadline_after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(31_536_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_grace_is_too_long_for_a_clock() {
        let now = Instant::now();
        for seconds in [0, 30, i64::MAX as u64, u64::MAX] {
            assert!(deadline_after(seconds) >= now);
        }
    }
}
