//! Recent history of one resource, for watches: limited, and it reports when a version is too old.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ObjectKey, ObjectVersion};

/// Number of changes that are kept per resource; clients that need older ones list again.
const CAPACITY: usize = 4096;
/// Approximate size of a change beside its text.
const OVERHEAD: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// A change of one object.
#[derive(Debug)]
pub struct Change {
    pub rv: u64,
    pub kind: ChangeKind,
    pub namespace: String,
    pub name: String,
    after: Arc<ObjectVersion>,
    before: Option<Arc<ObjectVersion>>,
    /// Approximate number of bytes that only this change holds.
    bytes: usize,
}

impl Change {
    /// `own` says that no other change holds the text of `before`, so that it counts for this one.
    pub(super) fn new(
        key: ObjectKey,
        rv: u64,
        kind: ChangeKind,
        after: Arc<ObjectVersion>,
        before: Option<Arc<ObjectVersion>>,
        own: bool,
    ) -> Arc<Change> {
        let own = before
            .as_ref()
            .filter(|_| own)
            .map_or(0, |b| b.text().len());
        let bytes = after.text().len() + own + OVERHEAD;
        Arc::new(Change {
            rv,
            kind,
            namespace: key.namespace,
            name: key.name,
            after,
            before,
            bytes,
        })
    }

    /// State after the change; for a removal the final state, with the version of the removal.
    pub fn after(&self) -> &Arc<ObjectVersion> {
        &self.after
    }

    /// State before the change; `None` for a new object.
    pub fn before(&self) -> Option<&Arc<ObjectVersion>> {
        self.before.as_ref()
    }
}

/// The requested version is no longer in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct TooOld {
    pub asked: u64,
    pub oldest: u64,
}

pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    /// All changes after this version are present.
    floor: u64,
    capacity: usize,
    bytes: usize,
}

impl History {
    pub(super) fn new(floor: u64) -> History {
        History {
            changes: VecDeque::new(),
            floor,
            capacity: CAPACITY,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, change: Arc<Change>) {
        if self.changes.len() == self.capacity {
            self.forget_oldest();
        }
        self.bytes += change.bytes;
        self.changes.push_back(change);
    }

    /// Approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.changes.pop_front() {
            self.floor = oldest.rv;
            self.bytes -= oldest.bytes;
        }
    }

    /// Whether the change at that version is still present.
    pub(super) fn contains_version(&self, rv: u64) -> bool {
        self.changes.front().is_some_and(|oldest| rv >= oldest.rv)
    }

    pub(super) fn changes_after(&self, rv: u64) -> Result<Vec<Arc<Change>>, TooOld> {
        if rv < self.floor {
            return Err(TooOld {
                asked: rv,
                oldest: self.floor,
            });
        }
        let start = self.changes.partition_point(|c| c.rv <= rv);
        Ok(self.changes.range(start..).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(rv: u64) -> Arc<Change> {
        let value = Arc::new(json!({"rv": rv}));
        let after = ObjectVersion::from_value(&value);
        let key = ObjectKey {
            resource: "things".into(),
            namespace: String::new(),
            name: format!("n{rv}"),
        };
        Change::new(key, rv, ChangeKind::Added, after, None, false)
    }

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut history = History::new(10);
        history.capacity = 3;
        for rv in [11, 14, 15, 20] {
            history.push(change(rv));
        }
        let rvs = |from| {
            history
                .changes_after(from)
                .map(|cs| cs.iter().map(|c| c.rv).collect::<Vec<_>>())
        };
        assert_eq!(rvs(11), Ok(vec![14, 15, 20]));
        assert_eq!(rvs(15), Ok(vec![20]));
        assert_eq!(rvs(99), Ok(vec![]));
        assert_eq!(
            rvs(10),
            Err(TooOld {
                asked: 10,
                oldest: 11
            })
        );
    }

    #[test]
    fn its_bytes_are_those_of_what_it_holds() {
        let mut history = History::new(0);
        assert_eq!(history.bytes(), 0);
        (1..=3).for_each(|rv| history.push(change(rv)));
        assert_eq!(history.bytes(), 3 * change(1).bytes);
        (0..4).for_each(|_| history.forget_oldest());
        assert_eq!((history.bytes(), history.floor), (0, 3));
    }
}
