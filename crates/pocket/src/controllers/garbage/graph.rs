//! Graph of owners and dependents by uid, built from the watches. Contains only objects that have
//! owners or wait for their dependents.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

pub(super) type Uid = String;

/// What an object that is being deleted waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeletionWait {
    /// Its dependents must be released.
    Orphaning,
    /// Its dependents must be gone.
    Foreground,
}

impl DeletionWait {
    pub(super) fn from_meta(meta: &ObjectMeta) -> Option<Self> {
        meta.deletion_timestamp.as_ref()?;
        let has = |name: &str| meta.finalizers.iter().flatten().any(|f| f == name);
        let foreground = has(FOREGROUND).then_some(Self::Foreground);
        if has(ORPHAN) {
            Some(Self::Orphaning)
        } else {
            foreground
        }
    }

    pub(super) fn finalizer(self) -> &'static str {
        match self {
            Self::Orphaning => ORPHAN,
            Self::Foreground => FOREGROUND,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub resource: Arc<ApiResource>,
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub owners: Vec<OwnerReference>,
    pub deleting: bool,
    pub waits: Option<DeletionWait>,
}

impl Node {
    fn from_meta(resource: &Arc<ApiResource>, meta: &ObjectMeta) -> Option<Self> {
        Some(Self {
            resource: resource.clone(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            waits: DeletionWait::from_meta(meta),
        })
    }

    /// Whether this object blocks the foreground deletion of `owner`.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
    }
}

fn is_of(reference: &OwnerReference, resource: &ApiResource) -> bool {
    let group = reference
        .api_version
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    reference.kind == resource.kind && group == resource.group
}

/// Owners and dependents; every change returns the nodes that must be reconciled for it.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Arc<Node>>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    /// Owners that were seen to go while dependents still reference them. Uids are never reused.
    gone: HashSet<Uid>,
}

impl Graph {
    pub(super) fn node(&self, uid: &str) -> Option<Arc<Node>> {
        self.nodes.get(uid).cloned()
    }

