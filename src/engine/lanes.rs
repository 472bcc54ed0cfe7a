//! Keeps the HTTPRoutes of every lane group as planned by `domain::routes`, and reports the result.

mod versions;
mod write;

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};

use versions::{SETTLE_TIME, apps_without_baseline, find_mixed_services, observe_version};

use super::{Options, cache::Cache};
use crate::{
    api::{
        App, GatewaySeen, Lane, LaneAppStatus, LaneGroup, LaneGroupStatus, LaneMode, LaneStatus,
        Release, RouteStatus, Served,
        gateway_api::{Gateway, GatewayClass},
        label,
    },
    domain::{
        lanes::{LaneCheck, Problem, find_foreign_routes},
        routes::{
            ANSWER_TIME, RouteInputs, RoutePlan, carry_since, describe_gateway,
            internal_gateway_name, observe_gateway, plan_routes, route_status,
        },
        text::Clean,
        workflow::check_lane_open,
    },
};

/// Problem reported at a lane group.
const NO_GATEWAY_API: &str = "this cluster does not serve the Gateway API (gateway.networking.k8s.io/v1), so no request is \
    coloured or routed: install it, and a gateway that implements it";

/// Result of reconciling a lane group.
pub(super) struct GroupOutcome {
    /// When to reconcile again although nothing changes.
    pub(super) again: Option<Duration>,
    /// Whether the server refused a write.
    pub(super) refused: bool,
}

/// Reconciles a lane group. A refused route is reported at that route and does not hold up others.
/// An error means that the server does not answer.
#[tracing::instrument(level = "info", skip_all, fields(group = group.metadata.name))]
pub(super) async fn reconcile_lane_group(
    options: &Options,
    cache: &Cache,
    group: &LaneGroup,
) -> kube::Result<GroupOutcome> {
    let lanes: Vec<Lane> = cache.lanes.list().iter().map(|l| (**l).clone()).collect();
    let releases = cache.releases.list();
    let releases: Vec<&Release> = releases.iter().map(|r| &**r).collect();
    self::reconcile_with(options, cache, group, &lanes, &releases, &cache.apps.list()).await
}

