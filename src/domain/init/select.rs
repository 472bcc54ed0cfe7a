//! Chooses of rendered objects what an App is made of: one Deployment, the Service of its callers,
//! and what else may stand in manifests. What is left out is told.

use serde_json::Value;

use crate::domain::{account, adopt::FoundWorkload, text::Clean};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The Deployment; may be left out where there is only one.
    pub deployment: Option<&'a str>,
    /// The Service that callers use; may be left out where only one selects the pods.
    pub service: Option<&'a str>,
    /// Namespace of objects that name none.
    pub namespace: &'a str,
}

/// The objects of an App.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Deployment and Service.
    pub found: FoundWorkload,
    /// Other objects of its manifests.
    pub others: Vec<Value>,
    /// Namespace of all of them.
    pub namespace: String,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// No objects can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no Deployment.
    #[error("there is no Deployment in it, and an App is made around one")]
    NoDeployment,
    /// There are several Deployments.
    #[error(
        "there are several Deployments, and an App has one: name it with --deployment; there are {0}"
    )]
    ManyDeployments(String),
    /// There is no Deployment of this name.
    #[error("there is no Deployment {name} in it; there are {known}")]
    UnknownDeployment {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Several Services select the pods.
    #[error(
        "several Services select the pods of {deployment}: name the one that callers use with --service; there are {known}"
    )]
    ManyServices {
        /// Name of the Deployment.
        deployment: String,
        /// The Services.
        known: String,
    },
    /// No Service of this name selects the pods.
    #[error("no Service {name} in it selects the pods of {deployment}")]
    UnknownService {
        /// The name.
        name: String,
        /// Name of the Deployment.
        deployment: String,
    },
}

/// Chooses the objects of an App.
pub fn select_objects(objects: Vec<Value>, wanted: &Wanted) -> Result<Selected, SelectError> {
    let mut all: Vec<Value> = objects;
    let mut deployment = take_deployment(&mut all, wanted.deployment)?;
    let name = name_of(&deployment).to_owned();
    let namespace = match namespace_of(&deployment) {
        "" => wanted.namespace.to_owned(),
        own => own.to_owned(),
    };
    deployment["metadata"]["namespace"] = namespace.as_str().into();
    let mut notes = vec![];
    all.retain_mut(|object| {
        let kept = explain_omission(object, wanted.namespace, &namespace);
        let what = Clean::from_untrusted(&format!("{} {}", kind_of(object), name_of(object)));
        match kept {
            None => object["metadata"]["namespace"] = namespace.as_str().into(),
            Some(why) => notes.push(format!("{what} is left out: {why}")),
        }
        kept.is_none()
    });
    let service = take_service(&mut all, &deployment, wanted.service)?;
    // Gray must be kept out of these as well.
    let others = all
        .iter()
        .filter(|o| selects_pods(o, &deployment))
        .cloned()
        .collect();
    let autoscaled = all.iter().any(|o| {
        let target = &o["spec"]["scaleTargetRef"];
        kind_of(o) == "HorizontalPodAutoscaler"
            && target["kind"] == "Deployment"
            && target["name"] == *name
    });
    if !autoscaled && deployment["spec"]["replicas"].is_null() {
        deployment["spec"]["replicas"] = 1.into();
    }
    Ok(Selected {
        found: FoundWorkload {
            deployment,
            service,
            others,
            autoscaled,
        },
        others: all,
        namespace,
        notes,
    })
}

/// Why an object does not become part of the App; `None` when it does.
fn explain_omission(object: &Value, default: &str, namespace: &str) -> Option<&'static str> {
    let own = match namespace_of(object) {
        "" => default,
        own => own,
    };
    let hook = object["metadata"]["annotations"]
        .as_object()
        .is_some_and(|all| all.keys().any(|key| key.starts_with("helm.sh/hook")));
    if hook {
        Some("it is a hook of Helm, and no release of graylane runs it")
    } else if kind_of(object) == "Deployment" {
        Some("an App has one Deployment; make another App of it")
    } else if !may_deploy(object) {
        Some("graylane-deployer may not write it; apply it by itself")
    } else if own != default && own != namespace {
        Some("it is in another namespace; make another App of it")
    } else {
        None
    }
}

/// Whether the account that deploys Apps may write an object of this kind.
fn may_deploy(object: &Value) -> bool {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = kind_of(object).to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    };
    account::DEPLOYER_GRANTS.iter().any(|grant| {
        grant.group == group
            && grant.resources.contains(&plural.as_str())
            && grant.verbs.concat().contains(&"create")
    })
}

fn take_deployment(all: &mut Vec<Value>, wanted: Option<&str>) -> Result<Value, SelectError> {
    let is_deployment = |o: &Value| kind_of(o) == "Deployment" && o["apiVersion"] == "apps/v1";
    let names: Vec<String> = all
        .iter()
        .filter(|o| is_deployment(o))
        .map(|o| name_of(o).to_owned())
        .collect();
    let at = match (wanted, names.as_slice()) {
        (_, []) => return Err(SelectError::NoDeployment),
        (Some(name), known) => all
            .iter()
            .position(|o| is_deployment(o) && name_of(o) == name)
            .ok_or_else(|| SelectError::UnknownDeployment {
                name: name.to_owned(),
                known: known.join(", "),
            })?,
        (None, [_]) => all.iter().position(is_deployment).unwrap_or_default(),
        (None, many) => return Err(SelectError::ManyDeployments(many.join(", "))),
    };
    Ok(all.remove(at))
}

fn take_service(
    all: &mut Vec<Value>,
    deployment: &Value,
    wanted: Option<&str>,
) -> Result<Option<Value>, SelectError> {
    let fitting: Vec<usize> = (0..all.len())
        .filter(|i| selects_pods(&all[*i], deployment))
        .collect();
    let at = match (wanted, fitting.as_slice()) {
        (Some(name), many) => Some(
            many.iter()
                .copied()
                .find(|i| name_of(&all[*i]) == name)
                .ok_or_else(|| SelectError::UnknownService {
                    name: name.to_owned(),
                    deployment: name_of(deployment).to_owned(),
                })?,
        ),
        (None, []) => None,
        (None, [one]) => Some(*one),
        (None, many) => {
            let known: Vec<&str> = many.iter().map(|i| name_of(&all[*i])).collect();
            return Err(SelectError::ManyServices {
                deployment: name_of(deployment).to_owned(),
                known: known.join(", "),
            });
        }
    };
    Ok(at.map(|at| all.remove(at)))
}

/// Whether an object is a Service that selects the pods of a Deployment.
fn selects_pods(object: &Value, deployment: &Value) -> bool {
    let labels = deployment.pointer("/spec/template/metadata/labels");
    let selector = object["spec"]["selector"].as_object();
    kind_of(object) == "Service"
        && selector.is_some_and(|s| {
            !s.is_empty()
                && s.iter()
                    .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
        })
}

fn kind_of(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}
