//! Writes the planned objects of a lane group. Each object is independent: a refusal is reported,
//! and the others are still written. Fields of other managers are never taken over.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use jiff::Timestamp;
use kube::{Api, Resource, ResourceExt, api::DeleteParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::{
        LaneGroup, NamespaceRef, ObjectRef, RouteStatus,
        gateway_api::{Gateway, HttpRoute},
        label,
    },
    cluster::error,
    domain::{
        account::Account, batches::template::short_digest, command_line::CommandLine,
        owner::OwnershipMarks, routes::is_same_spec, text::Clean,
    },
    engine::{Options, act, cache::Cache},
};

const MAX_REFUSAL_CHARS: usize = 400;

/// Changes `live` into what is wanted. Returns the names of the routes that failed, and why.
#[tracing::instrument(level = "debug", skip_all, fields(group = group.metadata.name, wanted = wanted.len()))]
pub(super) async fn write_routes(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
    wanted: &[HttpRoute],
    live: &[&Arc<HttpRoute>],
) -> kube::Result<BTreeMap<String, String>> {
    let mut refused = BTreeMap::new();
    for route in wanted {
        let mut route = route.clone();
        route.metadata.owner_references = group.controller_owner_ref(&()).map(|o| vec![o]);
        let mut object = serde_json::to_value(&route).map_err(kube::Error::SerdeError)?;
        let digest = short_digest(&object);
        let there = live.iter().find(|r| r.name_any() == route.name_any());
        let as_applied =
            there.is_some_and(|r| r.annotations().get(label::APPLIED) == Some(&digest));
        if as_applied && there.is_some_and(|r| is_same_spec(&r.spec, &route.spec)) {
            continue;
        }
        object["metadata"]["annotations"][label::APPLIED] = Value::from(digest);
        let namesake = cache
            .routes
            .get_named(&options.namespace, &route.name_any())
            .filter(|_| there.is_none());
        if let Some(whose) = namesake.map(|r| describe_namesake_owner(&r)) {
            let why = format!(
                "it exists and is not ours, but {whose}: rename that one, or the lane group"
            );
            refused.insert(route.name_any(), why);
            continue;
        }
        let version = there.and_then(|r| r.resource_version());
        let why = apply_planned(options, cache, &object, version.as_deref()).await?;
        refused.extend(why.map(|why| (route.name_any(), format!("not as it should be: {why}"))));
    }
    for route in live
        .iter()
        .filter(|r| !wanted.iter().any(|w| w.name_any() == r.name_any()))
    {
        let why = delete_object::<HttpRoute>(options, &route.name_any()).await?;
        refused.extend(why.map(|why| (route.name_any(), format!("cannot be deleted: {why}"))));
    }
    Ok(refused)
}

/// Applies an object unless another manager reverted the same write too often. Returns why it
/// failed.
#[tracing::instrument(level = "debug", skip_all)]
async fn apply_planned(
    options: &Options,
    cache: &Cache,
    object: &Value,
    seen: Option<&str>,
) -> kube::Result<Option<String>> {
    let route = ObjectRef::from_object(object);
    let by = Account::deployer(route.key.namespace.clone());
    if let Err(undone) = cache.conflicts.begin_write(&route, object, Instant::now()) {
        return Ok(Some(undone.describe_conflict(
            &route,
            &act::other_managers(options, &route, &by).await,
        )));
    }
    let applied =
        act::apply_object(&act::object_api(options, &route, &by), object, seen, false).await;
    if !matches!(applied, Ok(true)) {
        cache.conflicts.cancel_write(&route, object);
    }
    refusal_text(applied.map(drop), Some(&route))
}

/// Describes the owner of another object with the same name.
fn describe_namesake_owner(route: &HttpRoute) -> String {
    let marks = OwnershipMarks::from_metadata(route.meta());
    let group = marks
        .lane_group
        .as_ref()
        .map(|g| format!("of lane group {}", Clean::from_untrusted(g)));
    let app = || {
        marks
            .owner()
            .map(|o| format!("of {}", o.describe_owner(route.namespace().as_deref())))
    };
    group
        .or_else(app)
        .unwrap_or_else(|| match marks.managers.as_slice() {
            [] => "somebody else's".to_owned(),
            managers => format!("written by {}", managers.join(", ")),
        })
}

