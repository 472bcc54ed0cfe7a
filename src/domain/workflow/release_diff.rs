//! What a release changes: images, values and rendered objects, old against new, by environment.
//!
//! Old is the last release that deployed there before it. Gray stands beside a baseline, so old is
//! there what the baseline's release would have made of gray: the difference is then what the new
//! version brings, not what an earlier gray version was. The values of Secrets are never part of it.

mod old;
mod report;
pub(super) mod secrets;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;
use serde_json::Value;

pub use report::{ReleaseDiffLine, ReleaseDiffLineKind};

use self::{
    old::{OldState, find_old},
    secrets::{SecretTexts, hidden_text, mask_secrets},
};
use super::{
    build::BUILD_TIME,
    proposal::{ProposalError, expected_images, object_to_yaml, render_proposal},
};
use crate::{
    api::{Environment, ObjectRef, Release, ReleaseStatus},
    domain::{
        owner::is_same,
        revision::{FrozenApp, Revision},
        text::{Clean, format_count, unified_diff},
        variables::{NAMESPACE, Values, changed_keys, format_value},
    },
};

/// What a release changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseDiff {
    /// Name of the App.
    pub app: String,
    /// Environments in the order of their deploys.
    pub environments: Vec<EnvironmentDiff>,
}

/// What a release changes in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentDiff {
    /// Name of the environment.
    pub environment: String,
    /// What it is compared with.
    pub against: OldSide,
    /// Images that differ.
    pub images: Vec<ImageChange>,
    /// Values that differ.
    pub values: Vec<ValueChange>,
    /// Objects that differ.
    pub objects: Vec<ObjectChange>,
}

/// What the new version of an environment is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum OldSide {
    /// Nothing ran there.
    Nothing,
    /// Something ran there, but its values and objects are not known.
    Unknown,
    /// The release that deployed there before.
    Release {
        /// Name of the release.
        release: String,
    },
    /// The release that a gray version's baseline runs, as it would be in gray.
    Baseline {
        /// Name of the release.
        release: String,
        /// Environment of the baseline.
        environment: String,
    },
}

impl fmt::Display for OldSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing ran there before: all of it is new"),
            Self::Unknown => f.write_str(
                "what ran there before is not from a known release: all values and objects are shown",
            ),
            Self::Release { release } => write!(f, "against release {release}"),
            Self::Baseline {
                release,
                environment,
            } => write!(
                f,
                "against release {release}, which its baseline {environment} runs"
            ),
        }
    }
}

/// A reference of an image, and its digest where it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// `registry/name:tag`.
    pub reference: String,
    /// `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Characters of a digest that are shown.
const DIGEST_CHARS: usize = 19;

impl Image {
    fn new(reference: &str, digest: Option<&String>) -> Self {
        let (name, pinned) = reference
            .split_once('@')
            .map_or((reference, None), |(name, digest)| (name, Some(digest)));
        let digest = pinned.or(digest.map(String::as_str));
        Self {
            reference: name.to_owned(),
            digest: digest.filter(|d| d.starts_with("sha256:")).map(Into::into),
        }
    }

    /// Whether they differ as far as is known.
    fn is_other(&self, other: &Self) -> bool {
        let digests = self.digest.as_ref().zip(other.digest.as_ref());
        self.reference != other.reference || digests.is_some_and(|(a, b)| a != b)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Clean::from_untrusted(&self.reference).fmt(f)?;
        match &self.digest {
            Some(digest) => {
                let short: String = digest.chars().take(DIGEST_CHARS).collect();
                write!(f, " {}", Clean::from_untrusted(&short))
            }
            None => Ok(()),
        }
    }
}

/// An image that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// Name of the image in the App.
    pub name: String,
    /// `None` where there was none, or it is not known.
    pub old: Option<Image>,
    /// `None` when the image is gone.
    pub new: Option<Image>,
}

/// A value that differs, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    /// `KEY` in `{{ .Values.KEY }}`.
    pub name: String,
    /// `None` where there was none.
    pub old: Option<String>,
    /// `None` when there is none any more.
    pub new: Option<String>,
}

impl fmt::Display for ImageChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_change(f, &self.name, self.old.as_ref(), self.new.as_ref())
    }
}

