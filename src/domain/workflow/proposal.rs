//! What an approval lets through: the objects of the deploys after it, rendered as they would be
//! applied, with one digest of all of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde_json::{Value, json};

use super::{
    object_error::RenderError, objects::render_objects, release_diff::secrets::mask_secrets,
};
use crate::{
    api::{
        App, Environment, EnvironmentState, Release, ReleasePhase, ReleaseSpec, ReleaseStatus,
        TaskKind, TaskPhase, TaskStatus, label,
    },
    domain::{
        digest::hash_json,
        revision::{FrozenApp, Revision},
    },
};

/// What the deploys of a release would apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Environments in the order of their deploys, each with its objects in the order of applying.
    pub environments: Vec<(String, Vec<Value>)>,
    /// Digest of all of them (`sha256:…`).
    pub digest: String,
}

/// One reason why a deploy of a release cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// The App has no such environment.
    #[error("app {app} has no environment {environment:?}")]
    NoEnvironment {
        /// Name of the App.
        app: String,
        /// Environment that is deployed to.
        environment: String,
    },
    /// An environment's objects cannot be rendered.
    #[error("environment {environment}: {source}")]
    Render {
        /// Name of the environment.
        environment: String,
        /// The reason.
        source: RenderError,
    },
}

/// What a release applies after the given task (`None`: everything it deploys).
///
/// # Errors
///
/// All reasons why one of its deploys cannot be rendered, each with its place.
pub fn render_proposal(
    app: &FrozenApp,
    spec: &ReleaseSpec,
    status: &ReleaseStatus,
    after: Option<&str>,
) -> Result<Proposal, Vec<ProposalError>> {
    Inputs::from_release(app, spec, status, after).render(app)
}

/// Everything that a proposal depends on.
#[derive(Clone, Debug, PartialEq)]
struct Inputs {
    /// The name stands for the content of the revision.
    revision: String,
    app: String,
    /// In the order of their deploys.
    environments: Vec<String>,
    images: BTreeMap<String, String>,
    variables: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Inputs {
    fn from_release(
        app: &FrozenApp,
        spec: &ReleaseSpec,
        status: &ReleaseStatus,
        after: Option<&str>,
    ) -> Self {
        let from = after
            .and_then(|name| status.tasks.iter().position(|t| t.name == name))
            .map_or(0, |at| at + 1);
        let mut environments: Vec<String> = vec![];
        for name in status.tasks[from..]
            .iter()
            .filter(|t| t.kind == TaskKind::Deploy)
            .filter_map(|t| t.environment.as_ref())
        {
            if !environments.contains(name) {
                environments.push(name.clone());
            }
        }
        Self {
            revision: app.revision().name().to_owned(),
            app: spec.app.clone(),
            environments,
            images: expected_images(app, spec, status),
            variables: status.variables.clone(),
        }
    }

    fn render(&self, app: &FrozenApp) -> Result<Proposal, Vec<ProposalError>> {
        let (mut environments, mut problems) = (Vec::<(String, Vec<Value>)>::new(), vec![]);
        for name in &self.environments {
            let Some(environment) = app.spec.environment(name) else {
                problems.push(ProposalError::NoEnvironment {
                    app: self.app.clone(),
                    environment: name.clone(),
                });
                continue;
            };
            let shared = self.variables.get(name).cloned().unwrap_or_default();
            match render_objects(app, environment, &shared, &self.images) {
                Ok(objects) => environments.push((name.clone(), objects)),
                Err(all) => problems.extend(all.into_iter().map(|source| ProposalError::Render {
                    environment: name.clone(),
                    source,
                })),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let all = environments
            .iter()
            .map(|(name, objects)| json!({"environment": name, "objects": objects}));
        let digest = format!("sha256:{}", hash_json(&Value::Array(all.collect())));
        Ok(Proposal {
            environments,
            digest,
        })
    }
}

/// Digest, or the reasons why nothing could be rendered.
type Digest = Result<String, Vec<ProposalError>>;

/// Caches the digest of what a release lets through. It is needed in every pass while people
/// decide, and rendered again only when one of its inputs has changed.
#[derive(Debug, Default)]
pub struct ProposalCache {
    last: Mutex<Option<(Inputs, Digest)>>,
    times: AtomicUsize,
}

impl ProposalCache {
    pub(super) fn digest_proposal(
        &self,
        app: &FrozenApp,
        spec: &ReleaseSpec,
        status: &ReleaseStatus,
        after: Option<&str>,
    ) -> Digest {
        let inputs = Inputs::from_release(app, spec, status, after);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = last.as_ref().filter(|(of, _)| *of == inputs) {
            return digest.clone();
        }
        self.times.fetch_add(1, Relaxed);
        let digest = inputs.render(app).map(|proposal| proposal.digest);
        *last = Some((inputs, digest.clone()));
        digest
    }

    /// How often the proposal was rendered.
    pub fn render_count(&self) -> usize {
        self.times.load(Relaxed)
    }
}

/// Images of a release; for one that is not built yet, the reference as far as it is known.
pub(super) fn expected_images(
    app: &App,
    spec: &ReleaseSpec,
    status: &ReleaseStatus,
) -> BTreeMap<String, String> {
    let mut images = status.images.clone();
    let tasks = app
        .spec
        .stage(&spec.stage)
        .into_iter()
        .flat_map(|s| &s.tasks);
    for build in tasks.filter_map(|t| t.build.as_ref()) {
        if let Some(source) = app.spec.images.get(&build.image) {
            images
                .entry(build.image.clone())
                .or_insert_with(|| format!("{}:{}", source.repository, build.tag));
        }
    }
    images
}

/// Images that are built after a task: an approval of that task knows only the name that they will
/// have.
pub fn built_after<'a>(
    app: &'a FrozenApp,
    spec: &ReleaseSpec,
    status: &ReleaseStatus,
    task: &str,
) -> Vec<&'a str> {
    let tasks = app
        .spec
        .stage(&spec.stage)
        .into_iter()
        .flat_map(|s| &s.tasks);
    let after = tasks
        .skip_while(|t| t.name != task)
        .filter_map(|t| t.build.as_ref());
    after
        .map(|b| &*b.image)
        .filter(|image| !status.images.contains_key(*image))
        .collect()
}

/// Images that an approval is bound to: digests where they are known, else references.
pub fn bound_images(status: &ReleaseStatus) -> BTreeMap<String, String> {
    if status.digests.is_empty() {
        status.images.clone()
    } else {
        status.digests.clone()
    }
}

/// What a proposal changes in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentChange {
    /// Name of the environment.
    pub environment: String,
    /// Objects of the release that runs there now, as YAML; `None` when they are not known.
    pub before: Option<String>,
    /// Objects to be applied, as YAML.
    pub after: String,
}

