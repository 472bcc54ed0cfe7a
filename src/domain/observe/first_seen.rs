//! How long things have been in their current state, by the watcher's own clock.
//!
//! Timestamps in objects come from other machines' clocks, which may be off by any amount. Here a
//! state only has to differ from the next: its age is measured from when it was first seen. A
//! watcher that has just started counts from zero.

use std::{collections::HashMap, time::Duration};

/// Up to this number of entries, nothing is forgotten.
const FORGET_ABOVE: usize = 256;
/// Above that number, an entry is forgotten when nobody has asked for it for this long.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// Things by name, each with its state and when that state was first seen.
#[derive(Debug, Default)]
pub struct FirstSeen {
    seen: HashMap<String, StateSeen>,
}

#[derive(Debug)]
struct StateSeen {
    state: String,
    from: Duration,
    asked: Duration,
}

impl FirstSeen {
    /// How long `name` has been in `state` at `now`, a time on a monotonic clock.
    pub fn state_duration(&mut self, name: &str, state: &str, now: Duration) -> Duration {
        if self.seen.len() > FORGET_ABOVE {
            self.seen
                .retain(|_, s| now.saturating_sub(s.asked) < FORGET_AFTER);
        }
        match self.seen.get_mut(name) {
            Some(known) if known.state == state => {
                known.asked = now;
                now.saturating_sub(known.from)
            }
            _ => {
                self.seen.insert(
                    name.to_owned(),
                    StateSeen {
                        state: state.to_owned(),
                        from: now,
                        asked: now,
                    },
                );
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_from_when_it_was_first_seen_and_begins_anew_with_the_next() {
        let mut seen = FirstSeen::default();
        let mut lasted = |name: &str, state: &str, at: u64| {
            seen.state_duration(name, state, Duration::from_secs(at))
                .as_secs()
        };
        assert_eq!(
            (
                lasted("a", "1", 10),
                lasted("a", "1", 17),
                lasted("b", "1", 17)
            ),
            (0, 7, 0)
        );
        assert_eq!(
            (
                lasted("a", "2", 20),
                lasted("a", "2", 21),
                lasted("b", "1", 21)
            ),
            (0, 1, 4)
        );
        // Entries that nobody asks for are forgotten.
        (0..2 * FORGET_ABOVE).for_each(|n| assert_eq!(lasted(&n.to_string(), "", 30), 0));
        assert_eq!(lasted("c", "", 30 + FORGET_AFTER.as_secs()), 0);
        assert_eq!(seen.seen.len(), 1);
    }
}
