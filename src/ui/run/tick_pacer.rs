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
    /// Something else than a tick has come since the last frame.
    by_event: bool,
    /// The last frame was drawn for a tick and changed the screen.
    tick_changed: bool,
}

impl TickPacer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            ticked: now,
            changed: now,
            by_event: false,
            tick_changed: false,
        }
    }

    /// A tick has come.
    pub(super) fn mark_ticked(&mut self, now: Instant) {
        self.ticked = now;
    }

    /// A key, an answer or a new world has come.
    pub(super) fn mark_event(&mut self) {
        self.by_event = true;
    }

    /// A frame was drawn.
    pub(super) fn mark_drawn(&mut self, now: Instant, has_changed: bool) {
        let by_event = std::mem::take(&mut self.by_event);
        // On a still screen one tick that changes something is an age that has become a minute more.
        // Seconds change again at the next.
        let is_lone = self.is_still() && !by_event && !self.tick_changed;
        if has_changed && !is_lone {
            self.changed = now;
        }
        self.tick_changed = has_changed && !by_event;
    }

    fn is_still(&self) -> bool {
        self.ticked.saturating_duration_since(self.changed) >= STILL_AFTER
    }

    pub(super) fn next_tick(&self, is_busy: bool) -> Instant {
        self.ticked
            + match (is_busy, self.is_still()) {
                (true, _) => BUSY_INTERVAL,
                (false, false) => IDLE_INTERVAL,
                (false, true) => STILL_INTERVAL,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of the ticks until `end`. Each draws a frame, which changes what `changes` says.
    fn run_until(
        ticks: &mut TickPacer,
        begun: Instant,
        end: u64,
        changes: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        let mut ticked = vec![];
        while ticks.next_tick(false) <= begun + Duration::from_secs(end) {
            let now = ticks.next_tick(false);
            let second = (now - begun).as_secs();
            ticks.mark_ticked(now);
            ticks.mark_drawn(now, changes(second));
            ticked.push(second);
        }
        ticked
    }

    #[test]
    fn a_screen_on_which_nothing_changes_is_looked_at_less_often() {
        let begun = Instant::now();
        let mut ticks = TickPacer::new(begun);
        let first = run_until(&mut ticks, begun, 25, |_| false);
        assert_eq!(first, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]);
        assert_eq!(
            ticks.next_tick(true) - begun,
            Duration::from_secs(25) + BUSY_INTERVAL
        );
        // A key, or a new world.
        ticks.mark_event();
        ticks.mark_drawn(begun + Duration::from_secs(27), true);
        let next = run_until(&mut ticks, begun, 50, |_| false);
        assert_eq!(
            next,
            [26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 42, 47]
        );
    }

    #[test]
    fn an_age_of_minutes_leaves_a_still_screen_still_and_seconds_do_not() {
        let begun = Instant::now();
        let mut ticks = TickPacer::new(begun);
        run_until(&mut ticks, begun, 10, |_| false);
        let minutes = run_until(&mut ticks, begun, 100, |second| second % 60 == 0);
        assert_eq!(minutes, (15..=100).step_by(5).collect::<Vec<_>>());
        let seconds = run_until(&mut ticks, begun, 115, |_| true);
        assert_eq!(seconds, [105, 110, 111, 112, 113, 114, 115]);
        // Seconds go on as long as they are shown.
        assert_eq!(run_until(&mut ticks, begun, 200, |_| true).len(), 85);
    }
}
