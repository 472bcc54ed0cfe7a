//! Makes a Deployment in an embedded cluster without a kubelet and prints what its controller made of it.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
    runtime::wait::await_condition,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let server = pocket::rest::ApiServer::open(folder.path())?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    pocket::controllers::spawn(server.client(), &tasks, &stop);

    let deployments: Api<Deployment> = Api::namespaced(server.client(), "default");
    let web = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
            },
        },
    }))?;
    deployments.create(&PostParams::default(), &web).await?;
    let is_observed = |web: Option<&Deployment>| {
        web.and_then(|web| web.status.as_ref())
            .is_some_and(|status| status.replicas == Some(3))
    };
    await_condition(deployments.clone(), "web", is_observed).await?;

    let sets: Api<ReplicaSet> = Api::namespaced(server.client(), "default");
    for set in sets.list(&ListParams::default()).await? {
        println!("ReplicaSet {} of Deployment web", set.name_any());
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    server.close().await;
    Ok(())
}
