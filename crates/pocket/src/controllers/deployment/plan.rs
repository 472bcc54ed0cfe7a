//! One sync of the Deployment controller as a pure function: takes the observed objects and the
//! current time, returns the writes.
//!
//! It follows the order of steps in kube-controller-manager (sync, scale, rolling, recreate),
//! because programs that pause a rollout at a number of pods depend on what that controller does
//! and does not do.

use super::super::ownership;
use super::model::{
    DESIRED_ANNOTATION, HASH_LABEL, MAX_ANNOTATION, NOT_COPIED, REVISION, REVISION_HISTORY,
    creation_order, is_paused, is_recreate, min_ready_seconds, parse_annotation, replicas,
    resolve_fenceposts, revision, rs_actual, rs_replicas, same_template, template_hash,
};
use super::{rolling, status};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one sync reads.
pub struct SyncInput<'a> {
    pub deployment: &'a Deployment,
    /// ReplicaSets that this Deployment controls.
    pub sets: &'a [ReplicaSet],
    /// Number of unfinished pods (terminating ones included) by the uid of their ReplicaSet.
    pub pods: &'a BTreeMap<String, i32>,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Create(Box<ReplicaSet>),
    /// Writes these fields of an existing ReplicaSet if it still has this resourceVersion.
    Update {
        name: String,
        resource_version: Option<String>,
        replicas: Option<i32>,
        min_ready_seconds: Option<i32>,
        annotations: BTreeMap<String, String>,
    },
    Delete {
        name: String,
        uid: Option<String>,
    },
}

/// Result of one sync: actions in order, then status and revision, then when to requeue.
#[derive(Debug, Default, PartialEq)]
pub struct SyncPlan {
    pub actions: Vec<Action>,
    /// Messages for events, such as `Scaled up replica set …`.
    pub notes: Vec<String>,
    /// New value of the Deployment's revision annotation; `None` when it stays.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    pub requeue: Option<Duration>,
}

/// The ReplicaSets while a sync changes them.
pub(super) struct SyncState<'a> {
    pub d: &'a Deployment,
    pub now: Timestamp,
    pub status: DeploymentStatus,
    pub new: Option<ReplicaSet>,
    /// Sorted, oldest first.
    pub old: Vec<ReplicaSet>,
    pub notes: Vec<String>,
    created: bool,
    deleted: Vec<ReplicaSet>,
    revision: Option<String>,
}

impl SyncState<'_> {
    pub fn all_sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(self.new.iter())
    }

    /// Sum of the desired replicas of all ReplicaSets.
    pub fn total_replicas(&self) -> i32 {
        self.all_sets().map(rs_replicas).sum()
    }

    /// Sets the size of a ReplicaSet and the two annotations that proportional scaling needs.
    /// Returns whether the size changed, and adds a note if it did.
    pub fn resize_set(&mut self, name: &str, size: i32) -> bool {
        let (want, surge) = (replicas(self.d), resolve_fenceposts(self.d).0);
        let Some(rs) = self
            .old
            .iter_mut()
            .chain(self.new.iter_mut())
            .find(|rs| rs.metadata.name.as_deref() == Some(name))
        else {
            return false;
        };
        annotate_sizes(rs, want, want + surge);
        let before = rs_replicas(rs);
        if before == size {
            return false;
        }
        if let Some(spec) = rs.spec.as_mut() {
            spec.replicas = Some(size);
        }
        let way = if size > before { "up" } else { "down" };
        self.notes.push(format!(
            "Scaled {way} replica set {name} from {before} to {size}"
        ));
        true
    }
}

fn annotate_sizes(rs: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations = rs.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED_ANNOTATION.into(), desired.to_string());
    annotations.insert(MAX_ANNOTATION.into(), max.to_string());
}

