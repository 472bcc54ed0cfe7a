//! Keeps the HTTPRoutes of every lane group as `domain::routes` plans them, and tells what came of it.

mod versions;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
    runtime::reflector::ObjectRef,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use versions::{SETTLE, mixed, version};

use super::{Options, act, cache::Cache};
use crate::{
    api::{
        App, GatewaySeen, Lane, LaneGroup, LaneGroupStatus, LaneMode, LaneStatus, Release, RouteStatus, Served,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
        label,
    },
    domain::{
        batches::template::digest,
        lanes::{check, elsewhere, others},
        routes::{
            Inputs, NEWS, Plan, answered, carry_since, gateway_seen, gateway_words, internal_gateway, plan, same,
        },
        text::Clean,
        workflow::{key, lane_open},
    },
};

/// Said at a lane group.
const NO_GATEWAY_API: &str = "this cluster does not serve the Gateway API (gateway.networking.k8s.io/v1), so no request is \
    coloured or routed: install its definitions and a gateway that follows them";
/// One look at a group; answers when to look again though nothing has changed.
pub(super) async fn look(options: &Options, cache: &Cache, group: &LaneGroup) -> kube::Result<Option<Duration>> {
    let lanes: Vec<Lane> = cache.lanes.state().iter().map(|l| (**l).clone()).collect();
    let releases = cache.releases.state();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    self::group(options, cache, group, &lanes, &releases, &cache.apps.state()).await
}

