//! When the next frame is drawn. What a key asks for is drawn at once, within the frame rate; what
//! only time asks for waits until the line to the terminal is at rest, so that it never stands in
//! the way of a key. All that changes meanwhile becomes one frame.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Why a frame is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameCause {
    /// Somebody pressed a key, or has an answer to one.
    Key,
    /// The world or the clock changed.
    #[default]
    Time,
}

/// The frame that is wanted, and the frame rate.
pub(super) struct FramePacer {
    wanted: Option<FrameCause>,
    earliest: Instant,
    gap: Duration,
}

impl FramePacer {
    /// Wants a first frame, and no more than so many in a second.
    pub(super) fn new(fps: u32) -> Self {
        Self {
            wanted: Some(FrameCause::Key),
            earliest: Instant::now(),
            gap: Duration::from_secs(1) / fps.max(1),
        }
    }

    /// Asks for a frame; a key outweighs the time.
    pub(super) fn want_frame(&mut self, cause: FrameCause) {
        self.wanted = Some(self.wanted.map_or(cause, |before| before.min(cause)));
    }

    /// When to draw which frame; `None` while there is none to draw, or none that the line is free
    /// for.
    fn due_frame(&self, is_at_rest: bool) -> Option<(FrameCause, Instant)> {
        let cause = self.wanted?;
        (cause == FrameCause::Key || is_at_rest).then_some((cause, self.earliest))
    }

    /// Completes when a frame is due.
    pub(super) async fn wait_until_due(&self, is_at_rest: bool) -> FrameCause {
        match self.due_frame(is_at_rest) {
            Some((cause, at)) => {
                sleep_until(at).await;
                cause
            }
            None => std::future::pending().await,
        }
    }

    /// Whether a frame that time asked for waits for the line alone.
    pub(super) fn holds_time_frame(&self, now: Instant) -> bool {
        self.wanted == Some(FrameCause::Time) && self.earliest <= now
    }

    /// What was wanted is drawn.
    pub(super) fn mark_drawn(&mut self, now: Instant) {
        self.wanted = None;
        self.earliest = now + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Want(FrameCause),
        Pass(u64),
        Rest(bool),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Want(FrameCause::Key)),
            Just(Event::Want(FrameCause::Time)),
            (1..50u64).prop_map(Event::Pass),
            any::<bool>().prop_map(Event::Rest),
        ]
    }

    proptest! {
        /// A key is drawn within one gap whatever the line does; the time only when the line is at
        /// rest; and never are two frames closer than the gap.
        #[test]
        fn any_events_keep_the_promises(events in prop::collection::vec(any_event(), 0..200)) {
            let begun = Instant::now();
            let mut pacer = FramePacer::new(30);
            let gap = pacer.gap;
            let (mut now, mut is_at_rest, mut drawn) = (begun, true, None::<Instant>);
            let mut key_since = Some(begun);
            for event in events {
                match event {
                    Event::Want(cause) => {
                        pacer.want_frame(cause);
                        if cause == FrameCause::Key {
                            key_since.get_or_insert(now);
                        }
                    }
                    Event::Pass(milliseconds) => {
                        let end = now + Duration::from_millis(milliseconds);
                        while let Some((cause, at)) = pacer.due_frame(is_at_rest)
                            && at.max(now) <= end
                        {
                            now = at.max(now);
                            prop_assert!(drawn.is_none_or(|before| now - before >= gap));
                            prop_assert!(cause == FrameCause::Key || is_at_rest);
                            if let Some(since) = key_since.take() {
                                prop_assert!(cause == FrameCause::Key && now - since <= gap);
                            }
                            pacer.mark_drawn(now);
                            drawn = Some(now);
                        }
                        now = end;
                    }
                    Event::Rest(rests) => is_at_rest = rests,
                }
            }
        }
    }
}
