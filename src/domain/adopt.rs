//! Creates an App from a running workload: templates from live objects, and a gray version beside
//! them.
//!
//! First, nothing changes: the templates, rendered for the adopted environment, give back the live
//! objects (checked here, and by the server's dry run before anything is written). Second, gray
//! gets its own objects and selector: no selector of the baseline may match gray pods.

mod error;
mod gray;
mod label_keys;
mod placeholders;
mod strip_defaults;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    template::{self, Context},
    variables::Values,
};
use crate::api::{
    Amount, AppSpec, ApprovalTask, DeployTask, Environment, ImageSource, Manifest, PausePolicy,
    ReleaseHistory, RolloutPlan, Stage, Task, Workflow,
};

pub use error::AdoptionError;
pub use gray::{GrayError, GrayVersion, add_gray, find_overlaps};

/// Template value that distinguishes the versions of an adopted App: `-gray`; empty for the
/// baseline.
pub const SUFFIX: &str = "suffix";
/// Template value with the lane tag: `gray`; empty for the baseline. See [`SUFFIX`].
pub const LANE: &str = "lane";

/// Live objects to adopt.
#[derive(Clone, Debug, Default)]
pub struct FoundWorkload {
    /// Deployment to adopt.
    pub deployment: Value,
    /// Service that callers use.
    pub service: Option<Value>,
    /// Other Services in the namespace that select its pods.
    pub others: Vec<Value>,
    /// Whether an autoscaler sets its replicas.
    pub autoscaled: bool,
}

