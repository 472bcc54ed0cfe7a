//! How long tasks, batches and drains last, by the engine's own watch.
//!
//! A status says when something began, in the time of the wall clock of the engine that wrote it: good for people, and
//! for telling one beginning from the next. That clock can be set, and another engine's may be wrong, so nothing is
//! measured against it: what lasts is counted from when this engine first saw the beginning, on a clock that only ever
//! goes forward. After a change of engines a limit or a drain counts anew, and so never ends early.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::api::{ReleaseStatus, TaskStatus};

/// What lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasting {
    /// A task's attempt.
    Task,
    /// The batch in this place.
    Batch(usize),
    /// That the routes are seen closed.
    Drain,
}

/// One beginning that a status tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning {
    task: String,
    of: Lasting,
    /// As it is written.
    since: String,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Duration,
    /// Since then somebody has looked without a gap.
    awake: Duration,
    /// From the stamp to the first sight, as far as wall clocks tell.
    before: Duration,
}

/// The beginnings of one release that this engine has seen.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    seen: BTreeMap<Beginning, Seen>,
}

impl Timers {
    /// Begins to count what a status says has begun, and forgets what it no longer says. `now` is the time on a clock
    /// that only ever goes forward, `wall` that of the wall.
    pub fn follow(&mut self, status: &ReleaseStatus, now: Duration, wall: Timestamp) {
        let told: BTreeMap<Beginning, ()> = status
            .tasks
            .iter()
            .flat_map(beginnings)
            .map(|b| (b, ()))
            .collect();
        self.seen
            .retain(|beginning, _| told.contains_key(beginning));
        for beginning in told.into_keys() {
            let stamp = beginning.since.parse::<Timestamp>().ok();
            let before = stamp
                .and_then(|at| Duration::try_from(wall.duration_since(at)).ok())
                .unwrap_or_default();
            self.seen.entry(beginning).or_insert(Seen {
                first: now,
                awake: now,
                before,
            });
        }
    }

    /// Nobody has looked for a while: that is nobody's delay.
    pub fn skip_gap(&mut self, now: Duration) {
        self.seen.values_mut().for_each(|seen| seen.awake = now);
    }

    fn find(&self, task: &TaskStatus, of: Lasting) -> Option<&Seen> {
        beginnings(task)
            .find(|b| b.of == of)
            .and_then(|b| self.seen.get(&b))
    }

    /// For how long this engine was there to act on it: what a time limit counts.
    pub(super) fn spent(&self, task: &TaskStatus, of: Lasting, now: Duration) -> Duration {
        self.find(task, of)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.awake))
    }

    /// For how long this engine knows of it.
    pub(super) fn watched(&self, task: &TaskStatus, of: Lasting, now: Duration) -> Duration {
        self.find(task, of)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.first))
    }

    /// For how long it has lasted, before this engine too: for what people do while no engine is there.
    pub(super) fn lasted(&self, task: &TaskStatus, of: Lasting, now: Duration) -> Duration {
        self.find(task, of).map_or(Duration::ZERO, |seen| {
            seen.before + now.saturating_sub(seen.first)
        })
    }
}

fn beginnings(task: &TaskStatus) -> impl Iterator<Item = Beginning> {
    let batches = task
        .batches
        .iter()
        .enumerate()
        .map(|(i, b)| (Lasting::Batch(i), b.started_at.as_ref()));
    let others = [
        (Lasting::Task, task.started_at.as_ref()),
        (Lasting::Drain, task.drain_since.as_ref()),
    ];
    let all = others.into_iter().chain(batches);
    all.filter_map(|(of, since)| {
        Some(Beginning {
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
        // The stamp of another clock: an hour ahead, an hour behind, ours.
        for (wall, before) in [
            ("2026-01-01T11:00:00Z", 0),
            ("2026-01-01T13:00:00Z", 3600),
            (noon, 0),
        ] {
            let mut timers = Timers::default();
            let told = status(noon);
            let task = &told.tasks[0];
            assert_eq!(timers.spent(task, Lasting::Task, at(7)), at(0));
            timers.follow(&told, at(10), wall.parse().unwrap());
            // Then ours is set, either way.
            for set in ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
                timers.follow(&told, at(15), set.parse().unwrap());
            }
            let all = |timers: &Timers, now| {
                let of = Lasting::Task;
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
            timers.follow(
                &status("2026-01-01T12:00:01Z"),
                at(102),
                wall.parse().unwrap(),
            );
            assert_eq!(
                timers.spent(task, Lasting::Task, at(110)),
                at(0),
                "another beginning"
            );
        }
    }
}
