//! Keeps the HTTPRoutes of every lane group as planned by `domain::routes`, and reports the result.

mod versions;
mod write;

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams, runtime::reflector::ObjectRef};

use versions::{SETTLE, coming, mixed, version};

use super::{Options, cache::Cache};
use crate::{
    api::{
        App, GatewaySeen, Lane, LaneGroup, LaneGroupStatus, LaneMode, LaneStatus, Release,
        RouteStatus, Served,
        gateway_api::{Gateway, GatewayClass},
        label,
    },
    domain::{
        lanes::{check, elsewhere, others},
        routes::{
            Inputs, NEWS, Plan, answered, carry_since, gateway_seen, gateway_words,
            internal_gateway, plan,
        },
        text::Clean,
        workflow::lane_open,
    },
};

/// Problem reported at a lane group.
const NO_GATEWAY_API: &str = "this cluster does not serve the Gateway API (gateway.networking.k8s.io/v1), so no request is \
    coloured or routed: install its definitions and a gateway that follows them";

/// Result of reconciling a lane group.
pub(super) struct Looked {
    /// When to reconcile again although nothing changes.
    pub(super) again: Option<Duration>,
    /// Whether the server refused a write.
    pub(super) refused: bool,
}

/// Reconciles a lane group. A refused route is reported at that route and does not hold up others.
/// An error means that the server does not answer.
pub(super) async fn look(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
) -> kube::Result<Looked> {
    let lanes: Vec<Lane> = cache.lanes.state().iter().map(|l| (**l).clone()).collect();
    let releases = cache.releases.state();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    self::group(
        options,
        cache,
        group,
        &lanes,
        &releases,
        &cache.apps.state(),
    )
    .await
}

async fn group(
    options: &Options,
    cache: &Cache,
    told: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> kube::Result<Looked> {
    let name = told.name_any();
    let now = Timestamp::now();
    let all = cache.routes.state();
    let seen = Parent::of(cache, options, &told.spec.entry.gateway);
    // Decide by what serves the entry now, not by the last status.
    let mut group = told.clone();
    let status = group.status.get_or_insert_default();
    status.gateway = seen.seen();
    status.others = others(told, all.iter().map(|r| &**r));
    let group = &group;
    let (planned, settling) = planned(cache, group, lanes, releases, apps);

    let mut problems_of_group = planned.problems;
    // Without these kinds no controller would follow a route; reported below, at the group.
    let absent = cache.routes.is_absent() || cache.gateways.is_absent();
    let mut refused = vec![];
    if let Some(gateway) = planned.gateway.filter(|_| !absent) {
        refused.extend(write::gateway(options, cache, told, gateway).await?);
    }
    let own = |labels: &BTreeMap<String, String>| labels.get(label::LANE_GROUP) == Some(&name);
    let live: Vec<_> = all
        .iter()
        .filter(|r| r.namespace().as_deref() == Some(&options.namespace) && own(r.labels()))
        .collect();
    let wanted = if absent { vec![] } else { planned.routes };
    let not_written = write::routes(options, cache, group, &wanted, &live).await?;
    let inside = (group.spec.mode == LaneMode::Gateway).then(|| internal_gateway(group));
    for gateway in cache
        .gateways
        .state()
        .iter()
        .filter(|g| own(g.labels()) && Some(g.name_any()) != inside)
    {
        refused.extend(write::no_gateway(options, &gateway.name_any()).await?);
    }
    let is_wanted = |name: &str| wanted.iter().any(|r| r.name_any() == name);
    let coming = coming(group, apps);
    let mut routes: Vec<RouteStatus> = live
        .iter()
        .filter(|r| is_wanted(&r.name_any()))
        .map(|r| answered(r, &coming, cache.since.is_news(&r.metadata)))
        .collect();
    let is_refused = !(refused.is_empty() && not_written.is_empty());
    problems_of_group.extend(refused);
    write::tell(&mut routes, not_written, told, now);
    problems_of_group.extend(if absent {
        vec![NO_GATEWAY_API.to_owned()]
    } else {
        seen.words(cache)
    });
    // A gateway that was just created may not be there yet; that is no problem.
    let inside = inside
        .map(|name| Parent::of(cache, options, &name))
        .filter(|p| p.gateway.is_some());
    problems_of_group.extend(inside.iter().flat_map(|p| p.words(cache)));
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
        hops: options.hops.sources(&options.namespace, group),
        span_log: options.hops.span_log(),
        ..LaneGroupStatus {
            routes: routes.clone(),
            ..group.status.clone().unwrap_or_default()
        }
    };
    let status = LaneGroupStatus {
        summary: status.summary(),
        ..status
    };
    tell_group(options, told, status).await?;
    let unanswered =
        routes.iter().any(|r| r.accepted.is_none()) || inside.is_some_and(|p| !p.is_answered());
    // Problems of a lane are reported at the lane.
    let of_routes = routes
        .iter()
        .filter(|r| r.accepted.is_some() || coming.is_empty());
    let of_routes =
        of_routes.filter_map(|r| Some(format!("HTTPRoute {}: {}", r.name, r.message.as_ref()?)));
    let of_routes: Vec<String> = of_routes.collect();
    for lane in lanes.iter().filter(|l| l.spec.group == name) {
        let own = lane.name_any();
        let mut apps = planned.lanes.get(&own).cloned().unwrap_or_default();
        carry_since(
            lane.status.as_ref().map_or(&[], |s| &s.apps),
            &mut apps,
            now,
        );
        let problems = problems
            .iter()
            .filter(|p| p.lane == own)
            .map(ToString::to_string);
        let problems = problems
            .chain(of_routes.iter().filter(|_| lane.spec.enabled).cloned())
            .collect();
        let status = LaneStatus {
            apps,
            problems,
            summary: String::new(),
        };
        tell_lane(
            options,
            lane,
            LaneStatus {
                summary: status.summary(),
                ..status
            },
        )
        .await?;
    }
    let later = unanswered.then_some(NEWS);
    Ok(Looked {
        again: if settling { Some(SETTLE) } else { later },
        refused: is_refused,
    })
}

