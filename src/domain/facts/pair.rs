//! Compares the old and the new version of an App in release by the requests that they served. This
//! is the evidence to check before the next batch.

use jiff::Timestamp;

use super::Facts;
use crate::{
    api::{App, Release, TaskKind, TaskStatus},
    domain::{
        signals::{Column, Comparison, Version, Window, WindowStats, compare_versions},
        versions::VersionAge,
        world::World,
    },
};

/// Sparkline columns that are kept: five minutes of ten-second columns, without the incomplete one.
pub const SPARKLINE_COLUMNS: usize = 29;

/// Old and new version, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionPair {
    /// Release that brings the new version.
    pub release: String,
    /// App in release.
    pub app: String,
    /// Version that served before.
    pub old: VersionFigures,
    /// Version that is being rolled out.
    pub new: VersionFigures,
    /// Result of comparing the two.
    pub comparison: Comparison,
}

/// Figures of one version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionFigures {
    /// `old`, `new`, `base`, or the lane's tag.
    pub name: String,
    /// Full image reference, where it is known.
    pub image: Option<String>,
    /// Figures of the last minute.
    pub minute: WindowStats,
    /// Figures of the last five minutes.
    pub five: WindowStats,
    /// Requests per ten seconds, oldest first.
    pub columns: Vec<Column>,
}

impl VersionPair {
    /// Neither version has served a request.
    pub const fn is_silent(&self) -> bool {
        self.old.five.requests == 0 && self.new.five.requests == 0
    }

    /// Requests in the busiest column of either version.
    pub fn most_requests(&self) -> u64 {
        let columns = self.old.columns.iter().chain(&self.new.columns);
        columns.map(|c| c.requests).max().unwrap_or(0)
    }

    /// Not every request was recorded.
    pub const fn is_sampled(&self) -> bool {
        self.old.five.sampled || self.new.five.sampled
    }

    /// Label of the new version, with the App's short name: `C new`.
    pub fn new_version_name(&self, facts: &Facts) -> String {
        format!("{} {}", facts.short_name(&self.app), self.new.name)
    }

    /// Says in what way the new version is worse; `None` when it is not.
    pub fn describe_regression(&self, facts: &Facts) -> Option<String> {
        self.comparison
            .describe_comparison(&self.new_version_name(facts))
    }
}

/// The deploy task that the release has reached: the last one that has started.
fn current_deploy_task(release: &Release) -> Option<&TaskStatus> {
    let tasks = release
        .status
        .as_ref()
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default();
    tasks
        .iter()
        .rfind(|t| t.kind == TaskKind::Deploy && t.started_at.is_some())
}

/// Figures of both versions of a release's App; `None` unless both exist.
pub(super) fn compare_pair(
    facts: &Facts,
    world: &World,
    release: &Release,
    now: Timestamp,
) -> Option<VersionPair> {
    let task = current_deploy_task(release)?;
    let environment = task.environment.as_deref()?;
    let app = world.apps.get(&release.spec.app)?;
    let name = release.spec.app.as_str();
    let lane = app.spec.environment(environment)?.lane.as_deref();
    let side = |name: String, image: Option<&String>, which: &dyn Fn(&Version) -> bool| {
        read_figures(facts, &release.spec.app, name, image, which, now)
    };
    let (old_image, new_image) = (
        task.old_images.values().next(),
        task.new_images.values().next(),
    );
    let (old, new) = if let Some(tag) = lane {
        let production = production_environment(app);
        let image = production.and_then(|e| deployed_image(app, e));
        let old = side("base".into(), image, &|v| is_base_of(v, production));
        (
            old,
            side(
                tag.to_owned(),
                new_image,
                &|v| matches!(v, Version::Lane(lane) if lane == tag),
            ),
        )
    } else {
        let templates = facts
            .templates(name, environment)
            .filter(|t| t.has_both())?;
        let of = |age: VersionAge| {
            move |v: &Version| match v {
                Version::Base {
                    environment: Some(of),
                    hash,
                } => of == environment && templates.age_of_hash(hash.as_deref()) == age,
                _ => false,
            }
        };
        (
            side("old".into(), old_image, &of(VersionAge::Old)),
            side("new".into(), new_image, &of(VersionAge::New)),
        )
    };
    let comparison = compare_versions(&old.five, &new.five);
    Some(VersionPair {
        release: release.metadata.name.clone()?,
        app: name.to_owned(),
        old,
        new,
        comparison,
    })
}

fn read_figures(
    facts: &Facts,
    app: &str,
    name: String,
    image: Option<&String>,
    which: &dyn Fn(&Version) -> bool,
    now: Timestamp,
) -> VersionFigures {
    let window = |window| facts.signals.read_window(app, which, window, now);
    VersionFigures {
        name,
        image: image.cloned(),
        minute: window(Window::Minute),
        five: window(Window::FiveMinutes),
        columns: facts
            .signals
            .read_columns(app, which, SPARKLINE_COLUMNS, now),
    }
}

fn deployed_image<'a>(app: &'a App, environment: &str) -> Option<&'a String> {
    let environments = &app.status.as_ref()?.environments;
    environments.get(environment)?.images.values().next()
}

/// The last environment in promotion order that has no lane.
fn production_environment(app: &App) -> Option<&str> {
    app.spec
        .environments
        .iter()
        .rfind(|e| e.lane.is_none())
        .map(|e| e.name.as_str())
}

fn is_base_of(version: &Version, production: Option<&str>) -> bool {
    match version {
        Version::Base {
            environment: Some(environment),
            ..
        } => production.is_none_or(|production| environment == production),
        other => other.is_base(),
    }
}
