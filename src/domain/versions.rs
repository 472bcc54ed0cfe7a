//! Tells which pods and pod templates of an environment are the new version and which are the old
//! one.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Pod, Workload, WorkloadKind};
use crate::api::TaskStatus;

/// Current number of pods of each version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// New pods that are ready.
    pub new_ready: u32,
    /// New pods that are not ready yet.
    pub new_coming: u32,
    /// Old pods that still exist.
    pub old: u32,
    /// Desired replicas in total.
    pub wanted: u32,
}

/// Version of a template's pods, relative to the other templates of their environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionAge {
    /// There is no other version.
    Only,
    /// A newer version exists.
    Old,
    /// Older versions still exist.
    New,
}

/// The pod templates of an environment, by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTemplates {
    new: BTreeSet<String>,
    old: BTreeSet<String>,
}

impl PodTemplates {
    /// Collects the templates of these pods, including terminating pods, which may still answer
    /// requests.
    pub fn from_pods<'a>(
        task: Option<&TaskStatus>,
        workloads: &[&Workload],
        pods: impl Iterator<Item = &'a Pod>,
    ) -> Self {
        let mut told = Self::default();
        for (is_new, pod) in classify_pods(task, workloads, pods.collect()) {
            let set = if is_new { &mut told.new } else { &mut told.old };
            set.extend(pod.hash.clone());
        }
        let new = &told.new;
        told.old.retain(|hash| !new.contains(hash));
        told
    }

    /// Version of the pods with this hash. An unknown hash belongs to deleted pods, which were old.
    /// Without a hash, or without any known template, there is no other version.
    pub fn age_of_hash(&self, hash: Option<&str>) -> VersionAge {
        let Some(hash) = hash else {
            return VersionAge::Only;
        };
        match (self.new.contains(hash), self.old.contains(hash)) {
            (true, _) if self.old.is_empty() => VersionAge::Only,
            (true, _) => VersionAge::New,
            (_, true) if self.new.is_empty() => VersionAge::Only,
            (_, true) => VersionAge::Old,
            _ if self.new.is_empty() && self.old.is_empty() => VersionAge::Only,
            _ => VersionAge::Old,
        }
    }

    /// Whether both versions exist.
    pub fn has_both(&self) -> bool {
        !self.new.is_empty() && !self.old.is_empty()
    }
}

/// Counts the new and old pods.
pub fn count_versions<'a>(
    task: Option<&TaskStatus>,
    workloads: &[&Workload],
    pods: impl Iterator<Item = &'a Pod>,
) -> VersionCounts {
    let wanted = workloads
        .iter()
        .map(|w| w.replicas)
        .fold(0, u32::saturating_add);
    let mut out = VersionCounts {
        wanted,
        ..VersionCounts::default()
    };
    for (is_new, pod) in classify_pods(task, workloads, pods.filter(|p| !p.terminating).collect()) {
        match (is_new, pod.ready) {
            (true, true) => out.new_ready += 1,
            (true, false) => out.new_coming += 1,
            (false, _) => out.old += 1,
        }
    }
    out
}

/// Marks each pod as new or not: by the task's images if these differ; otherwise by the update
/// revision of a StatefulSet, or by the hash of a Deployment's youngest pod among those with the
/// images of the current template.
fn classify_pods<'a>(
    task: Option<&TaskStatus>,
    workloads: &[&Workload],
    pods: Vec<&'a Pod>,
) -> Vec<(bool, &'a Pod)> {
    let pods: Vec<(Option<usize>, &Pod)> = pods
        .into_iter()
        .map(|p| (workloads.iter().position(|w| owns_pod(w, p)), p))
        .collect();
    let workload = |of: Option<usize>| of.and_then(|of| workloads.get(of));
    let by_images = task.filter(|t| t.new_images != t.old_images && !t.new_images.is_empty());
    let rolled = task.is_none_or(|t| !t.batches.is_empty());
    let mut youngest: BTreeMap<Option<usize>, &Pod> = BTreeMap::new();
    for (of, pod) in &pods {
        let newest = |w: &Workload| w.images == pod.images;
        if workload(*of).map_or_else(|| workloads.iter().any(|w| newest(w)), |w| newest(w)) {
            let found = youngest.entry(*of).or_insert(pod);
            if pod.born >= found.born {
                *found = pod;
            }
        }
    }
    let is_new = |of: Option<usize>, pod: &Pod| match (
        by_images,
        workload(of).and_then(|w| w.revision.as_ref()),
    ) {
        (Some(task), _) => pod
            .images
            .iter()
            .any(|i| task.new_images.values().any(|n| n.as_str() == &**i)),
        (None, Some(revision)) => rolled && pod.hash.as_ref() == Some(revision),
        (None, None) => {
            rolled && pod.hash.is_some() && youngest.get(&of).is_some_and(|y| y.hash == pod.hash)
        }
    };
    pods.iter()
        .map(|(of, pod)| (is_new(*of, pod), *pod))
        .collect()
}

