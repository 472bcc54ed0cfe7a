use kube::api::DeleteParams;
use serde_json::json;

use super::*;
use crate::{
    api::gateway_api::HttpRoute,
    engine::tests::{HOME, Rig},
};

/// Port of the first backend of each route.
fn ports(cache: &Cache) -> BTreeMap<String, Option<i32>> {
    let first = |r: &HttpRoute| {
        r.spec
            .rules
            .first()?
            .backend_refs
            .first()?
            .port
            .map(i32::from)
    };
    cache
        .routes
        .list()
        .iter()
        .map(|r| (r.name_any(), first(r)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_hand_at_one_route_holds_up_no_other_and_is_named() {
    let rig = Rig::new().await;
    let group = |port: u16| {
        let apps = ["a", "b"].map(|app| json!({"app": app, "port": port}));
        json!({"entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a"}]}, "apps": apps})
    };
    let made = LaneGroup::new("g", serde_json::from_value(group(80)).unwrap());
    rig.api()
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    let lane = json!({"group": "g", "tag": "gray", "enabled": true, "match": {"all": []}});
    let lane = Lane::new("gray", serde_json::from_value(lane).unwrap());
    rig.api()
        .create(&PostParams::default(), &lane)
        .await
        .unwrap();
    rig.shown("a lane", |c| {
        !c.groups.list().is_empty() && !c.lanes.list().is_empty()
    })
    .await;
    assert!(!rig.look().await.refused);
    rig.shown("three routes", |c| ports(c).len() == 3).await;
    let theirs = crate::domain::routes::app_route("g", "a");

    // Somebody edits the route of a; then all routes have to change.
    let route = rig.api::<HttpRoute>().get(&theirs).await.unwrap();
    let mut rules = serde_json::to_value(&route.spec.rules).unwrap();
    rules[0]["backendRefs"][0]["port"] = 9.into();
    rig.patch::<HttpRoute>(&theirs, "kubectl-edit", json!({"spec": {"rules": rules}}))
        .await;
    rig.patch::<LaneGroup>("g", "test", json!({"spec": group(81)}))
        .await;
    let by = |c: &Cache| c.groups.list().iter().all(|g| g.spec.apps[0].port == 81);
    rig.shown("the change", |c| by(c) && ports(c)[&theirs] == Some(9))
        .await;
    assert!(rig.look().await.refused);
    rig.shown("the others as they ought to be", |c| {
        ports(c)
            .iter()
            .all(|(name, port)| *port == Some(if *name == theirs { 9 } else { 81 }))
    })
    .await;
    let status = rig
        .api::<LaneGroup>()
        .get("g")
        .await
        .unwrap()
        .status
        .unwrap();
    let told = status.routes.iter().find(|r| r.name == theirs).unwrap();
    let message = told.message.as_deref().unwrap();
    assert_eq!((told.accepted, status.routes.len()), (Some(false), 3));
    let hand = format!("`kubectl delete httproute -n {HOME} {theirs}` has it recreated");
    assert!(
        message.contains("kubectl-edit") && message.ends_with(&hand),
        "{message}"
    );
    let of_lane = rig
        .api::<Lane>()
        .get("gray")
        .await
        .unwrap()
        .status
        .unwrap()
        .problems;
    assert!(of_lane.iter().any(|p| p.contains(message)), "{of_lane:?}");

    // The suggested command works.
    rig.api::<HttpRoute>()
        .delete(&theirs, &DeleteParams::default())
        .await
        .unwrap();
    rig.shown("two routes", |c| ports(c).len() == 2).await;
    assert!(!rig.look().await.refused);
    rig.shown("all", |c| {
        ports(c).len() == 3 && ports(c).values().all(|p| *p == Some(81))
    })
    .await;
}
