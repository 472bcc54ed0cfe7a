//! One trouble after the other in the middle of a release's batches: the engine and the cockpit go on by themselves,
//! each trouble is told as what it is, every batch is exact, nothing is done twice.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use graylane::{
    cluster::install::{self, InstallSpec, names},
    domain::world::{LinkTrouble, World},
};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, ServiceAccount},
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api, Client,
    api::{PostParams, WatchEvent, WatchParams},
};
use pocket::controllers;
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    door::{Door, Play},
    pipe::Pipe,
    rollout::{HOME, Rollout, eventually},
};
use crate::control_plane::ControlPlane;

/// Of one who comes with the certificate that will have ended in mid-batch.
const SHORT_LIFE: Duration = Duration::from_secs(5);
const LONG_LIFE: Duration = Duration::from_hours(1);

/// While it lives, all connections are cut again and again.
struct Flapping {
    times: Arc<AtomicU32>,
    _ends: DropGuard,
}

impl Flapping {
    fn with(cut: impl Fn() + Send + 'static) -> Self {
        let (times, stop) = (Arc::<AtomicU32>::default(), CancellationToken::new());
        let count = Arc::clone(&times);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // Ever less often: the slowest machine gets through between two of them at last.
            let mut pause = Duration::from_millis(400);
            loop {
                cut();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(pause).await;
                pause = pause.mul_f64(1.25);
            }
        }));
        Self {
            times,
            _ends: stop.drop_guard(),
        }
    }

    async fn more(&self, times: u32) {
        let until = self.times.load(Ordering::SeqCst) + times;
        eventually("cuts", async || {
            (self.times.load(Ordering::SeqCst) >= until).then_some(())
        })
        .await;
    }
}

/// While it is rolled out no connection lives long: nobody need notice.
async fn last_batch(rollout: &mut Rollout, cut: impl Fn() + Send + 'static) {
    rollout.surge(3).await;
    let flapping = Flapping::with(cut);
    flapping.more(5).await;
    let status = rollout.settle_unseen(3).await;
    drop(flapping);
    rollout.show(3, &status).await;
}

fn still_there(world: &World) {
    assert!(
        world.apps.contains_key("a") && world.pods_of("a", "prod").count() >= 4,
        "what was known stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_whatever_happens_to_the_door() {
    let door = Arc::new(Door::open().await);
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    controllers::spawn(door.behind.clone(), &TaskTracker::new(), &stop);
    let file = door.kubeconfig("door", "", "{token: one}");
    let mut rollout = Rollout::start(door.behind.clone(), file.clone(), file).await;

    // A server that does not know yet who may what; nobody; one who says nothing.
    rollout.surge(1).await;
    door.play("/", Play::Say(403));
    door.cut(false);
    still_there(&rollout.view.lost(LinkTrouble::Forbidden).await);
    door.calm();
    rollout.view.live().await;
    door.cut(true);
    still_there(&rollout.view.lost(LinkTrouble::Offline).await);
    door.calm();
    rollout.view.live().await;
    door.play("/", Play::Hang);
    door.cut(false);
    rollout.view.retry();
    let silent = |w: &World| {
        w.link
            .stale_since()
            .is_some_and(|(_, _, why)| why.contains("has not answered"))
    };
    still_there(&rollout.view.until("nobody answers", silent).await);
    door.calm();
    door.cut(false);
    door.play("/deployments/a", Play::Say(403));
    rollout.node();
    rollout.told("the door says 403").await;
    door.calm();
    rollout.settle(1).await;

    // What was seen is forgotten; then credentials are no longer good.
    rollout.surge(2).await;
    door.forget().await;
    door.play("watch=true", Play::Say(410));
    door.cut(false);
    still_there(&rollout.view.lost(LinkTrouble::Expired).await);
    door.calm();
    door.token("two");
    door.cut(false);
    still_there(&rollout.view.lost(LinkTrouble::Unauthorized).await);
    door.kubeconfig("door", "", "{token: two}");
    rollout.settle(2).await;

    let cut = Arc::clone(&door);
    last_batch(&mut rollout, move || cut.cut(false)).await;
    let changes = rollout.once().await;
    assert!(
        changes <= 1,
        "the Lease changed hands {changes} times in seconds"
    );
}

/// Through the pipe, as that user. Written at once: somebody may read it just now.
fn through(pipe: &Pipe, plane: &ControlPlane, user: &str) -> PathBuf {
    let file = plane.kubeconfig(user);
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"] = format!("https://{}", pipe.address).into();
    config["contexts"][0]["context"]["namespace"] = HOME.into();
    let (part, piped) = (file.with_extension("part"), file.with_extension("piped"));
    std::fs::write(&part, config.to_string()).unwrap();
    std::fs::rename(part, &piped).unwrap();
    piped
}

/// New certificates for the engines and the cockpit.
fn certify(pipe: &Pipe, plane: &ControlPlane, life: Duration) {
    for (user, group) in [("engine", "engines"), ("operator", "operators")] {
        plane.certificate_user(user, group, life);
        through(pipe, plane, user);
    }
}

/// As `install` does for the engine's account, and a cluster's owner for an operator.
async fn grant(admin: &Client) {
    let binding = |kind: &str, role: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": format!("{user}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]})
    };
    let wide =
        serde_json::from_value(binding("ClusterRoleBinding", names::VIEWER, "engine")).unwrap();
    Api::<ClusterRoleBinding>::all(admin.clone())
        .create(&PostParams::default(), &wide)
        .await
        .unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), HOME);
    for (role, user) in [
        (names::ENGINE, "engine"),
        (names::IMPERSONATOR, "engine"),
        (names::OPERATOR, "operator"),
        (names::VIEWER, "operator"),
    ] {
        let binding = serde_json::from_value(binding("RoleBinding", role, user)).unwrap();
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .unwrap();
    }
}

