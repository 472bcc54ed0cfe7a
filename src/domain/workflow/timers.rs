//! How long tasks, batches and drains take, by the engine's own clock.
//!
//! A status says when something began, by the wall clock of the engine that wrote it. That is good
//! for people, and for telling one beginning from the next. But that clock can be set, and another
//! engine's may be wrong, so nothing is measured by it: durations count from when this engine first
//! saw the beginning, on a monotonic clock. After a change of engines, limits and drains count from
//! zero, and so never end early.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::api::{RecordedTime, ReleaseStatus, TaskStatus};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// Attempt of a task.
    Task,
    /// Batch at this index.
    Batch(usize),
    /// Drain: time since the routes were closed.
    Drain,
}

/// Identifies one beginning in a status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TimerKey {
    task: String,
    of: TimerKind,
    /// Timestamp as it is in the status.
    since: RecordedTime,
}

#[derive(Clone, Copy, Debug)]
struct TimerEntry {
    first: Duration,
    /// Since this time the engine has observed without a gap.
    awake: Duration,
    /// Time from the timestamp to the first observation, as far as wall clocks tell.
    before: Duration,
}

/// Timers of one release.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    seen: BTreeMap<TimerKey, TimerEntry>,
}

impl Timers {
    /// Starts timers for what the status says has begun, and drops those that it no longer has.
    /// `now` is the time on a monotonic clock, `wall` the wall-clock time.
    pub fn track_status(&mut self, status: &ReleaseStatus, now: Duration, wall: Timestamp) {
        let told: BTreeSet<TimerKey> = status.tasks.iter().flat_map(timer_keys).collect();
        self.seen.retain(|beginning, _| told.contains(beginning));
        for beginning in told {
            let stamp = beginning.since.timestamp();
            let before = stamp
                .and_then(|at| Duration::try_from(wall.duration_since(at)).ok())
                .unwrap_or_default();
            self.seen.entry(beginning).or_insert(TimerEntry {
                first: now,
                awake: now,
                before,
            });
        }
    }

    /// Nobody has observed for a while: that time does not count against any limit.
    pub fn skip_gap(&mut self, now: Duration) {
        self.seen.values_mut().for_each(|seen| seen.awake = now);
    }

    fn find_timer(&self, task: &TaskStatus, of: TimerKind) -> Option<&TimerEntry> {
        timer_keys(task)
            .find(|b| b.of == of)
            .and_then(|b| self.seen.get(&b))
    }

    /// How long this engine was able to act on it; time limits use this.
    pub(super) fn spent(&self, task: &TaskStatus, of: TimerKind, now: Duration) -> Duration {
        self.find_timer(task, of)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.awake))
    }

    /// How long ago this engine first saw it.
    pub(super) fn watched(&self, task: &TaskStatus, of: TimerKind, now: Duration) -> Duration {
        self.find_timer(task, of)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.first))
    }

    /// How long it has lasted, including the time before this engine: for what people do while no
    /// engine runs.
    pub(super) fn lasted(&self, task: &TaskStatus, of: TimerKind, now: Duration) -> Duration {
        self.find_timer(task, of).map_or(Duration::ZERO, |seen| {
            seen.before + now.saturating_sub(seen.first)
        })
    }
}

fn timer_keys(task: &TaskStatus) -> impl Iterator<Item = TimerKey> {
    let batches = task
        .batches
        .iter()
        .enumerate()
        .map(|(i, b)| (TimerKind::Batch(i), b.started_at.as_ref()));
    let others = [
        (TimerKind::Task, task.started_at.as_ref()),
        (TimerKind::Drain, task.drain_since.as_ref()),
    ];
    let all = others.into_iter().chain(batches);
    all.filter_map(|(of, since)| {
        Some(TimerKey {
            task: task.name.clone(),
            of,
            since: since?.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(since: &str) -> ReleaseStatus {
        let task = TaskStatus {
            name: "t".into(),
            started_at: Some(since.into()),
            ..TaskStatus::default()
        };
        ReleaseStatus {
            tasks: vec![task],
            ..ReleaseStatus::default()
        }
    }

    #[test]
    fn no_wall_clock_lengthens_or_shortens_what_this_engine_watched() {
        let (noon, at) = ("2026-01-01T12:00:00Z", Duration::from_secs);
        // Timestamp from another clock: an hour ahead, an hour behind, or correct.
        for (wall, before) in [
            ("2026-01-01T11:00:00Z", 0),
            ("2026-01-01T13:00:00Z", 3600),
            (noon, 0),
        ] {
            let mut timers = Timers::default();
            let told = status(noon);
            let task = &told.tasks[0];
            assert_eq!(timers.spent(task, TimerKind::Task, at(7)), at(0));
            timers.track_status(&told, at(10), wall.parse().unwrap());
            // Then the local clock is set, either way.
            for set in ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
                timers.track_status(&told, at(15), set.parse().unwrap());
            }
            let all = |timers: &Timers, now| {
                let of = TimerKind::Task;
                (
                    timers.spent(task, of, now),
                    timers.watched(task, of, now),
                    timers.lasted(task, of, now),
                )
            };
            assert_eq!(
                all(&timers, at(15)),
                (at(5), at(5), at(before + 5)),
                "{wall}"
            );
            timers.skip_gap(at(100));
            assert_eq!(all(&timers, at(101)), (at(1), at(91), at(before + 91)));
            timers.track_status(
                &status("2026-01-01T12:00:01Z"),
                at(102),
                wall.parse().unwrap(),
            );
            assert_eq!(
                timers.spent(task, TimerKind::Task, at(110)),
                at(0),
                "another beginning"
            );
        }
    }
}
