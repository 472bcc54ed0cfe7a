//! LaneGroup and Lane: which requests walk through which versions.

use std::fmt;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HopSource, HopSourceStatus, Served, SpanLog, gateway_api::RouteMatch};

/// A set of apps behind one entry, with lanes through them (MSE's 泳道组).
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
    /// Where requests come in.
    pub entry: Entry,
    /// The apps that may have gray versions.
    pub apps: Vec<LaneApp>,
    /// How the tag travels.
    #[serde(default)]
    pub propagation: Propagation,
    /// Whether a client may send the tag itself; otherwise it is stripped at the entry.
    #[serde(default)]
    pub client_may_tag: bool,
    /// How services are routed among each other.
    #[serde(default)]
    pub mode: LaneMode,
    /// In `gateway` mode: what the Gateway between the services is like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<InternalGateway>,
    /// Where its hops are told, merged. Empty: what fits the Gateway's class. What the engine receives over OTLP counts
    /// in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopSource>,
}

/// The Gateway between the services, which the engine makes: `ENTRY-internal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InternalGateway {
    /// None is the entry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_class_name: Option<String>,
    /// Where it listens; none is 8081. Not the entry's: what is inside is not to be asked from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl InternalGateway {
    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(8081)
    }
}

/// Who routes between services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneMode {
    /// Routes whose parent is the app's Service (GAMMA).
    #[default]
    Mesh,
    /// An internal Gateway with a hostname for each app.
    Gateway,
    /// The services themselves, as with the MSE agent; only the entry is coloured.
    Agent,
}

/// Where requests come in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// A Gateway in the group's namespace.
    pub gateway: String,
    /// Only this host; none is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path to app.
    pub routes: Vec<EntryRoute>,
}

/// One path at the entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryRoute {
    /// Path prefix: `/A`.
    pub path: String,
    /// The app behind it.
    pub app: String,
    /// What the prefix becomes: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
}

/// One app of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneApp {
    /// The App's name.
    pub app: String,
    /// The Service that callers use; it selects the baseline. None is the App's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The Service's port.
    pub port: u16,
}

impl LaneApp {
    /// The Service that callers use.
    pub fn service(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.app)
    }

    /// The Service of the version with that lane tag: `SERVICE-TAG`.
    pub fn lane_service(&self, tag: &str) -> String {
        format!("{}-{tag}", self.service())
    }
}

/// How the tag travels with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Propagation {
    /// The header with the tag.
    #[serde(default = "tag_header")]
    pub header: String,
    /// Also as this member of the W3C `baggage` header.
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

/// What the engine saw of a lane group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneGroupStatus {
    /// The routes that stand for the group, and who took them.
    #[serde(default)]
    pub routes: Vec<RouteStatus>,
    /// In words, what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// In a few words, for kubectl: its columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The entry's addresses, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// In `gateway` mode: where services ask for each other, `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub internal: Vec<String>,
    /// By what the entry is served; none: its Gateway is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySeen>,
    /// Routes of others at the same entry that could take requests of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherRoute>,
    /// The sources of hops that the engine follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopSourceStatus>,
    /// Where the engine writes what they told. None: it follows none, or runs in no pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_log: Option<SpanLog>,
}

/// What serves a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySeen {
    /// Its GatewayClass.
    pub class: String,
    /// The class's controller; none: there is no such class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// What the class says it supports for HTTPRoutes; none: it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

/// An HTTPRoute of somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherRoute {
    /// `namespace/name`.
    pub route: String,
    /// Its hosts; none is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Its matches at the group's paths.
    pub matches: Vec<RouteMatch>,
}

/// One HTTPRoute of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The HTTPRoute's name.
    pub name: String,
    /// None while no controller has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// The controller that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// In words, what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it is so, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// One lane: which requests, with which tag (MSE's 泳道).
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
    /// The LaneGroup's name.
    pub group: String,
    /// The tag that requests of this lane carry.
    pub tag: String,
    /// A disabled lane takes no request.
    #[serde(default)]
    pub enabled: bool,
    /// Low is asked first; equal priorities go by name.
    #[serde(default)]
    pub priority: i32,
    /// Which requests.
    #[serde(default, rename = "match", skip_serializing_if = "LaneMatch::is_empty")]
    pub rule: LaneMatch,
    /// Instead of a match: this share of all requests in percent, 0 to 100, to a hundredth (`12.5`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// A fall-back to the baseline is a leak.
    #[serde(default)]
    pub strict: bool,
    /// What happens when an app loses its last gray pod.
    #[serde(default)]
    pub on_loss: OnLoss,
}

