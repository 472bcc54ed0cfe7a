//! Objects of an App in an environment: rendered, labelled, and in the order of applying.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::object_error::{ObjectError, RenderError};
use crate::{
    api::{App, Environment, NamespaceRef, ObjectRef, Release, VariableGroup, label},
    domain::{
        account::{Account, check_not_own_object},
        batches::{Manifest, is_batched, template::short_digest},
        owner::is_same,
        template::{self, Context},
        variables::{self, Values},
    },
};

/// Common kinds that are cluster-scoped.
const CLUSTER_SCOPED: [&str; 12] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "GatewayClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Renders the objects of an App in one environment, in ascending priority: with graylane's labels
/// and the digest of the manifest, and in the environment's namespace unless they name one.
/// `shared` are the values of the environment's variable groups. All errors are returned at once,
/// each with its place.
pub fn render_objects(
    app: &App,
    environment: &Environment,
    shared: &Values,
    images: &BTreeMap<String, String>,
) -> Result<Vec<Value>, Vec<RenderError>> {
    let name = app.metadata.name.clone().unwrap_or_default();
    let context = Context::for_environment(&name, environment, shared, images.clone());
    let mut manifests: Vec<_> = app.spec.manifests.iter().collect();
    manifests.sort_by_key(|m| m.priority);
    let (mut objects, mut errors, mut known) = (vec![], vec![], Vec::<ObjectRef>::new());
    for manifest in manifests {
        match template::render_manifests(&manifest.name, &manifest.template, &context) {
            Err(all) => errors.extend(all.into_iter().map(RenderError::Template)),
            Ok(all) => {
                for object in all {
                    let done = label_object(object, &name, environment).and_then(|object| {
                        let new = ObjectRef::from_object(&object);
                        // The same object in another API version counts as the same.
                        if known.iter().any(|k| is_same(k, &new)) {
                            let (kind, name) = (new.kind, new.key.name);
                            return Err(ObjectError::Twice { kind, name });
                        }
                        known.push(new);
                        Ok(object)
                    });
                    match done {
                        Ok(object) => objects.push(object),
                        Err(source) => errors.push(RenderError::Object {
                            manifest: manifest.name.clone(),
                            source,
                        }),
                    }
                }
            }
        }
    }
    if errors.is_empty() && objects.is_empty() {
        errors.push(RenderError::Empty);
    }
    if errors.is_empty() {
        Ok(objects)
    } else {
        Err(errors)
    }
}

/// Like [`render_objects`], but for an environment in another context the namespace becomes
/// `CONTEXT/NAMESPACE` (`CONTEXT/` for cluster-scoped objects). The digest does not depend on it.
pub fn render_placed_objects(
    app: &App,
    environment: &Environment,
    shared: &Values,
    images: &BTreeMap<String, String>,
) -> Result<Vec<Value>, Vec<RenderError>> {
    let mut objects = render_objects(app, environment, shared, images)?;
    if !environment.context.is_home() {
        for object in &mut objects {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let place = NamespaceRef::new(environment.context.clone(), namespace);
            object["metadata"]["namespace"] = place.to_string().into();
        }
    }
    Ok(objects)
}

fn label_object(
    mut object: Value,
    app: &str,
    environment: &Environment,
) -> Result<Value, ObjectError> {
    let text = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    if kind.is_empty() || text("/apiVersion").is_empty() {
        return Err(ObjectError::NoKind);
    }
    if name.is_empty() {
        return Err(ObjectError::NoName(kind));
    }
    check_not_own_object(
        &object,
        environment
            .service_account_name
            .as_deref()
            .unwrap_or_default(),
    )?;
    if text("/metadata/namespace").is_empty() && !CLUSTER_SCOPED.contains(&kind.as_str()) {
        object["metadata"]["namespace"] = environment.namespace.as_str().into();
    }
    add_labels(&mut object, app, &environment.name).map_err(|place| ObjectError::Labels {
        kind,
        name,
        place,
    })?;
    if is_batched(&ObjectRef::from_object(&object)) {
        Manifest::from_object(&object)?;
    }
    let digest = short_digest(&object);
    set_annotation(&mut object, label::APPLIED, &digest);
    Ok(object)
}

