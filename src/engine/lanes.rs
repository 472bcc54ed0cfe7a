//! Keeps the HTTPRoutes of every lane group as `domain::routes` plans them, and tells what came of it.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::reflector::ObjectRef,
};
use serde_json::Value;

use super::{
    Options, act,
    cache::{Cache, SERVICE},
};
use crate::{
    api::{
        App, EnvironmentState, Lane, LaneGroup, LaneGroupStatus, LaneStatus, Release, RouteStatus,
        gateway_api::{Gateway, HttpRoute},
        label,
    },
    domain::{
        batches::template::digest,
        lanes::check,
        routes::{Inputs, LaneVersion, carry_since, plan},
        text::Clean,
        workflow::{key, lane_open},
    },
};

/// One look at a group.
pub(super) async fn look(options: &Options, cache: &Cache, group: &LaneGroup) -> kube::Result<()> {
    let lanes: Vec<Lane> = cache.lanes.state().iter().map(|l| (**l).clone()).collect();
    let releases = cache.releases.state();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    self::group(options, cache, group, &lanes, &releases, &cache.apps.state()).await
}

async fn group(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> kube::Result<()> {
    let name = group.name_any();
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let version = |app: &str, tag: &str| version(cache, group, app_of(app), app, tag);
    let open = |app: &str, tag: &str| lane_open(app, tag, &app_of, releases);
    let planned = plan(&Inputs { group, lanes, version: &version, open: &open });

    let live = cache.routes.state();
    let live: Vec<_> = live.iter().filter(|r| r.labels().get(label::LANE_GROUP) == Some(&name)).collect();
    let owner = group.controller_owner_ref(&());
    let mut wanted = BTreeSet::new();
    for mut route in planned.routes {
        route.metadata.owner_references = owner.clone().map(|o| vec![o]);
        wanted.insert(route.name_any());
        let mut object = serde_json::to_value(&route).map_err(kube::Error::SerdeError)?;
        let digest = digest(&object);
        let there = live.iter().find(|r| r.name_any() == route.name_any());
        if there.is_some_and(|r| r.annotations().get(label::APPLIED) == Some(&digest) && r.spec == route.spec) {
            continue;
        }
        object["metadata"]["annotations"][label::APPLIED] = Value::from(digest);
        act::apply(options, &key(&object), &object).await?;
    }
    for route in live.iter().filter(|r| !wanted.contains(&r.name_any())) {
        let api: Api<HttpRoute> = Api::namespaced(options.client.clone(), &options.namespace);
        match api.delete(&route.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            done => drop(done?),
        }
    }
    let problems = check(&name, Some(group), lanes);
    let status = LaneGroupStatus {
        routes: live.iter().filter(|r| wanted.contains(&r.name_any())).map(|r| route_status(r)).collect(),
        problems: planned.problems.into_iter().chain(entry_problem(cache, options, group)).collect(),
        addresses: addresses(cache, options, group),
    };
    tell_group(options, group, status).await?;
    for lane in lanes.iter().filter(|l| l.spec.group == name) {
        let own = lane.name_any();
        let mut apps = planned.lanes.get(&own).cloned().unwrap_or_default();
        carry_since(lane.status.as_ref().map_or(&[], |s| &s.apps), &mut apps, Timestamp::now());
        let status =
            LaneStatus { apps, problems: problems.iter().filter(|p| p.lane == own).map(ToString::to_string).collect() };
        tell_lane(options, lane, status).await?;
    }
    Ok(())
}

/// What is seen of an App's version with a lane's tag. A pod counts when the Service's endpoints say that it
/// serves: what they do not know, no gateway can reach.
fn version(cache: &Cache, group: &LaneGroup, app: Option<&App>, name: &str, tag: &str) -> LaneVersion {
    let Some(member) = group.spec.apps.iter().find(|a| a.app == name) else { return LaneVersion::default() };
    let service = member.lane_service(tag);
    let home = group.namespace().unwrap_or_default();
    let environment = app.and_then(|a| {
        let environment = a.spec.environment_of_lane(tag)?;
        a.status.as_ref()?.environments.get(&environment.name)
    });
    let there = cache.services.get(&ObjectRef::new(&service).within(&home));
    let slices = cache.slices.state();
    let own =
        slices.iter().filter(|s| s.namespace().as_deref() == Some(&home) && s.labels().get(SERVICE) == Some(&service));
    let ready = own.flat_map(|s| s.endpoints.iter()).filter(|e| {
        let c = e.conditions.clone().unwrap_or_default();
        c.ready.unwrap_or(true) && c.terminating != Some(true)
    });
    LaneVersion {
        expected: environment.is_some_and(|e| e.state == EnvironmentState::Running),
        service: there.is_some_and(|s| s.metadata.deletion_timestamp.is_none()),
        ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
    }
}

/// What the controllers of a route's parents say of it: the worst counts.
fn route_status(route: &HttpRoute) -> RouteStatus {
    let told: Vec<_> = route.status.iter().flat_map(|s| &s.parents).collect();
    let verdicts =
        || told.iter().flat_map(|p| &p.conditions).filter(|c| matches!(&*c.type_, "Accepted" | "ResolvedRefs"));
    let bad = verdicts().find(|c| c.status == "False");
    RouteStatus {
        name: route.name_any(),
        accepted: verdicts().next().map(|_| bad.is_none()),
        by: told.first().map(|p| Clean::from_untrusted(&p.controller_name).to_string()),
        message: bad.map(|c| Clean::from_untrusted(&format!("{}: {}", c.reason, c.message)).to_string()),
    }
}

/// Why no request comes in at all: the Gateway is not there, or cannot listen.
fn entry_problem(cache: &Cache, options: &Options, group: &LaneGroup) -> Option<String> {
    let name = &group.spec.entry.gateway;
    let key = ObjectRef::<Gateway>::new(name).within(&options.namespace);
    let Some(gateway) = cache.gateways.get(&key) else {
        return Some(format!("there is no Gateway {name} in namespace {}", options.namespace));
    };
    let mut told = gateway.status.iter().flat_map(|s| &s.conditions);
    let bad = told.find(|c| matches!(&*c.type_, "Accepted" | "Programmed") && c.status == "False")?;
    Some(format!("Gateway {name}: {}", Clean::bounded(&bad.message, 300)))
}

/// Where requests come in: the Gateway's addresses, with each HTTP listener's port.
fn addresses(cache: &Cache, options: &Options, group: &LaneGroup) -> Vec<String> {
    let key = ObjectRef::<Gateway>::new(&group.spec.entry.gateway).within(&options.namespace);
    let Some(gateway) = cache.gateways.get(&key) else { return vec![] };
    let hosts: Vec<String> = gateway
        .status
        .iter()
        .flat_map(|s| &s.addresses)
        .filter_map(|a| a.value.as_deref())
        .map(|a| Clean::from_untrusted(a).to_string())
        .collect();
    let ports: Vec<_> = gateway.spec.listeners.iter().filter(|l| l.protocol == "HTTP").map(|l| l.port).collect();
    hosts.iter().flat_map(|h| ports.iter().map(move |p| format!("{h}:{p}"))).collect()
}

async fn tell_group(options: &Options, group: &LaneGroup, status: LaneGroupStatus) -> kube::Result<()> {
    if group.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<LaneGroup> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut new = group.clone();
    new.status = Some(status);
    settled(api.replace_status(&group.name_any(), &PostParams::default(), &new).await)
}

async fn tell_lane(options: &Options, lane: &Lane, status: LaneStatus) -> kube::Result<()> {
    if lane.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Lane> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut new = lane.clone();
    new.status = Some(status);
    settled(api.replace_status(&lane.name_any(), &PostParams::default(), &new).await)
}

/// Somebody wrote in between: the watch wakes us with what.
fn settled<T>(written: kube::Result<T>) -> kube::Result<()> {
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}
