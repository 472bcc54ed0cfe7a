//! Adds a gray version beside an environment: the environment itself, and tasks in the existing
//! workflow. Other tasks keep their content and order.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{LANE, SUFFIX, label_keys};
use crate::api::{
    AppSpec, CleanUpTask, DeployTask, Environment, PausePolicy, ProceedTask, RolloutPlan, Stage,
    Task, label,
};

/// Names of a gray version.
#[derive(Clone, Copy, Debug)]
pub struct GrayVersion<'a> {
    /// Environment that the gray version is based on.
    pub beside: &'a str,
    /// Name of the new environment.
    pub environment: &'a str,
    /// Lane tag of the new environment.
    pub tag: &'a str,
}

/// A gray version cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrayError {
    /// The App has an environment of this name.
    #[error("there is an environment {0} already")]
    EnvironmentExists(String),
    /// Another environment has the lane tag.
    #[error("environment {environment} has the lane tag {tag} already")]
    TagTaken {
        /// Name of the environment that has it.
        environment: String,
        /// The lane tag.
        tag: String,
    },
    /// The environment to be beside does not exist.
    #[error("there is no environment {0}")]
    NoEnvironment(String),
    /// The workflow never deploys the environment to be beside.
    #[error("no stage of the workflow deploys {0}")]
    NotDeployed(String),
}

/// Returns the spec with a gray environment and its tasks added.
pub fn add_gray(spec: &AppSpec, gray: &GrayVersion) -> Result<AppSpec, GrayError> {
    let mut spec = spec.clone();
    if spec.environment(gray.environment).is_some() {
        return Err(GrayError::EnvironmentExists(gray.environment.to_owned()));
    }
    if let Some(other) = spec.environment_of_lane(gray.tag) {
        return Err(GrayError::TagTaken {
            environment: other.name.clone(),
            tag: gray.tag.to_owned(),
        });
    }
    let at = spec.environments.iter().position(|e| e.name == gray.beside);
    let at = at.ok_or_else(|| GrayError::NoEnvironment(gray.beside.to_owned()))?;
    let beside = &spec.environments[at];
    let mut values = beside.values.clone();
    if values.contains_key("replicas") {
        values.insert("replicas".into(), 1.into());
    }
    for (key, value) in [
        (SUFFIX, format!("-{}", gray.tag)),
        (LANE, gray.tag.to_owned()),
    ] {
        if values.contains_key(key) {
            values.insert(key.into(), value.into());
        }
    }
    let environment = Environment {
        name: gray.environment.into(),
        lane: Some(gray.tag.into()),
        context: beside.context.clone(),
        namespace: beside.namespace.clone(),
        values,
        variable_groups: beside.variable_groups.clone(),
        service_account_name: beside.service_account_name.clone(),
        rollout: RolloutPlan {
            pause: PausePolicy::Never,
            ..RolloutPlan::default()
        },
        lock: None,
    };
    spec.environments.insert(at, environment);
    let mut found = false;
    for stage in &mut spec.workflow.stages {
        found |= insert_gray_tasks(stage, gray);
    }
    if found {
        Ok(spec)
    } else {
        Err(GrayError::NotDeployed(gray.beside.to_owned()))
    }
}

/// Inserts the gray tasks around the environment's deploy task, if the stage has one.
fn insert_gray_tasks(stage: &mut Stage, gray: &GrayVersion) -> bool {
    let deploys = |t: &Task| {
        t.deploy
            .as_ref()
            .is_some_and(|d| d.environment == gray.beside)
    };
    let Some(at) = stage.tasks.iter().position(deploys) else {
        return false;
    };
    let name = |stage: &Stage, word: &str| {
        let free = |name: &String| stage.tasks.iter().all(|t| t.name != *name);
        let plain = format!("{word}-{}", gray.environment);
        if free(&plain) {
            plain
        } else {
            (2..100)
                .map(|n| format!("{plain}-{n}"))
                .find(free)
                .unwrap_or(plain)
        }
    };
    let environment = gray.environment.to_owned();
    let clean = Task {
        name: name(stage, "clean"),
        clean_up: Some(CleanUpTask {
            environment: environment.clone(),
            remove_environment: false,
        }),
        ..Task::default()
    };
    stage.tasks.insert(at + 1, clean);
    // A person who lets production proceed should do so after checking gray.
    let gates = stage.tasks[..at]
        .iter()
        .rev()
        .take_while(|t| t.proceed.is_some())
        .count();
    let deploy = Task {
        name: name(stage, "deploy"),
        deploy: Some(DeployTask { environment }),
        ..Task::default()
    };
    stage.tasks.insert(at - gates, deploy);
    if gates == 0 {
        let prompt = Some(format!(
            "Is {} fine? Then let {} go.",
            gray.environment, gray.beside
        ));
        let proceed = Task {
            name: name(stage, "proceed"),
            proceed: Some(ProceedTask { prompt }),
            ..Task::default()
        };
        stage.tasks.insert(at + 1, proceed);
    }
    true
}

/// Reports why the gray objects (`new`) are not separate from those of the environment beside them
/// (`old`).
pub fn find_overlaps(old: &[Value], new: &[Value], gray: &GrayVersion) -> Vec<String> {
    let mut problems = vec![];
    let text = |v: &Value, path: &str| {
        v.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let key = |o: &Value| {
        [
            text(o, "/kind"),
            text(o, "/metadata/namespace"),
            text(o, "/metadata/name"),
        ]
    };
    let hint = format!(
        "let the template name it by {{{{ .AppStack.envName }}}} or {{{{ .Values.{SUFFIX} }}}}"
    );
    for object in new.iter().filter(|n| old.iter().any(|o| key(o) == key(n))) {
        let [kind, _, name] = key(object);
        problems.push(format!(
            "{kind} {name} would be one and the same in {} and {}: {hint}",
            gray.environment, gray.beside
        ));
    }
    let same_place =
        |a: &Value, b: &Value| text(a, "/metadata/namespace") == text(b, "/metadata/namespace");
    for deployment in new.iter().filter(|o| o["kind"] == "Deployment") {
        let pods = label_keys::string_map(deployment.pointer("/spec/template/metadata/labels"));
        let name = text(deployment, "/metadata/name");
        if pods.get(label::SERVICE_TAG) != Some(&gray.tag) {
            problems.push(format!(
                "Deployment {name}: its pods do not carry the label {}: {}, so they cannot tell that they are gray",
                label::SERVICE_TAG,
                gray.tag
            ));
        }
        for other in old.iter().filter(|o| same_place(o, deployment)) {
            let selector = match other["kind"].as_str() {
                Some("Deployment") => {
                    label_keys::string_map(other.pointer("/spec/selector/matchLabels"))
                }
                Some("Service") => label_keys::string_map(other.pointer("/spec/selector")),
                _ => continue,
            };
            if selector_matches(&selector, &pods) {
                problems.push(format!(
                    "{} {} of {} would select the pods of {}: give the label another value there",
                    text(other, "/kind"),
                    text(other, "/metadata/name"),
                    gray.beside,
                    gray.environment
                ));
            }
        }
    }
    problems
}

fn selector_matches(selector: &BTreeMap<&str, &str>, labels: &BTreeMap<&str, &str>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}
