//! `logs POD`: prints a pod's log without control sequences, so that it cannot move the cursor.

use clap::Args;
use color_eyre::eyre::Result;
use futures::{TryStreamExt, future::join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::{
    Global,
    namespace_ref::{self, NamespaceRef},
    output,
    session::{self, Session},
};
use crate::cluster::{
    error,
    logs::{self, LogQuery},
};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The pod, or NAMESPACE/POD, or CONTEXT/NAMESPACE/POD [default: wherever an environment has a
    /// pod of that name]
    pod: String,
    /// Which of its containers
    #[arg(long, short)]
    container: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// Of the run before the last restart
    #[arg(long, short)]
    previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
}

pub(super) async fn print_logs(global: &Global, args: LogsArgs) -> Result<()> {
    let session = session::open(global).await?;
    let (place, pod) = namespace_ref::parse_object_path(&session, &args.pod);
    let place = match place {
        Some(place) => place,
        None => find_pod(&session, pod).await?,
    };
    let wish = LogQuery {
        container: args.container,
        follow: args.follow,
        previous: args.previous,
        tail: args.tail,
    };
    let lines = logs::stream_clean_lines(&place.client(&session), &place.namespace, pod, &wish)
        .await
        .map_err(session::api_error(format!("logs of {}", args.pod)))?;
    let mut lines = std::pin::pin!(lines);
    while let Some(line) = lines.try_next().await? {
        output::print(&format!("{line}\n"))?;
    }
    Ok(())
}

/// Where the pod runs: the home namespace, or the only environment that has it. If none has it, the
/// home namespace, whose server reports the error.
async fn find_pod(session: &Session, pod: &str) -> Result<NamespaceRef> {
    let home = namespace_ref::home_namespace(session);
    match has_pod(session, &home, pod).await {
        Ok(true) => return Ok(home),
        // If pods are not readable here, reading the log reports that.
        Err(e) if error::status_code(&e) != Some(403) => {
            return Err(session::api_error(format!("logs of {pod}"))(e));
        }
        Ok(false) | Err(_) => {}
    }
    let others = namespace_ref::all_namespaces(session)
        .await?
        .into_iter()
        .filter(|p| *p != home);
    let looks = others.map(async |place| {
        let has = has_pod(session, &place, pod).await;
        (place, has)
    });
    let mut found = vec![];
    for (place, has) in join_all(looks).await {
        match has {
            Ok(true) => found.push(place),
            Ok(false) => {}
            // An unreachable cluster does not hide pods of others.
            Err(e) => say!(
                "warning: not looked for: {}: {}",
                place.qualified_name(pod),
                error::describe_error(&e)
            ),
        }
    }
    match found.as_slice() {
        [] => Ok(home),
        [one] => {
            say!("{}:", one.qualified_name(pod));
            Ok(one.clone())
        }
        many => {
            let all: Vec<String> = many.iter().map(|place| place.qualified_name(pod)).collect();
            Err(session::usage_error(format!(
                "several pods are called so: {}; name one of them so",
                all.join(", ")
            )))
        }
    }
}

async fn has_pod(session: &Session, place: &NamespaceRef, pod: &str) -> kube::Result<bool> {
    let pods: Api<Pod> = Api::namespaced(place.client(session), &place.namespace);
    Ok(pods.get_metadata_opt(pod).await?.is_some())
}

#[cfg(test)]
mod tests {
    use kube::api::PostParams;
    use serde_json::json;

    use super::*;
    use crate::{api::App, cli::session::tests::on_pocket};

    #[tokio::test]
    async fn of_several_pods_of_one_name_none_is_taken_silently() {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let app = json!({"metadata": {"name": "a"}, "spec": {"manifests": [], "environments": [
            {"name": "test", "namespace": "default"}, {"name": "prod", "namespace": "kube-system"}]}});
        let apps: Api<App> = Api::namespaced(session.client.clone(), "demo");
        apps.create(
            &PostParams::default(),
            &serde_json::from_value(app).unwrap(),
        )
        .await
        .unwrap();
        let run = async |namespace: &str| {
            let pod = json!({"metadata": {"name": "db-0"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
            let pods: Api<Pod> = Api::namespaced(session.client.clone(), namespace);
            pods.create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap();
        };
        let found = async || {
            find_pod(&session, "db-0")
                .await
                .map(|place| place.namespace)
        };
        assert_eq!(found().await.unwrap(), "demo", "nobody has it");
        run("kube-system").await;
        assert_eq!(found().await.unwrap(), "kube-system");
        run("default").await;
        let told = found().await.unwrap_err().to_string();
        assert!(
            told.contains("several pods are called so: default/db-0, kube-system/db-0;"),
            "{told}"
        );
        run("demo").await;
        assert_eq!(
            found().await.unwrap(),
            "demo",
            "a bare name is home's first"
        );
    }
}
