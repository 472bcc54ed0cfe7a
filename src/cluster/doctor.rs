//! Checks whether a cluster is ready for graylane, and says what to do where it is not. It changes
//! nothing.

mod engine;
mod gateways;
mod namespaces;

use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt, runtime::conditions};
use serde::Serialize;

use super::{error, install, rights};
use crate::{
    api,
    domain::{command_line::CommandLine, text::Clean},
};

/// The first Kubernetes version with stable ValidatingAdmissionPolicies.
const MIN_VERSION: (u32, u32) = (1, 30);

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something does not work or cannot be checked; the rest works.
    Warn,
    /// Releases will not work as they should.
    Fail,
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// The result.
    pub level: Level,
    /// The result in words.
    pub found: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, check: &str, found: impl AsRef<str>, remedy: &str) {
        let remedy = Some(remedy.to_owned()).filter(|r| !r.is_empty());
        let found = Clean::from_untrusted(found.as_ref()).to_string();
        self.0.push(Finding {
            check: check.into(),
            level,
            found,
            remedy,
        });
    }

    fn add_ok(&mut self, check: &str, found: impl AsRef<str>) {
        self.add(Level::Ok, check, found, "");
    }

    /// What we may not read may still be all right.
    fn add_unknown(&mut self, check: &str, why: &kube::Error) {
        self.add(
            Level::Warn,
            check,
            error::describe_error(why),
            "have somebody look who may",
        );
    }
}

/// Runs all checks.
#[tracing::instrument(level = "debug", skip_all, fields(namespace))]
pub async fn run_checks(client: &Client, namespace: &str) -> Vec<Finding> {
    let mut all = Findings::default();
    let pocket = check_server(client, &mut all).await;
    check_identity(client, namespace, pocket, &mut all).await;
    check_definitions(client, &mut all).await;
    check_policies(client, pocket, &mut all).await;
    namespaces::check_namespaces(client, namespace, pocket, &mut all).await;
    gateways::check_gateway_classes(client, &mut all).await;
    engine::check_clock(client, &mut all).await;
    engine::check_lease(client, namespace, &mut all).await;
    engine::check_engine_pods(client, namespace, pocket, &mut all).await;
    all.0
}

/// Returns whether the server is a pocket.
#[tracing::instrument(level = "debug", skip_all)]
async fn check_server(client: &Client, all: &mut Findings) -> bool {
    let version = match client.apiserver_version().await {
        Ok(version) => version,
        Err(why) => {
            all.add(
                Level::Fail,
                "server",
                error::describe_error(&why),
                "look at the address, and at the log-in",
            );
            return false;
        }
    };
    let number = |text: &str| {
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
            .unwrap_or_default()
    };
    let is = (number(&version.major), number(&version.minor));
    if install::is_pocket(&version) {
        all.add_ok(
            "server",
            format!(
                "pocket, which behaves as Kubernetes {}",
                version.git_version
            ),
        );
        return true;
    }
    if is < MIN_VERSION {
        let (major, minor) = MIN_VERSION;
        let remedy = format!(
            "an approver's name is tied to the caller from Kubernetes {major}.{minor} on: update it"
        );
        all.add(
            Level::Fail,
            "server",
            format!("Kubernetes {}", version.git_version),
            &remedy,
        );
    } else {
        all.add_ok("server", format!("Kubernetes {}", version.git_version));
    }
    false
}