/// Plans one sync.
pub fn plan_sync(input: &SyncInput) -> SyncPlan {
    let d = input.deployment;
    let mut sets: Vec<ReplicaSet> = input.sets.to_vec();
    sets.sort_by_key(creation_order);
    let template = d.spec.as_ref().map(|s| &s.template);
    let is_new = |rs: &ReplicaSet| {
        let own = rs.spec.as_ref().and_then(|s| s.template.as_ref());
        matches!((own, template), (Some(a), Some(b)) if same_template(a, b))
    };
    let new = sets.iter().position(is_new).map(|i| sets.remove(i));
    let mut work = SyncState {
        d,
        now: input.now,
        status: d.status.clone().unwrap_or_default(),
        new,
        old: sets,
        notes: vec![],
        created: false,
        deleted: vec![],
        revision: None,
    };
    let mut requeue = None;
    if d.metadata.deletion_timestamp.is_some() {
        work.status = status::calculate_status(&work);
    } else {
        status::update_paused_condition(&mut work);
        sync_new(&mut work);
        if is_paused(d) {
            rolling::scale_sets(&mut work);
            clean_up(&mut work);
            work.status = status::calculate_status(&work);
        } else if is_scaling_event(&work) {
            rolling::scale_sets(&mut work);
            work.status = status::calculate_status(&work);
        } else {
            if is_recreate(d) {
                rollout_recreate(&mut work, input.pods);
            } else {
                rollout_rolling(&mut work);
            }
            (work.status, requeue) = status::sync_rollout_status(&work);
        }
    }
    build_plan(work, input.sets, requeue)
}

fn rollout_rolling(work: &mut SyncState) {
    create_new(work);
    if rolling::grow_new(work) || rolling::shrink_old(work) {
        return;
    }
    if status::is_complete(work.d, &work.d.status.clone().unwrap_or_default()) {
        clean_up(work);
    }
}

fn rollout_recreate(work: &mut SyncState, pods: &BTreeMap<String, i32>) {
    let active: Vec<String> = work
        .old
        .iter()
        .filter(|rs| rs_replicas(rs) > 0)
        .map(replica_set_name)
        .collect();
    if !active.is_empty() {
        for name in active {
            work.resize_set(&name, 0);
        }
        return;
    }
    let running = work.old.iter().any(|rs| {
        let live = rs.metadata.uid.as_ref().and_then(|uid| pods.get(uid));
        rs_actual(rs) > 0 || live.is_some_and(|n| *n > 0)
    });
    if running {
        return;
    }
    create_new(work);
    if let Some(new) = work.new.as_ref().map(replica_set_name) {
        work.resize_set(&new, replicas(work.d));
    }
    if status::is_complete(work.d, &work.d.status.clone().unwrap_or_default()) {
        clean_up(work);
    }
}

/// Whether `spec.replicas` changed since the ReplicaSets were last sized.
fn is_scaling_event(work: &SyncState) -> bool {
    work.all_sets()
        .filter(|rs| rs_replicas(rs) > 0)
        .any(|rs| parse_annotation(rs, DESIRED_ANNOTATION).is_some_and(|n| n != replicas(work.d)))
}

pub(super) fn replica_set_name(rs: &ReplicaSet) -> String {
    rs.metadata.name.clone().unwrap_or_default()
}