/// What a lane does when an app of it loses its last gray pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnLoss {
    /// The baseline serves that app.
    #[default]
    FallBack,
    /// The routes stay: tagged requests fail rather than reach that app's baseline.
    Hold,
    /// The whole lane closes: tagged requests take the baseline everywhere.
    Close,
}

/// Which requests a lane takes: a path, and all of `all`, and (unless empty) one of `any`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneMatch {
    /// Path prefixes at the entry; empty is every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Every one must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Condition>,
    /// One must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<Condition>,
}

impl LaneMatch {
    /// Says nothing, so takes every request.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.all.is_empty() && self.any.is_empty()
    }
}

/// One condition on a request. A key that is not there fulfils none, not even `!=` and `notIn`
/// (as Higress's traffic-tag); repeated keys count by their first value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is looked at. Not named `on`: YAML 1.1, as kubectl reads it, takes that word for a boolean.
    #[serde(rename = "type")]
    pub on: ConditionOn,
    /// The parameter's, header's or cookie's name; none for the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How it is compared.
    pub op: Operator,
    /// What it is compared with: one value, for `in` and `notIn` several, for `exists` none; for `percent`
    /// the share (0 to 100) of keys, by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Part of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConditionOn {
    /// Query parameter.
    #[default]
    Parameter,
    /// Header, name without case.
    Header,
    /// Cookie.
    Cookie,
    /// Request method.
    Method,
}

/// A comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// Equal.
    #[default]
    #[serde(rename = "==")]
    Equal,
    /// There, and not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// One of.
    In,
    /// There, and none of.
    NotIn,
    /// Starts with.
    Prefix,
    /// The whole value matches (anchored).
    Regex,
    /// There.
    Exists,
    /// `xxh3(value) % 10000 < percent * 100`: stable by value.
    Percent,
}

impl Operator {
    /// As manifests write it.
    pub const fn word(self) -> &'static str {
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
    /// As manifests write it.
    pub const fn word(self) -> &'static str {
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
        f.write_str(self.on.word())?;
        if let Some(key) = &self.key {
            write!(f, " {key}")?;
        }
        write!(f, " {}", self.op.word())?;
        if !self.values.is_empty() {
            write!(f, " {}", self.values.join(","))?;
        }
        Ok(())
    }
}

/// What the engine saw of a lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// App by app, who serves tagged requests now.
    #[serde(default)]
    pub apps: Vec<LaneAppStatus>,
    /// In words, what is wrong: shadowed, conflicting, a bad regex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// In a few words, for kubectl: its columns show one value each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

impl LaneStatus {
    /// `2/21 gray, 3 problems: HTTPRoute g-a: …`
    pub fn summary(&self) -> String {
        let gray = self
            .apps
            .iter()
            .filter(|a| a.served == Served::Gray)
            .count();
        summary(format!("{gray}/{} gray", self.apps.len()), &self.problems)
    }
}

impl LaneGroupStatus {
    /// `5/6 routes, 1 problem: …`
    pub fn summary(&self) -> String {
        let taken = self
            .routes
            .iter()
            .filter(|r| r.accepted == Some(true))
            .count();
        summary(
            format!("{taken}/{} routes", self.routes.len()),
            &self.problems,
        )
    }
}

/// A count, how many problems, and the beginning of the first: what a column has room for.
fn summary(count: String, problems: &[String]) -> String {
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

/// Who serves one app's tagged requests, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneAppStatus {
    /// The App.
    pub app: String,
    /// The side the routes send tagged requests to.
    pub served: Served,
    /// In words.
    pub reason: String,
    /// When that side began to serve, RFC 3339: gateways follow a moment later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
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
