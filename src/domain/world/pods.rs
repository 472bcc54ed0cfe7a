//! The pods of a world, which are many, and what differs between two worlds.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{ObjectKey, Pod};

/// Pods by key. Keys and pods are shared between worlds, so that a world in which one of thousands
/// has changed costs little.
pub type Pods = BTreeMap<Arc<ObjectKey>, Arc<Pod>>;

/// Collects pods under their keys.
pub fn pods_by_key(pods: impl IntoIterator<Item = Pod>) -> Pods {
    let shared = |pod: Pod| (Arc::new(pod.key.clone()), Arc::new(pod));
    pods.into_iter().map(shared).collect()
}

/// One pod that is not the same in two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodChange<'a> {
    /// Its key, which the newer world shares with others if it has the pod.
    pub key: &'a Arc<ObjectKey>,
    /// The pod in the older world.
    pub before: Option<&'a Arc<Pod>>,
    /// The pod in the newer world.
    pub after: Option<&'a Arc<Pod>>,
}

/// What differs between two worlds, in ascending order of keys. Pods that the worlds share are
/// passed over without being compared.
pub fn pod_changes<'a>(
    before: &'a Pods,
    after: &'a Pods,
) -> impl Iterator<Item = PodChange<'a>> + 'a {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((a, _)), Some((b, _))) if Arc::ptr_eq(a, b) => Ordering::Equal,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            let gone = if order.is_le() { old.next() } else { None };
            let come = if order.is_ge() { new.next() } else { None };
            let (key, _) = come.or(gone)?;
            let (before, after) = (gone.map(|(_, pod)| pod), come.map(|(_, pod)| pod));
            let same = before
                .zip(after)
                .is_some_and(|(a, b)| Arc::ptr_eq(a, b) || a == b);
            if !same {
                return Some(PodChange { key, before, after });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pods(restarts: &BTreeMap<u8, u32>) -> Pods {
        let pod = |(n, restarts): (&u8, &u32)| Pod {
            key: ObjectKey::at_home("n", n.to_string()),
            restarts: *restarts,
            ..Pod::default()
        };
        pods_by_key(restarts.iter().map(pod))
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_world_to_the_other(
            before in prop::collection::btree_map(0u8..20, 0u32..3, 0..20),
            other in prop::collection::btree_map(0u8..20, 0u32..3, 0..20),
            shares in any::<bool>(),
        ) {
            let before = pods(&before);
            let mut after = pods(&other);
            if shares {
                for (key, pod) in &before {
                    after.entry(Arc::clone(key)).and_modify(|p| *p = Arc::clone(pod));
                }
            }
            let mut changed = before.clone();
            for change in pod_changes(&before, &after) {
                prop_assert_ne!(change.before, change.after);
                prop_assert_eq!(change.before, before.get(change.key));
                match change.after {
                    Some(pod) => drop(changed.insert(Arc::clone(change.key), Arc::clone(pod))),
                    None => drop(changed.remove(change.key)),
                }
            }
            prop_assert_eq!(changed, after);
        }
    }

    #[test]
    fn a_world_and_itself_do_not_differ() {
        let all = pods(&(0..10).map(|n| (n, 0)).collect());
        assert_eq!(pod_changes(&all, &all.clone()).count(), 0);
        assert_eq!(pod_changes(&Pods::new(), &all).count(), 10);
        assert_eq!(pod_changes(&all, &Pods::new()).count(), 10);
    }
}