/// Labels an object and its pods. Fails with the path of metadata whose labels are not a map.
fn add_labels(object: &mut Value, app: &str, environment: &str) -> Result<(), &'static str> {
    let labels = [(label::APP, app), (label::ENVIRONMENT, environment)];
    let mut places = vec!["/metadata"];
    if object
        .pointer("/spec/template")
        .is_some_and(Value::is_object)
    {
        places.push("/spec/template/metadata");
    }
    if object
        .pointer("/spec/jobTemplate/spec/template")
        .is_some_and(Value::is_object)
    {
        places.push("/spec/jobTemplate/spec/template/metadata");
    }
    for place in places {
        let (parent, last) = place.rsplit_once('/').unwrap_or(("", "metadata"));
        let Some(meta) = object.pointer_mut(parent).map(|p| &mut p[last]) else {
            continue;
        };
        for (key, value) in labels {
            if meta.is_null() {
                *meta = json!({});
            }
            if meta["labels"].is_null() {
                meta["labels"] = json!({});
            }
            let Some(map) = meta["labels"].as_object_mut() else {
                return Err(place);
            };
            map.insert(key.into(), value.into());
        }
    }
    Ok(())
}

/// Sets an annotation.
pub(super) fn set_annotation(object: &mut Value, key: &str, value: &str) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][key] = value.into();
}

/// All objects that [`super::decide_steps`] needs for a release, and the account to read each with: what
/// its environments hold, and what they will hold.
pub fn objects_to_observe(
    release: &Release,
    app: &App,
    groups: &BTreeMap<String, VariableGroup>,
) -> BTreeMap<ObjectRef, Account> {
    let mut all = BTreeMap::new();
    let status = release.status.clone().unwrap_or_default();
    let mut environments: BTreeSet<&str> = status
        .tasks
        .iter()
        .filter_map(|t| t.environment.as_deref())
        .collect();
    environments.extend(release.spec.teardown.iter().map(|t| t.environment.as_str()));
    // Before the first pass its tasks are not in the status yet.
    for task in app
        .spec
        .stage(&release.spec.stage)
        .into_iter()
        .flat_map(|s| &s.tasks)
    {
        environments.extend(task.deploy.iter().map(|d| d.environment.as_str()));
        environments.extend(task.clean_up.iter().map(|c| c.environment.as_str()));
    }
    for name in environments {
        let told = app.status.as_ref().and_then(|s| s.environments.get(name));
        let held = told.into_iter().flat_map(|s| &s.inventory);
        let environment = app.spec.environment(name);
        all.extend(held.map(|item| {
            let by = Account::for_environment(Some(app), name, &item.object);
            (item.object.clone(), by)
        }));
        if let Some(environment) = environment {
            let shared = if status.tasks.is_empty() {
                variables::resolve_shared_values(
                    &release.spec.app,
                    &app.spec,
                    environment,
                    |name| groups.get(name),
                )
                .unwrap_or_default()
            } else {
                status.variables.get(name).cloned().unwrap_or_default()
            };
            let named = render_names(app, environment, &shared, &status.images).into_iter();
            all.extend(named.map(|object| {
                let by = Account::for_object(environment, &object);
                (object, by)
            }));
        }
    }
    all
}

/// Names of an App's objects in an environment, whatever its images; empty when its manifests are
/// wrong.
pub fn object_names<'g>(
    app: &App,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'g VariableGroup>,
) -> Vec<ObjectRef> {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    let shared = variables::resolve_shared_values(name, &app.spec, environment, group_of)
        .unwrap_or_default();
    render_names(app, environment, &shared, &BTreeMap::new())
}

fn render_names(
    app: &App,
    environment: &Environment,
    shared: &Values,
    images: &BTreeMap<String, String>,
) -> Vec<ObjectRef> {
    // Names should not depend on images; where they do, the next pass has the right ones.
    let mut images = images.clone();
    for image in app.spec.images.keys() {
        images
            .entry(image.clone())
            .or_insert_with(|| format!("{image}:none"));
    }
    render_placed_objects(app, environment, shared, &images)
        .into_iter()
        .flatten()
        .map(|o| ObjectRef::from_object(&o))
        .collect()
}

/// A name of at most `most` characters; a longer one is cut and ends with its digest.
pub(super) fn short_name(name: &str, most: usize) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-').to_owned();
    if plain == name && plain.len() <= most {
        return plain;
    }
    let hash = &short_digest(&Value::from(name))[..8];
    let cut: String = plain.chars().take(most.saturating_sub(9)).collect();
    format!("{}-{hash}", cut.trim_end_matches('-'))
}
