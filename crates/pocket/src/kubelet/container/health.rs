//! Hooks and probes of a running container.

use std::time::Duration;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::ContainerRunner;
use crate::kubelet::probe::{self, ProbeEvent, ProbeFailure, ProbeTarget};

/// Why a container must be restarted, and its grace period in seconds.
type Unhealthy = (String, u64);

impl ContainerRunner {
    /// Runs hooks and probes; returns the reason and the grace period when the container must be
    /// restarted.
    pub(super) async fn watch_health(&self, target: &ProbeTarget) -> Unhealthy {
        if let Err(unhealthy) = self.run_post_start(target).await {
            return unhealthy;
        }
        if self.init {
            return std::future::pending().await;
        }
        let c = &self.container;
        if let Some(probe) = &c.startup_probe
            && let Err(unhealthy) = self.wait_until_started(target, probe).await
        {
            return unhealthy;
        }
        let stranger = c
            .readiness_probe
            .is_none()
            .then(|| target.find_foreign_listener())
            .flatten();
        self.board.update_container(&c.name, |s| {
            s.started = Some(true);
            s.ready = c.readiness_probe.is_none() && stranger.is_none();
        });
        let ready = async {
            match &c.readiness_probe {
                Some(probe) => self.watch_readiness(target, probe).await,
                None => self.wait_out_stranger(target, stranger).await,
            }
            // Nothing of it ends a container.
            std::future::pending().await
        };
        let live = async {
            match &c.liveness_probe {
                Some(probe) => self.watch_liveness(target, probe).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            unhealthy = ready => unhealthy,
            unhealthy = live => unhealthy,
        }
    }

    /// The grace period of a probe, or else of the pod.
    fn grace_period(&self, of_probe: Option<i64>) -> u64 {
        let own = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(30);
        u64::try_from(of_probe.unwrap_or(own)).unwrap_or(0)
    }

    async fn run_post_start(&self, target: &ProbeTarget) -> Result<(), Unhealthy> {
        let lifecycle = self.container.lifecycle.as_ref();
        if let Some(hook) = lifecycle.and_then(|l| l.post_start.as_ref())
            && let Err(why) = run_hook(target, hook).await
        {
            self.emit_warning(
                "FailedPostStartHook",
                format!("PostStartHook failed: {why}"),
            );
            return Err(("failed its PostStartHook".into(), self.grace_period(None)));
        }
        Ok(())
    }

    async fn wait_until_started(
        &self,
        target: &ProbeTarget,
        probe: &Probe,
    ) -> Result<(), Unhealthy> {
        let (tx, mut told) = mpsc::unbounded_channel();
        let watching = probe::watch_probe(target, probe, false, |t| drop(tx.send(t)));
        tokio::pin!(watching);
        loop {
            let news = tokio::select! {
                () = &mut watching => continue,
                news = told.recv() => news,
            };
            match news {
                Some(ProbeEvent::State(true, _)) => return Ok(()),
                Some(ProbeEvent::State(false, _)) => {
                    return Err((
                        "failed startup probe".into(),
                        self.grace_period(probe.termination_grace_period_seconds),
                    ));
                }
                Some(ProbeEvent::Failed(why)) => {
                    self.emit_warning("Unhealthy", format!("Startup probe failed: {why}"));
                }
                None => {}
            }
        }
    }

    /// Reports the container as ready or not, forever.
    async fn watch_readiness(&self, target: &ProbeTarget, probe: &Probe) {
        let name = &self.container.name;
        probe::watch_probe(target, probe, false, |told| match told {
            ProbeEvent::State(yes, _) if self.board.get(name).ready != yes => {
                self.board.update_container(name, |s| s.ready = yes);
            }
            ProbeEvent::State(..) => {}
            ProbeEvent::Failed(why) => {
                self.emit_warning("Unhealthy", format!("Readiness probe failed: {why}"));
            }
        })
        .await;
    }

    /// Without a probe, a container is ready once no other process has one of its ports.
    async fn wait_out_stranger(&self, target: &ProbeTarget, stranger: Option<String>) {
        if let Some(why) = stranger {
            self.emit_warning("Unhealthy", format!("Not ready: {why}"));
            while target.find_foreign_listener().is_some() {
                sleep(Duration::from_secs(1)).await;
            }
            self.board
                .update_container(&self.container.name, |s| s.ready = true);
        }
    }

    /// Returns once the container must be restarted.
    async fn watch_liveness(&self, target: &ProbeTarget, probe: &Probe) -> Unhealthy {
        let (tx, mut dead) = mpsc::unbounded_channel();
        let probing = probe::watch_probe(target, probe, true, |told| match told {
            ProbeEvent::State(false, _) => {
                let _ = tx.send(self.grace_period(probe.termination_grace_period_seconds));
            }
            ProbeEvent::State(true, _) => {}
            ProbeEvent::Failed(why) => {
                self.emit_warning("Unhealthy", format!("Liveness probe failed: {why}"));
            }
        });
        tokio::select! {
            () = probing => std::future::pending().await,
            Some(grace) = dead.recv() => ("failed liveness probe".into(), grace),
        }
    }
}

pub(super) async fn run_hook(
    target: &ProbeTarget,
    hook: &LifecycleHandler,
) -> Result<(), ProbeFailure> {
    if let Some(action) = &hook.exec {
        target
            .exec_command(action.command.as_deref().unwrap_or_default())
            .await
    } else if let Some(action) = &hook.http_get {
        let limit = Duration::from_secs(30);
        timeout(limit, target.http_get(action))
            .await
            .unwrap_or(Err(ProbeFailure::NoAnswer(limit.as_secs())))
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
