//! Classifies pod templates as new or old, for every App that is in release or receives requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Facts, environment_pods};
use crate::domain::{
    signals::Version,
    versions::{PodTemplates, VersionAge},
    world::{Workload, World},
};

/// Templates by App and environment.
pub(super) type TemplatesByApp = BTreeMap<String, BTreeMap<String, PodTemplates>>;

impl Facts {
    /// Classifies the templates of all these Apps again.
    pub(super) fn classify_templates(&self, world: &World) -> TemplatesByApp {
        let mut workloads: HashMap<(&str, &str), Vec<&Workload>> = HashMap::new();
        for workload in world.deployments.values().chain(world.stateful.values()) {
            if let (Some(app), Some(environment)) = (&workload.app, &workload.environment) {
                workloads
                    .entry((app, environment))
                    .or_default()
                    .push(workload);
            }
        }
        let released = self
            .active
            .iter()
            .filter_map(|name| world.releases.get(name))
            .map(|r| r.spec.app.as_str());
        let apps: BTreeSet<&str> = released.chain(self.signals.apps()).collect();
        let of_app = |app: &str| {
            let release = self
                .active_of(app)
                .and_then(|name| world.releases.get(name));
            let tasks = release
                .and_then(|r| r.status.as_ref())
                .map(|s| s.tasks.as_slice())
                .unwrap_or_default();
            let of_environment = |environment: &String| {
                let here =
                    |t: &&crate::api::TaskStatus| t.environment.as_ref() == Some(environment);
                let task = tasks.iter().rfind(|t| {
                    t.kind == crate::api::TaskKind::Deploy && t.started_at.is_some() && here(t)
                });
                let own = workloads
                    .get(&(app, environment.as_str()))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                (
                    environment.clone(),
                    PodTemplates::from_pods(
                        task,
                        own,
                        environment_pods(self, world, app, environment),
                    ),
                )
            };
            self.pods
                .get(app)
                .map(|all| all.keys().map(of_environment).collect())
                .unwrap_or_default()
        };
        apps.into_iter()
            .map(|app| (app.to_owned(), of_app(app)))
            .collect()
    }

    /// Templates of an App's environment.
    pub fn templates(&self, app: &str, environment: &str) -> Option<&PodTemplates> {
        self.templates.get(app)?.get(environment)
    }

    /// Whether a version is new, old or the only one in its environment.
    pub fn version_age(&self, app: &str, version: &Version) -> VersionAge {
        match version {
            Version::Base {
                environment: Some(environment),
                hash,
            } => self
                .templates(app, environment)
                .map_or(VersionAge::Only, |t| t.age_of_hash(hash.as_deref())),
            _ => VersionAge::Only,
        }
    }

    /// Label of a version: `new`, `old`, `base`, or the lane's tag. `None` when nobody answered.
    pub fn version_label<'a>(&self, app: &str, version: &'a Version) -> Option<&'a str> {
        match version {
            Version::Unknown => None,
            Version::Lane(tag) => Some(tag),
            Version::Base { .. } => Some(match self.version_age(app, version) {
                VersionAge::Only => "base",
                VersionAge::Old => "old",
                VersionAge::New => "new",
            }),
        }
    }
}
