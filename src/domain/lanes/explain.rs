//! Explains what the entry does with a request, and shows which requests a change of lanes moves.
//!
//! It works as the gateway does: the same admission, the same matches in the same order, the same
//! colouring. One thing cannot be known in advance: if the request brings no trace id, the gateway
//! generates a random one.

use std::{fmt, ops::Range};

use http::{Request, StatusCode, header, request::Parts};
use kube::ResourceExt;

use super::{
    Colouring, Decision, Problem, Rules,
    compile::{enabled_lanes, lane_name},
    condition, text,
};
use crate::{
    api::{
        Condition, ConditionOn, Lane, LaneGroup,
        gateway_api::{Gateway, HttpRoute, ParentRef, RouteFilter},
        label,
    },
    domain::{
        request::{
            InFlightRequest, RequestParts, RequestRefusal, RequestView, admit_request,
            is_under_prefix, parse_traceparent,
        },
        routes,
        routing::{HostPattern, Match, compile_matches, sort_matches, strip_port},
    },
};

/// Entry of a group, as far as it is known.
pub struct EntryContext<'a> {
    /// Lane group of the entry.
    pub group: &'a LaneGroup,
    /// All lanes; those of other groups are ignored.
    pub lanes: &'a [Lane],
    /// HTTPRoutes as they exist; `None` for those that the group should have.
    pub routes: Option<&'a [HttpRoute]>,
    /// Gateway of the entry; `None` for one with a listener for every host.
    pub gateway: Option<&'a Gateway>,
}

/// What the entry does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryOutcome {
    /// The gateway answers it itself.
    Refused(RequestRefusal),
    /// A route that does not belong to the group takes it: `namespace/name`.
    OtherRoute(String),
    /// It is forwarded.
    Forwarded(LaneChoice),
    /// The lane depends on a random trace id; each choice with its share in basis points.
    Random(Vec<(u32, LaneChoice)>),
}

/// How a request is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneChoice {
    /// Lane that takes it; `None` for the baseline.
    pub lane: Option<String>,
    /// Tag that it carries: the lane's, or the client's own where clients may tag.
    pub tag: Option<String>,
}

/// The decision on one request, with everything that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the entry does with the request.
    pub outcome: EntryOutcome,
    /// Reasons lane by lane in order of evaluation; disabled lanes come last.
    pub reasons: Vec<LaneReason>,
    /// What was assumed because the request does not say it: `Host: shop.example`.
    pub assumed: Vec<String>,
}

/// One thing that a lane asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneReason {
    /// Name of the lane.
    pub lane: String,
    /// Place in the lane, such as `match.all[0]`.
    pub place: String,
    /// Condition as people write it.
    pub condition: String,
    /// Value in the request; `None` if it has none.
    pub saw: Option<String>,
    /// Whether the condition holds; `None` if this is random.
    pub held: Option<bool>,
}

impl EntryOutcome {
    /// Lane and tag, if they are certain.
    pub fn as_forwarded(&self) -> Option<&LaneChoice> {
        if let Self::Forwarded(taken) = self {
            Some(taken)
        } else {
            None
        }
    }

    /// Describes the outcome in one sentence; `group` is the name of the lane group.
    pub fn describe_outcome(&self, group: &str) -> String {
        match self {
            Self::Refused(r) => {
                format!(
                    "takes no lane of {group}: the gateway answers {} {}",
                    r.status.as_u16(),
                    r.words
                )
            }
            Self::OtherRoute(route) => {
                format!("takes no lane of {group}: HTTPRoute {route} takes it")
            }
            Self::Forwarded(LaneChoice {
                lane: Some(lane),
                tag,
            }) => {
                format!(
                    "takes lane {lane} of {group}: tag {}",
                    tag.as_deref().unwrap_or_default()
                )
            }
            Self::Forwarded(LaneChoice {
                lane: None,
                tag: Some(tag),
            }) => {
                format!("takes no lane of {group}: the client's own tag {tag} stays")
            }
            Self::Forwarded(_) => format!("takes no lane of {group}: the baseline"),
            Self::Random(ways) => {
                let way = |(share, taken): &(u32, LaneChoice)| {
                    format!("{taken} in {} of 100", f64::from(*share) / 100.0)
                };
                let all: Vec<String> = ways.iter().map(way).collect();
                format!(
                    "takes {}: chosen at random, because the request has no traceparent",
                    all.join(", ")
                )
            }
        }
    }
}