#[tracing::instrument(level = "debug", skip_all, fields(namespace))]
async fn check_identity(client: &Client, namespace: &str, pocket: bool, all: &mut Findings) {
    match rights::current_user(client).await {
        Ok(name) if pocket => all.add_ok(
            "you",
            format!("{name}: a pocket has one user, who may do everything"),
        ),
        Ok(name) => all.add_ok("you", format!("{name}, in namespace {namespace}")),
        Err(why) => all.add(
            Level::Fail,
            "you",
            error::describe_error(&why),
            "Kubernetes 1.28 and newer say who you are",
        ),
    }
    // Nobody uses a deploying account directly, and the right to impersonate it is bound to that
    // one name.
    let accounts = [install::names::DEPLOYER, install::names::IMPERSONATOR];
    for (role, needed) in install::role_permissions()
        .into_iter()
        .filter(|(role, _)| !accounts.contains(&role.as_str()))
    {
        let check = format!("rights: {}", role.trim_start_matches("graylane-"));
        match rights::missing_permissions(client, namespace, &needed).await {
            Err(why) => all.add_unknown(&check, &why),
            Ok(lacking) if lacking.is_empty() => all.add_ok(&check, "yes"),
            Ok(lacking) => {
                let more = lacking.len().saturating_sub(4);
                let mut words: Vec<String> =
                    lacking.iter().take(4).map(ToString::to_string).collect();
                words.extend((more > 0).then(|| format!("{more} more")));
                // Every user needs the rights of a viewer.
                let level = if role == install::names::VIEWER {
                    Level::Fail
                } else {
                    Level::Warn
                };
                let bind = CommandLine::kubectl("create rolebinding NAME").option("-n", namespace);
                let bind = bind.option("--clusterrole", role).fixed_args("--user YOU");
                let remedy = format!("if you should: {bind}");
                all.add(
                    level,
                    &check,
                    format!("no, lacks {}", words.join(", ")),
                    &remedy,
                );
            }
        }
    }
}

#[tracing::instrument(level = "debug", skip_all)]
async fn check_definitions(client: &Client, all: &mut Findings) {
    const INSTALL: &str = "graylane install";
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let ours = api::crd_definitions();
    let mut well = 0;
    for definition in &ours {
        let name = definition.name_any();
        let check = format!("definition {}", definition.spec.names.plural);
        let there = match crds.get_opt(&name).await {
            Ok(Some(there)) => there,
            Ok(None) => {
                all.add(Level::Fail, &check, format!("{name} is not there"), INSTALL);
                continue;
            }
            Err(why) if error::status_code(&why) == Some(403) => {
                return all.add_unknown("definitions", &why);
            }
            Err(why) => {
                all.add(Level::Fail, &check, error::describe_error(&why), INSTALL);
                continue;
            }
        };
        if !conditions::Condition::matches_object(&conditions::is_crd_established(), Some(&there)) {
            all.add(
                Level::Fail,
                &check,
                "the server has not taken it",
                "kubectl describe crd says why",
            );
        } else if there.spec.versions.first().map(|v| &v.schema)
            != definition.spec.versions.first().map(|v| &v.schema)
        {
            let found = "it is of another version of graylane";
            all.add(
                Level::Warn,
                &check,
                found,
                "use the newer one of both: graylane install",
            );
        } else {
            well += 1;
        }
    }
    if well == ours.len() {
        all.add_ok(
            "definitions",
            format!("all {well} are there, of {} {}", api::GROUP, api::VERSION),
        );
    }
}

#[tracing::instrument(level = "debug", skip_all)]
async fn check_policies(client: &Client, pocket: bool, all: &mut Findings) {
    if pocket {
        return all.add_ok("admission policies", "not needed: a pocket has one user");
    }
    for (name, guards) in [
        (
            install::names::APPROVAL_POLICY,
            "anybody who approves can do so in another's name",
        ),
        (
            install::names::RELEASE_POLICY,
            "anybody can release in another's name, and approve that",
        ),
        (
            install::names::WORKFLOW_POLICY,
            "whoever edits an App can take its approvals away",
        ),
    ] {
        let check = format!("policy {name}");
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        match (policies.get_opt(name).await, bindings.get_opt(name).await) {
            (Ok(Some(policy)), Ok(Some(binding))) => {
                let denies = binding
                    .spec
                    .and_then(|s| s.validation_actions)
                    .is_some_and(|a| a.iter().any(|a| a == "Deny"));
                let warned = policy
                    .status
                    .and_then(|s| s.type_checking)
                    .and_then(|t| t.expression_warnings);
                if !denies {
                    all.add(
                        Level::Fail,
                        &check,
                        format!("its binding does not deny: {guards}"),
                        "graylane install",
                    );
                } else if let Some(warning) = warned.and_then(|w| w.into_iter().next()) {
                    all.add(
                        Level::Warn,
                        &check,
                        warning.warning,
                        "graylane install, then look again",
                    );
                } else {
                    all.add_ok(&check, "in force");
                }
            }
            (Err(why), _) | (_, Err(why)) => all.add_unknown(&check, &why),
            _ => all.add(
                Level::Fail,
                &check,
                format!("it is not there: {guards}"),
                "graylane install",
            ),
        }
    }
}