async fn group(
    options: &Options,
    cache: &Cache,
    told: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> kube::Result<Option<Duration>> {
    let name = told.name_any();
    let now = Timestamp::now();
    let all = cache.routes.state();
    let seen = Parent::of(cache, options, &told.spec.entry.gateway);
    // What is decided on is what serves the entry now, not what was told last.
    let mut group = told.clone();
    let status = group.status.get_or_insert_default();
    status.gateway = seen.seen();
    status.others = others(told, all.iter().map(|r| &**r));
    let group = &group;
    let (planned, settling) = planned(cache, group, lanes, releases, apps, now);

    let mut problems_of_group = planned.problems;
    // Without the kinds there is nobody who would follow a route: told below, at the group.
    let absent = cache.routes.is_absent() || cache.gateways.is_absent();
    if let Some(gateway) = planned.gateway.filter(|_| !absent) {
        problems_of_group.extend(keep_gateway(options, cache, told, gateway).await?);
    }
    let own = |labels: &BTreeMap<String, String>| labels.get(label::LANE_GROUP) == Some(&name);
    let live: Vec<_> =
        all.iter().filter(|r| r.namespace().as_deref() == Some(&options.namespace) && own(r.labels())).collect();
    let owner = group.controller_owner_ref(&());
    let mut wanted = BTreeSet::new();
    for mut route in planned.routes.into_iter().filter(|_| !absent) {
        route.metadata.owner_references = owner.clone().map(|o| vec![o]);
        wanted.insert(route.name_any());
        let mut object = serde_json::to_value(&route).map_err(kube::Error::SerdeError)?;
        let digest = digest(&object);
        let there = live.iter().find(|r| r.name_any() == route.name_any());
        let as_applied = there.is_some_and(|r| r.annotations().get(label::APPLIED) == Some(&digest));
        if as_applied && there.is_some_and(|r| same(&r.spec, &route.spec)) {
            continue;
        }
        object["metadata"]["annotations"][label::APPLIED] = Value::from(digest);
        act::apply(options, &key(&object), &object, false).await?;
    }
    for route in live.iter().filter(|r| !wanted.contains(&r.name_any())) {
        delete::<HttpRoute>(options, &route.name_any()).await?;
    }
    let inside = (group.spec.mode == LaneMode::Gateway).then(|| internal_gateway(group));
    for gateway in cache.gateways.state().iter().filter(|g| own(g.labels()) && Some(g.name_any()) != inside) {
        delete::<Gateway>(options, &gateway.name_any()).await?;
    }
    let routes: Vec<RouteStatus> =
        live.iter().filter(|r| wanted.contains(&r.name_any())).map(|r| answered(r, now)).collect();
    problems_of_group.extend(if absent { vec![NO_GATEWAY_API.to_owned()] } else { seen.words(now) });
    // It was asked for a moment ago: that it is not there yet is no news.
    let inside = inside.map(|name| Parent::of(cache, options, &name)).filter(|p| p.gateway.is_some());
    problems_of_group.extend(inside.iter().flat_map(|p| p.words(now)));
    problems_of_group.extend(mixed(cache, group));
    let mut problems = check(&name, Some(group), lanes);
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let away = |context: &str| options.clusters.canonical(Some(context)).is_some();
    for lane in lanes.iter().filter(|l| l.spec.group == name) {
        problems.extend(elsewhere(group, lane, &app_of, &away));
    }
    let status = LaneGroupStatus {
        problems: problems_of_group,
        addresses: seen.addresses(),
        internal: inside.as_ref().map(Parent::addresses).unwrap_or_default(),
        ..LaneGroupStatus { routes: routes.clone(), ..group.status.clone().unwrap_or_default() }
    };
    tell_group(options, told, status).await?;
    let unanswered = routes.iter().any(|r| r.accepted.is_none()) || inside.is_some_and(|p| !p.is_answered());
    // What concerns a lane stands at the lane.
    let of_routes = routes.iter().filter_map(|r| Some(format!("HTTPRoute {}: {}", r.name, r.message.as_ref()?)));
    let of_routes: Vec<String> = of_routes.collect();
    for lane in lanes.iter().filter(|l| l.spec.group == name) {
        let own = lane.name_any();
        let mut apps = planned.lanes.get(&own).cloned().unwrap_or_default();
        carry_since(lane.status.as_ref().map_or(&[], |s| &s.apps), &mut apps, now);
        let problems = problems.iter().filter(|p| p.lane == own).map(ToString::to_string);
        let problems = problems.chain(of_routes.iter().filter(|_| lane.spec.enabled).cloned()).collect();
        tell_lane(options, lane, LaneStatus { apps, problems }).await?;
    }
    let later = unanswered.then_some(Duration::from_secs(NEWS.unsigned_abs()));
    Ok(if settling { Some(SETTLE) } else { later })
}

/// What ought to be; and whether some pods are only just there.
fn planned(
    cache: &Cache,
    group: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
    now: Timestamp,
) -> (Plan, bool) {
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let settling = Cell::new(false);
    let version = |app: &str, tag: &str| {
        // What has its route already is known.
        let gray = |l: &&Lane| {
            let apps = l.status.as_ref().map(|s| s.apps.as_slice()).unwrap_or_default();
            l.spec.tag == tag && apps.iter().any(|a| a.app == app && a.served == Served::Gray)
        };
        let settled_before = if lanes.iter().any(|l| gray(&l)) { None } else { Some(now) };
        let (version, unsettled) = version(cache, group, app_of(app), app, tag, settled_before);
        settling.set(settling.get() || unsettled);
        version
    };
    let open = |app: &str, tag: &str| lane_open(app, tag, &app_of, releases);
    let planned = plan(&Inputs { group, lanes, version: &version, open: &open });
    (planned, settling.get())
}

/// A Gateway as it is seen, and its class.
struct Parent {
    name: String,
    gateway: Option<Arc<Gateway>>,
    class: Option<Arc<GatewayClass>>,
}

impl Parent {
    fn of(cache: &Cache, options: &Options, name: &str) -> Self {
        let gateway = cache.gateways.get(&ObjectRef::new(name).within(&options.namespace));
        let class = gateway.as_ref().and_then(|g| cache.classes.get(&ObjectRef::new(&g.spec.gateway_class_name)));
        Self { name: name.to_owned(), gateway, class }
    }

    fn seen(&self) -> Option<GatewaySeen> {
        self.gateway.as_ref().map(|g| gateway_seen(g, self.class.as_deref()))
    }

    fn words(&self, now: Timestamp) -> Vec<String> {
        gateway_words(&self.name, self.gateway.as_deref(), self.class.as_deref(), now)
    }

    fn is_answered(&self) -> bool {
        let conditions = self.gateway.as_ref().and_then(|g| g.status.as_ref()).map(|s| s.conditions.as_slice());
        conditions.unwrap_or_default().iter().any(|c| c.type_ == "Accepted" && c.status != "Unknown")
    }

    /// Where requests come in: the Gateway's addresses, with each HTTP listener's port.
    fn addresses(&self) -> Vec<String> {
        let Some(gateway) = &self.gateway else { return vec![] };
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
}

/// Keeps the Gateway between the services; in words, why not.
async fn keep_gateway(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
    mut wanted: Gateway,
) -> kube::Result<Option<String>> {
    let name = wanted.name_any();
    let there = cache.gateways.get(&ObjectRef::new(&name).within(&options.namespace));
    let ours = |g: &Gateway| g.labels().get(label::LANE_GROUP) == Some(&group.name_any());
    if there.as_ref().is_some_and(|g| !ours(g)) {
        return Ok(Some(format!("Gateway {name} is there and not ours: rename it, or set entry.gateway to another")));
    }
    wanted.metadata.owner_references = group.controller_owner_ref(&()).map(|o| vec![o]);
    let mut object = serde_json::to_value(&wanted).map_err(kube::Error::SerdeError)?;
    let digest = digest(&object);
    let applied = there.as_ref().and_then(|g| g.annotations().get(label::APPLIED).cloned());
    let as_wanted = there.as_ref().is_some_and(|g| {
        let port = |g: &Gateway| g.spec.listeners.first().map(|l| l.port);
        g.spec.gateway_class_name == wanted.spec.gateway_class_name && port(g) == port(&wanted)
    });
    if applied.as_ref() != Some(&digest) || !as_wanted {
        object["metadata"]["annotations"][label::APPLIED] = Value::from(digest);
        act::apply(options, &key(&object), &object, false).await?;
    }
    Ok(None)
}

async fn delete<K>(options: &Options, name: &str) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(options.client.clone(), &options.namespace);
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        done => done.map(drop),
    }
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
