//! How long the engine has observed states, on its own clock: see [`FirstSeen`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use crate::domain::{
    observe::FirstSeen,
    routes::{NEWS, changed},
};

pub(super) struct Since {
    began: Instant,
    seen: Mutex<FirstSeen>,
}

impl Default for Since {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            seen: Mutex::default(),
        }
    }
}

impl Since {
    /// How long something has been in a state.
    pub(super) fn lasted(&self, name: &str, state: &str) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.lasted(name, state, self.began.elapsed())
    }

    /// Whether the desired state of an object was written only just now.
    pub(super) fn is_news(&self, meta: &ObjectMeta) -> bool {
        let state = changed(meta).map(|at| at.to_string()).unwrap_or_default();
        self.lasted(meta.uid.as_deref().unwrap_or_default(), &state) < NEWS
    }
}
