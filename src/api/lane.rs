//! LaneGroup and Lane: which requests use which versions.

use std::fmt;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HopSource, HopSourceStatus, RecordedTime, Served, SpanLog, gateway_api::RouteMatch};

/// Apps behind one entry, with lanes through them (MSE's 泳道组).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "LaneGroup",
    plural = "lanegroups",
    shortname = "lg",
    namespaced
)]
#[kube(
    status = "LaneGroupStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "graylane"
)]
#[kube(printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.entry.gateway"))]
#[kube(printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"))]
#[kube(printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct LaneGroupSpec {
    /// Entry of the requests.
    pub entry: Entry,
    /// Apps that may have gray versions.
    pub apps: Vec<LaneApp>,
    /// How the tag is propagated.
    #[serde(default)]
    pub propagation: Propagation,
    /// Whether clients may send the tag. Otherwise it is stripped at the entry.
    #[serde(default)]
    pub client_may_tag: bool,
    /// How requests between services are routed.
    #[serde(default)]
    pub mode: LaneMode,
    /// In `gateway` mode: settings of the Gateway between the services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<InternalGateway>,
    /// Sources of the hops; they are merged. If empty, the default for the Gateway's class. Spans
    /// that the engine receives over OTLP are always included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopSource>,
}

/// Gateway between the services, which the engine creates: `ENTRY-internal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InternalGateway {
    /// GatewayClass. Default: the class of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_class_name: Option<String>,
    /// Port to listen on. Default: 8081. It differs from the entry's port, so that internal
    /// services are not reachable from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl InternalGateway {
    /// Port to listen on, with the default.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(8081)
    }
}

/// How requests between services are routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneMode {
    /// Routes whose parent is the app's Service (GAMMA).
    #[default]
    Mesh,
    /// Internal Gateway with a hostname for each app.
    Gateway,
    /// By the services themselves, as with the MSE agent. Only the entry is coloured.
    Agent,
}

/// Entry of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Gateway in the group's namespace.
    pub gateway: String,
    /// Host to match. If unset, any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Paths and their apps.
    pub routes: Vec<EntryRoute>,
}

/// One path at the entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryRoute {
    /// Path prefix: `/A`.
    pub path: String,
    /// App that serves the path.
    pub app: String,
    /// Replacement of the prefix: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
}

/// One app of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneApp {
    /// Name of the App.
    pub app: String,
    /// Service that callers use; it selects the baseline. Default: the App's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Port of the Service.
    pub port: u16,
}

impl LaneApp {
    /// Service that callers use, with the default.
    pub fn service(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.app)
    }

    /// Service of the version with this lane tag: `SERVICE-TAG`.
    pub fn lane_service(&self, tag: &str) -> String {
        format!("{}-{tag}", self.service())
    }
}

/// How the tag is propagated with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Propagation {
    /// Header that carries the tag.
    #[serde(default = "tag_header")]
    pub header: String,
    /// Member of the W3C `baggage` header that also carries the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baggage: Option<String>,
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            header: tag_header(),
            baggage: None,
        }
    }
}

fn tag_header() -> String {
    "x-mse-tag".into()
}

/// What the engine observed of a lane group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneGroupStatus {
    /// HTTPRoutes of the group, and whether they were accepted.
    #[serde(default)]
    pub routes: Vec<RouteStatus>,
    /// Problems of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Short text for kubectl, whose columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Addresses of the entry, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// In `gateway` mode: addresses of the internal Gateway, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub internal: Vec<String>,
    /// What serves the entry. Unset if its Gateway does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySeen>,
    /// Routes of others at the same entry that could match requests of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherRoute>,
    /// Hop sources that the engine follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopSourceStatus>,
    /// Where the engine writes the spans it has read. Unset if it follows no source, or does not
    /// run in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_log: Option<SpanLog>,
}

/// What serves a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySeen {
    /// GatewayClass of the Gateway.
    pub class: String,
    /// Controller of the class. Unset if there is no such class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// HTTPRoute features that the class reports. Unset if it reports none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

/// HTTPRoute that does not belong to the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherRoute {
    /// `namespace/name`.
    pub route: String,
    /// Hosts. If empty, any host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Matches that overlap with the group's paths.
    pub matches: Vec<RouteMatch>,
}

/// One HTTPRoute of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Name of the HTTPRoute.
    pub name: String,
    /// Whether it was accepted. Unset until a controller has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// Controller that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Problem with the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the route entered this state, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<RecordedTime>,
}

/// One lane: which requests get which tag (MSE's 泳道).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "Lane",
    plural = "lanes",
    shortname = "ln",
    namespaced
)]
#[kube(
    status = "LaneStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "graylane"
)]
#[kube(printcolumn(name = "Group", type_ = "string", json_path = ".spec.group"))]
#[kube(printcolumn(name = "Tag", type_ = "string", json_path = ".spec.tag"))]
#[kube(printcolumn(name = "Enabled", type_ = "boolean", json_path = ".spec.enabled"))]
#[kube(printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"))]
#[kube(printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct LaneSpec {
    /// Name of the LaneGroup.
    pub group: String,
    /// Tag of the requests of this lane.
    pub tag: String,
    /// Whether the lane takes requests.
    #[serde(default)]
    pub enabled: bool,
    /// Lanes are evaluated in ascending order of priority, equal priorities by name.
    #[serde(default)]
    pub priority: i32,
    /// Which requests the lane takes.
    #[serde(default, rename = "match", skip_serializing_if = "LaneMatch::is_empty")]
    pub rule: LaneMatch,
    /// Alternative to a match: percentage of all requests, 0 to 100, with up to two decimals
    /// (`12.5`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Whether a fallback to the baseline counts as a leak.
    #[serde(default)]
    pub strict: bool,
    /// What happens when an app loses its last gray pod.
    #[serde(default)]
    pub on_loss: OnLoss,
}

