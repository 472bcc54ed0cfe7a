//! How often a frame is drawn for what changes with time alone: ages and spinners.

use std::time::Duration;

use tokio::time::Instant;

/// While something is in progress, for the spinner.
const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// Otherwise: ages of less than a minute are shown in seconds.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Once nothing has changed for [`STILL_AFTER`]: what is left are ages in minutes and more, which
/// may be as late as this. Drawing is most of what a cockpit at rest does.
const STILL_INTERVAL: Duration = Duration::from_secs(5);
/// Longer than a notice stays in the footer.
const STILL_AFTER: Duration = Duration::from_secs(10);

/// When the next tick is due.
pub(super) struct TickPacer {
    ticked: Instant,
    changed: Instant,
}

impl TickPacer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            ticked: now,
            changed: now,
        }
    }

    /// A tick has come.
    pub(super) fn mark_ticked(&mut self, now: Instant) {
        self.ticked = now;
    }

    /// A frame was drawn that changed the screen.
    pub(super) fn mark_changed(&mut self, now: Instant) {
        self.changed = now;
    }

    pub(super) fn next_tick(&self, is_busy: bool) -> Instant {
        let is_still = self.ticked.saturating_duration_since(self.changed) >= STILL_AFTER;
        self.ticked
            + match (is_busy, is_still) {
                (true, _) => BUSY_INTERVAL,
                (false, false) => IDLE_INTERVAL,
                (false, true) => STILL_INTERVAL,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_on_which_nothing_changes_is_looked_at_less_often() {
        let begun = Instant::now();
        let mut ticks = TickPacer::new(begun);
        let mut ticked = vec![];
        let mut run_until = |ticks: &mut TickPacer, end: u64| {
            ticked.clear();
            while ticks.next_tick(false) <= begun + Duration::from_secs(end) {
                let now = ticks.next_tick(false);
                ticks.mark_ticked(now);
                ticked.push((now - begun).as_secs());
            }
            ticked.clone()
        };
        let first = run_until(&mut ticks, 25);
        assert_eq!(first, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]);
        assert_eq!(
            ticks.next_tick(true) - begun,
            Duration::from_secs(25) + BUSY_INTERVAL
        );
        // A key, a new world, or an age that has become a minute more.
        ticks.mark_changed(begun + Duration::from_secs(27));
        let next = run_until(&mut ticks, 50);
        assert_eq!(
            next,
            [26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 42, 47]
        );
    }
}
