//! What a gateway that is not ours can be asked: by what its GatewayClass says it supports.
//!
//! Paths, exact headers and header changes are the core of Gateway API; methods, parameters and path rewrites are
//! features that a class names or does not have. Whether a class takes regular expressions no feature says: that is
//! known of a few controllers, and of the others it is not guessed.

use crate::api::{GatewaySeen, LaneGroup, gateway_api::LANE_GATEWAY};

/// Matching a query parameter.
pub const PARAMETERS: &str = "HTTPRouteQueryParamMatching";
/// Matching the method.
pub const METHODS: &str = "HTTPRouteMethodMatching";
/// Replacing a path's prefix.
pub const REWRITES: &str = "HTTPRoutePathRewrite";

/// Controllers whose documents promise `RegularExpression` for headers and parameters.
const TAKE_REGEX: [&str; 3] = [
    "traefik.io/gateway-controller",
    "gateway.envoyproxy.io/gatewayclass-controller",
    "istio.io/gateway-controller",
];

/// The means of a gateway of somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    seen: &'a GatewaySeen,
    controller: &'a str,
}

impl<'a> Means<'a> {
    /// None when the group's entry is served by graylane's own gateway, or nobody knows by whom.
    pub fn of(group: &'a LaneGroup) -> Option<Self> {
        let seen = group.status.as_ref()?.gateway.as_ref()?;
        let controller = seen.controller.as_deref()?;
        (controller != LANE_GATEWAY).then_some(Self { seen, controller })
    }

    /// The class's controller.
    pub const fn controller(&self) -> &'a str {
        self.controller
    }

    /// `the gateway class traefik (traefik.io/gateway-controller)`.
    pub fn who(&self) -> String {
        format!(
            "the gateway class {} ({})",
            self.seen.class, self.controller
        )
    }

    /// In words, why a feature cannot be had. A class that names no features at all is believed to have it.
    pub fn lacks(&self, feature: &str) -> Option<String> {
        let named = self.seen.features.as_ref()?;
        let there = named.iter().any(|f| f == feature);
        (!there).then(|| format!("{} does not support {feature}", self.who()))
    }

    /// Whether it is known to take regular expressions.
    pub fn takes_regex(&self) -> bool {
        TAKE_REGEX.contains(&self.controller)
    }
}
