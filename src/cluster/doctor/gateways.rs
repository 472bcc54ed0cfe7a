//! Gateway API: whether it is installed, and each class with its controller and supported features.

use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{Findings, Level};
use crate::{
    api::gateway_api::LANE_GATEWAY,
    cluster::error,
    domain::lanes::{METHOD_MATCHING, QUERY_PARAM_MATCHING},
};

const GROUP: &str = "gateway.networking.k8s.io";
/// Features that usual lanes need, by their names in `status.supportedFeatures`.
const WANTED: [(&str, &str); 2] = [
    (QUERY_PARAM_MATCHING, "query parameters"),
    (METHOD_MATCHING, "methods"),
];

#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn check_gateway_classes(client: &Client, all: &mut Findings) {
    const CHECK: &str = "gateway classes";
    let class = GroupVersionKind::gvk(GROUP, "v1", "GatewayClass");
    let classes: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&class, "gatewayclasses"),
    );
    let classes = match classes.list(&ListParams::default()).await {
        Ok(classes) => classes.items,
        Err(why) if error::status_code(&why) == Some(404) => {
            let found = format!(
                "this server does not know {GROUP}: no request comes in, no lane is routed"
            );
            let remedy = "install the Gateway API's standard channel, and a controller of it";
            return all.add(Level::Fail, "gateway API", found, remedy);
        }
        Err(why) => return all.add_unknown(CHECK, &why),
    };
    all.add_ok("gateway API", "served");
    if classes.is_empty() {
        let remedy = "install a controller of the Gateway API, or make a GatewayClass for yours";
        all.add(Level::Fail, CHECK, "there is none", remedy);
    }
    for class in &classes {
        self::check_gateway_class(class, all);
    }
}

fn check_gateway_class(class: &DynamicObject, all: &mut Findings) {
    let check = format!("gateway class {}", class.name_any());
    let controller = class.data["spec"]["controllerName"]
        .as_str()
        .unwrap_or("nobody");
    let status = &class.data["status"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let accepted = list(&status["conditions"])
        .into_iter()
        .find(|c| c["type"] == "Accepted");
    match accepted.as_ref().and_then(|c| c["status"].as_str()) {
        Some("True") => {}
        Some("False") => {
            let why = accepted
                .as_ref()
                .and_then(|c| c["message"].as_str())
                .unwrap_or_default();
            return all.add(
                Level::Warn,
                &check,
                format!("{controller} refuses it: {why}"),
                "mend the class",
            );
        }
        _ => {
            let found = format!("{controller} has not answered");
            return all.add(Level::Warn, &check, found, "is its controller running?");
        }
    }
    // Older controllers list strings, newer ones objects with a name.
    let features = list(&status["supportedFeatures"]);
    let features: Vec<&str> = features
        .iter()
        .filter_map(|f| f["name"].as_str().or_else(|| f.as_str()))
        .collect();
    if controller == LANE_GATEWAY {
        return all.add_ok(
            &check,
            format!("{controller}, which colours every rule of a lane by itself"),
        );
    }
    if features.is_empty() {
        let found = format!("{controller} takes it, and does not say what it supports");
        let remedy = "only conditions on headers are sure to work there";
        return all.add(Level::Warn, &check, found, remedy);
    }
    let lacking: Vec<&str> = WANTED
        .iter()
        .filter(|(f, _)| !features.contains(f))
        .map(|(_, words)| *words)
        .collect();
    if lacking.is_empty() {
        all.add_ok(&check, format!("{controller}, {} features", features.len()));
    } else {
        let found = format!(
            "{controller} supports no conditions on {}",
            lacking.join(" and ")
        );
        all.add(Level::Warn, &check, found, "lanes there go by headers");
    }
}