/// The version that a server knows now.
async fn version(admin: &Client) -> String {
    let api: Api<ConfigMap> = Api::namespaced(admin.clone(), HOME);
    api.list(&Default::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap()
}

/// Whether a watch from there on is told that this is too long ago.
async fn is_forgotten(admin: &Client, version: &str) -> bool {
    let api: Api<ConfigMap> = Api::namespaced(admin.clone(), HOME);
    let mut events = match api.watch(&WatchParams::default(), version).await {
        Ok(events) => Box::pin(events),
        Err(why) => return matches!(why, kube::Error::Api(status) if status.code == 410),
    };
    matches!(events.try_next().await, Ok(Some(WatchEvent::Error(status))) if status.code == 410)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_while_a_real_control_plane_falls_and_comes_back() {
    let Some(mut plane) = ControlPlane::start().await else {
        return;
    };
    let admin = plane.client("admin").await;
    let home = serde_json::from_value(json!({"metadata": {"name": HOME}})).unwrap();
    Api::<Namespace>::all(admin.clone())
        .create(&PostParams::default(), &home)
        .await
        .unwrap();
    install::apply_objects(
        &admin,
        &InstallSpec {
            namespace: HOME.into(),
            ..InstallSpec::default()
        },
        false,
    )
    .await
    .unwrap();
    grant(&admin).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), HOME);
    eventually("the default account", async || {
        accounts.get_opt("default").await.unwrap()
    })
    .await;
    let pipe =
        Arc::new(Pipe::to(plane.url().trim_start_matches("https://").parse().unwrap()).await);
    let (engine, cockpit) = (
        through(&pipe, &plane, "engine"),
        through(&pipe, &plane, "operator"),
    );
    let mut rollout = Rollout::start(admin.clone(), engine, cockpit).await;

    // The server is killed, and comes back.
    rollout.surge(1).await;
    plane.stop_api_server();
    still_there(&rollout.view.lost(LinkTrouble::Offline).await);
    plane.start_api_server().await;
    rollout.settle(1).await;

    // It is killed again; when it comes back it has forgotten what they saw, and knows them by certificates only.
    // These end soon, and their successors come late.
    rollout.surge(2).await;
    let seen = version(&admin).await;
    pipe.cut(true);
    still_there(&rollout.view.lost(LinkTrouble::Offline).await);
    touch(&admin).await;
    plane.compact().await;
    plane.forget_tokens(&["engine", "operator"]);
    certify(&pipe, &plane, SHORT_LIFE);
    plane.restart_api_server().await;
    assert!(
        is_forgotten(&admin, &seen).await,
        "the server remembers {seen}"
    );
    pipe.cut(false);
    still_there(&rollout.view.lost(LinkTrouble::Unauthorized).await);
    certify(&pipe, &plane, LONG_LIFE);
    rollout.settle(2).await;

    let cut = Arc::clone(&pipe);
    last_batch(&mut rollout, move || cut.cut(false)).await;
    let changes = rollout.once().await;
    assert!(
        changes <= 2,
        "the Lease changed hands {changes} times in three outages"
    );
}

/// So that there are newer versions than those that were seen.
async fn touch(admin: &Client) {
    let api: Api<ConfigMap> = Api::namespaced(admin.clone(), HOME);
    for n in 0..3 {
        let map =
            serde_json::from_value(json!({"metadata": {"name": format!("newer-{n}")}})).unwrap();
        api.create(&PostParams::default(), &map).await.unwrap();
    }
}
