//! Chooses pods by App, environment and version, as logs of many pods are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    versions::{PodTemplates, VersionAge},
    world::{ObjectKey, Pod, Workload, World},
};
use crate::api::TaskKind;

/// A version of an App's pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodVersion {
    /// Pods without a tag.
    Base,
    /// Pods of a lane, by its tag.
    Lane(String),
    /// Pods of the newest template of their environment.
    New,
    /// Pods of an older template, while a newer one is rolled out.
    Old,
}

impl PodVersion {
    /// Reads `base`, `new`, `old`, or a tag.
    pub fn from_word(word: &str) -> Self {
        match word {
            "base" => Self::Base,
            "new" => Self::New,
            "old" => Self::Old,
            tag => Self::Lane(tag.to_owned()),
        }
    }
}

impl fmt::Display for PodVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Lane(tag) => tag,
            Self::New => "new",
            Self::Old => "old",
        })
    }
}

/// A choice of pods; a part that is `None` chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSelection {
    /// Only this pod.
    pub pod: Option<ObjectKey>,
    /// Name of the App.
    pub app: Option<String>,
    /// Name of the environment.
    pub environment: Option<String>,
    /// Version.
    pub version: Option<PodVersion>,
}

impl PodSelection {
    /// One pod.
    pub fn of_pod(key: ObjectKey) -> Self {
        Self {
            pod: Some(key),
            ..Self::default()
        }
    }

    /// Pods of an App's environment.
    pub fn of_environment(app: &str, environment: &str) -> Self {
        Self {
            environment: Some(environment.to_owned()),
            ..Self::of_app(app)
        }
    }

    /// Pods of an App.
    pub fn of_app(app: &str) -> Self {
        Self {
            app: Some(app.to_owned()),
            ..Self::default()
        }
    }

    /// Gray pods of every App with this tag.
    pub fn of_lane(tag: &str) -> Self {
        Self {
            version: Some(PodVersion::Lane(tag.to_owned())),
            ..Self::default()
        }
    }

    /// The same with this version.
    #[must_use]
    pub fn with_version(self, version: PodVersion) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// Whether it is one pod.
    pub const fn is_one_pod(&self) -> bool {
        self.pod.is_some()
    }

    /// The pods that it chooses, by name.
    pub fn select_pods<'a>(&self, world: &'a World) -> Vec<&'a Pod> {
        if let Some(key) = &self.pod {
            return world.pods.get(key).map(|pod| &**pod).into_iter().collect();
        }
        let wanted = |own: &Option<String>, of: &Option<String>| own.is_none() || own == of;
        let mut templates = BTreeMap::new();
        world
            .pods
            .values()
            .map(|pod| &**pod)
            .filter(|pod| wanted(&self.app, &pod.app))
            .filter(|pod| wanted(&self.environment, &pod.environment))
            .filter(|pod| self.has_version(world, pod, &mut templates))
            .collect()
    }

    /// Templates are classified once for each environment.
    fn has_version<'a>(
        &self,
        world: &World,
        pod: &'a Pod,
        templates: &mut BTreeMap<(&'a str, &'a str), PodTemplates>,
    ) -> bool {
        let mut age = || match (&pod.app, &pod.environment) {
            (Some(app), Some(environment)) => templates
                .entry((app, environment))
                .or_insert_with(|| classify_templates(world, app, environment))
                .age_of_hash(pod.hash.as_deref()),
            _ => VersionAge::Only,
        };
        match &self.version {
            None => true,
            Some(PodVersion::Base) => pod.tag.is_none(),
            Some(PodVersion::Lane(tag)) => pod.tag.as_ref() == Some(tag),
            // Once the old version is gone the new one is the only one.
            Some(PodVersion::New) => age() != VersionAge::Old,
            Some(PodVersion::Old) => age() == VersionAge::Old,
        }
    }

    /// Choices around this one that differ in their pods, from one pod to all of a lane; this one
    /// is the first.
    pub fn list_scopes(&self, world: &World) -> Vec<Self> {
        let mut scopes = vec![self.clone()];
        let pod = self.pod.as_ref().and_then(|key| world.pods.get(key));
        let app = pod.map_or(self.app.as_ref(), |p| p.app.as_ref());
        let environment = pod.map_or(self.environment.as_ref(), |p| p.environment.as_ref());
        let tags: BTreeSet<&String> = self
            .select_pods(world)
            .iter()
            .filter_map(|p| p.tag.as_ref())
            .collect();
        if let (Some(app), Some(environment)) = (app, environment) {
            let all = Self::of_environment(app, environment);
            if classify_templates(world, app, environment).has_both() {
                scopes.push(all.clone().with_version(PodVersion::New));
                scopes.push(all.clone().with_version(PodVersion::Old));
            }
            scopes.push(all);
        }
        if let Some(app) = app {
            scopes.push(Self::of_app(app).with_version(PodVersion::Base));
            scopes.push(Self::of_app(app));
        }
        scopes.extend(tags.into_iter().map(|tag| Self::of_lane(tag)));
        let mut seen: Vec<Vec<&ObjectKey>> = vec![];
        scopes.retain(|scope| {
            let keys = scope.select_pods(world).iter().map(|p| &p.key).collect();
            let new = !seen.contains(&keys) && (!keys.is_empty() || seen.is_empty());
            seen.push(keys);
            new
        });
        scopes
    }

    /// Short name of a pod among those of this selection; it does not change when others come.
    /// `short_app` shortens names of Apps.
    pub fn label_pod(
        &self,
        world: &World,
        key: &ObjectKey,
        short_app: impl Fn(&str) -> String,
    ) -> String {
        let Some(pod) = world.pods.get(key) else {
            return key.name.clone();
        };
        let app = pod.app.as_deref().filter(|_| self.app.is_none());
        let environment = pod
            .environment
            .clone()
            .filter(|_| self.environment.is_none());
        let parts = [app.map(short_app), environment, Some(own_name(world, pod))];
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    }
}

