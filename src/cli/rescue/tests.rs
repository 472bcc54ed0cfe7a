use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::{
    api::{App, NamespaceRef, label},
    cli::session::tests::on_pocket,
    domain::{batches::Latch, observe::REVISION_LABEL},
};

fn latch(before: Value) -> Value {
    let latch: Latch = Latch {
        release: "r".into(),
        release_uid: "u".into(),
        task: "t".into(),
        ..Latch::default()
    };
    let mut latch = serde_json::to_value(latch).unwrap();
    latch["before"]["template"] = before;
    latch
}

fn deployment(latch: Option<Value>) -> Deployment {
    let annotations: Value =
        latch.map_or_else(|| json!({}), |l| json!({label::LATCH: l.to_string()}));
    serde_json::from_value(json!({
        "metadata": {"name": "a-prod", "namespace": "demo", "resourceVersion": "7", "annotations": annotations},
        "spec": {"paused": true, "minReadySeconds": 2_147_483_646, "replicas": 4, "selector": {},
                 "template": {"metadata": {"labels": {"v": "2"}}}},
    }))
    .unwrap()
}

#[test]
fn half_way_ones_are_found_with_both_ways_out() {
    let half_way = |d: &Deployment| {
        let seen = DeploymentSeen {
            live: d.clone(),
            ..DeploymentSeen::default()
        };
        to_stuck_workload(
            WorkloadKind::Deployment,
            &d.metadata,
            &"far".into(),
            plan_rescue(&seen, &Records::default()),
            &[],
        )
    };
    let mut plain = deployment(None);
    plain.spec.as_mut().unwrap().min_ready_seconds = Some(10);
    assert_eq!(half_way(&plain), None);
    let left = half_way(&deployment(None)).unwrap();
    assert_eq!(
        (
            left.finish["spec"].get("minReadySeconds"),
            left.release.as_str()
        ),
        (Some(&Value::Null), "")
    );
    assert!(
        describe_stuck(&left).contains("nothing says of which")
            && describe_stuck(&left).contains("Kubernetes' defaults"),
        "{left:?}"
    );
    let found = half_way(&deployment(Some(latch(
        json!({"metadata": {"labels": {"v": "1"}}}),
    ))))
    .unwrap();
    assert!(!found.under_way && found.problem.is_none(), "{found:?}");
    assert_eq!(
        found.abort["spec"]["template"]["metadata"]["labels"]["v"],
        "1"
    );
    assert_eq!(
        found.finish["spec"].get("template"),
        None,
        "{}",
        found.finish
    );
    let text = describe_stuck(&found);
    assert!(
        text.contains("release r, which is over, or gone") && !text.contains("resourceVersion"),
        "{text}"
    );
    assert!(
        text.contains("graylane rescue far/demo/a-prod --kind deployment --abort"),
        "{text}"
    );
    let stuck = StuckWorkload {
        kind: WorkloadKind::StatefulSet,
        in_the_way: vec!["a-prod-3".into()],
        ..found
    };
    assert!(
        describe_stuck(&stuck).contains("kubectl --context far -n demo delete pod a-prod-3"),
        "{}",
        describe_stuck(&stuck)
    );
    let broken = half_way(&deployment(Some(json!("\u{1b}[31mnonsense")))).unwrap();
    assert!(
        describe_stuck(&broken).contains("a-prod") && !describe_stuck(&broken).contains('\u{1b}'),
        "{broken:?}"
    );
}

/// Text from annotations and templates, which anybody may write, must neither run in a shell nor
/// move the cursor.
#[test]
fn a_latch_puts_no_command_into_what_is_pasted() {
    let mut told =
        latch(json!({"spec": {"containers": [{"name": "a'b;touch PWN\u{202e}", "image": "x"}]}}));
    told["release"] = "x; touch PWN #\u{1b}]52;c;aGFja2Vk\u{7}".into();
    told["task"] = "t\u{1b}]52;c;aGFja2Vk\u{7}".into();
    let live = deployment(Some(told));
    let seen = DeploymentSeen {
        live: live.clone(),
        ..DeploymentSeen::default()
    };
    let ways = plan_rescue(&seen, &Records::default());
    let found = to_stuck_workload(
        WorkloadKind::Deployment,
        &live.metadata,
        &"far'; touch PWN".into(),
        ways,
        &[],
    )
    .unwrap();
    let text = describe_stuck(&found);
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'),
        "{text:?}"
    );
    let commands = text.lines().filter(|l| {
        l.trim_start().starts_with("kubectl") || l.trim_start().starts_with("graylane")
    });
    let mut run = 0;
    for line in commands {
        let sh =
            format!("kubectl() {{ :; }}; graylane() {{ :; }}; touch() {{ echo ran; }}; {line}");
        let out = std::process::Command::new("sh")
            .args(["-c", &sh])
            .output()
            .unwrap();
        assert!(
            out.status.success() && out.stdout.is_empty(),
            "{line}: {out:?}"
        );
        run += 1;
    }
    assert_eq!(run, 4, "{text}");
}

