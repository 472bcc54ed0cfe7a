//! How long the engine has observed states, on its own clock: see [`FirstSeen`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use crate::domain::{
    observe::FirstSeen,
    routes::{ANSWER_TIME, last_spec_change},
};

pub(super) struct StateAges {
    began: Instant,
    seen: Mutex<FirstSeen>,
}

impl Default for StateAges {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            seen: Mutex::default(),
        }
    }
}

impl StateAges {
    /// How long something has been in a state.
    pub(super) fn state_age(&self, name: &str, state: &str) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.state_duration(name, state, self.began.elapsed())
    }

    /// Whether the desired state of an object was written only just now.
    pub(super) fn was_just_written(&self, meta: &ObjectMeta) -> bool {
        let state = last_spec_change(meta)
            .map(|at| at.to_string())
            .unwrap_or_default();
        self.state_age(meta.uid.as_deref().unwrap_or_default(), &state) < ANSWER_TIME
    }
}