/// Records in the route statuses why writes failed.
pub(super) fn note_refused_routes(
    routes: &mut Vec<RouteStatus>,
    refused: BTreeMap<String, String>,
    group: &LaneGroup,
    now: Timestamp,
) {
    let before = group
        .status
        .as_ref()
        .map(|s| s.routes.as_slice())
        .unwrap_or_default();
    for (name, why) in refused {
        let known = before
            .iter()
            .find(|r| r.name == name && r.message.as_ref() == Some(&why));
        if known.is_none() {
            tracing::warn!(group = group.name_any(), "HTTPRoute {name}: {why}");
        }
        let since = known.and_then(|r| r.since.clone());
        let since = since.or_else(|| {
            let second = Timestamp::from_second(now.as_second());
            Some(second.unwrap_or(now).into())
        });
        routes.retain(|r| r.name != name);
        routes.push(RouteStatus {
            name,
            accepted: Some(false),
            by: None,
            message: Some(why),
            since,
        });
    }
    routes.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Applies the Gateway between the services. Returns why it failed.
#[tracing::instrument(level = "debug", skip_all, fields(group = group.metadata.name))]
pub(super) async fn write_gateway(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
    mut wanted: Gateway,
) -> kube::Result<Option<String>> {
    let name = wanted.name_any();
    let there = cache.gateways.get_named(&options.namespace, &name);
    let ours = |g: &Gateway| g.labels().get(label::LANE_GROUP) == Some(&group.name_any());
    if there.as_ref().is_some_and(|g| !ours(g)) {
        return Ok(Some(format!(
            "Gateway {name} exists and is not ours: rename it, or set entry.gateway to another"
        )));
    }
    wanted.metadata.owner_references = group.controller_owner_ref(&()).map(|o| vec![o]);
    let mut object = serde_json::to_value(&wanted).map_err(kube::Error::SerdeError)?;
    let digest = short_digest(&object);
    let applied = there
        .as_ref()
        .and_then(|g| g.annotations().get(label::APPLIED).cloned());
    let as_wanted = there.as_ref().is_some_and(|g| {
        let port = |g: &Gateway| g.spec.listeners.first().map(|l| l.port);
        g.spec.gateway_class_name == wanted.spec.gateway_class_name && port(g) == port(&wanted)
    });
    if applied.as_ref() == Some(&digest) && as_wanted {
        return Ok(None);
    }
    object["metadata"]["annotations"][label::APPLIED] = Value::from(digest);
    let why = apply_planned(
        options,
        cache,
        &object,
        there.and_then(|g| g.resource_version()).as_deref(),
    )
    .await?;
    Ok(why.map(|why| format!("Gateway {name}: not as it should be: {why}")))
}

/// Deletes a Gateway between services that is no longer needed. Returns why it failed.
#[tracing::instrument(level = "debug", skip_all, fields(name))]
pub(super) async fn delete_gateway(options: &Options, name: &str) -> kube::Result<Option<String>> {
    let why = delete_object::<Gateway>(options, name).await?;
    Ok(why.map(|why| format!("Gateway {name}: cannot be deleted: {why}")))
}

#[tracing::instrument(level = "debug", skip_all, fields(name))]
async fn delete_object<K>(options: &Options, name: &str) -> kube::Result<Option<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let client = options
        .clusters
        .client_acting_as(&Account::deployer(NamespaceRef::at_home(
            options.namespace.as_str(),
        )));
    let api: Api<K> = Api::namespaced(client, &options.namespace);
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        done => refusal_text(done.map(drop), None),
    }
}

/// Message of the server if it refused a request, to write `route` or to delete. An error if it did
/// not answer.
fn refusal_text(done: kube::Result<()>, route: Option<&ObjectRef>) -> kube::Result<Option<String>> {
    let Err(why) = done else { return Ok(None) };
    let kube::Error::Api(status) = &why else {
        return Err(why);
    };
    let mut words = Clean::bounded(&error::describe_error(&why), MAX_REFUSAL_CHARS).to_string();
    if let Some(ObjectRef { kind, key, .. }) = route
        && act::is_manager_conflict(status)
    {
        let kind = kind.to_lowercase();
        let delete = CommandLine::kubectl("delete")
            .arg(kind)
            .option("-n", &*key.namespace.name)
            .arg(&key.name);
        words += &format!("; what somebody else wrote stays: `{delete}` has it recreated");
    }
    Ok(Some(words))
}
