//! How an environment's pods are split between the new version and the old one.

use crate::{
    api::TaskStatus,
    domain::world::{Pod, Workload},
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

/// Tells new pods from old ones: by the task's images where these differ, else by the newest template's images
/// and the youngest template hash among them.
pub fn split<'a>(task: Option<&TaskStatus>, workloads: &[&Workload], pods: impl Iterator<Item = &'a Pod>) -> Split {
    let pods: Vec<&Pod> = pods.filter(|p| !p.terminating).collect();
    let wanted = workloads.iter().map(|w| w.replicas).sum();
    let by_images = task.filter(|t| t.new_images != t.old_images && !t.new_images.is_empty());
    let youngest = pods
        .iter()
        .filter(|p| workloads.iter().any(|w| w.images == p.images))
        .max_by_key(|p| p.born)
        .and_then(|p| p.hash.clone());
    let is_new = |p: &Pod| match by_images {
        Some(task) => p.images.iter().any(|i| task.new_images.values().any(|n| n.as_str() == &**i)),
        None => task.is_none_or(|t| !t.batches.is_empty()) && p.hash.is_some() && p.hash == youngest,
    };
    let mut out = Split { wanted, ..Split::default() };
    for pod in pods {
        match (is_new(pod), pod.ready) {
            (true, true) => out.new_ready += 1,
            (true, false) => out.new_coming += 1,
            (false, _) => out.old += 1,
        }
    }
    out
}
