//! Judges one hop and describes the cause of the verdict.

use jiff::{SignedDuration, Timestamp};

use super::{
    Verdict,
    expectation::{expected_side, find_group},
};
use crate::{
    api::{LaneMode, Served},
    domain::{command_line::CommandLine, hop::Hop, routes, span::Source, world::World},
};

/// What a hop inherits from its caller's hop.
#[derive(Clone, Debug, Default)]
pub(super) struct CallerContext {
    /// Lane tag of the caller's own request.
    pub(super) tag: Option<String>,
    /// Name of the caller for messages.
    pub(super) caller: String,
    /// Description of who lost the tag further up the chain.
    pub(super) lost: Option<String>,
}

/// Judges a hop; `before` is `None` at the start of a chain.
pub(super) fn judge_hop(
    hop: &Hop,
    before: Option<&CallerContext>,
    world: &World,
) -> (Verdict, Option<String>) {
    let Some(served) = hop.served() else {
        let why = hop
            .error
            .clone()
            .unwrap_or_else(|| "no pod answered".into());
        return (Verdict::NoData, Some(why));
    };
    if hop.tag_unknown {
        return judge_unknown(hop, before, world);
    }
    if let Some(cause) = before.and_then(|b| describe_lost_tag(hop, b, world)) {
        return (Verdict::Lost, Some(cause));
    }
    let pod = hop.pod.as_deref().unwrap_or("a pod");
    let tag = hop.tag.as_deref();
    if served == Served::Gray && hop.pod_tag != hop.tag {
        let lane = hop.pod_tag.as_deref().unwrap_or_default();
        let cause = match tag {
            None => format!(
                "{pod} of lane {lane} answered a request without a tag: does the Service {} select {lane} pods?",
                hop.service
            ),
            Some(tag) => format!("{pod} of lane {lane} answered a request of lane {tag}"),
        };
        return (Verdict::LeakUp, Some(cause));
    }
    let promise = expected_side(hop.group.as_deref(), &hop.app, tag, world);
    match (tag, promise.served, served) {
        (None, ..) | (_, _, Served::Gray) => (Verdict::Ok, None),
        (Some(_), Served::Base, Served::Base) if promise.strict => (
            Verdict::LeakDown,
            Some(format!(
                "the lane is strict, and fell back: {}",
                promise.reason
            )),
        ),
        (Some(_), Served::Base, Served::Base) => (Verdict::FellBack, Some(promise.reason)),
        (Some(_), Served::Gray, Served::Base)
            if promise
                .since
                .is_some_and(|at| is_route_opening(at, hop.time)) =>
        {
            (
                Verdict::FellBack,
                Some("the lane had only just been opened to it".into()),
            )
        }
        (Some(tag), Served::Gray, Served::Base) => (
            Verdict::LeakDown,
            Some(describe_leak(hop, tag, pod, &promise.reason, world)),
        ),
    }
}

/// Judges a hop whose tag was not reported: it is fine if it would be fine with any tag, otherwise
/// there is no data.
fn judge_unknown(
    hop: &Hop,
    before: Option<&CallerContext>,
    world: &World,
) -> (Verdict, Option<String>) {
    let meta = find_group(hop.group.as_deref(), &hop.app, world).map(|g| &g.metadata);
    let group = meta.and_then(|m| m.name.as_deref());
    let lanes = world
        .lanes
        .values()
        .filter(|l| Some(&*l.spec.group) == group && l.spec.enabled);
    let tags = std::iter::once(None).chain(lanes.map(|l| Some(l.spec.tag.clone())));
    let with = |tag| Hop {
        tag,
        tag_unknown: false,
        ..hop.clone()
    };
    let tag_matters = tags
        .map(|tag| judge_hop(&with(tag), before, world).0)
        .any(Verdict::is_bad);
    if !tag_matters {
        return (Verdict::Ok, None);
    }
    let source = hop.source.map_or("its gateway", Source::display_name);
    let command = group.map(|g| {
        let line = CommandLine::graylane("doctor").option("--trace", g);
        line.option_if("-n", meta.and_then(|m| m.namespace.as_deref()))
    });
    let see = command
        .map(|c| format!("; `{c}` says what is missing"))
        .unwrap_or_default();
    (
        Verdict::NoData,
        Some(format!(
            "{source} has not reported the lane tag of any request{see}"
        )),
    )
}

/// Time in which gateways apply a new route; requests on the old route until then are not leaks.
const ROUTE_DELAY: SignedDuration = SignedDuration::from_secs(3);

fn is_route_opening(since: Timestamp, request: Timestamp) -> bool {
    request.duration_since(since) < ROUTE_DELAY
}

/// Describes who lost or changed the tag; `None` when the hop has its caller's tag.
pub(super) fn describe_lost_tag(
    hop: &Hop,
    before: &CallerContext,
    world: &World,
) -> Option<String> {
    let header = find_group(hop.group.as_deref(), &hop.app, world)
        .map_or("x-mse-tag", |g| g.spec.propagation.header.as_str());
    match (&before.tag, &hop.tag) {
        _ if hop.tag_unknown => None,
        (Some(had), None) => Some(format!(
            "{} got {header}: {had} and did not pass it on",
            before.caller
        )),
        (Some(had), Some(has)) if had != has => Some(format!(
            "{} got {header}: {had} and passed on {has}",
            before.caller
        )),
        (None, None) => before.lost.clone(),
        _ => None,
    }
}

/// Explains why the baseline answered although the lane's version was promised.
fn describe_leak(hop: &Hop, tag: &str, pod: &str, promised: &str, world: &World) -> String {
    let group = find_group(hop.group.as_deref(), &hop.app, world);
    let name = group
        .and_then(|g| g.metadata.name.as_deref())
        .unwrap_or_default();
    if group.is_some_and(|g| g.spec.mode == LaneMode::Agent) {
        return format!(
            "{pod} answered though {promised}: in agent mode the callers route, so see {}'s caller",
            hop.app
        );
    }
    let wanted = routes::app_route(name, &hop.app);
    let route = world.routes.values().find(|r| r.key.name == wanted);
    match route.map(|r| (r.accepted, r.message.as_deref().unwrap_or_default())) {
        None => format!("{pod} answered though {promised}: there is no HTTPRoute {wanted}"),
        Some((Some(false), why)) => {
            format!("{pod} answered: the gateway has not accepted HTTPRoute {wanted}: {why}")
        }
        Some((None, _)) => {
            format!("{pod} answered: no gateway has accepted HTTPRoute {wanted} yet")
        }
        Some((Some(true), _)) => {
            format!(
                "{pod} answered though {promised}: the rule for {tag} in HTTPRoute {wanted} is missing or shadowed"
            )
        }
    }
}