fn next_revision(work: &SyncState) -> i64 {
    work.old
        .iter()
        .map(revision)
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

/// Copies annotations, revision and minReadySeconds to the new ReplicaSet if it exists.
fn sync_new(work: &mut SyncState) {
    let (d, next) = (work.d, next_revision(work));
    let Some(new) = work.new.as_mut() else { return };
    copy_annotations(d, new, next);
    if let Some(spec) = new.spec.as_mut()
        && spec.min_ready_seconds.unwrap_or(0) != min_ready_seconds(d)
    {
        spec.min_ready_seconds = Some(min_ready_seconds(d));
    }
    work.revision = Some(revision(new).to_string());
    let found = format!("Found new replica set {:?}", replica_set_name(new));
    status::mark_first_seen(work, "FoundNewReplicaSet", found);
}

fn copy_annotations(d: &Deployment, rs: &mut ReplicaSet, next: i64) {
    let before = revision(rs);
    let annotations = rs.metadata.annotations.get_or_insert_default();
    for (key, value) in d.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    if before < next {
        annotations.insert(REVISION.into(), next.to_string());
        if before > 0 {
            let history = annotations.entry(REVISION_HISTORY.into()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&before.to_string());
        }
    }
}

/// Creates the ReplicaSet for the current template, as large as the surge limit allows.
fn create_new(work: &mut SyncState) {
    if work.new.is_some() {
        return;
    }
    let d = work.d;
    let Some(spec) = d.spec.as_ref() else { return };
    let hash = template_hash(&spec.template, work.status.collision_count.unwrap_or(0));
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let mut rs = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}-{hash}",
                d.metadata.name.as_deref().unwrap_or_default()
            )),
            namespace: d.metadata.namespace.clone(),
            labels: template.metadata.as_ref().and_then(|m| m.labels.clone()),
            owner_references: Some(vec![ownership::controller_reference(d)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: Some(min_ready_seconds(d)),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    let next = next_revision(work);
    copy_annotations(d, &mut rs, next);
    let want = replicas(d);
    annotate_sizes(&mut rs, want, want + resolve_fenceposts(d).0);
    let size = rolling::new_size(work, 0);
    let name = replica_set_name(&rs);
    if size > 0 {
        work.notes
            .push(format!("Scaled up replica set {name} from 0 to {size}"));
    }
    if let Some(spec) = rs.spec.as_mut() {
        spec.replicas = Some(size);
    }
    work.new = Some(rs);
    work.created = true;
    work.revision = Some(next.to_string());
    status::mark_created(work, format!("Created new replica set {name:?}"));
}

/// Deletes the oldest empty ReplicaSets beyond the history limit.
fn clean_up(work: &mut SyncState) {
    let limit = work
        .d
        .spec
        .as_ref()
        .and_then(|s| s.revision_history_limit)
        .unwrap_or(10);
    let alive = |rs: &&ReplicaSet| rs.metadata.deletion_timestamp.is_none();
    let excess = work.old.iter().filter(alive).count() as i64 - i64::from(limit);
    if excess <= 0 {
        return;
    }
    let mut by_revision: Vec<ReplicaSet> = work.old.iter().filter(alive).cloned().collect();
    by_revision.sort_by_key(|rs| (revision(rs), creation_order(rs)));
    for rs in by_revision
        .into_iter()
        .take(usize::try_from(excess).unwrap_or(0))
    {
        let seen = rs
            .status
            .as_ref()
            .and_then(|s| s.observed_generation)
            .unwrap_or(0);
        let settled = seen >= rs.metadata.generation.unwrap_or(0);
        if rs_actual(&rs) == 0 && rs_replicas(&rs) == 0 && settled {
            work.deleted.push(rs);
        }
    }
}

/// Turns the differences between the observed and the desired ReplicaSets into actions.
fn build_plan(work: SyncState, seen: &[ReplicaSet], requeue: Option<Duration>) -> SyncPlan {
    let mut actions = vec![];
    let old = work.old.iter().map(|rs| (rs, false));
    for (rs, created) in work.new.iter().map(|rs| (rs, work.created)).chain(old) {
        if created {
            actions.push(Action::Create(Box::new(rs.clone())));
            continue;
        }
        let Some(before) = seen.iter().find(|b| b.metadata.name == rs.metadata.name) else {
            continue;
        };
        actions.extend(plan_update(rs, before));
    }
    for rs in &work.deleted {
        actions.push(Action::Delete {
            name: replica_set_name(rs),
            uid: rs.metadata.uid.clone(),
        });
    }
    let current = work
        .d
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(REVISION));
    SyncPlan {
        actions,
        notes: work.notes,
        revision: work.revision.filter(|r| Some(r) != current),
        status: work.status,
        requeue,
    }
}

/// The update that makes a ReplicaSet of `before` the one that is wanted; none if they are equal.
fn plan_update(rs: &ReplicaSet, before: &ReplicaSet) -> Option<Action> {
    let size = rs_replicas(rs);
    let min_ready = |rs: &ReplicaSet| {
        rs.spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0)
    };
    let ready = min_ready(rs);
    let old = before.metadata.annotations.clone().unwrap_or_default();
    let changed = |(k, v): &(String, String)| old.get(k) != Some(v);
    let annotations: BTreeMap<_, _> = rs
        .metadata
        .annotations
        .clone()
        .unwrap_or_default()
        .into_iter()
        .filter(changed)
        .collect();
    let replicas = (size != rs_replicas(before)).then_some(size);
    let min_ready_seconds = (ready != min_ready(before)).then_some(ready);
    let changes = replicas.is_some() || min_ready_seconds.is_some() || !annotations.is_empty();
    changes.then(|| Action::Update {
        name: replica_set_name(rs),
        resource_version: before.metadata.resource_version.clone(),
        replicas,
        min_ready_seconds,
        annotations,
    })
}