impl fmt::Display for LaneChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.lane, &self.tag) {
            (Some(lane), Some(tag)) => write!(f, "lane {lane} (tag {tag})"),
            (_, Some(tag)) => write!(f, "the client's own tag {tag}"),
            _ => f.write_str("the baseline"),
        }
    }
}

/// Explains what the entry does with a request.
pub fn explain_request(entrance: &EntryContext, request: &RequestParts) -> Explanation {
    let group = entrance.group;
    let colouring = Colouring::new(group, entrance.lanes);
    let mut assumed = vec![];
    let local = default_host(group);
    if request.header("host").is_none() && request.authority().is_none() {
        assumed.push(format!("Host: {local}"));
    }
    let admitted =
        build_parts(request, request.authority().unwrap_or(&local)).and_then(|mut parts| {
            admit_request(&mut parts, &local, std::slice::from_ref(&colouring.header))
                .map(|_| parts)
        });
    let parts = match admitted {
        Ok(parts) => parts,
        Err(refused) => {
            return Explanation {
                outcome: EntryOutcome::Refused(refused),
                reasons: vec![],
                assumed,
            };
        }
    };
    let brought = parts
        .headers
        .get("traceparent")
        .and_then(|v| v.to_str().ok())
        .and_then(parse_traceparent);
    let trace = brought
        .map(|(id, ..)| id)
        .or(Some(request.trace.as_str()).filter(|t| !t.is_empty()));
    let seen = InFlightRequest {
        parts: &parts,
        trace: trace.unwrap_or_default(),
    };
    let outcome = determine_outcome(entrance, &colouring, &seen, trace.is_some());
    let reasons = match outcome {
        EntryOutcome::Forwarded(_) | EntryOutcome::Random(_) => {
            collect_reasons(group, entrance.lanes, &seen, trace.is_some())
        }
        EntryOutcome::Refused(_) | EntryOutcome::OtherRoute(_) => vec![],
    };
    Explanation {
        outcome,
        reasons,
        assumed,
    }
}

/// Host for a request that names none.
fn default_host(group: &LaneGroup) -> String {
    let address = || {
        group
            .status
            .as_ref()
            .and_then(|s| s.addresses.first().cloned())
    };
    match &group.spec.entry.host {
        Some(host) => host
            .strip_prefix('*')
            .map_or(host.clone(), |rest| format!("any{rest}")),
        None => address().unwrap_or_else(|| "localhost".into()),
    }
}

/// Head of the request as it would be sent, with this host if it names none.
fn build_parts(request: &RequestParts, host: &str) -> Result<Parts, RequestRefusal> {
    let mut made = Request::builder()
        .method(request.method.as_str())
        .uri(request.request_target());
    if request.header("host").is_none() {
        made = made.header(header::HOST, host);
    }
    for (name, value) in &request.headers {
        made = made.header(name, value);
    }
    let wrong = |e: http::Error| RequestRefusal {
        status: StatusCode::BAD_REQUEST,
        words: format!("not an HTTP request: {e}"),
    };
    made.body(()).map(|r| r.into_parts().0).map_err(wrong)
}