/// Whether a workload owns a pod. A StatefulSet owns its pods directly, a Deployment through a
/// ReplicaSet that is named after the Deployment and the pods' template hash.
fn owns_pod(workload: &Workload, pod: &Pod) -> bool {
    let Some(owner) = pod
        .owner
        .as_deref()
        .filter(|_| workload.key.namespace == pod.key.namespace)
    else {
        return false;
    };
    let name = match workload.kind {
        WorkloadKind::StatefulSet => Some(owner),
        WorkloadKind::Deployment => pod
            .hash
            .as_deref()
            .and_then(|h| owner.strip_suffix(h)?.strip_suffix('-')),
    };
    name == Some(workload.key.name.as_str())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{text::Clean, world::ObjectKey};

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            namespace: "demo".into(),
            name: name.into(),
        }
    }

    fn pod(owner: &str, hash: &str, born: i64) -> Pod {
        Pod {
            key: key(&format!("{owner}-{born}")),
            owner: Some(owner.into()),
            hash: Some(hash.into()),
            images: vec![Clean::from("i:1")],
            ready: true,
            born: Timestamp::from_second(born).ok(),
            ..Pod::default()
        }
    }

    #[test]
    fn of_two_templates_one_is_new_and_what_is_gone_was_old() {
        let images = vec![Clean::from("i:2")];
        let web = Workload {
            key: key("web"),
            replicas: 2,
            images: images.clone(),
            ..Workload::default()
        };
        let old = Pod {
            images: vec![Clean::from("i:1")],
            terminating: true,
            ..pod("web-f1", "f1", 20)
        };
        let new = Pod {
            images,
            ..pod("web-f2", "f2", 30)
        };
        let both = PodTemplates::from_pods(None, &[&web], [&old, &new].into_iter());
        assert_eq!(
            ["f1", "f2", "f0"].map(|hash| both.age_of_hash(Some(hash))),
            [VersionAge::Old, VersionAge::New, VersionAge::Old]
        );
        assert_eq!(
            (both.age_of_hash(None), both.has_both()),
            (VersionAge::Only, true)
        );
        let one = PodTemplates::from_pods(None, &[&web], [&new].into_iter());
        assert_eq!(
            ["f1", "f2"].map(|hash| one.age_of_hash(Some(hash))),
            [VersionAge::Old, VersionAge::Only]
        );
        assert_eq!(
            PodTemplates::default().age_of_hash(Some("f1")),
            VersionAge::Only
        );
    }

    /// With the same images, only the template tells which pods are new.
    #[test]
    fn a_lost_pod_that_comes_back_old_is_not_the_new_version() {
        let images = vec![Clean::from("i:1")];
        let kind = WorkloadKind::StatefulSet;
        let revision = Some("db-new".to_owned());
        let db = Workload {
            kind,
            key: key("db"),
            revision,
            replicas: 3,
            images: images.clone(),
            ..Workload::default()
        };
        let web = Workload {
            key: key("web"),
            replicas: 2,
            images,
            ..Workload::default()
        };
        let pods = [
            pod("db", "db-old", 90),
            pod("db", "db-old", 10),
            pod("db", "db-new", 50),
        ];
        let expected = VersionCounts {
            new_ready: 1,
            new_coming: 0,
            old: 2,
            wanted: 3,
        };
        assert_eq!(count_versions(None, &[&db], pods.iter()), expected);
        // Plus a Deployment, whose youngest pod is the new one.
        let more = [pod("web-f1", "f1", 20), pod("web-f2", "f2", 30)];
        let expected = VersionCounts {
            new_ready: 2,
            new_coming: 0,
            old: 3,
            wanted: 5,
        };
        assert_eq!(
            count_versions(None, &[&db, &web], pods.iter().chain(&more)),
            expected
        );
    }
}
