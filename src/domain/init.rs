//! Makes a first App of objects that do not run yet: those that a Helm chart, a Kustomize folder or
//! a file renders. The Deployment and its Service get placeholders, as in [`super::adopt`]; the
//! other objects are kept as they are and belong to the baseline alone.

mod comments;
mod lanes;
mod select;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    adopt::{self, AdoptionError, GrayError, GrayVersion, find_overlaps},
    template::{self, Context, TemplateError},
    text::join_lines,
    variables::Values,
};
use crate::api::{AppSpec, DeployTask, Stage, Task};

pub use comments::comment_yaml;
pub use lanes::{LaneNames, build_lane_objects};
pub use select::{SelectError, Selected, Wanted, select_objects};

/// Stage that deploys the first version.
pub const BASELINE_STAGE: &str = "baseline";

/// An App that can be written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct NewApp {
    /// Name of the App.
    pub name: String,
    /// Its namespace, which is that of its first environment.
    pub namespace: String,
    /// Spec of the App.
    pub spec: AppSpec,
    /// Service that callers use, with its first port.
    pub service: Option<(String, u16)>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Why no App can be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No workload can be chosen.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The Deployment cannot become templates.
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    /// A gray version cannot be added.
    #[error(transparent)]
    Gray(#[from] GrayError),
    /// The templates cannot be rendered.
    #[error("{}", join_lines(.0))]
    Templates(Vec<TemplateError>),
    /// Gray objects are not separate from those of the baseline.
    #[error("{gray} would not be separate from {environment}\n{}", problems.join("\n"))]
    Overlap {
        /// The gray environment.
        gray: String,
        /// The environment beside it.
        environment: String,
        /// One line for each.
        problems: Vec<String>,
    },
}

/// Builds an App of rendered objects; they become its environment `environment`. With `gray`, a
/// gray version of that name stands beside it.
pub fn build_app(
    name: Option<&str>,
    environment: &str,
    gray: Option<&str>,
    selected: Selected,
) -> Result<NewApp, InitError> {
    let deployment = &selected.found.deployment;
    let own = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let name = name.map_or_else(|| adopt::default_app_name(own, environment), str::to_owned);
    let adoption = adopt::adopt_workload(&selected.found, &name, environment)?;
    let mut spec = adoption.spec;
    for object in &selected.others {
        spec.manifests.push(adopt::baseline_manifest(object)?);
    }
    spec.manifests.sort_by_key(|m| m.priority);
    if let Some(gray) = gray {
        let version = GrayVersion {
            beside: environment,
            environment: gray,
            tag: gray,
        };
        spec = adopt::add_gray(&spec, &version)?;
        check_apart(&spec, &name, &adoption.images, &version, &[])?;
    }
    spec.workflow.stages.push(baseline_stage(environment));
    let mut notes = selected.notes;
    notes.extend(adoption.notes);
    Ok(NewApp {
        namespace: selected.namespace,
        service: selected.found.service.as_ref().and_then(service_port),
        name,
        spec,
        notes,
    })
}

/// Name and first port of a Service.
pub fn service_port(service: &Value) -> Option<(String, u16)> {
    let name = service["metadata"]["name"].as_str()?;
    let port = service.pointer("/spec/ports/0/port")?.as_u64()?;
    Some((name.to_owned(), u16::try_from(port).ok()?))
}

/// The stage by which the first version comes: without an approval, nothing runs before.
fn baseline_stage(environment: &str) -> Stage {
    Stage {
        name: BASELINE_STAGE.into(),
        tasks: vec![Task {
            name: format!("deploy-{environment}"),
            deploy: Some(DeployTask {
                environment: environment.into(),
            }),
            ..Task::default()
        }],
    }
}

/// Fails when an object of gray is one of the baseline's, or a selector of one version matches pods
/// of the other. `others` are the baseline's, though no part of the App.
pub fn check_apart(
    spec: &AppSpec,
    app: &str,
    images: &BTreeMap<String, String>,
    gray: &GrayVersion,
    others: &[Value],
) -> Result<(), InitError> {
    let mut old = render(spec, app, gray.beside, images)?;
    old.extend(others.iter().cloned());
    let new = render(spec, app, gray.environment, images)?;
    let problems = find_overlaps(&old, &new, gray);
    if problems.is_empty() {
        return Ok(());
    }
    Err(InitError::Overlap {
        gray: gray.environment.to_owned(),
        environment: gray.beside.to_owned(),
        problems,
    })
}

fn render(
    spec: &AppSpec,
    app: &str,
    environment: &str,
    images: &BTreeMap<String, String>,
) -> Result<Vec<Value>, InitError> {
    let environment = spec.environment(environment).cloned().unwrap_or_default();
    let context = Context::for_environment(app, &environment, &Values::new(), images.clone());
    let mut all = vec![];
    for manifest in &spec.manifests {
        let rendered = template::render_manifests(&manifest.name, &manifest.template, &context);
        all.extend(rendered.map_err(InitError::Templates)?);
    }
    Ok(all)
}

/// The App as YAML with a comment on each part.
pub fn write_app(app: &NewApp) -> String {
    let object = json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": "App",
        "metadata": {"name": app.name, "namespace": app.namespace},
        "spec": app.spec,
    });
    comment_yaml(&kube_yaml::to_yaml(&object), comments::APP)
}