async fn reconcile_with(
    options: &Options,
    cache: &Cache,
    told: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> kube::Result<GroupOutcome> {
    let name = told.name_any();
    let now = Timestamp::now();
    let all = cache.routes.list();
    let seen = ParentGateway::from_cache(cache, options, &told.spec.entry.gateway);
    // Decide by what serves the entry now, not by the last status.
    let mut group = told.clone();
    let status = group.status.get_or_insert_default();
    status.gateway = seen.gateway_status();
    status.others = find_foreign_routes(told, all.iter().map(|r| &**r));
    let group = &group;
    let (planned, settling) = plan_group_routes(cache, group, lanes, releases, apps);

    // Without these kinds no controller would follow a route; reported below, at the group.
    let absent = cache.routes.is_absent() || cache.gateways.is_absent();
    let own = |labels: &BTreeMap<String, String>| labels.get(label::LANE_GROUP) == Some(&name);
    let live: Vec<_> = all
        .iter()
        .filter(|r| r.namespace().as_deref() == Some(&options.namespace) && own(r.labels()))
        .collect();
    let mut refused = vec![];
    if let Some(gateway) = planned.gateway.filter(|_| !absent) {
        refused.extend(write::write_gateway(options, cache, told, gateway).await?);
    }
    let wanted = if absent { vec![] } else { planned.routes };
    let not_written = write::write_routes(options, cache, group, &wanted, &live).await?;
    let inside = (group.spec.mode == LaneMode::Gateway).then(|| internal_gateway_name(group));
    for gateway in cache
        .gateways
        .list()
        .iter()
        .filter(|g| own(g.labels()) && Some(g.name_any()) != inside)
    {
        refused.extend(write::delete_gateway(options, &gateway.name_any()).await?);
    }
    let is_refused = !(refused.is_empty() && not_written.is_empty());
    let is_wanted = |name: &str| wanted.iter().any(|r| r.name_any() == name);
    let coming = apps_without_baseline(group, apps);
    let mut routes: Vec<RouteStatus> = live
        .iter()
        .filter(|r| is_wanted(&r.name_any()))
        .map(|r| route_status(r, &coming, cache.state_ages.was_just_written(&r.metadata)))
        .collect();
    write::note_refused_routes(&mut routes, not_written, told, now);
    // A gateway that was just created may not be there yet; that is no problem.
    let inside = inside
        .map(|name| ParentGateway::from_cache(cache, options, &name))
        .filter(|p| p.gateway.is_some());
    let mut problems = [planned.problems, refused].concat();
    if absent {
        problems.push(NO_GATEWAY_API.to_owned());
    } else {
        problems.extend(seen.describe_problems(cache));
    }
    problems.extend(inside.iter().flat_map(|p| p.describe_problems(cache)));
    problems.extend(find_mixed_services(cache, group));
    let status = group_status(options, group, &seen, inside.as_ref(), &routes, problems);
    write_group_status(options, told, status).await?;
    let unanswered =
        routes.iter().any(|r| r.accepted.is_none()) || inside.is_some_and(|p| !p.is_answered());
    let of_lanes = LaneReport {
        planned: planned.lanes,
        problems: find_lane_problems(options, group, lanes, apps),
        // Problems of a lane are reported at the lane.
        of_routes: describe_routes(&routes, !coming.is_empty()),
    };
    of_lanes.write_statuses(options, &name, lanes, now).await?;
    let later = unanswered.then_some(ANSWER_TIME);
    Ok(GroupOutcome {
        again: if settling { Some(SETTLE_TIME) } else { later },
        refused: is_refused,
    })
}

fn group_status(
    options: &Options,
    group: &LaneGroup,
    seen: &ParentGateway,
    inside: Option<&ParentGateway>,
    routes: &[RouteStatus],
    problems: Vec<String>,
) -> LaneGroupStatus {
    let status = LaneGroupStatus {
        problems,
        addresses: seen.addresses(),
        internal: inside.map(ParentGateway::addresses).unwrap_or_default(),
        hops: options.hops.sources(&options.namespace, group),
        span_log: options.hops.span_log(),
        routes: routes.to_vec(),
        ..group.status.clone().unwrap_or_default()
    };
    LaneGroupStatus {
        summary: status.summary(),
        ..status
    }
}

fn find_lane_problems(
    options: &Options,
    group: &LaneGroup,
    lanes: &[Lane],
    apps: &[Arc<App>],
) -> Vec<Problem> {
    let check = LaneCheck {
        name: &group.name_any(),
        group: Some(group),
        app_of: &|name| apps.iter().find(|a| a.name_any() == name).map(|a| &**a),
        away: &|cluster| !options.clusters.is_home(cluster),
    };
    check.find_problems(lanes)
}

/// Messages of the routes. While a baseline is coming, only of those that a gateway has answered.
fn describe_routes(routes: &[RouteStatus], is_coming: bool) -> Vec<String> {
    routes
        .iter()
        .filter(|r| r.accepted.is_some() || !is_coming)
        .filter_map(|r| Some(format!("HTTPRoute {}: {}", r.name, r.message.as_ref()?)))
        .collect()
}

/// What is reported at the lanes of a group.
struct LaneReport {
    planned: BTreeMap<String, Vec<LaneAppStatus>>,
    problems: Vec<Problem>,
    of_routes: Vec<String>,
}

impl LaneReport {
    async fn write_statuses(
        &self,
        options: &Options,
        group: &str,
        lanes: &[Lane],
        now: Timestamp,
    ) -> kube::Result<()> {
        for lane in lanes.iter().filter(|l| l.spec.group == group) {
            let own = lane.name_any();
            let mut apps = self.planned.get(&own).cloned().unwrap_or_default();
            carry_since(
                lane.status.as_ref().map_or(&[], |s| &s.apps),
                &mut apps,
                now,
            );
            let problems = self.problems.iter().filter(|p| p.lane == own);
            let problems = problems
                .map(ToString::to_string)
                .chain(self.of_routes.iter().filter(|_| lane.spec.enabled).cloned())
                .collect();
            let status = LaneStatus {
                apps,
                problems,
                summary: String::new(),
            };
            let status = LaneStatus {
                summary: status.summary(),
                ..status
            };
            write_lane_status(options, lane, status).await?;
        }
        Ok(())
    }
}

/// Plans the routes. Also returns whether some pods are too new to count.
fn plan_group_routes(
    cache: &Cache,
    group: &LaneGroup,
    lanes: &[Lane],
    releases: &[&Release],
    apps: &[Arc<App>],
) -> (RoutePlan, bool) {
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
        let (version, unsettled) = observe_version(cache, group, app_of(app), app, tag, opens);
        settling.set(settling.get() || unsettled);
        version
    };
    let open = |app: &str, tag: &str| check_lane_open(app, tag, &app_of, releases);
    let planned = plan_routes(&RouteInputs {
        group,
        lanes,
        version: &version,
        open: &open,
    });
    (planned, settling.get())
}

/// A Gateway with its class, as observed.
struct ParentGateway {
    name: String,
    gateway: Option<Arc<Gateway>>,
    class: Option<Arc<GatewayClass>>,
}

impl ParentGateway {
    fn from_cache(cache: &Cache, options: &Options, name: &str) -> Self {
        let gateway = cache.gateways.get_named(&options.namespace, name);
        let class = gateway
            .as_ref()
            .and_then(|g| cache.classes.get_named("", &g.spec.gateway_class_name));
        Self {
            name: name.to_owned(),
            gateway,
            class,
        }
    }

    fn gateway_status(&self) -> Option<GatewaySeen> {
        self.gateway
            .as_ref()
            .map(|g| observe_gateway(g, self.class.as_deref()))
    }

    fn describe_problems(&self, cache: &Cache) -> Vec<String> {
        let is_news = self
            .gateway
            .as_ref()
            .is_some_and(|g| cache.state_ages.was_just_written(&g.metadata));
        describe_gateway(
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

#[tracing::instrument(level = "debug", skip_all, fields(group = group.metadata.name))]
async fn write_group_status(
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
    ignore_conflict(
        api.replace_status(&group.name_any(), &PostParams::default(), &new)
            .await,
    )
}

#[tracing::instrument(level = "debug", skip_all, fields(lane = lane.metadata.name))]
async fn write_lane_status(options: &Options, lane: &Lane, status: LaneStatus) -> kube::Result<()> {
    if lane.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Lane> = Api::namespaced(options.client.clone(), &options.namespace);
    let mut new = lane.clone();
    new.status = Some(status);
    ignore_conflict(
        api.replace_status(&lane.name_any(), &PostParams::default(), &new)
            .await,
    )
}

/// Ignores a conflict: the watch triggers another pass.
fn ignore_conflict<T>(written: kube::Result<T>) -> kube::Result<()> {
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(all(test, feature = "pocket"))]
mod tests;