    pub(super) fn dependents(&self, owner: &str) -> Vec<Arc<Node>> {
        self.dependents
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.node(uid))
            .collect()
    }

    pub(super) fn is_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    /// Records the current state of an object.
    pub(super) fn update_object(
        &mut self,
        resource: &Arc<ApiResource>,
        meta: &ObjectMeta,
    ) -> Vec<Arc<Node>> {
        let Some(node) = Node::from_meta(resource, meta).map(Arc::new) else {
            return vec![];
        };
        let old = self.nodes.get(&node.uid).cloned();
        if node.owners.is_empty() && node.waits.is_none() && old.is_none() {
            return vec![];
        }
        let mut look = vec![];
        let same = |o: &Arc<Node>| o.owners == node.owners && o.resource == node.resource;
        if !old.as_ref().is_some_and(same) {
            look.push(node.clone());
            if let Some(old) = &old {
                look.extend(self.unlink_owners(old));
            }
            for owner in &node.owners {
                self.dependents
                    .entry(owner.uid.clone())
                    .or_default()
                    .insert(node.uid.clone());
            }
        }
        if node.waits.is_some() {
            look.push(node.clone());
            if old.is_none_or(|o| o.waits != node.waits) {
                look.extend(self.dependents(&node.uid));
            }
        }
        if node.owners.is_empty() && node.waits.is_none() {
            self.nodes.remove(&node.uid);
        } else {
            self.nodes.insert(node.uid.clone(), node);
        }
        look
    }

    /// Records that an object is gone.
    pub(super) fn remove_object(&mut self, uid: &str) -> Vec<Arc<Node>> {
        let mut look = self
            .nodes
            .remove(uid)
            .map(|old| self.unlink_owners(&old))
            .unwrap_or_default();
        if self.dependents.contains_key(uid) {
            self.gone.insert(uid.to_owned());
            look.extend(self.dependents(uid));
        }
        look
    }

    /// Records the uids of all existing objects of a kind. Returns what must be reconciled for the
    /// objects that went unnoticed and for those with an owner of this kind.
    pub(super) fn replace_kind(
        &mut self,
        resource: &ApiResource,
        uids: &HashSet<Uid>,
    ) -> Vec<Arc<Node>> {
        let of_kind =
            |n: &&Arc<Node>| n.resource.kind == resource.kind && n.resource.group == resource.group;
        let went: Vec<Uid> = self
            .nodes
            .values()
            .filter(of_kind)
            .filter(|n| !uids.contains(&n.uid))
            .map(|n| n.uid.clone())
            .collect();
        let mut look: Vec<Arc<Node>> = went
            .iter()
            .flat_map(|uid| self.remove_object(uid))
            .collect();
        look.extend(
            self.nodes
                .values()
                .filter(|n| n.owners.iter().any(|o| is_of(o, resource)))
                .cloned(),
        );
        look
    }

    /// Records that a kind is no longer served: all its objects are gone.
    pub(super) fn remove_kind(&mut self, resource: &ApiResource) -> Vec<Arc<Node>> {
        let named = self
            .nodes
            .values()
            .flat_map(|n| &n.owners)
            .filter(|o| is_of(o, resource));
        let owners: BTreeSet<Uid> = named.map(|o| o.uid.clone()).collect();
        let mut look = self.replace_kind(resource, &HashSet::new());
        look.extend(owners.iter().flat_map(|uid| self.remove_object(uid)));
        look
    }

    /// Removes a node from its owners; returns the owners that may have been waiting for it.
    fn unlink_owners(&mut self, node: &Node) -> Vec<Arc<Node>> {
        for owner in &node.owners {
            if let Some(of_owner) = self.dependents.get_mut(&owner.uid) {
                of_owner.remove(&node.uid);
                if of_owner.is_empty() {
                    self.dependents.remove(&owner.uid);
                    self.gone.remove(&owner.uid);
                }
            }
        }
        let owners = node.owners.iter().filter_map(|o| self.node(&o.uid));
        owners.filter(|o| o.waits.is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::GroupVersionKind;
    use serde_json::{Value, json};

    fn kind(kind: &str) -> Arc<ApiResource> {
        Arc::new(ApiResource::from_gvk(&GroupVersionKind::gvk(
            "g", "v1", kind,
        )))
    }

    /// Records an object in the graph; returns the uids that must be reconciled.
    fn tell(graph: &mut Graph, uid: &str, owners: &[&str], rest: Value) -> Vec<String> {
        let owner = |o: &&str| json!({"apiVersion": "g/v1", "kind": "A", "name": o, "uid": o, "blockOwnerDeletion": true});
        let mut meta = json!({"name": uid, "uid": uid, "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()});
        meta.as_object_mut()
            .unwrap()
            .extend(rest.as_object().cloned().unwrap_or_default());
        uids(&graph.update_object(&kind("A"), &serde_json::from_value(meta).unwrap()))
    }

    fn uids(nodes: &[Arc<Node>]) -> Vec<String> {
        let all: BTreeSet<&str> = nodes.iter().map(|n| n.uid.as_str()).collect();
        all.into_iter().map(str::to_owned).collect()
    }

    const WAITS: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn what_is_owned_is_looked_at_once_and_when_its_owner_goes() {
        let mut graph = Graph::default();
        assert!(tell(&mut graph, "free", &[], json!({})).is_empty() && graph.nodes.is_empty());
        assert_eq!(tell(&mut graph, "b", &["a"], json!({})), ["b"]);
        assert!(
            tell(&mut graph, "b", &["a"], json!({"labels": {"x": "y"}})).is_empty(),
            "nothing new of owners"
        );
        assert_eq!(uids(&graph.remove_object("a")), ["b"]);
        assert!(graph.is_gone("a"));
        assert!(uids(&graph.remove_object("b")).is_empty());
        assert!(
            !graph.is_gone("a") && graph.dependents.is_empty() && graph.nodes.is_empty(),
            "nothing is kept"
        );
    }

    #[test]
    fn who_waits_is_looked_at_whenever_a_dependent_goes_or_is_let_go() {
        let mut graph = Graph::default();
        tell(&mut graph, "b", &["a"], json!({}));
        tell(&mut graph, "c", &["a", "z"], json!({}));
        let waiting =
            json!({"deletionTimestamp": WAITS, "finalizers": ["example.com/x", FOREGROUND]});
        assert_eq!(tell(&mut graph, "a", &[], waiting), ["a", "b", "c"]);
        assert_eq!(
            graph.node("a").unwrap().waits,
            Some(DeletionWait::Foreground)
        );
        assert_eq!(tell(&mut graph, "c", &["z"], json!({})), ["a", "c"]);
        assert!(graph.node("b").unwrap().blocks("a") && !graph.node("c").unwrap().blocks("a"));
        assert_eq!(uids(&graph.remove_object("b")), ["a"]);
        assert!(
            tell(&mut graph, "a", &[], json!({"deletionTimestamp": WAITS})).is_empty(),
            "it waits no longer"
        );
        assert!(graph.node("a").is_none());
    }

    #[test]
    fn a_list_tells_what_the_watch_could_not() {
        let mut graph = Graph::default();
        tell(&mut graph, "b", &["a"], json!({}));
        tell(&mut graph, "c", &["b"], json!({}));
        let all = HashSet::from(["c".to_owned()]);
        assert_eq!(uids(&graph.replace_kind(&kind("A"), &all)), ["c"]);
        assert!(graph.is_gone("b") && graph.node("b").is_none());
        assert_eq!(
            uids(&graph.replace_kind(&kind("B"), &HashSet::new())),
            [""; 0],
            "of another kind"
        );
    }

    #[test]
    fn with_its_kind_an_owner_is_gone() {
        let mut graph = Graph::default();
        let owned = json!({"name": "b", "uid": "b",
            "ownerReferences": [{"apiVersion": "g/v1", "kind": "A", "name": "a", "uid": "a"}]});
        graph.update_object(&kind("B"), &serde_json::from_value(owned).unwrap());
        assert_eq!(uids(&graph.remove_kind(&kind("A"))), ["b"]);
        assert!(graph.is_gone("a"));
    }
}
