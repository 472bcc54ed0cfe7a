//! What a gateway other than graylane's own supports, according to its GatewayClass.
//!
//! Paths, exact headers and header changes are the core of Gateway API. Methods, parameters and
//! path rewrites are features that a class may report. No feature says whether a class supports
//! regular expressions: this is known for a few controllers and not assumed for others.

use crate::api::{GatewaySeen, LaneGroup, gateway_api::LANE_GATEWAY};

/// Feature: match a query parameter.
pub const QUERY_PARAM_MATCHING: &str = "HTTPRouteQueryParamMatching";
/// Feature: match the method.
pub const METHOD_MATCHING: &str = "HTTPRouteMethodMatching";
/// Feature: replace the prefix of a path.
pub const PATH_REWRITE: &str = "HTTPRoutePathRewrite";

/// Controllers whose documentation promises `RegularExpression` for headers and parameters.
const REGEX_CONTROLLERS: [&str; 3] = [
    "traefik.io/gateway-controller",
    "gateway.envoyproxy.io/gatewayclass-controller",
    "istio.io/gateway-controller",
];

/// Features of a gateway other than graylane's own.
#[derive(Clone, Copy, Debug)]
pub struct GatewayFeatures<'a> {
    seen: &'a GatewaySeen,
    controller: &'a str,
}

impl<'a> GatewayFeatures<'a> {
    /// `None` if graylane's own gateway serves the group's entry, or if the controller is unknown.
    pub fn from_group(group: &'a LaneGroup) -> Option<Self> {
        let seen = group.status.as_ref()?.gateway.as_ref()?;
        let controller = seen.controller.as_deref()?;
        (controller != LANE_GATEWAY).then_some(Self { seen, controller })
    }

    /// Controller of the class.
    pub const fn controller(&self) -> &'a str {
        self.controller
    }

    /// Name for messages: `the gateway class traefik (traefik.io/gateway-controller)`.
    pub fn describe_class(&self) -> String {
        format!(
            "the gateway class {} ({})",
            self.seen.class, self.controller
        )
    }

    /// Describes that a feature is missing; `None` if it is supported. A class that reports no
    /// features at all is assumed to support it.
    pub fn describe_missing(&self, feature: &str) -> Option<String> {
        let named = self.seen.features.as_ref()?;
        let there = named.iter().any(|f| f == feature);
        (!there).then(|| format!("{} does not support {feature}", self.describe_class()))
    }

    /// Whether it is known to support regular expressions.
    pub fn supports_regex(&self) -> bool {
        REGEX_CONTROLLERS.contains(&self.controller)
    }
}
