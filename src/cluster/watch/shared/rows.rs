//! The rows of one kind in all namespaces, and to which namespaces a change goes.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{rows::Row, source::SourceChange};
use crate::domain::world::ObjectKey;

type RowsByNamespace = BTreeMap<Arc<str>, BTreeMap<ObjectKey, Row>>;

/// Rows by namespace.
#[derive(Default)]
pub(super) struct SharedRows {
    rows: RowsByNamespace,
    /// A list in progress.
    coming: Option<RowsByNamespace>,
}

/// Who a change is for.
#[derive(Debug)]
pub(super) enum Delivery {
    /// Nobody yet.
    Nothing,
    /// Those who need this namespace.
    Namespace(Arc<str>, SourceChange),
    /// Everybody gets the new list of the namespace that it needs.
    Lists,
    /// Everybody: the watch fails.
    Failure(SourceChange),
}

impl SharedRows {
    /// Applies a change; rows of namespaces that are not `wanted` are not kept.
    pub(super) fn apply_change(
        &mut self,
        change: SourceChange,
        wanted: impl Fn(&str) -> bool,
    ) -> Delivery {
        match change {
            SourceChange::Begin => {
                self.coming = Some(BTreeMap::new());
                Delivery::Nothing
            }
            SourceChange::Listed(key, row) => {
                if wanted(&key.namespace.name) {
                    let coming = self.coming.get_or_insert_default();
                    let own = coming.entry(Arc::clone(&key.namespace.name)).or_default();
                    own.insert(key, *row);
                }
                Delivery::Nothing
            }
            SourceChange::Ready => {
                self.rows = self.coming.take().unwrap_or_default();
                Delivery::Lists
            }
            SourceChange::Set(key, row) => {
                if !wanted(&key.namespace.name) {
                    return Delivery::Nothing;
                }
                let namespace = Arc::clone(&key.namespace.name);
                let own = self.rows.entry(namespace.clone()).or_default();
                own.insert(key.clone(), (*row).clone());
                Delivery::Namespace(namespace, SourceChange::Set(key, row))
            }
            SourceChange::Gone(key) => {
                let namespace = Arc::clone(&key.namespace.name);
                if let Some(own) = self.rows.get_mut(&namespace) {
                    own.remove(&key);
                    if own.is_empty() {
                        self.rows.remove(&namespace);
                    }
                }
                Delivery::Namespace(namespace, SourceChange::Gone(key))
            }
            SourceChange::Broken(lost) => Delivery::Failure(SourceChange::Broken(lost)),
            SourceChange::Unavailable(lost) => {
                (self.rows, self.coming) = (BTreeMap::new(), None);
                Delivery::Failure(SourceChange::Unavailable(lost))
            }
        }
    }

    /// The whole list of one namespace, as a watch of that namespace would tell it.
    pub(super) fn list_namespace(&self, namespace: &str) -> Vec<SourceChange> {
        let own = self.rows.get(namespace).into_iter().flatten();
        let listed = own.map(|(key, row)| SourceChange::Listed(key.clone(), Box::new(row.clone())));
        std::iter::once(SourceChange::Begin)
            .chain(listed)
            .chain([SourceChange::Ready])
            .collect()
    }

    /// Namespaces with rows.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::watch::source::SourceFailure,
        domain::world::{LinkTrouble, Pod},
    };

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::at_home(namespace, name)
    }

    fn row() -> Box<Row> {
        Box::new(Row::Pod(Pod::default()))
    }

    /// The names that a list tells, between its begin and its end.
    fn listed(rows: &SharedRows, namespace: &str) -> Vec<String> {
        let changes = rows.list_namespace(namespace);
        assert!(matches!(
            (changes.first(), changes.last()),
            (Some(SourceChange::Begin), Some(SourceChange::Ready))
        ));
        let name = |change: &SourceChange| match change {
            SourceChange::Listed(key, _) => Some(key.name.clone()),
            _ => None,
        };
        changes.iter().filter_map(name).collect()
    }

    #[test]
    fn a_change_goes_to_its_own_namespace_and_the_same_name_elsewhere_stays() {
        let (mut rows, all) = (SharedRows::default(), |_: &str| true);
        assert!(matches!(
            rows.apply_change(SourceChange::Begin, all),
            Delivery::Nothing
        ));
        for namespace in ["pay", "shop"] {
            let told = rows.apply_change(SourceChange::Listed(key(namespace, "a"), row()), all);
            assert!(matches!(told, Delivery::Nothing));
        }
        assert!(listed(&rows, "pay").is_empty(), "not before its end");
        assert!(matches!(
            rows.apply_change(SourceChange::Ready, all),
            Delivery::Lists
        ));
        assert_eq!(listed(&rows, "pay"), ["a"]);
        let told = rows.apply_change(SourceChange::Set(key("shop", "b"), row()), all);
        assert!(matches!(told, Delivery::Namespace(to, SourceChange::Set(..)) if &*to == "shop"));
        let told = rows.apply_change(SourceChange::Gone(key("shop", "a")), all);
        assert!(matches!(told, Delivery::Namespace(to, SourceChange::Gone(_)) if &*to == "shop"));
        assert_eq!(
            (listed(&rows, "pay"), listed(&rows, "shop")),
            (vec!["a".into()], vec!["b".into()])
        );
        rows.apply_change(SourceChange::Gone(key("shop", "b")), all);
        assert_eq!(rows.namespaces().collect::<Vec<_>>(), ["pay"]);
    }

    #[test]
    fn what_nobody_needs_is_not_kept_and_a_refusal_leaves_nothing() {
        let mut rows = SharedRows::default();
        let pay = |namespace: &str| namespace == "pay";
        for namespace in ["pay", "shop"] {
            rows.apply_change(SourceChange::Set(key(namespace, "e"), row()), pay);
        }
        assert_eq!(rows.namespaces().collect::<Vec<_>>(), ["pay"]);
        let lost = SourceFailure {
            trouble: LinkTrouble::Forbidden,
            why: "no".into(),
        };
        let told = rows.apply_change(SourceChange::Broken(lost.clone()), pay);
        assert!(matches!(told, Delivery::Failure(SourceChange::Broken(_))));
        assert_eq!(listed(&rows, "pay"), ["e"], "stale, not empty");
        rows.apply_change(SourceChange::Unavailable(lost), pay);
        assert!(listed(&rows, "pay").is_empty());
    }
}