async fn create<T>(session: &Session, value: Value) -> T
where
    T: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned,
    T: std::fmt::Debug,
{
    let api: Api<T> = Api::namespaced(session.client.clone(), "demo");
    api.create(
        &PostParams::default(),
        &serde_json::from_value(value).unwrap(),
    )
    .await
    .unwrap()
}

fn args(workload: Option<&str>, abort: bool) -> RescueArgs {
    let workload = workload.map(str::to_owned);
    RescueArgs {
        workload,
        kind: None,
        finish: false,
        abort,
        force: false,
        output: Format::Table,
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_looked_at_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let session = on_pocket(dir.path()).await;
    create::<App>(
        &session,
        json!({"metadata": {"name": "a"}, "spec": {"manifests": [], "environments": [
        {"name": "prod", "namespace": "prod", "context": "far"}]}}),
    )
    .await;
    let far = NamespaceRef::new("far".into(), "prod");
    let told = search_namespace(&session, far.clone(), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(told.starts_with("looking at far/prod/*: "), "{told}");

    let told = search_and_rescue(&session, args(None, false))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        told,
        "far/prod/* could not be checked: there may be half-way ones"
    );
    let told = search_and_rescue(&session, args(Some("db"), true))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        told,
        "db was not found half-way, but far/prod/* could not be checked"
    );
    let told = search_and_rescue(&session, args(Some("demo/db"), true))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(told, "demo/db is not half-way: nothing to do");

    // The visible workload may not be the one that was named.
    create::<Deployment>(
        &session,
        json!({
        "metadata": {"name": "db", "annotations": {label::LATCH: latch(pods("1")).to_string()}},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": pods("2")}}),
    )
    .await;
    let told = search_and_rescue(&session, args(Some("db"), true))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("another db may stand there") && told.contains("demo/db --kind deployment"),
        "{told}"
    );
    search_and_rescue(&session, args(Some("demo/db"), true))
        .await
        .unwrap();
}

fn pods(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": format!("db:{version}")}]}})
}

/// Aborting deletes what the engine would delete: never a pod below the user's own partition, and
/// only pods that were known to be new and not ready when the patch was written.
#[tokio::test]
async fn an_abort_deletes_the_pods_in_its_way_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let session = on_pocket(dir.path()).await;
    let mut latch = latch(pods("1"));
    let own =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    (latch["after"], latch["before"]["own"], latch["written"]) =
        (own.clone(), own, json!({"partition": 2, "replicas": 4}));
    let live: StatefulSet = create(
        &session,
        json!({
        "metadata": {"name": "db", "annotations": {label::LATCH: latch.to_string()}},
        "spec": {"replicas": 4, "serviceName": "db", "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "db"}}, "template": pods("2"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}}),
    )
    .await;
    for (place, revision, ready) in [
        (0, "old", false),
        (1, "old", true),
        (2, "new", false),
        (3, "new", false),
    ] {
        let name = format!("db-{place}");
        let mut pod = pods("2");
        pod["metadata"] = json!({"name": name, "labels": {"app": "db", REVISION_LABEL: revision}, "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": live.uid(), "controller": true}]});
        create::<Pod>(&session, pod).await;
        let ready = json!({"status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
        let api: Api<Pod> = Api::namespaced(session.client.clone(), "demo");
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready))
            .await
            .unwrap();
    }
    // The controller has seen the patch at once, but which pods were new was not known before.
    let sets: Api<StatefulSet> = Api::namespaced(session.client.clone(), "demo");
    let status =
        json!({"status": {"replicas": 4, "observedGeneration": 0, "updateRevision": "old"}});
    sets.patch_status("db", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let controller = async {
        loop {
            let status = json!({"status": {"replicas": 4, "observedGeneration": 2}});
            let live = sets.get("db").await.unwrap();
            if live.metadata.generation == Some(2) {
                sets.patch_status("db", &PatchParams::default(), &Patch::Merge(status))
                    .await
                    .unwrap();
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (done, ()) = tokio::join!(
        search_and_rescue(&session, args(Some("demo/db"), true)),
        controller
    );
    done.unwrap();
    let live = sets.get("db").await.unwrap();
    assert_eq!(
        live.spec.unwrap().template.spec.unwrap().containers[0]
            .image
            .as_deref(),
        Some("db:1")
    );
    let all = Api::<Pod>::namespaced(session.client.clone(), "demo")
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let left: Vec<String> = all
        .iter()
        .filter(|p| p.metadata.deletion_timestamp.is_none())
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(left, ["db-0", "db-1"]);
}