fn determine_outcome(
    entrance: &EntryContext,
    colouring: &Colouring,
    seen: &InFlightRequest,
    traced: bool,
) -> EntryOutcome {
    let planned;
    let all = if let Some(routes) = entrance.routes {
        routes
    } else {
        planned = routes::entry_routes(entrance.group, entrance.lanes, &|_, _| false);
        planned.as_slice()
    };
    let host = seen.header("host").map(strip_port).unwrap_or_default();
    let found = entry_matches(entrance, all)
        .into_iter()
        .find(|m| m.takes_request(host, seen));
    let Some(found) = found else {
        let words = format!(
            "no route of Gateway {} takes {} {}",
            entrance.group.spec.entry.gateway,
            seen.method(),
            seen.path()
        );
        return EntryOutcome::Refused(RequestRefusal {
            status: StatusCode::NOT_FOUND,
            words,
        });
    };
    let (route, rule) = found.rule;
    match classify_tagging(
        entrance.group,
        &all[route],
        &all[route].spec.rules[rule].filters,
    ) {
        Tagging::Lanes => choose_by_lanes(colouring, seen, traced),
        Tagging::Fixed(tag) => {
            EntryOutcome::Forwarded(choose_by_tag(entrance, colouring, seen, tag))
        }
        Tagging::None => {
            let route = &all[route];
            EntryOutcome::OtherRoute(format!(
                "{}/{}",
                route.namespace().unwrap_or_default(),
                route.name_any()
            ))
        }
    }
}

/// Matches at the entry in order of evaluation, each with the indexes of its route and rule.
fn entry_matches(entrance: &EntryContext, all: &[HttpRoute]) -> Vec<Match<(usize, usize)>> {
    let home = entrance.group.metadata.namespace.as_deref();
    let mut found = vec![];
    for (r, route) in all.iter().enumerate() {
        let here = |p: &&ParentRef| {
            let of = p
                .namespace
                .as_deref()
                .or(route.metadata.namespace.as_deref());
            p.is_gateway()
                && p.name == entrance.group.spec.entry.gateway
                && (of == home || home.is_none())
        };
        let names: Vec<Option<&str>> = match route.spec.hostnames.as_slice() {
            [] => vec![None],
            names => names.iter().map(|n| Some(n.as_str())).collect(),
        };
        for parent in route.spec.parent_refs.iter().filter(here) {
            for listener in listener_hosts(entrance.gateway, parent) {
                for host in names
                    .iter()
                    .filter_map(|n| HostPattern::from_hostname(*n).intersect_with(&listener))
                {
                    found.extend(compile_matches(route, &host, &|rule| (r, rule)));
                }
            }
        }
    }
    sort_matches(found)
}

/// Hosts of the listeners that a route is attached to.
fn listener_hosts(gateway: Option<&Gateway>, parent: &ParentRef) -> Vec<HostPattern> {
    let Some(gateway) = gateway else {
        return vec![HostPattern::Any];
    };
    let fits = |l: &&crate::api::gateway_api::Listener| {
        l.protocol == "HTTP"
            && parent.section_name.as_ref().is_none_or(|s| *s == l.name)
            && parent.port.is_none_or(|p| p == l.port)
    };
    gateway
        .spec
        .listeners
        .iter()
        .filter(fits)
        .map(|l| HostPattern::from_hostname(l.hostname.as_deref()))
        .collect()
}

/// What a rule does with the tag.
enum Tagging {
    /// The group's lanes decide.
    Lanes,
    /// The tag is set to this value, or else removed or left as it came (by a gateway other than
    /// graylane's own, from the matches written for it).
    Fixed(Option<String>),
    /// The rule does not belong to the group.
    None,
}

fn classify_tagging(group: &LaneGroup, route: &HttpRoute, filters: &[RouteFilter]) -> Tagging {
    let own = group.metadata.name.as_deref();
    let coloured = filters.iter().filter_map(|f| f.extension_ref.as_ref());
    if coloured
        .into_iter()
        .any(|to| to.kind == "LaneGroup" && Some(to.name.as_str()) == own)
    {
        return Tagging::Lanes;
    }
    let labels = route.metadata.labels.as_ref();
    if labels
        .and_then(|l| l.get(label::LANE_GROUP))
        .map(String::as_str)
        != own
    {
        return Tagging::None;
    }
    let header = &group.spec.propagation.header;
    let set = filters
        .iter()
        .filter_map(|f| f.request_header_modifier.as_ref())
        .flat_map(|m| &m.set);
    Tagging::Fixed(
        set.into_iter()
            .find(|h| h.name.eq_ignore_ascii_case(header))
            .map(|h| h.value.clone()),
    )
}

