//! What every command starts with: the configuration, the cluster and the acting user.

use std::path::PathBuf;

use color_eyre::eyre::{Report, Result};
use kube::Client;

use super::{
    Global,
    output::{self, Format},
    via::ViaArg,
};
use crate::{
    cluster::{
        agent::Agent,
        clusters::Clusters,
        connect::{self, ClusterSource},
        perform::{self, Outcome},
        rights,
    },
    config::{self, Config},
    domain::intent::Intent,
};

/// A usage error: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}\nSee `graylane --help`.")]
pub(super) struct UsageError(pub(super) String);

/// A [`UsageError`] error.
pub(super) fn usage_error(why: impl Into<String>) -> Report {
    Report::new(UsageError(why.into()))
}

/// A connected cluster.
pub(super) struct Session {
    pub(super) client: Client,
    /// This cluster, and the remote clusters that environments name.
    pub(super) clusters: Clusters,
    pub(super) namespace: String,
    /// Whether lists are of all namespaces.
    pub(super) lists_all: bool,
    /// The acting user.
    pub(super) by: String,
}

/// The configuration file with environment variables and the command line applied.
pub(super) fn load_config(global: &Global) -> Result<Config> {
    let mut config = config::load(global.config.as_deref())?;
    let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    config.state = global
        .state
        .clone()
        .or_else(|| env("GRAYLANE_STATE").map(Into::into))
        .or(config.state);
    config.namespace = global.namespace.clone().or(config.namespace);
    config.user = global
        .user
        .clone()
        .or_else(|| env("GRAYLANE_USER")?.into_string().ok())
        .or(config.user);
    #[cfg(feature = "cockpit")]
    {
        config.theme = global.look.theme.clone().or(config.theme);
        config.ascii |= global.look.ascii;
        config.read_only |= global.look.read_only;
        config.mouse |= global.look.mouse;
    }
    // A state folder on the command line overrides a context in the file, and vice versa.
    config.context = if global.state.is_some() {
        None
    } else {
        global.context.clone().or(config.context)
    };
    Ok(config)
}

/// How probes reach the entry.
pub(super) fn resolve_via(global: &Global, config: &Config) -> Result<Option<ViaArg>> {
    let written = config.via.as_deref().map(str::parse::<ViaArg>).transpose();
    let written = written.map_err(|why| usage_error(format!("via in the configuration: {why}")))?;
    Ok(global.via.clone().or(written))
}

/// The cluster to connect to.
pub(super) fn resolve_source(global: &Global, config: &Config) -> Result<ClusterSource> {
    if global.kubeconfig.is_some() || config.context.is_some() {
        return Ok(ClusterSource::Kubectl {
            kubeconfig: global.kubeconfig.clone(),
            context: config.context.clone(),
        });
    }
    // In a pod without a pocket (there may be no home folder), the cluster that the pod runs in.
    let dir = config.state_folder();
    let pocket = |dir: &PathBuf| connect::kubeconfig_path(dir).exists();
    if config.state.is_none() && connect::is_in_cluster() && !dir.as_ref().is_ok_and(pocket) {
        return Ok(ClusterSource::InCluster);
    }
    Ok(ClusterSource::State(dir?))
}

/// Connects to the configured cluster.
pub(super) async fn open(global: &Global) -> Result<Session> {
    open_as(global, &load_config(global)?).await
}

/// The same, with a loaded configuration.
pub(super) async fn open_as(global: &Global, config: &Config) -> Result<Session> {
    open_for(global, config, Agent::Cli).await
}

/// The same, for another component of graylane.
pub(super) async fn open_for(global: &Global, config: &Config, agent: Agent) -> Result<Session> {
    let source = resolve_source(global, config)?;
    let connected = connect::connect(&source, config.namespace.as_deref(), agent).await?;
    let by = acting_user(global, config, &source, &connected.client).await?;
    Ok(Session {
        client: connected.client,
        clusters: connected.clusters,
        namespace: connected.namespace,
        lists_all: global.all_namespaces,
        by,
    })
}

/// The acting user: the configured one on a pocket, the authenticated one on a real cluster.
pub(super) async fn acting_user(
    global: &Global,
    config: &Config,
    source: &ClusterSource,
    client: &Client,
) -> Result<String> {
    if matches!(source, ClusterSource::State(_)) {
        return Ok(config.user_name());
    }
    // A server that does not tell the user can still be read; nothing is written there.
    let known = rights::current_user(client).await.unwrap_or_default();
    match &global.user {
        Some(named) if *named != known => Err(usage_error(format!(
            "on a real cluster you are the user that its server knows ({known}): --user is for a pocket"
        ))),
        _ => Ok(known),
    }
}

impl Session {
    /// Carries out an intent and prints the outcome.
    pub(super) async fn perform(&self, intent: Intent, format: Format) -> Result<Outcome> {
        let done = perform::perform_intent(&self.client, &self.namespace, &self.by, intent).await?;
        output::print(&match format {
            Format::Json | Format::Yaml => output::format_value(&done, format)?,
            Format::Name => done
                .objects
                .iter()
                .map(|(_, name)| format!("{name}\n"))
                .collect(),
            Format::Table | Format::Wide => done.message.clone(),
        })?;
        Ok(done)
    }
}

/// Converts an API error to a report: what was attempted, and the server's message.
pub(super) fn api_error(what: impl std::fmt::Display) -> impl FnOnce(kube::Error) -> Report {
    let what = what.to_string();
    move |e| {
        Report::msg(format!(
            "{what}: {}",
            crate::cluster::error::describe_error(&e)
        ))
    }
}

#[cfg(all(test, feature = "pocket"))]
pub(super) mod tests {
    use super::*;
    use crate::{api::ClusterName, cluster::install, embedded};

    /// On the API of a pocket without controllers, in namespace `demo`. Other contexts are unknown.
    pub(in crate::cli) async fn on_pocket(dir: &std::path::Path) -> Session {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = embedded::open_api(dir).unwrap().client();
        install::apply_definitions(&client).await.unwrap();
        let demo =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "demo"}})).unwrap();
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
            kube::Api::all(client.clone());
        namespaces
            .create(&kube::api::PostParams::default(), &demo)
            .await
            .unwrap();
        of(client, dir)
    }

    /// On a server that answers every request with this status code.
    pub(in crate::cli) fn on_refusal(code: u16, dir: &std::path::Path) -> Session {
        let service = tower::service_fn(move |_| async move {
            let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "code": code, "message": "no such luck", "reason": ""});
            let answer = http::Response::builder().status(code);
            Ok::<_, tower::BoxError>(
                answer
                    .body(kube::client::Body::from(body.to_string().into_bytes()))
                    .unwrap(),
            )
        });
        of(Client::new(service, "demo"), dir)
    }

    fn of(client: Client, dir: &std::path::Path) -> Session {
        let clusters = Clusters::new(
            client.clone(),
            ClusterName::Home,
            Some(dir.join("no-kubeconfig")),
            Default::default(),
            Agent::Cli,
        );
        Session {
            client,
            clusters,
            namespace: "demo".into(),
            lists_all: false,
            by: "me".into(),
        }
    }
}