/// Plans the routes. Also returns whether some pods are too new to count.
fn planned(
    cache: &Cache,
    group: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> (Plan, bool) {
    let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name).map(|a| &**a);
    let settling = Cell::new(false);
    let version = |app: &str, tag: &str| {
        // A version that already has routes needs no settling time.
        let gray = |l: &&Lane| {
            let apps = l
                .status
                .as_ref()
                .map(|s| s.apps.as_slice())
                .unwrap_or_default();
            l.spec.tag == tag
                && apps
                    .iter()
                    .any(|a| a.app == app && a.served == Served::Gray)
        };
        let opens = !lanes.iter().any(|l| gray(&l));
        let (version, unsettled) = version(cache, group, app_of(app), app, tag, opens);
        settling.set(settling.get() || unsettled);
        version
    };
    let open = |app: &str, tag: &str| lane_open(app, tag, &app_of, releases);
    let planned = plan(&Inputs {
        group,
        lanes,
        version: &version,
        open: &open,
    });
    (planned, settling.get())
}

/// A Gateway with its class, as observed.
struct Parent {
    name: String,
    gateway: Option<Arc<Gateway>>,
    class: Option<Arc<GatewayClass>>,
}

impl Parent {
    fn of(cache: &Cache, options: &Options, name: &str) -> Self {
        let gateway = cache
            .gateways
            .get(&ObjectRef::new(name).within(&options.namespace));
        let class = gateway.as_ref().and_then(|g| {
            cache
                .classes
                .get(&ObjectRef::new(&g.spec.gateway_class_name))
        });
        Self {
            name: name.to_owned(),
            gateway,
            class,
        }
    }

    fn seen(&self) -> Option<GatewaySeen> {
        self.gateway
            .as_ref()
            .map(|g| gateway_seen(g, self.class.as_deref()))
    }

    fn words(&self, cache: &Cache) -> Vec<String> {
        let is_news = self
            .gateway
            .as_ref()
            .is_some_and(|g| cache.since.is_news(&g.metadata));
        gateway_words(
            &self.name,
            self.gateway.as_deref(),
            self.class.as_deref(),
            is_news,
        )
    }

    fn is_answered(&self) -> bool {
        let conditions = self
            .gateway
            .as_ref()
            .and_then(|g| g.status.as_ref())
            .map(|s| s.conditions.as_slice());
        conditions
            .unwrap_or_default()
            .iter()
            .any(|c| c.type_ == "Accepted" && c.status != "Unknown")
    }

    /// Addresses of the entry: the Gateway's addresses with the port of each HTTP listener.
    fn addresses(&self) -> Vec<String> {
        let Some(gateway) = &self.gateway else {
            return vec![];
        };
        let hosts: Vec<String> = gateway
            .status
            .iter()
            .flat_map(|s| &s.addresses)
            .filter_map(|a| a.value.as_deref())
            .map(|a| Clean::from_untrusted(a).to_string())
            .collect();
        let ports: Vec<_> = gateway
            .spec
            .listeners
            .iter()
            .filter(|l| l.protocol == "HTTP")
            .map(|l| l.port)
            .collect();
        hosts
            .iter()
            .flat_map(|h| ports.iter().map(move |p| format!("{h}:{p}")))
            .collect()
    }
}

async fn tell_group(
    options: &Options,
    group: &LaneGroup,
    status: LaneGroupStatus,
) -> kube::Result<()> {
    if group.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<LaneGroup> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut new = group.clone();
    new.status = Some(status);
    settled(
        api.replace_status(&group.name_any(), &PostParams::default(), &new)
            .await,
    )
}

async fn tell_lane(options: &Options, lane: &Lane, status: LaneStatus) -> kube::Result<()> {
    if lane.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Lane> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut new = lane.clone();
    new.status = Some(status);
    settled(
        api.replace_status(&lane.name_any(), &PostParams::default(), &new)
            .await,
    )
}

/// Ignores a conflict: the watch triggers another pass.
fn settled<T>(written: kube::Result<T>) -> kube::Result<()> {
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests;
