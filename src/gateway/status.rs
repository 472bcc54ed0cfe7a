//! Statuses of HTTPRoutes, Gateways and GatewayClasses: written when they differ from the current
//! ones, outside the data path.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::watch;

use super::{
    Applied, Objects,
    compile::{ListenerVerdict, RouteVerdict},
    tunnel::parse_idle_timeout,
};
use crate::api::gateway_api::{
    Gateway, GatewayAddress, GatewayClass, GatewayStatus, HttpRoute, HttpRouteStatus, LANE_GATEWAY,
    ListenerStatus, ParentRef, RouteKind, RouteParentStatus,
};

/// Writes statuses one after the other; skips those that a newer change has replaced.
pub(super) struct StatusWriter(watch::Sender<Option<(Objects, Applied, IpAddr)>>);

impl StatusWriter {
    pub(super) fn spawn(client: Client) -> Self {
        let (sender, mut receiver) = watch::channel::<Option<(Objects, Applied, IpAddr)>>(None);
        tokio::spawn(async move {
            while receiver.changed().await.is_ok() {
                let writes = receiver
                    .borrow_and_update()
                    .as_ref()
                    .map(|(o, a, node)| plan_writes(o, a, *node, Timestamp::now()));
                for write in writes.unwrap_or_default() {
                    if let Err(e) = write.send(&client).await {
                        // Deleted or changed meanwhile: the watch will deliver that.
                        let expected =
                            matches!(&e, kube::Error::Api(s) if s.code == 404 || s.code == 409);
                        if !expected {
                            tracing::warn!("cannot write the status of {}: {e}", write.name);
                            tokio::time::sleep(Duration::from_secs(1)).await;
                            receiver.mark_changed();
                        }
                    }
                }
            }
        });
        Self(sender)
    }

    pub(super) fn queue_update(&self, objects: Objects, applied: Applied, node: IpAddr) {
        self.0.send_replace(Some((objects, applied, node)));
    }
}

#[derive(Debug)]
pub(super) struct StatusWrite {
    kind: StatusKind,
    namespace: String,
    pub(super) name: String,
    pub(super) patch: serde_json::Value,
}

#[derive(Clone, Copy, Debug)]
enum StatusKind {
    Class,
    Gateway,
    Route,
}

impl StatusWrite {
    /// Contains the resourceVersion that was read, so that a newer status is not overwritten.
    fn new(kind: StatusKind, object: &impl ResourceExt, status: &impl Serialize) -> Self {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let patch =
            json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
        Self {
            kind,
            namespace,
            name,
            patch,
        }
    }

    async fn send(&self, client: &Client) -> kube::Result<()> {
        match self.kind {
            StatusKind::Class => {
                self.patch_status(Api::<GatewayClass>::all(client.clone()))
                    .await
            }
            StatusKind::Gateway => {
                self.patch_status(Api::<Gateway>::namespaced(client.clone(), &self.namespace))
                    .await
            }
            StatusKind::Route => {
                self.patch_status(Api::<HttpRoute>::namespaced(
                    client.clone(),
                    &self.namespace,
                ))
                .await
            }
        }
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn patch_status<K: Clone + DeserializeOwned + std::fmt::Debug>(
        &self,
        api: Api<K>,
    ) -> kube::Result<()> {
        api.patch_status(
            &self.name,
            &PatchParams::default(),
            &Patch::Merge(&self.patch),
        )
        .await
        .map(drop)
    }
}

/// The writes that bring all statuses up to date.
pub(super) fn plan_writes(
    objects: &Objects,
    applied: &Applied,
    node: IpAddr,
    now: Timestamp,
) -> Vec<StatusWrite> {
    let mut writes = vec![];
    for class in &objects.classes {
        if class.spec.controller_name == LANE_GATEWAY {
            writes.extend(plan_class_write(class, now));
        }
    }
    for (g, listeners) in &applied.verdicts.gateways {
        let gateway = &objects.gateways[*g];
        let status = gateway_status(gateway, listeners, applied, node, now);
        if gateway.status.as_ref() != Some(&status) {
            writes.push(StatusWrite::new(StatusKind::Gateway, &**gateway, &status));
        }
    }
    for (r, route) in objects.routes.iter().enumerate() {
        let old = route.status.clone().unwrap_or_default();
        let verdicts = applied.verdicts.routes.iter().filter(|(of, ..)| *of == r);
        let status = HttpRouteStatus {
            parents: parent_statuses(route, &old, verdicts, now),
        };
        if status != old {
            writes.push(StatusWrite::new(StatusKind::Route, &**route, &status));
        }
    }
    writes
}

fn plan_class_write(class: &GatewayClass, now: Timestamp) -> Option<StatusWrite> {
    let old = class
        .status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default();
    let conditions = vec![build_condition(
        "Accepted",
        Ok(("Accepted", "served")),
        class.metadata.generation,
        old,
        now,
    )];
    (conditions != old).then(|| {
        StatusWrite::new(
            StatusKind::Class,
            class,
            &json!({ "conditions": conditions }),
        )
    })
}

/// The parents of a route, those of other controllers included.
fn parent_statuses<'a>(
    route: &HttpRoute,
    old: &HttpRouteStatus,
    verdicts: impl Iterator<Item = &'a (usize, ParentRef, RouteVerdict)>,
    now: Timestamp,
) -> Vec<RouteParentStatus> {
    // Keep what other controllers wrote.
    let mut parents: Vec<RouteParentStatus> = old
        .parents
        .iter()
        .filter(|p| p.controller_name != LANE_GATEWAY)
        .cloned()
        .collect();
    for (_, parent, verdict) in verdicts {
        let before =
            |p: &&RouteParentStatus| p.controller_name == LANE_GATEWAY && p.parent_ref == *parent;
        let before = old
            .parents
            .iter()
            .find(before)
            .map(|p| p.conditions.as_slice())
            .unwrap_or_default();
        let generation = route.metadata.generation;
        let say = |kind, yes: &str, (reason, words): &(&'static str, String)| {
            let verdict = if *reason == yes {
                Ok((*reason, words.as_str()))
            } else {
                Err((*reason, words.as_str()))
            };
            build_condition(kind, verdict, generation, before, now)
        };
        parents.push(RouteParentStatus {
            parent_ref: parent.clone(),
            controller_name: LANE_GATEWAY.into(),
            conditions: vec![
                say("Accepted", "Accepted", &verdict.accepted),
                say("ResolvedRefs", "ResolvedRefs", &verdict.resolved),
            ],
        });
    }
    parents
}

