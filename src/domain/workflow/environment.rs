//! Status of an environment in the App, and deleting what an environment holds.

use jiff::SignedDuration;

use super::{ObjectSeen, Observed, ReleaseStep, gate, timers::TimerKind, view::TaskView};
use crate::{
    api::{
        App, Environment, EnvironmentLock, EnvironmentStatus, InventoryItem, ObjectRef,
        RecordedTime, Release, TaskPhase, TaskStatus, Uid, label,
    },
    domain::{
        owner::{Ownership, describe_object},
        text::Clean,
    },
};

/// Status of an environment as the App has it.
pub(super) fn environment_status(app: &App, environment: &str) -> EnvironmentStatus {
    app.status
        .as_ref()
        .and_then(|s| s.environments.get(environment))
        .cloned()
        .unwrap_or_default()
}

/// An environment that the App no longer has, although its status still lists objects: it is torn
/// down like any other.
pub(super) fn removed_environment(view: &TaskView, app: &App, name: &str) -> Environment {
    let tag = |item: &InventoryItem| {
        view.workload(&item.object)?
            .pod_labels()?
            .get(label::SERVICE_TAG)
            .cloned()
    };
    let lane = environment_status(app, name).inventory.iter().find_map(tag);
    Environment {
        name: name.into(),
        lane,
        ..Environment::default()
    }
}

/// Time until something that could not be reached is tried again.
pub(super) const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// Why nothing is known of the environment now: its cluster, or one where it still has objects, is
/// unreachable.
pub(super) fn describe_unreachable(
    view: &TaskView,
    app: &App,
    environment: &str,
) -> Option<String> {
    let own = app.spec.environment(environment).map(|e| e.context.clone());
    let before = environment_status(app, environment);
    let held = before.inventory.iter();
    let held = held.map(|i| i.object.key.namespace.cluster.clone());
    let clusters = own.into_iter().chain(held).collect::<Vec<_>>();
    let (cluster, why) = clusters
        .iter()
        .find_map(|c| view.observed.facts.away.get_key_value(c))?;
    Some(format!(
        "waits for context {}: {}",
        Clean::from_untrusted(cluster.context().unwrap_or_default()),
        Clean::from_untrusted(why)
    ))
}

/// Which of these objects the server refuses to show, and why. Whether it exists is not known.
pub(super) fn describe_unreadable<'i>(
    view: &TaskView,
    objects: impl IntoIterator<Item = &'i ObjectRef>,
) -> Option<String> {
    let unseen = &view.observed.facts.unseen;
    let (object, why) = objects.into_iter().find_map(|o| unseen.get_key_value(o))?;
    Some(format!(
        "{} cannot be read: {}",
        object.kind_and_name(),
        Clean::from_untrusted(why)
    ))
}

/// Step that sets the environment's status in the App; `None` when it is set already.
pub(super) fn set_status(
    view: &TaskView,
    app: &App,
    environment: &str,
    mut wanted: EnvironmentStatus,
) -> Option<ReleaseStep> {
    let before = environment_status(app, environment);
    wanted.changed_at = if wanted.state == before.state {
        before.changed_at.clone()
    } else {
        Some(view.observed.recorded_now())
    };
    (wanted != before).then(|| ReleaseStep::SetEnvironment {
        environment: environment.into(),
        status: Box::new(wanted),
    })
}

/// What keeps a task from changing an environment now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Obstacle {
    /// Somebody has locked it.
    #[error(
        "{environment} is locked by {by}{}",
        .reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    Locked {
        environment: String,
        by: Clean,
        reason: Option<Clean>,
    },
    /// Another release has begun to change it.
    #[error(
        "{environment} is in use by release {holder}: this one continues when that one has ended"
    )]
    InUse { environment: String, holder: String },
}

impl Obstacle {
    /// Phase of the task that it holds up.
    pub fn phase(&self) -> TaskPhase {
        match self {
            Self::Locked { .. } => TaskPhase::Waiting,
            Self::InUse { .. } => TaskPhase::Pending,
        }
    }
}

/// What keeps a task of a release from changing this environment, with this lock. A task that has
/// begun holds the environment itself.
pub(super) fn find_obstacle(
    release: &Release,
    task: &TaskStatus,
    (environment, lock): (&str, Option<&EnvironmentLock>),
    others: &[&Release],
) -> Option<Obstacle> {
    let environment = environment.to_owned();
    if let Some(lock) = lock {
        return Some(Obstacle::Locked {
            environment,
            by: Clean::from_untrusted(&lock.by),
            reason: Some(Clean::from_untrusted(&lock.reason)).filter(|why| !why.is_empty()),
        });
    }
    if task.started_at.is_some() {
        return None;
    }
    let uid = Uid::from_meta(&release.metadata);
    let holder = gate::find_holder(&release.spec.app, &environment, &uid, others)?.to_owned();
    Some(Obstacle::InUse {
        environment,
        holder,
    })
}

/// What keeps the task in view from changing its environment.
pub(super) fn find_obstacle_in_view(
    view: &TaskView,
    environment: &Environment,
) -> Option<Obstacle> {
    let place = (environment.name.as_str(), environment.lock.as_ref());
    let Observed {
        release, others, ..
    } = view.observed;
    find_obstacle(release, view.task, place, others)
}

