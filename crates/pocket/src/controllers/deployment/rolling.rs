//! Sizes of ReplicaSets: how far the new one may grow, how far the old ones shrink, and
//! proportional scaling.

use super::model::{
    DESIRED_ANNOTATION, MAX_ANNOTATION, creation_order, is_recreate, max_unavailable,
    parse_annotation, replicas, resolve_fenceposts, rs_available, rs_replicas,
};
use super::plan::{SyncState, replica_set_name};
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::cmp::Reverse;

/// Size that a new ReplicaSet of size `own` may have now.
pub(super) fn new_size(work: &SyncState, own: i32) -> i32 {
    let want = replicas(work.d);
    if is_recreate(work.d) {
        return want;
    }
    let room = want + resolve_fenceposts(work.d).0 - work.total_replicas();
    if room <= 0 {
        return own;
    }
    own + room.min(want - own).max(0)
}

pub(super) fn grow_new(work: &mut SyncState) -> bool {
    let Some(new) = work.new.as_ref() else {
        return false;
    };
    let (own, want, name) = (rs_replicas(new), replicas(work.d), replica_set_name(new));
    if own == want {
        return false;
    }
    let size = if own > want {
        want
    } else {
        new_size(work, own)
    };
    size != own && work.resize_set(&name, size)
}

/// Shrinks old ReplicaSets as far as availability allows: unavailable pods first, then the oldest
/// ReplicaSets.
pub(super) fn shrink_old(work: &mut SyncState) -> bool {
    let Some(new) = work.new.as_ref() else {
        return false;
    };
    if work.old.iter().map(rs_replicas).sum::<i32>() == 0 {
        return false;
    }
    let floor = replicas(work.d) - max_unavailable(work.d);
    let waiting = rs_replicas(new) - rs_available(new);
    let most = work.total_replicas() - floor - waiting;
    if most <= 0 {
        return false;
    }
    let unhealthy = clean_unhealthy(work, most);
    let available: i32 = work.all_sets().map(rs_available).sum();
    let healthy = shrink_available(work, available - floor);
    unhealthy + healthy > 0
}

fn clean_unhealthy(work: &mut SyncState, most: i32) -> i32 {
    let mut done = 0;
    let sizes: Vec<_> = work
        .old
        .iter()
        .map(|rs| (replica_set_name(rs), rs_replicas(rs), rs_available(rs)))
        .collect();
    for (name, size, available) in sizes {
        if done >= most {
            break;
        }
        let gone = (most - done).min((size - available).max(0)).min(size);
        if gone > 0 && work.resize_set(&name, size - gone) {
            done += gone;
        }
    }
    done
}

fn shrink_available(work: &mut SyncState, most: i32) -> i32 {
    let mut done = 0;
    let sizes: Vec<_> = work
        .old
        .iter()
        .map(|rs| (replica_set_name(rs), rs_replicas(rs)))
        .collect();
    for (name, size) in sizes {
        if done >= most {
            break;
        }
        let gone = size.min(most - done);
        if gone > 0 && work.resize_set(&name, size - gone) {
            done += gone;
        }
    }
    done
}

/// Scales on a scaling event and at every sync of a paused Deployment.
///
/// A single active ReplicaSet gets all replicas. Beside a saturated new ReplicaSet the old ones go
/// to 0. While several are active in a rolling update, each gets its share of the change.
pub(super) fn scale_sets(work: &mut SyncState) {
    let want = replicas(work.d);
    if let Some(only) = active_or_latest(work) {
        work.resize_set(&only, want);
        return;
    }
    if is_saturated(work) {
        for old in work
            .old
            .iter()
            .filter(|rs| rs_replicas(rs) > 0)
            .map(replica_set_name)
            .collect::<Vec<_>>()
        {
            work.resize_set(&old, 0);
        }
        return;
    }
    if !is_recreate(work.d) {
        scale_proportionally(work);
    }
}

fn active_or_latest(work: &SyncState) -> Option<String> {
    let mut active = work.all_sets().filter(|rs| rs_replicas(rs) > 0);
    match (active.next(), active.next()) {
        (None, _) => work.new.as_ref().or(work.old.last()).map(replica_set_name),
        (Some(one), None) => Some(replica_set_name(one)),
        _ => None,
    }
}

fn is_saturated(work: &SyncState) -> bool {
    let want = replicas(work.d);
    work.new.as_ref().is_some_and(|new| {
        rs_replicas(new) == want
            && parse_annotation(new, DESIRED_ANNOTATION) == Some(want)
            && rs_available(new) == want
    })
}

fn scale_proportionally(work: &mut SyncState) {
    let want = replicas(work.d);
    let allowed = if want > 0 {
        want + resolve_fenceposts(work.d).0
    } else {
        0
    };
    let mut active: Vec<ReplicaSet> = work
        .all_sets()
        .filter(|rs| rs_replicas(rs) > 0)
        .cloned()
        .collect();
    let change = allowed - active.iter().map(rs_replicas).sum::<i32>();
    // Largest first; among equals the newest grows first and the oldest shrinks first.
    if change > 0 {
        active.sort_by_key(|rs| (Reverse(rs_replicas(rs)), Reverse(creation_order(rs))));
    } else if change < 0 {
        active.sort_by_key(|rs| (Reverse(rs_replicas(rs)), creation_order(rs)));
    }
    let mut added = 0;
    let mut sizes: Vec<(String, i32)> = vec![];
    for rs in &active {
        let share = proportional_share(work, rs, allowed, change, added);
        added += share;
        sizes.push((replica_set_name(rs), rs_replicas(rs) + share));
    }
    if let Some(first) = sizes.first_mut() {
        first.1 = (first.1 + change - added).max(0);
    }
    for (name, size) in sizes {
        work.resize_set(&name, size);
    }
}

fn proportional_share(
    work: &SyncState,
    rs: &ReplicaSet,
    allowed: i32,
    change: i32,
    added: i32,
) -> i32 {
    let (size, left) = (rs_replicas(rs), change - added);
    if left == 0 {
        return 0;
    }
    let fraction = if replicas(work.d) == 0 {
        -size
    } else {
        let known = work.d.status.as_ref().and_then(|s| s.replicas);
        let before = parse_annotation(rs, MAX_ANNOTATION)
            .filter(|n| *n > 0)
            .or(known.filter(|n| *n > 0));
        before.map_or(0, |before| {
            let exact = f64::from(size) * f64::from(allowed) / f64::from(before);
            exact.round() as i32 - size
        })
    };
    if change > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}