/// App that would be created.
#[derive(Clone, Debug, PartialEq)]
pub struct Adoption {
    /// Spec of the App.
    pub spec: AppSpec,
    /// Image name to the reference that is running.
    pub images: BTreeMap<String, String>,
    /// Objects that the templates give for the environment.
    pub objects: Vec<Value>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Builds an App named `app` from live objects, which become its environment `environment`.
pub fn adopt_workload(
    found: &FoundWorkload,
    app: &str,
    environment: &str,
) -> Result<Adoption, AdoptionError> {
    let text = |v: &Value, path: &str| {
        v.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let name = text(&found.deployment, "/metadata/name");
    let namespace = text(&found.deployment, "/metadata/namespace");
    check_no_other_owner(&found.deployment)?;
    let mut notes = collect_notes(found);
    let services: Vec<&Value> = found.service.iter().chain(&found.others).collect();
    let keys = label_keys::choose_distinguishing_keys(&found.deployment, &services, environment)
        .map_err(|source| AdoptionError::Labels {
            deployment: name,
            source,
        })?;
    let AdoptedObjects {
        objects,
        manifests,
        images,
        values,
    } = adopt_objects(found, environment, &keys)?;
    if found.service.is_none() {
        notes.push(
            "no Service leads to it: a lane cannot, and callers of a gray version need one".into(),
        );
    }
    let replicas = found
        .deployment
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let spec = AppSpec {
        repository: None,
        images: images
            .iter()
            .map(|(name, reference)| {
                let source = ImageSource {
                    repository: strip_tag_and_digest(reference).into(),
                    default: Some(reference.clone()),
                    ..ImageSource::default()
                };
                (name.clone(), source)
            })
            .collect(),
        manifests,
        environments: vec![Environment {
            name: environment.into(),
            namespace: namespace.clone(),
            values,
            rollout: rollout_plan_for(replicas, found.deployment.pointer("/spec/strategy/type")),
            ..Environment::default()
        }],
        workflow: default_workflow(environment),
        history: ReleaseHistory::default(),
    };
    let given = render_objects(&spec, app, environment, &images)?;
    if given != objects {
        return Err(AdoptionError::Unfaithful(template_difference(
            &given, &objects,
        )));
    }
    Ok(Adoption {
        spec,
        images,
        objects,
        notes,
    })
}

/// The live objects without the server's own fields, and as templates.
struct AdoptedObjects {
    objects: Vec<Value>,
    manifests: Vec<Manifest>,
    images: BTreeMap<String, String>,
    values: Values,
}

fn adopt_objects(
    found: &FoundWorkload,
    environment: &str,
    keys: &BTreeSet<String>,
) -> Result<AdoptedObjects, AdoptionError> {
    let mut holes = placeholders::Placeholders::new(&[
        &found.deployment,
        found.service.as_ref().unwrap_or(&Value::Null),
    ]);
    let mut bare = strip_defaults::strip_deployment(&found.deployment);
    let mut values = Values::new();
    if found.autoscaled {
        bare["spec"]
            .as_object_mut()
            .map(|s| s.shift_remove("replicas"));
    } else {
        values.insert("replicas".to_owned(), bare["spec"]["replicas"].clone());
    }
    values.insert(SUFFIX.to_owned(), "".into());
    values.insert(LANE.to_owned(), "".into());
    let mut objects = vec![bare.clone()];
    let images = holes.template_deployment(&mut bare, environment, keys);
    let mut manifests = vec![Manifest {
        name: "deployment.yaml".into(),
        priority: 10,
        template: holes.to_template_text(&bare)?,
    }];
    if let Some(service) = &found.service {
        let mut bare = strip_defaults::strip_service(service);
        objects.push(bare.clone());
        holes.template_service(&mut bare, environment, keys);
        manifests.push(Manifest {
            name: "service.yaml".into(),
            priority: 20,
            template: holes.to_template_text(&bare)?,
        });
    }
    Ok(AdoptedObjects {
        objects,
        manifests,
        images,
        values,
    })
}

/// Rejects a Deployment that another controller manages, because it would undo graylane's changes.
fn check_no_other_owner(deployment: &Value) -> Result<(), AdoptionError> {
    let meta = &deployment["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    let mut owners = meta["ownerReferences"].as_array().into_iter().flatten();
    if let Some(owner) = owners.find(|o| o["controller"] == true) {
        let word = |key: &str| owner[key].as_str().unwrap_or_default().to_owned();
        return Err(AdoptionError::Controlled {
            deployment: name.to_owned(),
            kind: word("kind"),
            name: word("name"),
        });
    }
    let mut annotations = meta["annotations"].as_object().into_iter().flatten();
    let rolled = |key: &str| {
        key.starts_with("rollouts.kruise.io/") || key.starts_with("rollout.argoproj.io/")
    };
    match annotations.find(|(key, _)| rolled(key)) {
        Some((key, _)) => Err(AdoptionError::RolledElsewhere {
            deployment: name.to_owned(),
            annotation: key.clone(),
        }),
        None => Ok(()),
    }
}

fn collect_notes(found: &FoundWorkload) -> Vec<String> {
    let mut notes = vec![];
    let meta = &found.deployment["metadata"];
    let keys = |part: &str| {
        meta[part]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k.clone())
            .collect::<Vec<_>>()
    };
    if let Some(key) = keys("labels")
        .into_iter()
        .chain(keys("annotations"))
        .find(|k| strip_defaults::is_gitops(k))
    {
        notes.push(format!(
            "{key}: a GitOps tool or Helm manages it too and may undo releases; let it ignore image, strategy and \
             minReadySeconds, or release through it"
        ));
    }
    if found.autoscaled {
        notes.push("something else sets its replicas: the template says nothing of them".into());
    }
    if found
        .deployment
        .pointer("/spec/strategy/type")
        .is_some_and(|t| t == "Recreate")
    {
        notes.push("strategy Recreate: a release is one batch, all pods at once".into());
    }
    notes
}

/// Notes about other Services that select the pods of a running workload.
pub fn note_other_services(found: &FoundWorkload) -> Vec<String> {
    let names = found.others.iter().filter_map(|service| {
        let name = service.pointer("/metadata/name")?.as_str()?;
        Some(format!(
            "Service {name} selects its pods too; it stays as it is"
        ))
    });
    names.collect()
}

/// Name of an App for a Deployment: the Deployment's, without the environment at its end.
pub fn default_app_name(deployment: &str, environment: &str) -> String {
    let plain = deployment
        .strip_suffix(environment)
        .and_then(|p| p.strip_suffix('-'))
        .filter(|p| !p.is_empty());
    plain.unwrap_or(deployment).to_owned()
}

/// Manifest of an object that belongs to the baseline alone and is kept as it is, but for its
/// namespace. A gray version in the same namespace shares it.
pub fn baseline_manifest(object: &Value) -> Result<Manifest, AdoptionError> {
    let mut bare = object.clone();
    if let Some(map) = bare.as_object_mut() {
        map.shift_remove("status");
    }
    let mut holes = placeholders::Placeholders::new(&[object]);
    holes.template_namespace(&mut bare);
    let word = |path: &str| object.pointer(path).and_then(Value::as_str);
    let kind = word("/kind").unwrap_or_default().to_lowercase();
    // What pods mount or run as must be there before them.
    let first = [
        "configmap",
        "serviceaccount",
        "persistentvolumeclaim",
        "networkpolicy",
    ];
    Ok(Manifest {
        name: format!("{kind}-{}.yaml", word("/metadata/name").unwrap_or_default()),
        priority: if first.contains(&kind.as_str()) {
            5
        } else {
            30
        },
        template: format!(
            "{{{{- if not .Values.{LANE} }}}}\n{}{{{{- end }}}}\n",
            holes.to_template_text(&bare)?
        ),
    })
}

fn rollout_plan_for(replicas: u64, strategy: Option<&Value>) -> RolloutPlan {
    let whole = replicas < 2 || strategy.is_some_and(|s| s == "Recreate");
    let share = |percent| Amount::Percent(percent);
    let batches = if whole {
        vec![]
    } else {
        vec![Amount::Count(1), share(50), share(100)]
    };
    RolloutPlan {
        batches,
        pause: PausePolicy::First,
        ..RolloutPlan::default()
    }
}

fn default_workflow(environment: &str) -> Workflow {
    let approve = Task {
        name: "approve".into(),
        approval: Some(ApprovalTask::default()),
        ..Task::default()
    };
    let deploy = Task {
        name: format!("deploy-{environment}"),
        deploy: Some(DeployTask {
            environment: environment.into(),
        }),
        ..Task::default()
    };
    Workflow {
        stages: vec![Stage {
            name: "production".into(),
            tasks: vec![approve, deploy],
        }],
    }
}

/// Image reference without tag and digest.
fn strip_tag_and_digest(reference: &str) -> &str {
    let plain = reference.split('@').next().unwrap_or_default();
    match plain.rfind(':') {
        Some(at) if !plain[at..].contains('/') => &plain[..at],
        _ => plain,
    }
}

/// Renders the objects of a spec for one environment.
fn render_objects(
    spec: &AppSpec,
    app: &str,
    environment: &str,
    images: &BTreeMap<String, String>,
) -> Result<Vec<Value>, AdoptionError> {
    let found = spec
        .environment(environment)
        .ok_or_else(|| AdoptionError::NoEnvironment(environment.to_owned()))?;
    let context = Context::for_environment(app, found, &Values::new(), images.clone());
    let mut all = vec![];
    for manifest in &spec.manifests {
        all.extend(
            template::render_manifests(&manifest.name, &manifest.template, &context)
                .map_err(AdoptionError::Templates)?,
        );
    }
    Ok(all)
}

fn template_difference(given: &[Value], wanted: &[Value]) -> String {
    let patch = super::batches::template::make_merge_patch(&json!(wanted), &json!(given));
    patch.unwrap_or_default().to_string()
}
