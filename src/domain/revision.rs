//! Frozen revisions of Apps. When a release begins, the spec of its App is frozen in an immutable
//! ControllerRevision that the App owns. Its name ends in the digest of its data, so its content
//! cannot change; releases of equal specs share one. A release is planned, rendered, applied,
//! approved and cleaned up from the revision alone.
//!
//! Other parts of the App stay live: the locks of its environments, and its status.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::Resource;
use serde_json::Value;

use super::digest::hash_json;
use crate::api::{App, AppSpec, ClusterName, GROUP, label};

/// A ControllerRevision cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Its name is not that of its content.
    #[error("ControllerRevision {0} is not what its name says: somebody else made it")]
    Forged(String),
    /// Its content is not the spec of an App.
    #[error("ControllerRevision {name} cannot be read: {reason}")]
    Unreadable {
        /// Name of the ControllerRevision.
        name: String,
        /// Message of the JSON parser.
        reason: String,
    },
    /// It was deleted.
    #[error(
        "ControllerRevision {0}, of which this release is, is gone: change the App back to what it was, or abort"
    )]
    Gone(String),
}

/// The App that a release is of is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrozenAppError {
    /// The App was deleted, or never existed.
    #[error("there is no app {app:?} in namespace {namespace}")]
    NoApp {
        /// Name of the App.
        app: String,
        /// Namespace of the release.
        namespace: String,
    },
    /// The App as the release froze it cannot be read.
    #[error(transparent)]
    Revision(#[from] RevisionError),
}

/// Frozen spec of an App.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    name: String,
    spec: AppSpec,
}

impl Revision {
    /// Freezes the current spec of an App.
    pub fn from_app(app: &App) -> Self {
        let spec = without_locks(&app.spec);
        Self {
            name: revision_name(
                app.metadata.name.as_deref().unwrap_or_default(),
                &spec_to_json(&spec),
            ),
            spec,
        }
    }

    /// Reads a revision from a ControllerRevision, which must be ours and match its name.
    pub fn from_object(object: &ControllerRevision) -> Result<Self, RevisionError> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let of = object
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(label::REVISION_OF))
            .map_or("", String::as_str);
        let data = object.data.as_ref().map_or(Value::Null, |d| d.0.clone());
        if of.is_empty() || revision_name(of, &data) != name {
            return Err(RevisionError::Forged(name));
        }
        match serde_json::from_value(data) {
            Ok(spec) => Ok(Self { name, spec }),
            Err(e) => Err(RevisionError::Unreadable {
                name,
                reason: e.to_string(),
            }),
        }
    }

    /// ControllerRevision for this revision, owned by its App.
    pub fn to_object(&self, app: &App) -> ControllerRevision {
        let of = app.metadata.name.clone().unwrap_or_default();
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                // Not the App label, which pods and the objects of their controllers carry.
                labels: Some(BTreeMap::from([(label::REVISION_OF.to_owned(), of)])),
                owner_references: app.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(spec_to_json(&self.spec))),
            revision: app.metadata.generation.unwrap_or(1),
        }
    }

    /// Name of the object: the App's name and the digest of the data.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the App has changed since it was frozen. Locks do not count.
    pub fn is_changed(&self, app: &App) -> bool {
        self.spec != without_locks(&app.spec)
    }
}

/// App as a release sees it: the frozen spec of its revision, with the current locks and status.
///
/// It can only be built from a revision, or from the App at the moment a release begins, so
/// functions that take it never get an App that was edited since.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenApp {
    app: App,
    revision: Arc<Revision>,
    /// Environments that the App still has.
    there: BTreeSet<String>,
}

impl Deref for FrozenApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl FrozenApp {
    /// Freezes the current App for a release that begins now.
    pub fn for_new_release(app: &App) -> Self {
        Self::for_revision(app, &Arc::new(Revision::from_app(app)))
    }

    /// App for a release of this revision.
    pub fn for_revision(app: &App, revision: &Arc<Revision>) -> Self {
        let there = app
            .spec
            .environments
            .iter()
            .map(|e| e.name.clone())
            .collect();
        let mut spec = revision.spec.clone();
        for environment in &mut spec.environments {
            environment.lock = app
                .spec
                .environment(&environment.name)
                .and_then(|e| e.lock.clone());
        }
        let app = App {
            metadata: app.metadata.clone(),
            spec,
            status: app.status.clone(),
        };
        Self {
            app,
            revision: Arc::clone(revision),
            there,
        }
    }

    /// Revision that it was built from.
    pub const fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }

    /// Whether the App still has this environment.
    pub fn still_has(&self, environment: &str) -> bool {
        self.there.contains(environment)
    }

    /// Replaces contexts that mean the home cluster by it, in environments and inventories.
    #[must_use]
    pub fn at_home(mut self, is_home: impl Fn(&ClusterName) -> bool) -> Self {
        for environment in &mut self.app.spec.environments {
            if is_home(&environment.context) {
                environment.context = ClusterName::Home;
            }
        }
        let inventories = self
            .app
            .status
            .iter_mut()
            .flat_map(|s| s.environments.values_mut())
            .map(|e| &mut e.inventory);
        for item in inventories.flatten() {
            let cluster = &mut item.object.key.namespace.cluster;
            if is_home(cluster) {
                *cluster = ClusterName::Home;
            }
        }
        self
    }
}