/// Lane whose tag a gateway other than graylane's own sets.
fn choose_by_tag(
    entrance: &EntryContext,
    colouring: &Colouring,
    seen: &InFlightRequest,
    tag: Option<String>,
) -> LaneChoice {
    let Some(tag) = tag else {
        return choose_baseline(colouring, seen);
    };
    let decided = colouring
        .decide_lane(seen)
        .filter(|d| d.tag == tag)
        .map(|d| d.lane.to_owned());
    let group = entrance.group.metadata.name.as_deref().unwrap_or_default();
    let first = || {
        enabled_lanes(group, entrance.lanes)
            .into_iter()
            .find(|l| l.spec.tag == tag)
            .map(|l| lane_name(l).to_owned())
    };
    LaneChoice {
        lane: decided.or_else(first),
        tag: Some(tag),
    }
}

fn choose_baseline(colouring: &Colouring, seen: &InFlightRequest) -> LaneChoice {
    let own = seen
        .header_by_name(&colouring.header)
        .filter(|t| colouring.client_may_tag && !t.is_empty());
    LaneChoice {
        lane: None,
        tag: own.map(str::to_owned),
    }
}

fn choose_by_lanes(colouring: &Colouring, seen: &InFlightRequest, traced: bool) -> EntryOutcome {
    let taken = |decision: Option<Decision>| match decision {
        Some(d) => LaneChoice {
            lane: Some(d.lane.to_owned()),
            tag: Some(d.tag.to_owned()),
        },
        None => choose_baseline(colouring, seen),
    };
    if traced {
        return EntryOutcome::Forwarded(taken(colouring.decide_lane(seen)));
    }
    let mut ways: Vec<(u32, LaneChoice)> = vec![];
    let edges = colouring.rules.share_edges();
    for pair in edges.windows(2) {
        let way = taken(colouring.decide_lane(&RequestAtShare {
            seen,
            share: pair[0],
        }));
        let width = pair[1] - pair[0];
        match ways.iter_mut().find(|(_, w)| *w == way) {
            Some((share, _)) => *share += width,
            None => ways.push((width, way)),
        }
    }
    match ways.as_slice() {
        [(_, only)] => EntryOutcome::Forwarded(only.clone()),
        _ => EntryOutcome::Random(ways),
    }
}

impl Rules {
    /// Bounds of all shares, from 0 to 10,000.
    fn share_edges(&self) -> Vec<u32> {
        let of = |r: &super::decide::Rule| r.share.as_ref().map(|s| [s.start, s.end]);
        let mut edges: Vec<u32> = self
            .rules
            .iter()
            .filter_map(of)
            .flatten()
            .chain([0, 10_000])
            .collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// A request whose trace lies at this position within the shares.
struct RequestAtShare<'a> {
    seen: &'a InFlightRequest<'a>,
    share: u32,
}

impl RequestView for RequestAtShare<'_> {
    fn method(&self) -> &str {
        self.seen.method()
    }

    fn path(&self) -> &str {
        self.seen.path()
    }

    fn query(&self) -> &str {
        self.seen.query()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.seen.header(name)
    }

    fn for_each_header<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str)) {
        self.seen.for_each_header(each);
    }

    fn trace_id(&self) -> &str {
        self.seen.trace_id()
    }

    fn share_position(&self) -> u32 {
        self.share
    }
}

/// Lists what each lane asks for, and which of it holds.
fn collect_reasons(
    group: &LaneGroup,
    lanes: &[Lane],
    request: &InFlightRequest,
    traced: bool,
) -> Vec<LaneReason> {
    let group = group.metadata.name.as_deref().unwrap_or_default();
    let (rules, problems) = Rules::compile(group, lanes);
    let mut reasons = vec![];
    for (rule, lane) in rules.rules.iter().zip(enabled_lanes(group, lanes)) {
        reasons.extend(list_lane_reasons(
            lane,
            rule.share.as_ref(),
            &problems,
            request,
            traced,
        ));
    }
    for lane in lanes
        .iter()
        .filter(|l| l.spec.group == group && !l.spec.enabled)
    {
        let (condition, held) = ("enabled".to_owned(), Some(false));
        reasons.push(LaneReason {
            lane: lane_name(lane).into(),
            place: "enabled".into(),
            condition,
            saw: None,
            held,
        });
    }
    reasons
}

