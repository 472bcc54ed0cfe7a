//! How long a broken watch waits before it begins anew.
//!
//! Each break in a row doubles the pause. A row ends with a watch that has lived for a while after its list: one that is
//! shown a list and no changes breaks right after it, and would read everything again and again.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::meter::jitter;

/// After the first break.
pub const FIRST: Duration = Duration::from_millis(200);
/// A watch that has lived so long after its list was well.
pub const WELL: Duration = Duration::from_secs(10);

/// The pauses of one watch.
pub struct Pauses {
    next: Duration,
    most: Duration,
    listed: Option<Instant>,
}

impl Pauses {
    /// None of them is longer than `most`.
    pub fn up_to(most: Duration) -> Self {
        Self {
            next: FIRST,
            most,
            listed: None,
        }
    }

    /// A list has come whole.
    pub fn listed(&mut self) {
        self.listed = Some(Instant::now());
    }

    /// Whether it has lived for a while since its list.
    pub fn was_well(&self) -> bool {
        self.listed.is_some_and(|at| at.elapsed() >= WELL)
    }

    /// It broke: how long to wait.
    pub fn broken(&mut self) -> Duration {
        if self.was_well() {
            self.next = FIRST;
        }
        self.listed = None;
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        jitter(pause)
    }
}
