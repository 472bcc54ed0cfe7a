//! Status of an environment in the App, and deleting what an environment holds.

use jiff::SignedDuration;

use super::{ObjectSeen, ReleaseStep, reconciliation::Reconciliation, timers::TimerKind};
use crate::{
    api::{App, Environment, EnvironmentStatus, InventoryItem, label},
    domain::{
        owner::{Ownership, describe_item},
        text::Clean,
        world::split_context,
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
pub(super) fn removed_environment(run: &Reconciliation, app: &App, name: &str) -> Environment {
    let tag = |item: &InventoryItem| {
        run.workload(item)?
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

/// Why nothing is known of the environment now: its context, or one where it still has objects, is
/// unreachable.
pub(super) fn describe_unreachable(
    run: &Reconciliation,
    app: &App,
    environment: &str,
) -> Option<String> {
    let own = app
        .spec
        .environment(environment)
        .and_then(|e| e.context.clone());
    let before = environment_status(app, environment);
    let held = before
        .inventory
        .iter()
        .filter_map(|i| split_context(&i.namespace).0.map(str::to_owned));
    let contexts = own.into_iter().chain(held).collect::<Vec<_>>();
    let (context, why) = contexts
        .iter()
        .find_map(|c| run.observed.away.get_key_value(c))?;
    Some(format!(
        "waits for context {}: {}",
        Clean::from_untrusted(context),
        Clean::from_untrusted(why)
    ))
}

/// Which of these objects the server refuses to show, and why. Whether it exists is not known.
pub(super) fn describe_unreadable<'i>(
    run: &Reconciliation,
    items: impl IntoIterator<Item = &'i InventoryItem>,
) -> Option<String> {
    let plain = |item: &InventoryItem| InventoryItem {
        uid: String::new(),
        ..item.clone()
    };
    let (item, why) = items
        .into_iter()
        .find_map(|i| run.observed.unseen.get_key_value(&plain(i)))?;
    Some(format!(
        "{} {} cannot be read: {}",
        item.kind,
        item.name,
        Clean::from_untrusted(why)
    ))
}

/// Sets the environment's status in the App; true when it is set already.
pub(super) fn set_status(
    run: &mut Reconciliation,
    app: &App,
    environment: &str,
    mut wanted: EnvironmentStatus,
) -> bool {
    let before = environment_status(app, environment);
    wanted.changed_at = if wanted.state == before.state {
        before.changed_at.clone()
    } else {
        Some(run.format_now())
    };
    if wanted == before {
        return true;
    }
    run.steps.push(ReleaseStep::SetEnvironment {
        environment: environment.into(),
        status: Box::new(wanted),
    });
    false
}

/// Says who locked the environment, if it is locked.
pub(super) fn describe_lock(environment: &Environment) -> Option<String> {
    let lock = environment.lock.as_ref()?;
    let (by, reason) = (
        Clean::from_untrusted(&lock.by),
        Clean::from_untrusted(&lock.reason),
    );
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    Some(format!("{} is locked by {by}{reason}", environment.name))
}

/// The object behind an inventory item, if it is still the same one: an object of the same name
/// that somebody else created does not count.
pub(super) fn find_owned_object<'a>(
    run: &Reconciliation<'a>,
    environment: &str,
    item: &InventoryItem,
) -> Option<&'a ObjectSeen> {
    let seen = run.observed.objects.get(&InventoryItem {
        uid: String::new(),
        ..item.clone()
    })?;
    // Without a uid, the object was applied but its uid was never recorded.
    let same = item.uid.is_empty() || item.uid == seen.uid;
    (same && run.classify_owner(environment, item, seen) == Ownership::Ours).then_some(seen)
}

/// First words of the message of [`describe_left_alone`].
pub(super) const LEFT_ALONE_PREFIX: &str = "left alone";

/// Names the existing objects among these that now belong to somebody else; they are left alone.
pub(super) fn describe_left_alone(
    run: &Reconciliation,
    environment: &str,
    items: &[InventoryItem],
) -> Option<String> {
    let told = |item: &InventoryItem| {
        let seen = run.observed.objects.get(&InventoryItem {
            uid: String::new(),
            ..item.clone()
        })?;
        if seen.uid != item.uid {
            return None;
        }
        Some(match run.classify_owner(environment, item, seen) {
            Ownership::Ours => return None,
            Ownership::Theirs(owner) => {
                format!(
                    "{}, which belongs to {}",
                    describe_item(item),
                    owner.describe_owner(run.observed.release.metadata.namespace.as_deref())
                )
            }
            Ownership::Managed(maker) => {
                format!("{}, which is made by {maker}", describe_item(item))
            }
            Ownership::Unowned => {
                format!("{}, whose App labels somebody removed", describe_item(item))
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

/// Whether the routes to these Services have been closed for as long as the drain requires. A
/// baseline has no lane routes to close.
pub(super) fn check_drained(
    run: &mut Reconciliation,
    index: usize,
    environment: &Environment,
    inventory: &[InventoryItem],
) -> Result<(), DrainPending> {
    if environment.lane.is_none() || inventory.is_empty() {
        return Ok(());
    }
    let service = |i: &&InventoryItem| i.kind == "Service" && i.api_version == "v1";
    let routed = inventory.iter().filter(service).find(|i| {
        run.observed
            .routes
            .backends
            .contains(&(i.namespace.clone(), i.name.clone()))
    });
    if let Some(service) = routed {
        run.status.tasks[index].drain_since = None;
        // The reason why a route stays is known a little later.
        run.requeue_after(RETRY_INTERVAL);
        let why = run
            .observed
            .routes
            .troubles
            .get(&(service.namespace.clone(), service.name.clone()));
        return Err(DrainPending::Routes {
            service: service.name.clone(),
            trouble: why.cloned(),
        });
    }
    if run.observed.routes.pending && run.status.tasks[index].drain_since.is_none() {
        return Err(DrainPending::Gateways);
    }
    let at = run.format_now();
    run.status.tasks[index].drain_since.get_or_insert(at);
    let left =
        i64::from(environment.rollout.drain_seconds) - run.seconds_watched(index, TimerKind::Drain);
    if left > 0 {
        run.requeue_after(SignedDuration::from_secs(left));
        return Err(DrainPending::Requests {
            seconds: environment.rollout.drain_seconds,
        });
    }
    Ok(())
}

/// Deletes what still exists of these items; says what remains.
pub(super) fn delete_items(
    run: &mut Reconciliation,
    environment: &str,
    items: &[InventoryItem],
) -> Option<String> {
    let mut left = vec![];
    for item in items.iter().rev() {
        let Some(seen) = find_owned_object(run, environment, item) else {
            continue;
        };
        left.push(format!("{} {}", item.kind, item.name));
        if !seen.terminating {
            let by = run.account(environment, item);
            run.steps.push(ReleaseStep::Delete {
                item: InventoryItem {
                    uid: seen.uid.clone(),
                    ..item.clone()
                },
                by,
            });
        }
    }
    let pods = run.observed.pods.get(environment).copied().unwrap_or(0);
    match (left.is_empty(), pods) {
        (true, 0) => None,
        (true, 1) => Some("1 pod is still ending".into()),
        (true, n) => Some(format!("{n} pods are still ending")),
        (false, _) => Some(format!("deletes {}", left.join(", "))),
    }
}
