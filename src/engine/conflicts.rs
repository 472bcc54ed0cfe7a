//! Detects writes that another manager keeps reverting. Once or twice may be a race. After that the
//! same write is repeated with exponential back-off and reported, since faster writes would not
//! help.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::ObjectRef,
    domain::{batches::template::short_digest, owner::describe_object},
};

/// How often the same write is allowed without back-off.
const FREE_WRITES: u32 = 3;
/// Back-off after that: the first pause, doubled up to the second.
const BACKOFF_RANGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// Older writes are forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(15);

/// Recent writes, by object and digest of the desired content.
#[derive(Default)]
pub(super) struct WriteConflicts(Mutex<RecentWrites>);

#[derive(Default)]
struct RecentWrites {
    all: HashMap<(ObjectRef, String), WriteCount>,
    /// When old entries were last removed.
    swept: Option<Instant>,
}

struct WriteCount {
    times: u32,
    last: Instant,
}

/// The same write was repeated too often and must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriteDeferred {
    pub(super) times: u32,
    pub(super) wait: Duration,
}

impl WriteConflicts {
    /// Checks whether this may be written to the object now. If so, it counts as written.
    pub(super) fn begin_write(
        &self,
        object: &ObjectRef,
        wanted: &Value,
        now: Instant,
    ) -> Result<(), WriteDeferred> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let RecentWrites { all, swept } = &mut *lately;
        // Releases end, and the objects they write are deleted.
        if now.duration_since(*swept.get_or_insert(now)) >= FORGET_AFTER {
            all.retain(|_, written| now.duration_since(written.last) < FORGET_AFTER);
            *swept = Some(now);
        }
        let digest = short_digest(&without_resource_version(wanted));
        let key = (object.clone(), digest);
        let written = all.entry(key).or_insert(WriteCount {
            times: 0,
            last: now,
        });
        if now.duration_since(written.last) >= FORGET_AFTER {
            written.times = 0;
        }
        let pause = backoff_after(written.times);
        let left = pause.saturating_sub(now.duration_since(written.last));
        if !left.is_zero() {
            return Err(WriteDeferred {
                times: written.times,
                wait: left,
            });
        }
        written.times += 1;
        written.last = now;
        Ok(())
    }

    /// Uncounts a write that did not happen.
    pub(super) fn cancel_write(&self, object: &ObjectRef, wanted: &Value) {
        let digest = short_digest(&without_resource_version(wanted));
        let key = (object.clone(), digest);
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = lately.all.get_mut(&key) {
            written.times = written.times.saturating_sub(1);
        }
    }
}

/// Pause after this many identical writes.
fn backoff_after(times: u32) -> Duration {
    if times < FREE_WRITES {
        Duration::ZERO
    } else {
        (BACKOFF_RANGE.0 * 2u32.saturating_pow((times - FREE_WRITES).min(10))).min(BACKOFF_RANGE.1)
    }
}

/// Desired content without the version it is based on.
fn without_resource_version(wanted: &Value) -> Value {
    let mut wanted = wanted.clone();
    wanted["metadata"]
        .as_object_mut()
        .map(|meta| meta.shift_remove("resourceVersion"));
    wanted
}

impl WriteDeferred {
    /// Message for users. `managers` are the other field managers of the object.
    pub(super) fn describe_conflict(&self, object: &ObjectRef, managers: &[String]) -> String {
        let by = if managers.is_empty() {
            "somebody".to_owned()
        } else {
            managers.join(" or ")
        };
        format!(
            "{}: {by} undoes what graylane writes (written {} times); it is written again in {} s. Only one of the \
            two should manage it",
            describe_object(object),
            self.times,
            self.wait.as_secs().max(1)
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ObjectKey;

    fn service(name: &str) -> ObjectRef {
        ObjectRef::new("v1", "Service", ObjectKey::at_home("", name))
    }

    #[test]
    fn the_same_again_and_again_is_written_less_and_less_often() {
        let (fights, begin) = (WriteConflicts::default(), Instant::now());
        let wanted = |version: u32| json!({"metadata": {"resourceVersion": version.to_string()}, "spec": {"a": 1}});
        // Somebody reverts it immediately, for an hour.
        let mut writes = vec![];
        for second in 0..3600 {
            let now = begin + Duration::from_secs(second);
            if fights
                .begin_write(&service("a"), &wanted(u32::try_from(second).unwrap()), now)
                .is_ok()
            {
                writes.push(second);
            }
        }
        assert_eq!(writes[..4], [0, 1, 2, 7], "{writes:?}");
        assert!(writes.len() < 25, "{writes:?}");
        let gaps: Vec<u64> = writes.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(
            gaps.windows(2).all(|g| g[0] <= g[1]) && gaps.last() == Some(&300),
            "{gaps:?}"
        );
    }

    #[test]
    fn two_that_write_each_their_own_in_turn_are_a_fight_too_and_progress_is_none() {
        let (fights, now) = (WriteConflicts::default(), Instant::now());
        let of = |n: u32| json!({"spec": {"step": n}});
        // Each step forward is a different write.
        assert!((0..50).all(|n| fights.begin_write(&service("a"), &of(n), now).is_ok()));
        let turns = (0..20)
            .filter(|n| fights.begin_write(&service("b"), &of(n % 2), now).is_ok())
            .count();
        assert_eq!(turns, 6);
        let undone = fights.begin_write(&service("b"), &of(0), now).unwrap_err();
        assert_eq!(
            undone,
            WriteDeferred {
                times: 3,
                wait: BACKOFF_RANGE.0
            }
        );
        assert!(
            undone
                .describe_conflict(&service("b"), &["argocd".into()])
                .starts_with("Service b: argocd undoes")
        );
        // Other objects are not affected, and after a while everything is forgotten.
        assert!(fights.begin_write(&service("c"), &of(0), now).is_ok());
        assert!(
            fights
                .begin_write(&service("b"), &of(0), now + FORGET_AFTER)
                .is_ok()
        );
        assert!(
            fights
                .begin_write(&service("b"), &of(0), now + FORGET_AFTER)
                .is_ok()
        );
    }

    #[test]
    fn what_was_written_long_ago_takes_no_place() {
        let (fights, begin) = (WriteConflicts::default(), Instant::now());
        for n in 0..1000u32 {
            assert!(
                fights
                    .begin_write(
                        &service(&n.to_string()),
                        &json!({}),
                        begin + n * Duration::from_secs(10)
                    )
                    .is_ok()
            );
        }
        let most = 2 * FORGET_AFTER.as_secs() / 10;
        let held = fights.0.lock().unwrap().all.len() as u64;
        assert!(held <= most, "{held} of at most {most}");
    }

    #[test]
    fn what_was_not_written_does_not_count() {
        let (fights, now) = (WriteConflicts::default(), Instant::now());
        for _ in 0..20 {
            assert!(fights.begin_write(&service("a"), &json!({}), now).is_ok());
            fights.cancel_write(&service("a"), &json!({}));
        }
    }
}