impl fmt::Display for ValueChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &Option<String>| text.as_deref().map(Clean::from_untrusted);
        let (old, new) = (clean(&self.old), clean(&self.new));
        write_change(f, &self.name, old.as_ref(), new.as_ref())
    }
}

fn write_change<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    old: Option<&T>,
    new: Option<&T>,
) -> fmt::Result {
    let name = Clean::from_untrusted(name);
    // Without an arrow where there was none, for it may only be unknown.
    match (old, new) {
        (Some(old), Some(new)) => write!(f, "{name}: {old} → {new}"),
        (Some(old), None) => write!(f, "{name}: {old} → (none)"),
        (None, new) => write!(f, "{name}: {}", new.map_or_else(String::new, T::to_string)),
    }
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectFate {
    /// There was none.
    Added,
    /// It differs.
    Changed,
    /// It is not made any more.
    Removed,
}

impl fmt::Display for ObjectFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        })
    }
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    /// Kind, namespace and name: `Deployment demo/web`.
    pub object: String,
    /// What becomes of it.
    pub fate: ObjectFate,
    /// Unified diff of its YAML, without the names of the sides.
    pub diff: String,
}

impl ReleaseDiff {
    /// Whether nothing differs anywhere.
    pub fn is_empty(&self) -> bool {
        self.environments.iter().all(EnvironmentDiff::is_empty)
    }
}

impl EnvironmentDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.values.is_empty() && self.objects.is_empty()
    }

    /// Numbers of lines that are added and removed.
    pub fn line_counts(&self) -> (usize, usize) {
        let starts = |sign: char| {
            let lines = self.objects.iter().flat_map(|object| object.diff.lines());
            lines.filter(|line| line.starts_with(sign)).count()
        };
        (starts('+'), starts('-'))
    }

    /// How much differs, in a few words: `1 value, 2 objects (+3 -1 lines)`; images by name.
    pub fn summary(&self) -> String {
        if self.is_empty() {
            return "nothing changes".to_owned();
        }
        let count = |n: usize, word: &str| (n > 0).then(|| format_count(n, word));
        let (added, removed) = self.line_counts();
        let objects = count(self.objects.len(), "object");
        let mut words: Vec<String> = self.images.iter().map(ToString::to_string).collect();
        words.extend(count(self.values.len(), "value"));
        words.extend(objects.map(|words| format!("{words} (+{added} -{removed} lines)")));
        words.join(", ")
    }
}

/// Compares what a release deploys with what ran before. `releases` are those of the App, perhaps
/// with the release itself.
///
/// # Errors
///
/// All reasons why one of its deploys cannot be rendered, each with its place.
pub fn compare_release<'r>(
    app: &FrozenApp,
    release: &Release,
    releases: impl Iterator<Item = &'r Release> + Clone,
    revision_of: impl Fn(&str) -> Option<Arc<Revision>>,
) -> Result<ReleaseDiff, Vec<ProposalError>> {
    let status = release.status.clone().unwrap_or_default();
    let proposal = render_proposal(app, &release.spec, &status, None)?;
    let references = expected_images(app, &release.spec, &status);
    let described: BTreeMap<String, String> = references
        .iter()
        .map(|(name, reference)| (name.clone(), describe_tag(reference)))
        .collect();
    let images = read_images(&described, &status);
    let others = releases.filter(|r| r.metadata.name != release.metadata.name);
    let environments = proposal.environments.into_iter();
    let environments = environments.map(|(name, mut objects)| {
        objects.iter_mut().for_each(|object| {
            describe_tags(object, &references);
        });
        let (against, old) = find_old(app, &status, &name, others.clone(), &revision_of);
        let environment = app.spec.environment(&name);
        let values = environment.map_or_else(Values::new, |e| read_values(e, &status));
        let new = OldState {
            images: images.clone(),
            values,
            objects,
        };
        compare_states(name, against, old, new)
    });
    Ok(ReleaseDiff {
        app: release.spec.app.clone(),
        environments: environments.collect(),
    })
}

/// A reference as it is shown: a tag that the build sets is not known before.
fn describe_tag(reference: &str) -> String {
    match reference.strip_suffix(BUILD_TIME) {
        Some(name) if name.ends_with(':') => format!("{name}(tag set when built)"),
        _ => reference.replace(BUILD_TIME, "(time of the build)"),
    }
}

