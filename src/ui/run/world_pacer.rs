//! When the next world is taken: what worlds cost is bounded ([`pause_after_world`]), unless a person
//! waits.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::FrameCause;
use crate::domain::world::pause_after_world;

/// What the last world has cost, and when it was taken.
pub(super) struct WorldPacer {
    taken: Instant,
    /// Its update, and the frames since that nobody waited for.
    spent: Duration,
    /// Somebody has pressed a key since, or has an answer to one.
    is_awaited: bool,
}

impl WorldPacer {
    /// The first world is taken at once.
    pub(super) fn new() -> Self {
        Self {
            taken: Instant::now(),
            spent: Duration::ZERO,
            is_awaited: true,
        }
    }

    /// When the next world may be taken.
    fn due(&self) -> Instant {
        if self.is_awaited {
            return self.taken;
        }
        self.taken + pause_after_world(self.spent)
    }

    /// Completes when the next world may be taken.
    pub(super) async fn wait_until_due(&self) {
        sleep_until(self.due()).await;
    }

    /// Runs an update; that of a world counts.
    pub(super) fn run_update<T>(&mut self, is_world: bool, update: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = update();
        if is_world {
            self.mark_taken(Instant::now(), began.elapsed());
        }
        done
    }

    /// Draws a frame; one that nobody waits for counts.
    pub(super) fn run_frame<T>(&mut self, cause: FrameCause, draw: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let drawn = draw();
        if cause == FrameCause::Time {
            self.add_frame(began.elapsed());
        }
        drawn
    }

    fn mark_taken(&mut self, now: Instant, cost: Duration) {
        (self.taken, self.spent, self.is_awaited) = (now, cost, false);
    }

    fn add_frame(&mut self, cost: Duration) {
        self.spent = self.spent.saturating_add(cost);
    }

    /// Somebody waits for what comes next: it is taken at once.
    pub(super) fn hurry(&mut self) {
        self.is_awaited = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The pause before the next world covers its update and the frames that nobody waited for.
        #[test]
        fn any_costs_are_followed_by_their_pause(update in 0..10_000u64, frames in prop::collection::vec(0..10_000u64, 0..5)) {
            let now = Instant::now();
            let mut pacer = WorldPacer::new();
            prop_assert!(pacer.due() <= Instant::now(), "the first one is taken at once");
            pacer.mark_taken(now, Duration::from_micros(update));
            for frame in &frames {
                pacer.add_frame(Duration::from_micros(*frame));
            }
            let cost = Duration::from_micros(update + frames.iter().sum::<u64>());
            prop_assert_eq!(pacer.due() - now, pause_after_world(cost));
        }

        /// Whoever has pressed a key does not wait for the next world.
        #[test]
        fn any_key_takes_the_next_world_at_once(update in 1..1_000_000u64, frame in 0..1_000_000u64) {
            let now = Instant::now();
            let mut pacer = WorldPacer::new();
            pacer.mark_taken(now, Duration::from_micros(update));
            prop_assert!(pacer.due() > now);
            pacer.hurry();
            pacer.add_frame(Duration::from_micros(frame));
            prop_assert_eq!(pacer.due(), now);
            pacer.mark_taken(now, Duration::from_micros(update));
            prop_assert!(pacer.due() > now, "one key hurries one world");
        }
    }

    #[test]
    fn only_worlds_and_frames_that_nobody_waits_for_count() {
        let mut pacer = WorldPacer::new();
        pacer.run_update(true, || ());
        let (taken, spent) = (pacer.taken, pacer.spent);
        pacer.run_update(false, || ());
        pacer.run_frame(FrameCause::Key, || ());
        assert_eq!((pacer.taken, pacer.spent), (taken, spent));
        let cost = Duration::from_millis(1);
        pacer.run_frame(FrameCause::Time, || {
            let began = Instant::now();
            while began.elapsed() < cost {}
        });
        assert!(pacer.spent >= spent + cost);
    }
}