/// The object behind an inventory item, if it is still the same one: an object of the same name
/// that somebody else created does not count.
pub(super) fn find_owned_object<'a>(
    view: &TaskView<'a>,
    environment: &str,
    item: &InventoryItem,
) -> Option<&'a ObjectSeen> {
    let seen = view.object(&item.object)?;
    // Without a uid, the object was applied but its uid was never recorded.
    let same = item.uid.is_empty() || item.uid == seen.uid;
    (same && view.classify_owner(environment, &item.object, seen) == Ownership::Ours)
        .then_some(seen)
}

/// First words of the message of [`describe_left_alone`].
pub(super) const LEFT_ALONE_PREFIX: &str = "left alone";

/// Names the existing objects among these that now belong to somebody else; they are left alone.
pub(super) fn describe_left_alone(
    view: &TaskView,
    environment: &str,
    items: &[InventoryItem],
) -> Option<String> {
    let told = |item: &InventoryItem| {
        let seen = view.object(&item.object)?;
        if seen.uid != item.uid {
            return None;
        }
        let what = describe_object(&item.object);
        Some(match view.classify_owner(environment, &item.object, seen) {
            Ownership::Ours => return None,
            Ownership::Theirs(owner) => {
                let home = view.observed.release.metadata.namespace.as_deref();
                format!("{what}, which belongs to {}", owner.describe_owner(home))
            }
            Ownership::Managed(maker) => {
                format!("{what}, which is made by {maker}")
            }
            Ownership::Unowned => {
                format!("{what}, whose App labels somebody removed")
            }
        })
    };
    let told: Vec<String> = items.iter().filter_map(told).collect();
    (!told.is_empty()).then(|| format!("{LEFT_ALONE_PREFIX}: {}", told.join("; ")))
}

/// What is waited for before objects that took requests may be deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DrainPending {
    #[error(
        "waits for the lane routes to Service {service} to close{}",
        .trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    Routes {
        service: String,
        /// What is wrong with the routes.
        trouble: Option<String>,
    },
    #[error("waits until the gateways have closed the routes")]
    Gateways,
    #[error("the routes are closed; running requests have {seconds} s to end")]
    Requests { seconds: u32 },
}

/// How far the drain of an environment is.
pub(super) struct DrainCheck {
    /// When the routes were closed.
    pub since: Option<RecordedTime>,
    /// What is waited for; `None` when the drain is over.
    pub pending: Option<DrainPending>,
    /// When to reconcile again at the latest.
    pub requeue: Option<SignedDuration>,
}

/// Whether the routes to these Services have been closed for as long as the drain requires. A
/// baseline has no lane routes to close.
pub(super) fn check_drained(
    view: &TaskView,
    environment: &Environment,
    inventory: &[InventoryItem],
) -> DrainCheck {
    let since = view.task.drain_since.clone();
    let (routes, seconds) = (
        &view.observed.facts.routes,
        environment.rollout.drain_seconds,
    );
    let drained = DrainCheck {
        since: since.clone(),
        pending: None,
        requeue: None,
    };
    if environment.lane.is_none() || inventory.is_empty() {
        return drained;
    }
    let mut services = inventory
        .iter()
        .map(|i| &i.object)
        .filter(|o| o.kind == "Service" && o.api_version == "v1")
        .map(|o| &o.key);
    if let Some(service) = services.find(|service| routes.backends.contains(*service)) {
        let trouble = routes.troubles.get(service).cloned();
        let service = service.name.clone();
        return DrainCheck {
            since: None,
            pending: Some(DrainPending::Routes { service, trouble }),
            // The reason why a route stays is known a little later.
            requeue: Some(RETRY_INTERVAL),
        };
    }
    if routes.pending && since.is_none() {
        return DrainCheck {
            pending: Some(DrainPending::Gateways),
            ..drained
        };
    }
    // A drain that begins now has no timer yet.
    let left = i64::from(seconds) - view.seconds_watched(TimerKind::Drain);
    let waits = left > 0;
    DrainCheck {
        since: since.or_else(|| Some(view.observed.recorded_now())),
        pending: waits.then_some(DrainPending::Requests { seconds }),
        requeue: waits.then(|| SignedDuration::from_secs(left)),
    }
}

/// What is left to delete of some objects.
pub(super) struct Deletion {
    /// Deletes those that are not being deleted yet.
    pub steps: Vec<ReleaseStep>,
    /// What still exists; `None` when nothing does.
    pub left: Option<String>,
}

/// Deletes what still exists of these items.
pub(super) fn delete_items(
    view: &TaskView,
    environment: &str,
    items: &[InventoryItem],
) -> Deletion {
    let (mut steps, mut left) = (vec![], vec![]);
    for item in items.iter().rev() {
        let Some(seen) = find_owned_object(view, environment, item) else {
            continue;
        };
        left.push(item.object.kind_and_name());
        if !seen.terminating {
            steps.push(ReleaseStep::Delete {
                item: InventoryItem::new(item.object.clone(), seen.uid.clone()),
                by: view.account(environment, &item.object),
            });
        }
    }
    let pods = view
        .observed
        .facts
        .pods
        .get(environment)
        .copied()
        .unwrap_or(0);
    let left = match (left.is_empty(), pods) {
        (true, 0) => None,
        (true, 1) => Some("1 pod is still ending".into()),
        (true, n) => Some(format!("{n} pods are still ending")),
        (false, _) => Some(format!("deletes {}", left.join(", "))),
    };
    Deletion { steps, left }
}