/// Compares a proposal with what the last release that was not rolled back has applied in each
/// environment. `releases` are those of the App.
pub fn list_changes<'r>(
    app: &App,
    proposal: &Proposal,
    releases: impl Iterator<Item = &'r Release> + Clone,
    revision_of: impl Fn(&str) -> Option<Arc<Revision>>,
) -> Vec<EnvironmentChange> {
    let yaml = |objects: &[Value]| -> String {
        let texts = objects.iter().map(object_to_yaml);
        texts.map(|text| format!("---\n{text}")).collect()
    };
    let change = |(environment, objects): &(String, Vec<Value>)| {
        let mut before = running_objects(app, environment, releases.clone(), &revision_of);
        let mut after = objects.clone();
        mask_secrets(before.as_deref_mut().unwrap_or_default(), &mut after);
        EnvironmentChange {
            environment: environment.clone(),
            before: before.map(|objects| yaml(&objects)),
            after: yaml(&after),
        }
    };
    proposal.environments.iter().map(change).collect()
}

fn running_objects<'r>(
    app: &App,
    environment: &str,
    releases: impl Iterator<Item = &'r Release>,
    revision_of: impl Fn(&str) -> Option<Arc<Revision>>,
) -> Option<Vec<Value>> {
    let told = app
        .status
        .as_ref()
        .and_then(|s| s.environments.get(environment));
    let state = told.map(|s| s.state).unwrap_or_default();
    if matches!(state, EnvironmentState::New | EnvironmentState::Cleaned) {
        return Some(vec![]);
    }
    find_last_deploy(environment, releases)?
        .render_for(app, environment, revision_of)
        .map(|(_, objects)| objects)
}

/// A deploy that was not rolled back.
pub(super) struct LastDeploy<'r> {
    pub(super) release: &'r Release,
    pub(super) status: &'r ReleaseStatus,
    pub(super) task: &'r TaskStatus,
}

/// The last deploy to an environment that succeeded and was not rolled back.
pub(super) fn find_last_deploy<'r>(
    environment: &str,
    releases: impl Iterator<Item = &'r Release>,
) -> Option<LastDeploy<'r>> {
    let deploys = releases.filter_map(|release| {
        let status = release.status.as_ref()?;
        let is = |t: &&TaskStatus| {
            t.kind == TaskKind::Deploy
                && t.environment.as_deref() == Some(environment)
                && t.phase == TaskPhase::Succeeded
        };
        let task = status.tasks.iter().rev().find(is)?;
        let went_back = matches!(status.phase, ReleasePhase::Aborting | ReleasePhase::Aborted);
        (!went_back).then_some(LastDeploy {
            release,
            status,
            task,
        })
    });
    deploys.max_by_key(|deploy| deploy.task.finished_at.as_ref())
}

impl LastDeploy<'_> {
    /// The environment as the release froze it, and the objects that the release makes for it;
    /// `None` when they are not known any more.
    pub(super) fn render_for(
        &self,
        app: &App,
        environment: &str,
        revision_of: impl Fn(&str) -> Option<Arc<Revision>>,
    ) -> Option<(Environment, Vec<Value>)> {
        let revision = revision_of(self.status.revision.as_deref()?)?;
        let frozen = FrozenApp::for_revision(app, &revision);
        let place = frozen.spec.environment(environment)?;
        let shared = self.status.variables.get(environment);
        let shared = shared.cloned().unwrap_or_default();
        let objects = render_objects(&frozen, place, &shared, &self.task.new_images).ok()?;
        Some((place.clone(), objects))
    }
}

/// YAML without the digest, which means nothing to people.
pub(super) fn object_to_yaml(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(label::APPLIED);
        if annotations.is_empty() {
            object["metadata"]
                .as_object_mut()
                .map(|m| m.shift_remove("annotations"));
        }
    }
    kube_yaml::to_yaml(&object)
}
