//! The namespaces that Apps are deployed to: the deploying service account and the Pod Security
//! level.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Findings, Level};
use crate::{
    api::App,
    cluster::error,
    domain::{
        account::{Account, DEPLOYER},
        command_line::CommandLine,
    },
};

/// The label by which Pod Security admission enforces a level on a namespace.
const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_BASELINE: &str = "pod-security.kubernetes.io/enforce=baseline";

/// Checks each namespace of the home cluster; for other contexts, use `doctor --context`.
#[tracing::instrument(level = "debug", skip_all, fields(home))]
pub(super) async fn check_namespaces(
    client: &Client,
    home: &str,
    pocket: bool,
    all: &mut Findings,
) {
    const CHECK: &str = "namespaces";
    if pocket {
        return all.add_ok(CHECK, "a pocket has no roles and no Pod Security levels");
    }
    let apps = match Api::<App>::namespaced(client.clone(), home)
        .list(&ListParams::default())
        .await
    {
        Ok(apps) => apps.items,
        Err(why) if error::status_code(&why) == Some(404) => vec![],
        Err(why) => return all.add_unknown(CHECK, &why),
    };
    for (namespace, accounts) in deployer_accounts(home, &apps) {
        for account in accounts {
            check_deployer(client, &namespace, &account, all).await;
        }
        check_pod_security(client, &namespace, all).await;
    }
}

/// The deploying service accounts by namespace.
fn deployer_accounts(home: &str, apps: &[App]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::from([(home.to_owned(), BTreeSet::from([DEPLOYER.to_owned()]))]);
    for environment in apps
        .iter()
        .flat_map(|a| &a.spec.environments)
        .filter(|e| e.context.is_home())
    {
        let account = Account::for_object(environment, &Default::default());
        found
            .entry(account.namespace.name.to_string())
            .or_default()
            .insert(account.name);
    }
    found
}

async fn check_deployer(client: &Client, namespace: &str, name: &str, all: &mut Findings) {
    let check = format!("deploys to {namespace}");
    match Api::<ServiceAccount>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
    {
        Ok(Some(_)) => all.add_ok(&check, format!("service account {name}")),
        Ok(None) => {
            let found = format!("there is no service account {name}: releases cannot write there");
            let remedy = match name {
                DEPLOYER => CommandLine::graylane("install")
                    .option("--deploy-to", namespace)
                    .to_string(),
                _ => "make it, give it the rights, and let the engine impersonate it".to_owned(),
            };
            all.add(Level::Fail, &check, found, &remedy);
        }
        Err(why) => all.add_unknown(&check, &why),
    }
}

async fn check_pod_security(client: &Client, namespace: &str, all: &mut Findings) {
    let check = format!("pods in {namespace}");
    let found = match Api::<Namespace>::all(client.clone())
        .get_opt(namespace)
        .await
    {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(why) => return all.add_unknown(&check, &why),
    };
    match found.labels().get(ENFORCE_LABEL).map(String::as_str) {
        Some(level @ ("baseline" | "restricted")) => {
            all.add_ok(&check, format!("Pod Security level {level}"));
        }
        level => {
            let found = format!(
                "Pod Security level {}: whoever may edit an App may run pods that own their node",
                level.unwrap_or("privileged, as none is set")
            );
            let label = CommandLine::kubectl("label namespace")
                .arg(namespace)
                .fixed_args(ENFORCE_BASELINE);
            let remedy = format!("{label}, or another admission that does it");
            all.add(Level::Warn, &check, found, &remedy);
        }
    }
}