/// What a lane does when one of its apps loses its last gray pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnLoss {
    /// The baseline serves the app.
    #[default]
    FallBack,
    /// The routes stay: tagged requests fail rather than reach the app's baseline.
    Hold,
    /// The whole lane closes: the baseline serves tagged requests of every app.
    Close,
}

/// Requests that a lane takes: one of `paths`, all of `all`, and (unless empty) one of `any`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneMatch {
    /// Path prefixes at the entry. If empty, every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Conditions that must all match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Condition>,
    /// Conditions of which one must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<Condition>,
}

impl LaneMatch {
    /// Whether it has no condition, and so matches every request.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.all.is_empty() && self.any.is_empty()
    }
}

/// One condition on a request. A missing key matches no condition, not even `!=` and `notIn` (as
/// Higress's traffic-tag). Of repeated keys the first value counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Part of the request to compare. Not named `on`, because YAML 1.1, which kubectl uses, reads
    /// that word as a boolean.
    #[serde(rename = "type")]
    pub on: ConditionOn,
    /// Name of the parameter, header or cookie. Unset for the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Comparison operator.
    pub op: Operator,
    /// Values to compare with: one; several for `in` and `notIn`; none for `exists`. For `percent`
    /// the percentage (0 to 100) of keys, chosen by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Part of a request that a condition compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConditionOn {
    /// Query parameter.
    #[default]
    Parameter,
    /// Header; the name is case-insensitive.
    Header,
    /// Cookie.
    Cookie,
    /// Request method.
    Method,
}

/// Comparison operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// Present and equal.
    #[default]
    #[serde(rename = "==")]
    Equal,
    /// Present and not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Present and one of the values.
    In,
    /// Present and none of the values.
    NotIn,
    /// Starts with the value.
    Prefix,
    /// The whole value matches the regular expression (anchored).
    Regex,
    /// Present.
    Exists,
    /// `xxh3(value) % 10000 < percent * 100`: the same value always gives the same result.
    Percent,
}

impl Operator {
    /// Name of the operator in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => "in",
            Self::NotIn => "notIn",
            Self::Prefix => "prefix",
            Self::Regex => "regex",
            Self::Exists => "exists",
            Self::Percent => "percent",
        }
    }
}

impl ConditionOn {
    /// Name of the request part in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parameter => "parameter",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Method => "method",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.on.as_str())?;
        if let Some(key) = &self.key {
            write!(f, " {key}")?;
        }
        write!(f, " {}", self.op.as_str())?;
        if !self.values.is_empty() {
            write!(f, " {}", self.values.join(","))?;
        }
        Ok(())
    }
}

/// What the engine observed of a lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// Which side serves tagged requests now, for each app.
    #[serde(default)]
    pub apps: Vec<LaneAppStatus>,
    /// Problems: shadowed, conflicting, invalid regular expression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Short text for kubectl, whose columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

impl LaneStatus {
    /// Short text for kubectl: `2/21 gray, 3 problems: HTTPRoute g-a: …`
    pub fn summary(&self) -> String {
        let gray = self
            .apps
            .iter()
            .filter(|a| a.served == Served::Gray)
            .count();
        format_summary(format!("{gray}/{} gray", self.apps.len()), &self.problems)
    }
}

impl LaneGroupStatus {
    /// Short text for kubectl: `5/6 routes, 1 problem: …`
    pub fn summary(&self) -> String {
        let taken = self
            .routes
            .iter()
            .filter(|r| r.accepted == Some(true))
            .count();
        format_summary(
            format!("{taken}/{} routes", self.routes.len()),
            &self.problems,
        )
    }
}

/// A count, the number of problems, and the beginning of the first one, short enough for a column.
fn format_summary(count: String, problems: &[String]) -> String {
    const MOST: usize = 60;
    let Some(first) = problems.first() else {
        return count;
    };
    let many = if problems.len() == 1 {
        "1 problem".to_owned()
    } else {
        format!("{} problems", problems.len())
    };
    let words = format!("{count}, {many}: {first}");
    if words.chars().count() <= MOST {
        return words;
    }
    words.chars().take(MOST - 1).chain(['…']).collect()
}

/// Which side serves the tagged requests of one app, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneAppStatus {
    /// Name of the App.
    pub app: String,
    /// Side that the routes send tagged requests to.
    pub served: Served,
    /// Explanation.
    pub reason: String,
    /// When that side began to serve, RFC 3339. Gateways follow a moment later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<RecordedTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_fits_a_column_whatever_is_wrong() {
        let app = |served| LaneAppStatus {
            app: "a".into(),
            served,
            reason: String::new(),
            since: None,
        };
        let mut status = LaneStatus {
            apps: vec![app(Served::Gray), app(Served::Base)],
            ..LaneStatus::default()
        };
        assert_eq!(status.summary(), "1/2 gray");
        status.problems = vec!["HTTPRoute g-a: no".into()];
        assert_eq!(status.summary(), "1/2 gray, 1 problem: HTTPRoute g-a: no");
        status.problems = vec!["x".repeat(1000); 21];
        assert!(
            status.summary().starts_with("1/2 gray, 21 problems: xxx")
                && status.summary().chars().count() == 60
        );
        assert_eq!(LaneGroupStatus::default().summary(), "0/0 routes");
    }
}