/// What one enabled lane asks for. `shares` are the positions of the requests that its share takes.
fn list_lane_reasons(
    lane: &Lane,
    shares: Option<&Range<u32>>,
    problems: &[Problem],
    request: &InFlightRequest,
    traced: bool,
) -> Vec<LaneReason> {
    let mut reasons = vec![];
    let mut add = |place: String, condition: String, saw: Option<String>, held: Option<bool>| {
        reasons.push(LaneReason {
            lane: lane_name(lane).into(),
            place,
            condition,
            saw,
            held,
        });
    };
    let spec = &lane.spec;
    if !spec.rule.paths.is_empty() {
        let held = spec
            .rule
            .paths
            .iter()
            .any(|p| is_under_prefix(request.path(), p));
        let saw = Some(request.path().to_owned());
        add(
            "match.paths".into(),
            format!("path {}", spec.rule.paths.join(",")),
            saw,
            Some(held),
        );
    }
    for (list, conditions) in [("match.all", &spec.rule.all), ("match.any", &spec.rule.any)] {
        for (i, c) in conditions.iter().enumerate() {
            let place = format!("{list}[{i}]");
            let broken = problems
                .iter()
                .find(|p| p.lane == lane_name(lane) && p.place == place);
            let words = text::format_condition(c);
            let words = broken.map_or(words.clone(), |p| format!("{words} ({})", p.text));
            let saw = observed_value(c, request);
            let held = condition::compile_test(c)
                .is_ok_and(|t| saw.as_deref().is_some_and(|v| t.holds(v)));
            add(place, words, saw, Some(held));
        }
    }
    if let (Some(share), Some(range)) = (spec.share, shares) {
        let at = request.share_position();
        let saw = if traced {
            format!("{} of 100", f64::from(at) / 100.0)
        } else {
            "no traceparent: chosen at random".to_owned()
        };
        add(
            "share".into(),
            format!("share {share} %"),
            Some(saw),
            traced.then(|| range.contains(&at)),
        );
    }
    if spec.rule.is_empty() && spec.share.is_none() {
        add("match".into(), "every request".into(), None, Some(true));
    }
    reasons
}

fn observed_value(condition: &Condition, request: &impl RequestView) -> Option<String> {
    let key = condition.key.as_deref().unwrap_or_default();
    match condition.on {
        ConditionOn::Parameter => request.parameter(key).map(|v| v.into_owned()),
        ConditionOn::Header => request.header(key).map(str::to_owned),
        ConditionOn::Cookie => request.cookie(key).map(str::to_owned),
        ConditionOn::Method => Some(request.method().to_owned()),
    }
}

/// A request that a change of lanes moves. Lanes are given by name; `None` is the baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneMove {
    /// Index of the request.
    pub request: usize,
    /// Lane that takes it before the change.
    pub from: Option<String>,
    /// Lane that takes it after the change.
    pub to: Option<String>,
}

/// Finds the recent requests that a change of lanes moves.
pub fn preview_moves(
    group: &str,
    before: &[Lane],
    after: &[Lane],
    recent: &[RequestParts],
) -> Vec<LaneMove> {
    let (before, _) = Rules::compile(group, before);
    let (after, _) = Rules::compile(group, after);
    let lane = |rules: &Rules, request| rules.decide_lane(request).map(|d| d.lane.to_owned());
    let moved = |(i, request)| {
        let (from, to) = (lane(&before, request), lane(&after, request));
        (from != to).then_some(LaneMove {
            request: i,
            from,
            to,
        })
    };
    recent.iter().enumerate().filter_map(moved).collect()
}
