//! The rows of one kind. A new list replaces the old one when it is complete, so that nothing
//! flickers meanwhile.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use crate::api::NamespaceRef;

/// Rows by key, shared with published worlds.
pub(super) struct Table<K, V> {
    rows: Arc<BTreeMap<K, V>>,
    /// Lists in progress, by namespace.
    coming: BTreeMap<NamespaceRef, BTreeMap<K, V>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: Arc::default(),
            coming: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Table<K, V> {
    pub(super) fn rows(&self) -> &Arc<BTreeMap<K, V>> {
        &self.rows
    }

    pub(super) fn begin_list(&mut self, namespace: &NamespaceRef) {
        self.coming.insert(namespace.clone(), BTreeMap::new());
    }

    pub(super) fn add_listed(&mut self, namespace: &NamespaceRef, key: K, row: V) {
        self.coming
            .entry(namespace.clone())
            .or_default()
            .insert(key, row);
    }

    /// Completes the list of a namespace; `of` says which keys belong to it.
    pub(super) fn finish_list(&mut self, namespace: &NamespaceRef, of: impl Fn(&K) -> bool) {
        let Some(mut fresh) = self.coming.remove(namespace) else {
            return;
        };
        fresh.extend(
            self.rows
                .iter()
                .filter(|(k, _)| !of(k))
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        if *self.rows != fresh {
            self.rows = Arc::new(fresh);
        }
    }

    pub(super) fn set_row(&mut self, key: K, row: V) -> bool {
        let changed = self.rows.get(&key) != Some(&row);
        if changed {
            Arc::make_mut(&mut self.rows).insert(key, row);
        }
        changed
    }

    pub(super) fn remove_row<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key) && Arc::make_mut(&mut self.rows).remove(key).is_some()
    }

    /// Keeps only the rows for which `keep` returns true.
    pub(super) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        if self.rows.iter().any(|(k, v)| !keep(k, v)) {
            Arc::make_mut(&mut self.rows).retain(|k, v| keep(k, v));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_list_replaces_its_own_namespace_at_its_end_only() {
        let mut table = Table::<(&str, u8), u8>::default();
        table.set_row(("a", 1), 10);
        table.set_row(("a", 2), 20);
        table.set_row(("b", 1), 30);
        let a = NamespaceRef::at_home("a");
        table.begin_list(&a);
        table.add_listed(&a, ("a", 2), 21);
        assert_eq!(table.rows().len(), 3, "nothing blinks while a list comes");
        table.finish_list(&a, |k| k.0 == "a");
        assert_eq!(
            **table.rows(),
            BTreeMap::from([(("a", 2), 21), (("b", 1), 30)])
        );
    }

    #[test]
    fn the_same_row_again_is_no_change_and_copies_nothing() {
        let mut table = Table::<u8, u8>::default();
        table.set_row(1, 1);
        let shared = table.rows().clone();
        assert!(!table.set_row(1, 1));
        assert!(!table.remove_row(&2));
        assert!(Arc::ptr_eq(&shared, table.rows()));
        assert!(table.set_row(1, 2));
        assert_eq!(
            shared.get(&1),
            Some(&1),
            "worlds that went out do not change"
        );
    }
}