/// What it chooses, for titles: `shop prod new`.
impl fmt::Display for PodSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.pod {
            return f.write_str(&key.name);
        }
        let version = self.version.as_ref().map(ToString::to_string);
        let version = match (&self.app, version) {
            (None, Some(tag)) => Some(format!("lane {tag}")),
            (_, version) => version,
        };
        let parts = [self.app.clone(), self.environment.clone(), version];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return f.write_str("all apps");
        }
        f.write_str(&parts.join(" "))
    }
}

/// The part of a pod's name that tells it from others of its environment: the last one, which the
/// ReplicaSet made up, with the Deployment's name where there are several; else the whole name.
fn own_name(world: &World, pod: &Pod) -> String {
    let hash = pod.hash.as_deref().filter(|hash| !hash.is_empty());
    let made_up = hash.and_then(|hash| pod.key.name.rsplit_once(&format!("-{hash}-")));
    let Some((deployment, rest)) = made_up else {
        return pod.key.name.clone();
    };
    let workloads = match (&pod.app, &pod.environment) {
        (Some(app), Some(environment)) => world.workloads_of(app, environment).count(),
        _ => 0,
    };
    if workloads > 1 {
        format!("{deployment}-{rest}")
    } else {
        rest.to_owned()
    }
}

/// The pod templates of an environment, as its release in progress tells them apart.
fn classify_templates(world: &World, app: &str, environment: &str) -> PodTemplates {
    let task = world
        .releases
        .values()
        .filter(|r| r.spec.app == app)
        .filter_map(|r| r.status.as_ref())
        .filter(|s| !s.phase.is_final())
        .flat_map(|s| &s.tasks)
        .rfind(|t| {
            t.kind == TaskKind::Deploy
                && t.started_at.is_some()
                && t.environment.as_deref() == Some(environment)
        });
    let workloads: Vec<&Workload> = world.workloads_of(app, environment).collect();
    PodTemplates::from_pods(task, &workloads, world.pods_of(app, environment))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::{Release, ReleaseStatus, TaskStatus},
        domain::{text::Clean, world::pods_by_key},
    };

    fn pod(app: &str, environment: &str, hash: &str, end: &str, tag: Option<&str>) -> Pod {
        let owner = format!("{app}-{environment}-{hash}");
        let name = format!("{owner}-{end}");
        Pod {
            key: ObjectKey::at_home("demo", &name),
            app: Some(app.into()),
            environment: Some(environment.into()),
            tag: tag.map(Into::into),
            owner: Some(owner),
            hash: Some(hash.into()),
            images: vec![Clean::from(hash)],
            ..Pod::default()
        }
    }

    /// App `a` with two templates in `prod` and a gray pod, App `b` with a gray pod.
    fn world() -> World {
        let pods = [
            pod("a", "prod", "h1", "x1", None),
            pod("a", "prod", "h1", "x2", None),
            pod("a", "prod", "h2", "x3", None),
            pod("a", "gray", "h2", "y1", Some("gray")),
            pod("b", "gray", "h7", "y2", Some("gray")),
        ];
        let task = TaskStatus {
            kind: TaskKind::Deploy,
            environment: Some("prod".into()),
            started_at: Some("2026-11-30T21:00:00Z".into()),
            old_images: [("app".into(), "h1".into())].into(),
            new_images: [("app".into(), "h2".into())].into(),
            ..TaskStatus::default()
        };
        let mut release = Release::new("a-1", Default::default());
        release.spec.app = "a".into();
        release.status = Some(ReleaseStatus {
            tasks: vec![task],
            ..ReleaseStatus::default()
        });
        World {
            pods: Arc::new(pods_by_key(pods)),
            releases: Arc::new([("a-1".to_owned(), Arc::new(release))].into()),
            ..World::default()
        }
    }

    fn ends(world: &World, selection: &PodSelection) -> String {
        let pods = selection.select_pods(world);
        let end = |p: &&Pod| p.key.name.rsplit('-').next().unwrap_or_default().to_owned();
        pods.iter().map(end).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn pods_are_chosen_by_app_environment_and_version() {
        let world = world();
        let prod = PodSelection::of_environment("a", "prod");
        for (selection, wanted) in [
            (PodSelection::of_app("a"), "y1 x1 x2 x3"),
            (prod.clone(), "x1 x2 x3"),
            (prod.clone().with_version(PodVersion::New), "x3"),
            (prod.clone().with_version(PodVersion::Old), "x1 x2"),
            (
                PodSelection::of_app("a").with_version(PodVersion::Base),
                "x1 x2 x3",
            ),
            (PodSelection::of_lane("gray"), "y1 y2"),
            (PodSelection::of_app("zzz"), ""),
        ] {
            assert_eq!(ends(&world, &selection), wanted, "{selection}");
        }
    }

    #[test]
    fn scopes_go_from_one_pod_to_the_lane_and_always_change_something() {
        let world = world();
        let key = |name: &str| ObjectKey::at_home("demo", name);
        let told = |selection: PodSelection| {
            let all = selection.list_scopes(&world);
            all.iter().map(|s| ends(&world, s)).collect::<Vec<_>>()
        };
        assert_eq!(
            told(PodSelection::of_pod(key("a-prod-h1-x1"))),
            ["x1", "x3", "x1 x2", "x1 x2 x3", "y1 x1 x2 x3"]
        );
        assert_eq!(
            told(PodSelection::of_pod(key("a-gray-h2-y1"))),
            ["y1", "x1 x2 x3", "y1 x1 x2 x3", "y1 y2"]
        );
        assert_eq!(told(PodSelection::of_pod(key("gone"))), [""]);
    }

    #[test]
    fn labels_tell_pods_apart_as_far_as_the_selection_does_not() {
        let world = world();
        let key = ObjectKey::at_home("demo", "a-gray-h2-y1");
        let label =
            |selection: PodSelection| selection.label_pod(&world, &key, |app| app.to_uppercase());
        assert_eq!(label(PodSelection::of_lane("gray")), "A/gray/y1");
        assert_eq!(label(PodSelection::of_app("a")), "gray/y1");
        assert_eq!(label(PodSelection::of_environment("a", "gray")), "y1");
        let gone = ObjectKey::at_home("demo", "db-0");
        let label = PodSelection::of_app("a").label_pod(&world, &gone, str::to_owned);
        assert_eq!(label, "db-0");
    }
}