/// Describes the tags that builds set, wherever an object names these images.
fn describe_tags(object: &mut Value, references: &BTreeMap<String, String>) {
    match object {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                describe_tags(field, references);
            }
        }
        Value::Array(items) => {
            for item in items {
                describe_tags(item, references);
            }
        }
        Value::String(text) if text.contains(BUILD_TIME) => {
            for reference in references.values() {
                *text = text.replace(reference.as_str(), &describe_tag(reference));
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The images of a release with their digests.
fn read_images(
    references: &BTreeMap<String, String>,
    status: &ReleaseStatus,
) -> BTreeMap<String, Image> {
    let image = |(name, reference): (&String, &String)| {
        let digest = status.digests.get(name);
        (name.clone(), Image::new(reference, digest))
    };
    references.iter().map(image).collect()
}

/// All values that the manifests of an environment read.
fn read_values(environment: &Environment, status: &ReleaseStatus) -> Values {
    let namespace = (NAMESPACE.to_owned(), environment.namespace.as_str().into());
    let mut values = Values::from([namespace]);
    let shared = status.variables.get(&environment.name);
    values.extend(shared.cloned().unwrap_or_default());
    values.extend(environment.values.clone());
    values
}

fn compare_states(
    environment: String,
    against: OldSide,
    old: OldState,
    new: OldState,
) -> EnvironmentDiff {
    let secrets = SecretTexts::from_objects(old.objects.iter().chain(&new.objects));
    EnvironmentDiff {
        environment,
        against,
        images: compare_images(&old.images, &new.images),
        values: compare_values(&old.values, &new.values, &secrets),
        objects: compare_objects(old.objects, new.objects),
    }
}

fn compare_images(
    old: &BTreeMap<String, Image>,
    new: &BTreeMap<String, Image>,
) -> Vec<ImageChange> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| {
        let (old, new) = (old.get(name), new.get(name));
        let is_same = matches!((old, new), (Some(old), Some(new)) if !old.is_other(new));
        (!is_same).then(|| ImageChange {
            name: name.clone(),
            old: old.cloned(),
            new: new.cloned(),
        })
    };
    names.into_iter().filter_map(change).collect()
}

fn compare_values(old: &Values, new: &Values, secrets: &SecretTexts) -> Vec<ValueChange> {
    let change = |key: String| {
        let (old, new) = (old.get(&key), new.get(&key));
        let is_hidden = [old, new]
            .into_iter()
            .flatten()
            .any(|value| secrets.has_value(value));
        let text = |value: &Value, is_other: bool| {
            if is_hidden {
                hidden_text(is_other)
            } else {
                format_value(value)
            }
        };
        ValueChange {
            old: old.map(|value| text(value, false)),
            new: new.map(|value| text(value, old.is_some())),
            name: key,
        }
    };
    changed_keys(old, new).into_iter().map(change).collect()
}

/// The objects that differ: those that are applied in their order, then those that are not made
/// any more.
fn compare_objects(mut old: Vec<Value>, mut new: Vec<Value>) -> Vec<ObjectChange> {
    mask_secrets(&mut old, &mut new);
    let mut changes = vec![];
    for object in &new {
        let object_ref = ObjectRef::from_object(object);
        let at = old
            .iter()
            .position(|o| is_same(&ObjectRef::from_object(o), &object_ref));
        let before = at.map(|at| object_to_yaml(&old.remove(at)));
        let after = object_to_yaml(object);
        if before.as_ref() != Some(&after) {
            let fate = before
                .as_ref()
                .map_or(ObjectFate::Added, |_| ObjectFate::Changed);
            changes.push(ObjectChange {
                object: object_title(&object_ref),
                fate,
                diff: unified_diff(&before.unwrap_or_default(), &after),
            });
        }
    }
    changes.extend(old.iter().map(|object| ObjectChange {
        object: object_title(&ObjectRef::from_object(object)),
        fate: ObjectFate::Removed,
        diff: unified_diff(&object_to_yaml(object), ""),
    }));
    changes
}

fn object_title(ObjectRef { kind, key, .. }: &ObjectRef) -> String {
    let namespace = key.namespace.to_string();
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{kind} {namespace}{slash}{}", key.name)
}

#[cfg(test)]
mod tests;
