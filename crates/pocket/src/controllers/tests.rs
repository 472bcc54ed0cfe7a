//! Controllers whose stores are behind the server.

use super::*;
use crate::rest::ApiServer;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

/// Creates an owner of pods named `web`, deletes it again where asked to, and lets its controller
/// look at it as if that had not arrived; how many objects it has made.
async fn count_objects_made(kind: &str, is_deleted: bool) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let client = ApiServer::open(dir.path()).unwrap().client();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let shared = Arc::new(ControllerContext::new(&client, &tracker, &stop));
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec =
        json!({"selector": {"matchLabels": labels}, "serviceName": "web", "template": template});
    let at = || ("default".to_owned(), "web".to_owned());
    macro_rules! reconcile {
        ($kind:ty, $store:ident, $spec:expr, $reconcile:path) => {{
            let owners: Api<$kind> = Api::namespaced(client.clone(), "default");
            let owner: Value = json!({"metadata": {"name": "web"}, "spec": $spec});
            let owner = owners
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(owner).unwrap(),
                )
                .await
                .unwrap();
            shared.$store.record_write(&owner);
            if is_deleted {
                owners
                    .delete("web", &DeleteParams::background())
                    .await
                    .unwrap();
            }
            $reconcile(shared.clone(), at()).await.unwrap();
        }};
    }
    match kind {
        "Deployment" => {
            reconcile!(
                Deployment,
                deployments,
                spec,
                deployment::reconcile_deployment
            );
        }
        "ReplicaSet" => reconcile!(ReplicaSet, sets, spec, replicaset::reconcile_replica_set),
        "StatefulSet" => {
            reconcile!(
                StatefulSet,
                stateful,
                spec,
                statefulset::reconcile_stateful_set
            );
        }
        "Job" => {
            let mut template = template.clone();
            template["spec"]["restartPolicy"] = "Never".into();
            reconcile!(Job, jobs, json!({"template": template}), job::reconcile_job);
        }
        _ => unreachable!("{kind}"),
    }
    stop.cancel();
    let all = ListParams::default();
    let pods: Api<Pod> = Api::all(client.clone());
    let sets: Api<ReplicaSet> = Api::all(client.clone());
    let own_set = usize::from(kind == "ReplicaSet" && !is_deleted);
    pods.list(&all).await.unwrap().items.len() + sets.list(&all).await.unwrap().items.len()
        - own_set
}

#[tokio::test]
async fn nothing_is_made_for_an_owner_that_is_gone_already() {
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "Job"] {
        assert_eq!(count_objects_made(kind, false).await, 1, "{kind}");
        assert_eq!(count_objects_made(kind, true).await, 0, "{kind}, deleted");
    }
}
