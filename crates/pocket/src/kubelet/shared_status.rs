//! Status of one pod, shared by the tasks of its containers; the pod's own task writes it to the
//! API.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodCondition, PodStatus,
};
use tokio::sync::Notify;

use super::status::to_kube_time;

#[derive(Clone)]
pub struct SharedStatus {
    status: Arc<Mutex<PodStatus>>,
    pub changed: Arc<Notify>,
}

fn waiting_state(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.into()),
        message,
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

/// Builds the state of a container that ended.
pub fn terminated_state(
    code: i32,
    reason: &str,
    message: Option<String>,
    started: Option<Timestamp>,
) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: code,
        reason: Some(reason.into()),
        message,
        signal: None,
        started_at: started.map(to_kube_time),
        finished_at: Some(to_kube_time(crate::clock::now())),
        container_id: None,
    }
}

impl SharedStatus {
    /// Starts from the pod's current status. Containers that ran when pocket ended are dead and are
    /// restarted in place, as on a node that was rebooted.
    pub fn from_pod(pod: &Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let mut status = pod.status.clone().unwrap_or_default();
        let find =
            |old: &Option<Vec<ContainerStatus>>, name: &str, image: Option<&String>, init: bool| {
                let old = old.iter().flatten().find(|s| s.name == name).cloned();
                let mut new = old.unwrap_or_else(|| ContainerStatus {
                    name: name.into(),
                    image: image.cloned().unwrap_or_default(),
                    state: Some(waiting_state(
                        if init {
                            "PodInitializing"
                        } else {
                            "ContainerCreating"
                        },
                        None,
                    )),
                    started: Some(false),
                    ..ContainerStatus::default()
                });
                if let Some(running) = new.state.as_ref().and_then(|s| s.running.clone()) {
                    let message = "The container was running when pocket ended".to_owned();
                    let started = running.started_at.map(|t| t.0);
                    let lost =
                        terminated_state(137, "ContainerStatusUnknown", Some(message), started);
                    new.state = Some(ContainerState {
                        terminated: Some(lost),
                        ..ContainerState::default()
                    });
                    (new.ready, new.started) = (false, Some(false));
                }
                new
            };
        let container = |c: &k8s_openapi::api::core::v1::Container| {
            find(&status.container_statuses, &c.name, c.image.as_ref(), false)
        };
        let all: Vec<_> = spec.containers.iter().map(container).collect();
        let init: Vec<_> = spec
            .init_containers
            .iter()
            .flatten()
            .map(|c| {
                find(
                    &status.init_container_statuses,
                    &c.name,
                    c.image.as_ref(),
                    true,
                )
            })
            .collect();
        status.container_statuses = Some(all);
        status.init_container_statuses = (!init.is_empty()).then_some(init);
        Self {
            status: Arc::new(Mutex::new(status)),
            changed: Arc::new(Notify::new()),
        }
    }

    pub fn read_status(&self) -> PodStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn update_pod(&self, change: impl FnOnce(&mut PodStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Stores computed conditions and phase without signalling a change.
    pub fn set_computed(&self, conditions: Option<Vec<PodCondition>>, phase: Option<String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.conditions, status.phase) = (conditions, phase);
    }

    pub fn get(&self, name: &str) -> ContainerStatus {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let init = status.init_container_statuses.iter().flatten();
        let mut all = status.container_statuses.iter().flatten().chain(init);
        all.find(|s| s.name == name).cloned().unwrap_or_default()
    }

    pub fn update_container(&self, name: &str, change: impl FnOnce(&mut ContainerStatus)) {
        self.update_pod(|status| {
            let init = status.init_container_statuses.iter_mut().flatten();
            let mut all = status.container_statuses.iter_mut().flatten().chain(init);
            if let Some(found) = all.find(|s| s.name == name) {
                change(found);
            }
        });
    }

    /// Sets the container to waiting with a reason; its last termination moves to `lastState`.
    pub fn set_waiting(&self, name: &str, reason: &str, message: Option<String>) {
        self.update_container(name, |s| {
            if let Some(terminated) = s.state.as_ref().and_then(|s| s.terminated.clone()) {
                s.last_state = Some(ContainerState {
                    terminated: Some(terminated),
                    ..ContainerState::default()
                });
            }
            s.state = Some(waiting_state(reason, message));
            (s.ready, s.started) = (false, Some(false));
        });
    }

    pub fn set_running(&self, name: &str, image_id: &str, restarts: i32, id: String) {
        let running = ContainerStateRunning {
            started_at: Some(to_kube_time(crate::clock::now())),
        };
        self.update_container(name, |s| {
            if let Some(terminated) = s.state.as_ref().and_then(|s| s.terminated.clone()) {
                s.last_state = Some(ContainerState {
                    terminated: Some(terminated),
                    ..ContainerState::default()
                });
            }
            s.state = Some(ContainerState {
                running: Some(running),
                ..ContainerState::default()
            });
            s.image_id = image_id.into();
            s.restart_count = restarts;
            s.container_id = Some(id);
        });
    }

    pub fn set_terminated(&self, name: &str, how: ContainerStateTerminated) {
        self.update_container(name, |s| {
            s.state = Some(ContainerState {
                terminated: Some(how),
                ..ContainerState::default()
            });
            (s.ready, s.started) = (false, Some(false));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ran_is_found_dead_and_the_rest_is_kept() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "ran"}, {"name": "ended"}, {"name": "new", "image": "i"}]},
            "status": {"podIP": "127.70.16.1", "containerStatuses": [
                {"name": "ran", "image": "", "imageID": "", "ready": true, "restartCount": 2, "state": {"running": {}}},
                {"name": "ended", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0}}},
            ]},
        }))
        .unwrap();
        let board = SharedStatus::from_pod(&pod);
        let ran = board.get("ran");
        let lost = ran.state.unwrap().terminated.unwrap();
        assert_eq!(
            (lost.exit_code, lost.reason.as_deref()),
            (137, Some("ContainerStatusUnknown"))
        );
        assert_eq!((ran.ready, ran.restart_count), (false, 2));
        assert_eq!(
            board
                .get("ended")
                .state
                .unwrap()
                .terminated
                .unwrap()
                .exit_code,
            0
        );
        assert_eq!(
            board
                .get("new")
                .state
                .unwrap()
                .waiting
                .unwrap()
                .reason
                .as_deref(),
            Some("ContainerCreating")
        );
        assert_eq!(board.read_status().pod_ip.as_deref(), Some("127.70.16.1"));
    }
}
