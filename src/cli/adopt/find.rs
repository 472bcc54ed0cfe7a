//! Finds what to adopt: the Deployment, its Service, other Services that select its pods, and its
//! autoscaler.

use std::collections::BTreeMap;

use color_eyre::eyre::{Result, bail};
use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Service,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    cli::{
        objects,
        session::{Session, api_error},
    },
    cluster::error,
    domain::{adopt::FoundWorkload, observe::is_autoscaled},
};

pub(in crate::cli) async fn find_workload(
    session: &Session,
    name: &str,
    service: Option<&str>,
) -> Result<FoundWorkload> {
    let (client, namespace) = (&session.client, session.namespace.as_str());
    let deployment = get_deployment(client, namespace, name).await?;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let mut all = services
        .list(&ListParams::default())
        .await
        .map_err(api_error("listing Services"))?
        .items;
    let template = deployment
        .spec
        .as_ref()
        .and_then(|s| s.template.metadata.as_ref());
    let labels = template.and_then(|m| m.labels.clone()).unwrap_or_default();
    if let Some(wanted) = service
        && !all
            .iter()
            .any(|s| s.name_any() == wanted && selects_labels(s, &labels))
    {
        let known: Vec<String> = all
            .iter()
            .filter(|s| selects_labels(s, &labels))
            .map(ResourceExt::name_any)
            .collect();
        bail!(
            "no Service {wanted} that selects the pods of {name}; there {}",
            objects::describe_names(&known)
        );
    }
    all.retain(|s| selects_labels(s, &labels));
    let main = choose_main(name, service, &all)?.map(|at| all.remove(at));
    Ok(FoundWorkload {
        autoscaled: is_autoscaled(&deployment.metadata) || has_autoscaler(session, name).await?,
        deployment: serde_json::to_value(&deployment)?,
        service: main.map(serde_json::to_value).transpose()?,
        others: all
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?,
    })
}

async fn get_deployment(client: &Client, namespace: &str, name: &str) -> Result<Deployment> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let found = deployments
        .get_opt(name)
        .await
        .map_err(api_error(format!("reading Deployment {name}")))?;
    if let Some(deployment) = found {
        return Ok(deployment);
    }
    let all = deployments
        .list_metadata(&ListParams::default())
        .await
        .map_err(api_error("listing Deployments"))?;
    let known: Vec<String> = all.items.iter().map(ResourceExt::name_any).collect();
    bail!(
        "no Deployment {name} in namespace {namespace}; there {}",
        objects::describe_names(&known)
    );
}

/// Index of the Service that callers use among those that select the pods.
fn choose_main(name: &str, service: Option<&str>, all: &[Service]) -> Result<Option<usize>> {
    Ok(match (service, all) {
        (Some(wanted), _) => all.iter().position(|s| s.name_any() == wanted),
        (None, []) => None,
        (None, [_]) => Some(0),
        (None, many) => {
            let known: Vec<String> = many.iter().map(ResourceExt::name_any).collect();
            bail!(
                "several Services select the pods of {name}: name the one that callers use with --service; there {}",
                objects::describe_names(&known)
            );
        }
    })
}

fn selects_labels(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.is_some_and(|s| {
        !s.is_empty() && s.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Whether a HorizontalPodAutoscaler targets this Deployment. `false` on a cluster that does not
/// serve the kind.
async fn has_autoscaler(session: &Session, name: &str) -> Result<bool> {
    let api: Api<HorizontalPodAutoscaler> =
        Api::namespaced(session.client.clone(), &session.namespace);
    let all = match api.list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(e) if error::status_code(&e) == Some(404) => vec![],
        Err(e) => return Err(api_error("listing HorizontalPodAutoscalers")(e)),
    };
    let targets = |h: &HorizontalPodAutoscaler| {
        h.spec.as_ref().is_some_and(|s| {
            s.scale_target_ref.kind == "Deployment" && s.scale_target_ref.name == name
        })
    };
    Ok(all.iter().any(targets))
}