fn gateway_status(
    gateway: &Gateway,
    listeners: &[ListenerVerdict],
    applied: &Applied,
    node: IpAddr,
    now: Timestamp,
) -> GatewayStatus {
    let old = gateway.status.clone().unwrap_or_default();
    let mut statuses = vec![];
    let mut wrong: Option<String> = None;
    for listener in listeners {
        let refused = find_refusal(listener, applied);
        statuses.push(listener_status(gateway, listener, refused.as_ref(), now));
        wrong = wrong
            .or_else(|| refused.map(|(_, words)| format!("listener {}: {words}", listener.name)));
    }
    let addresses = match gateway.spec.addresses.as_slice() {
        [] => vec![GatewayAddress {
            kind: Some("IPAddress".into()),
            value: Some(node.to_string()),
        }],
        asked => asked.to_vec(),
    };
    // Still served: the annotation is ignored.
    let passed_over = parse_idle_timeout(gateway.annotations())
        .err()
        .map(|why| format!("; {why}, and is passed over"));
    let served = format!(
        "served by graylane's lane gateway{}",
        passed_over.unwrap_or_default()
    );
    let accepted = match &wrong {
        None => Ok(("Accepted", served.as_str())),
        Some(words) => Err(("ListenersNotValid", words.as_str())),
    };
    let programmed = match &wrong {
        None => Ok(("Programmed", "all listeners take requests")),
        Some(words) => Err(("Invalid", words.as_str())),
    };
    let generation = gateway.metadata.generation;
    GatewayStatus {
        addresses,
        conditions: vec![
            build_condition("Accepted", accepted, generation, &old.conditions, now),
            build_condition("Programmed", programmed, generation, &old.conditions, now),
        ],
        listeners: statuses,
    }
}

/// Reason and message if requests cannot be taken at a listener.
fn find_refusal(listener: &ListenerVerdict, applied: &Applied) -> Option<(&'static str, String)> {
    let taken = listener
        .addresses
        .iter()
        .find_map(|a: &SocketAddr| applied.failed.get(a));
    listener
        .refused
        .clone()
        .or_else(|| taken.map(|words| ("PortUnavailable", words.clone())))
}

fn listener_status(
    gateway: &Gateway,
    listener: &ListenerVerdict,
    refused: Option<&(&'static str, String)>,
    now: Timestamp,
) -> ListenerStatus {
    let generation = gateway.metadata.generation;
    let before = gateway
        .status
        .iter()
        .flat_map(|old| &old.listeners)
        .find(|l| l.name == listener.name);
    let before = before.map(|l| l.conditions.as_slice()).unwrap_or_default();
    let verdict = |yes: &'static str| match refused {
        None => Ok((yes, "requests are taken")),
        Some((reason, words)) => Err((*reason, words.as_str())),
    };
    ListenerStatus {
        name: listener.name.clone(),
        attached_routes: listener.routes,
        supported_kinds: vec![RouteKind {
            group: Some(crate::api::gateway_api::GATEWAY_GROUP.into()),
            kind: "HTTPRoute".into(),
        }],
        conditions: vec![
            build_condition("Accepted", verdict("Accepted"), generation, before, now),
            build_condition("Programmed", verdict("Programmed"), generation, before, now),
            build_condition(
                "ResolvedRefs",
                Ok(("ResolvedRefs", "HTTPRoutes are served")),
                generation,
                before,
                now,
            ),
        ],
    }
}

/// A condition. Its transition time changes only with its status.
fn build_condition(
    kind: &str,
    verdict: Result<(&str, &str), (&str, &str)>,
    generation: Option<i64>,
    old: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if verdict.is_ok() { "True" } else { "False" };
    let (reason, message) = verdict.unwrap_or_else(|e| e);
    let since = old
        .iter()
        .find(|c| c.type_ == kind && c.status == status)
        .map(|c| c.last_transition_time.clone());
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(whole)),
    }
}
