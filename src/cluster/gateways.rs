//! The gateway of a lane group as it is now, read from the cluster: for validation before something
//! is saved, when the engine may not have observed it yet.

use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    api::{
        LaneGroup,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
    },
    domain::{lanes, routes::observe_gateway},
};

/// The group with the current state of its gateway and of the other routes there. What cannot be
/// read (no Gateway API, no permission) stays as the engine reported it.
pub async fn with_live_gateway(client: &Client, mut group: LaneGroup) -> LaneGroup {
    let home = group.namespace().unwrap_or_default();
    let gateways: Api<Gateway> = Api::namespaced(client.clone(), &home);
    let Ok(Some(gateway)) = gateways.get_opt(&group.spec.entry.gateway).await else {
        return group;
    };
    let classes: Api<GatewayClass> = Api::all(client.clone());
    let Ok(class) = classes.get_opt(&gateway.spec.gateway_class_name).await else {
        return group;
    };
    let routes: Api<HttpRoute> = Api::namespaced(client.clone(), &home);
    let others = routes
        .list(&ListParams::default())
        .await
        .map(|routes| lanes::find_foreign_routes(&group, &routes.items));
    let status = group.status.get_or_insert_default();
    status.gateway = Some(observe_gateway(&gateway, class.as_ref()));
    if let Ok(others) = others {
        // Only the engine knows the routes of other namespaces.
        status
            .others
            .retain(|o| !o.route.starts_with(&format!("{home}/")));
        status.others.extend(others);
    }
    group
}
