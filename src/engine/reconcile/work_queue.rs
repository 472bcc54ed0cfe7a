//! The work queue. A job never runs twice at the same time: if it is added while it runs, it runs
//! once more afterwards. The job that waits longest runs first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::engine::change_queue::ChangeKey;

/// A unit of reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Label pods that are older than their App.
    Adopted,
    /// Reconcile a lane group.
    Group(String),
    /// Reconcile the releases of an App, one after the other, because they share environments.
    App(String),
    /// Delete finished releases that no App keeps any more.
    Prune,
}

/// What a job has to cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JobScope {
    /// For an App: UIDs of the releases.
    pub(super) releases: BTreeSet<String>,
    /// For pods: what has changed.
    pub(super) changed: BTreeSet<ChangeKey>,
}

#[derive(Default)]
pub(super) struct WorkQueue {
    order: VecDeque<Job>,
    waiting: BTreeMap<Job, JobScope>,
    busy: BTreeSet<Job>,
}

impl WorkQueue {
    /// Adds a job, or extends a waiting one.
    pub(super) fn add(&mut self, job: Job, load: JobScope) {
        if !self.waiting.contains_key(&job) {
            self.order.push_back(job.clone());
        }
        let all = self.waiting.entry(job).or_default();
        all.releases.extend(load.releases);
        all.changed.extend(load.changed);
    }

    /// Takes the next job that is not running.
    pub(super) fn take_next(&mut self) -> Option<(Job, JobScope)> {
        let at = self.order.iter().position(|job| !self.busy.contains(job))?;
        let job = self.order.remove(at)?;
        let load = self.waiting.remove(&job).unwrap_or_default();
        self.busy.insert(job.clone());
        Some((job, load))
    }

    /// Marks a job as no longer running.
    pub(super) fn mark_done(&mut self, job: &Job) {
        self.busy.remove(job);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.order.is_empty() && self.busy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn app(name: u8) -> Job {
        Job::App(format!("a{name}"))
    }

    proptest! {
        /// For any order of adding and finishing: no job runs twice at the same time, and none is
        /// lost or waits for ever.
        #[test]
        fn every_change_is_looked_at_after_it_came(script in prop::collection::vec((0u8..3, 0u8..5, 0u32..50), 0..200)) {
            let mut queue = WorkQueue::default();
            let mut busy: Vec<Job> = vec![];
            let mut asked: BTreeSet<(Job, String)> = BTreeSet::new();
            let take = |queue: &mut WorkQueue, busy: &mut Vec<Job>, asked: &mut BTreeSet<(Job, String)>| {
                let Some((job, load)) = queue.take_next() else { return false };
                assert!(!busy.contains(&job), "twice at the same time");
                for uid in load.releases {
                    assert!(asked.remove(&(job.clone(), uid)), "nobody asked");
                }
                busy.push(job);
                true
            };
            for (what, name, uid) in script {
                match what {
                    0 => {
                        let releases = [uid.to_string()].into();
                        asked.insert((app(name), uid.to_string()));
                        queue.add(app(name), JobScope { releases, ..JobScope::default() });
                    }
                    1 => drop(take(&mut queue, &mut busy, &mut asked)),
                    _ => if let Some(job) = busy.pop() { queue.mark_done(&job) },
                }
            }
            for job in busy.drain(..) {
                queue.mark_done(&job);
            }
            while take(&mut queue, &mut busy, &mut asked) {}
            prop_assert!(asked.is_empty(), "{asked:?}");
            busy.iter().for_each(|job| queue.mark_done(job));
            prop_assert!(queue.is_idle());
        }
    }

    #[test]
    fn who_waits_longest_comes_first_and_nobody_waits_for_one_that_is_under_way() {
        let mut queue = WorkQueue::default();
        for name in [1, 2, 1, 3] {
            queue.add(app(name), JobScope::default());
        }
        assert_eq!(queue.take_next().map(|t| t.0), Some(app(1)));
        queue.add(app(1), JobScope::default());
        assert_eq!(
            [queue.take_next(), queue.take_next(), queue.take_next()].map(|t| t.map(|t| t.0)),
            [Some(app(2)), Some(app(3)), None]
        );
        queue.mark_done(&app(1));
        assert_eq!(queue.take_next().map(|t| t.0), Some(app(1)));
    }
}