/// Spec without the parts that stay live.
fn without_locks(spec: &AppSpec) -> AppSpec {
    let mut spec = spec.clone();
    spec.environments.iter_mut().for_each(|e| e.lock = None);
    spec
}

fn spec_to_json(spec: &AppSpec) -> Value {
    serde_json::to_value(spec).unwrap_or_default()
}

/// Number of digest digits in the name of a revision.
const NAME_DIGITS: usize = 32;

fn revision_name(app: &str, data: &Value) -> String {
    format!("{app}-{}", &hash_json(data)[..NAME_DIGITS])
}

/// Short name of a revision for users: the App's name and the first digits.
pub fn short_name(revision: &str) -> &str {
    let end = revision.rfind('-').map_or(revision.len(), |dash| dash + 9);
    revision.get(..end).unwrap_or(revision)
}

/// Revisions of an App that no release uses any more.
pub fn unused_revisions<'r>(
    revisions: &'r [ControllerRevision],
    named: &BTreeSet<String>,
) -> Vec<&'r ControllerRevision> {
    let unnamed = |r: &&ControllerRevision| {
        !r.metadata
            .name
            .as_ref()
            .is_some_and(|name| named.contains(name))
    };
    let ours = |r: &&ControllerRevision| {
        let mut owners = r.metadata.owner_references.iter().flatten();
        owners.any(|o| o.kind == "App" && o.api_version.starts_with(GROUP))
    };
    revisions.iter().filter(ours).filter(unnamed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::EnvironmentLock;

    fn app(image: &str) -> App {
        let spec = json!({
            "images": {"backend": {"repository": image}},
            "manifests": [{"name": "a.yaml", "template": "x"}],
            "environments": [{"name": "prod", "namespace": "demo", "values": {"b": 1.5, "a": [1]}}],
        });
        let mut app = App::new("web", serde_json::from_value(spec).unwrap());
        app.metadata.uid = Some("u".into());
        app
    }

    fn object(app: &App) -> ControllerRevision {
        Revision::from_app(app).to_object(app)
    }

    #[test]
    fn equal_specs_share_a_revision_and_locks_make_no_other() {
        let plain = app("web");
        let mut locked = app("web");
        locked.spec.environments[0].lock = Some(EnvironmentLock {
            by: "ann".into(),
            reason: "x".into(),
        });
        assert_eq!(object(&plain), object(&locked));
        assert_ne!(
            Revision::from_app(&plain).name(),
            Revision::from_app(&app("evil/web")).name()
        );
        let read = Revision::from_object(&object(&locked)).unwrap();
        assert!(
            !read.is_changed(&plain)
                && !read.is_changed(&locked)
                && read.is_changed(&app("evil/web"))
        );
        assert_eq!(short_name(read.name()).len(), "web-".len() + 8);
    }

    #[test]
    fn a_frozen_app_is_its_revision_with_the_locks_and_the_status_of_now() {
        let revision = Arc::new(Revision::from_app(&app("web")));
        let mut now = app("evil/web");
        now.spec.environments[0].lock = Some(EnvironmentLock {
            by: "ann".into(),
            reason: "x".into(),
        });
        now.status = Some(crate::api::AppStatus {
            summary: "now".into(),
            ..Default::default()
        });
        let frozen = FrozenApp::for_revision(&now, &revision);
        assert_eq!(frozen.spec.images["backend"].repository, "web");
        assert_eq!(
            frozen.spec.environments[0]
                .lock
                .as_ref()
                .map(|l| l.by.as_str()),
            Some("ann")
        );
        assert_eq!(frozen.status.as_ref().unwrap().summary, "now");
        assert!(frozen.still_has("prod"));
        now.spec.environments.clear();
        assert!(!FrozenApp::for_revision(&now, &revision).still_has("prod"));
    }

    #[test]
    fn what_is_not_as_its_name_says_is_not_taken() {
        let right = object(&app("web"));
        let spoilt: [fn(&mut ControllerRevision); 4] = [
            |r| r.data = Some(RawExtension(spec_to_json(&app("evil/web").spec))),
            |r| r.metadata.name = Some("web-1".into()),
            |r| r.metadata.labels = None,
            |r| r.data = None,
        ];
        assert_eq!(
            Revision::from_object(&right),
            Ok(Revision::from_app(&app("web")))
        );
        for (n, spoil) in spoilt.into_iter().enumerate() {
            let mut wrong = right.clone();
            spoil(&mut wrong);
            assert!(
                Revision::from_object(&wrong)
                    .is_err_and(|why| matches!(why, RevisionError::Forged(_))),
                "case {n}"
            );
        }
    }

    #[test]
    fn a_revision_goes_when_no_release_names_it_and_nobody_elses_ever_does() {
        let (a, b, mut set) = (object(&app("a")), object(&app("b")), object(&app("c")));
        let owner = &mut set.metadata.owner_references.as_mut().unwrap()[0];
        (owner.kind, owner.api_version) = ("StatefulSet".into(), "apps/v1".into());
        let all = [a.clone(), b.clone(), set];
        let named = a.metadata.name.into_iter().collect();
        assert_eq!(unused_revisions(&all, &named), [&b]);
    }
}
