//! The recent past of one resource, for watches: bounded, and honest about what it no longer knows.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

/// As many changes as a resource remembers; who asks for older ones lists again.
const CAPACITY: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub struct Change {
    pub rv: u64,
    pub kind: ChangeKind,
    pub namespace: String,
    pub name: String,
    /// As it is after the change; for a removal its last words, with the version of the removal.
    pub object: Arc<Value>,
    pub before: Option<Arc<Value>>,
}

/// The asked version is no longer in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct TooOld {
    pub asked: u64,
    pub oldest: u64,
}

pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    /// Everything after this version is here.
    floor: u64,
    capacity: usize,
}

impl History {
    pub(super) fn new(floor: u64) -> History {
        History { changes: VecDeque::new(), floor, capacity: CAPACITY }
    }

    pub(super) fn push(&mut self, change: Arc<Change>) {
        if self.changes.len() == self.capacity
            && let Some(oldest) = self.changes.pop_front()
        {
            self.floor = oldest.rv;
        }
        self.changes.push_back(change);
    }

    pub(super) fn after(&self, rv: u64) -> Result<Vec<Arc<Change>>, TooOld> {
        if rv < self.floor {
            return Err(TooOld { asked: rv, oldest: self.floor });
        }
        let start = self.changes.partition_point(|c| c.rv <= rv);
        Ok(self.changes.range(start..).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(rv: u64) -> Arc<Change> {
        Arc::new(Change {
            rv,
            kind: ChangeKind::Added,
            namespace: String::new(),
            name: format!("n{rv}"),
            object: Arc::new(Value::Null),
            before: None,
        })
    }

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut history = History::new(10);
        history.capacity = 3;
        for rv in [11, 14, 15, 20] {
            history.push(change(rv));
        }
        let rvs = |from| history.after(from).map(|cs| cs.iter().map(|c| c.rv).collect::<Vec<_>>());
        assert_eq!(rvs(11), Ok(vec![14, 15, 20]));
        assert_eq!(rvs(15), Ok(vec![20]));
        assert_eq!(rvs(99), Ok(vec![]));
        assert_eq!(rvs(10), Err(TooOld { asked: 10, oldest: 11 }));
    }
}
