//! How an environment's pods are split between the new version and the old one.

use std::collections::BTreeMap;

use crate::{
    api::TaskStatus,
    domain::world::{Pod, Workload, WorkloadKind},
};

/// Pods of both versions, as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// New and serving.
    pub new_ready: u32,
    /// New, coming up.
    pub new_coming: u32,
    /// Old, still there.
    pub old: u32,
    /// Wanted in all.
    pub wanted: u32,
}

/// Tells new pods from old ones: by the task's images where these differ; else by what a StatefulSet's controller calls
/// its update revision, and by the youngest template hash among a Deployment's pods of the newest template's images.
pub fn split<'a>(task: Option<&TaskStatus>, workloads: &[&Workload], pods: impl Iterator<Item = &'a Pod>) -> Split {
    let pods: Vec<(Option<usize>, &Pod)> =
        pods.filter(|p| !p.terminating).map(|p| (workloads.iter().position(|w| owns(w, p)), p)).collect();
    let wanted = workloads.iter().map(|w| w.replicas).fold(0, u32::saturating_add);
    let by_images = task.filter(|t| t.new_images != t.old_images && !t.new_images.is_empty());
    let rolled = task.is_none_or(|t| !t.batches.is_empty());
    let mut youngest: BTreeMap<Option<usize>, &Pod> = BTreeMap::new();
    for (of, pod) in &pods {
        let newest = |w: &Workload| w.images == pod.images;
        if of.map_or_else(|| workloads.iter().any(|w| newest(w)), |of| newest(workloads[of])) {
            let found = youngest.entry(*of).or_insert(pod);
            if pod.born >= found.born {
                *found = pod;
            }
        }
    }
    let is_new = |of: Option<usize>, pod: &Pod| match (by_images, of.and_then(|of| workloads[of].revision.as_ref())) {
        (Some(task), _) => pod.images.iter().any(|i| task.new_images.values().any(|n| n.as_str() == &**i)),
        (None, Some(revision)) => rolled && pod.hash.as_ref() == Some(revision),
        (None, None) => rolled && pod.hash.is_some() && youngest.get(&of).is_some_and(|y| y.hash == pod.hash),
    };
    let mut out = Split { wanted, ..Split::default() };
    for (of, pod) in pods {
        match (is_new(of, pod), pod.ready) {
            (true, true) => out.new_ready += 1,
            (true, false) => out.new_coming += 1,
            (false, _) => out.old += 1,
        }
    }
    out
}

/// A StatefulSet owns its pods itself, a Deployment by a ReplicaSet that is called after it and the pods' hash.
fn owns(workload: &Workload, pod: &Pod) -> bool {
    let Some(owner) = pod.owner.as_deref().filter(|_| workload.key.namespace == pod.key.namespace) else {
        return false;
    };
    let name = match workload.kind {
        WorkloadKind::StatefulSet => Some(owner),
        WorkloadKind::Deployment => pod.hash.as_deref().and_then(|h| owner.strip_suffix(h)?.strip_suffix('-')),
    };
    name == Some(workload.key.name.as_str())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{text::Clean, world::Key};

    fn key(name: &str) -> Key {
        Key { namespace: "demo".into(), name: name.into() }
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

    /// Same images: only what the pods are made of says which is new.
    #[test]
    fn a_lost_pod_that_comes_back_old_is_not_the_new_version() {
        let images = vec![Clean::from("i:1")];
        let kind = WorkloadKind::StatefulSet;
        let revision = Some("db-new".to_owned());
        let db =
            Workload { kind, key: key("db"), revision, replicas: 3, images: images.clone(), ..Workload::default() };
        let web = Workload { key: key("web"), replicas: 2, images, ..Workload::default() };
        let pods = [pod("db", "db-old", 90), pod("db", "db-old", 10), pod("db", "db-new", 50)];
        let expected = Split { new_ready: 1, new_coming: 0, old: 2, wanted: 3 };
        assert_eq!(split(None, &[&db], pods.iter()), expected);
        // Beside it a Deployment, of which the youngest pod is the new one.
        let more = [pod("web-f1", "f1", 20), pod("web-f2", "f2", 30)];
        let expected = Split { new_ready: 2, new_coming: 0, old: 3, wanted: 5 };
        assert_eq!(split(None, &[&db, &web], pods.iter().chain(&more)), expected);
    }
}
