//! `apply -f FILE|DIR`: applies our resources and any other Kubernetes object server-side.
//!
//! Everything is checked first, locally and by a server-side dry run. All errors are reported at
//! once, each with file and line; nothing is written if there are any.

mod approval_guard;
mod check;
mod files;
mod lanes;
mod locate;
mod owners;
mod removed_environments;
mod variables;

use std::{collections::BTreeSet, fmt, path::PathBuf};

use clap::Args;
use color_eyre::eyre::{Result, bail};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::{GroupVersionKind, PartialObjectMeta},
    discovery::{self, Scope},
};
use serde_json::Value;

use super::{
    Global,
    output::{self, Format},
    session::{self, Session},
};
use crate::{
    api,
    cluster::{
        error,
        owner::{self, OwnershipProblem},
    },
    domain::{
        owner::{OwnershipMarks, describe_object},
        text::Clean,
    },
};
use files::ManifestObject;

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A file, a folder of .yaml, .yml and .json files, or - for stdin; may be repeated
    #[arg(long, short, value_name = "FILE|DIR", required = true)]
    file: Vec<PathBuf>,
    /// Check only
    #[arg(long)]
    dry_run: bool,
    /// Adopt existing objects that belong to no App and that an App of these files makes
    #[arg(long)]
    adopt: bool,
    /// Take over fields that somebody else manages
    #[arg(long)]
    force: bool,
    /// How to print what was applied
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn apply_files(global: &Global, args: ApplyArgs) -> Result<()> {
    let (mut objects, mut problems) = files::read_files(&args.file)?;
    objects.sort_by_key(ManifestObject::apply_order);
    for object in &objects {
        problems.extend(check::check_object(object));
    }
    // Errors in files are reported without a cluster.
    fail_on_problems(&problems)?;
    if objects.is_empty() {
        let files: Vec<String> = args.file.iter().map(|f| f.display().to_string()).collect();
        bail!("no objects in {}", files.join(", "));
    }
    let session = session::open(global).await?;
    // The server would refuse these too, but with a less helpful message.
    fail_on_problems(&approval_guard::check_approvals(&session, &objects).await)?;
    let (seen, refused) = try_objects(&session, &objects, args.force).await;
    problems.extend(refused);
    fail_on_problems(&problems)?;
    let checked = lanes::check_lanes(&session, &objects).await;
    fail_on_problems(&checked.problems)?;
    let mut reach = variables::read_impact(&session, &objects).await;
    checked
        .warnings
        .iter()
        .chain(&reach.warnings)
        .for_each(|w| say!("warning: {w}"));
    let owners = owners::check_owners(&session, &objects, args.adopt).await;
    fail_on_problems(&owners.problems)?;
    owners
        .warnings
        .iter()
        .chain(&removed_environments::warn_of_leftovers(&session, &objects).await)
        .for_each(|w| say!("warning: {w}"));
    let mut applied = vec![];
    let mut words = String::new();
    for (object, seen) in objects.iter().zip(&seen) {
        if args.dry_run {
            words.push_str(&format!("{} is valid (dry run)\n", object.short_name()));
            reach.record_group(object, seen.as_ref());
            continue;
        }
        match apply_object(&session, object, args.force, false).await {
            Ok((done, written)) => {
                words.push_str(&format!("{} {done}\n", object.short_name()));
                reach.record_group(object, Some(&written));
                applied.push(written);
            }
            Err(problem) => {
                output::print(&words)?;
                bail!("{problem}\nWhat is listed above was applied; what comes after was not");
            }
        }
    }
    let reached = reach.describe_impact(args.dry_run);
    if !matches!(args.output, Format::Table | Format::Wide) {
        reached.iter().for_each(|line| say!("note: {line}"));
    }
    words.extend(reached.iter().map(|line| format!("{line}\n")));
    for free in &owners.free {
        words.push_str(&adopt_free_object(&session, free, args.dry_run).await?);
    }
    output::print(&match args.output {
        Format::Json | Format::Yaml => output::format_list(&applied, args.output)?,
        Format::Name => objects.iter().map(|o| o.short_name() + "\n").collect(),
        Format::Table | Format::Wide => words,
    })
}

/// Applies all objects that need no other one of these files, without writing; returns each as it
/// would be, and what is refused.
async fn try_objects(
    session: &Session,
    objects: &[ManifestObject],
    force: bool,
) -> (Vec<Option<Value>>, Vec<String>) {
    let here = Prerequisites::from_objects(objects);
    let mut problems = vec![];
    let mut seen: Vec<Option<Value>> = vec![None; objects.len()];
    for (object, seen) in objects
        .iter()
        .zip(&mut seen)
        .filter(|(o, _)| !here.must_wait(o))
    {
        match apply_object(session, object, force, true).await {
            Ok((_, written)) => *seen = Some(written),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    (seen, problems)
}

/// Adopts an object that is nobody's; returns a line that says so.
async fn adopt_free_object(
    session: &Session,
    free: &OwnershipProblem,
    dry_run: bool,
) -> Result<String> {
    let what = describe_object(&free.object);
    let owner = free.owner.describe_owner(Some(&session.namespace));
    if dry_run {
        return Ok(format!("{what} would be adopted by {owner}\n"));
    }
    let client = session
        .clusters
        .client_for(&free.object.key.namespace.cluster);
    owner::adopt_object(client, &free.object, &free.owner, free.former.as_ref()).await?;
    Ok(format!("{what} adopted by {owner}\n"))
}

/// Fails with all problems at once.
fn fail_on_problems(problems: &[String]) -> Result<()> {
    match problems {
        [] => Ok(()),
        [one] => bail!("nothing was applied\n{one}"),
        many => bail!(
            "nothing was applied: {} errors\n{}",
            many.len(),
            many.join("\n")
        ),
    }
}

/// Kinds and namespaces that the files themselves create. The server cannot dry-run objects that
/// need them before they exist.
struct Prerequisites {
    kinds: BTreeSet<(String, String)>,
    namespaces: BTreeSet<String>,
}

impl Prerequisites {
    fn from_objects(objects: &[ManifestObject]) -> Self {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let kind = |o: &&ManifestObject| o.value["kind"] == "CustomResourceDefinition";
        Self {
            kinds: objects
                .iter()
                .filter(kind)
                .map(|o| {
                    (
                        text(&o.value["spec"]["group"]),
                        text(&o.value["spec"]["names"]["kind"]),
                    )
                })
                .collect(),
            namespaces: objects
                .iter()
                .filter(|o| o.value["kind"] == "Namespace")
                .map(|o| text(&o.value["metadata"]["name"]))
                .collect(),
        }
    }

    fn must_wait(&self, object: &ManifestObject) -> bool {
        let gvk = object.gvk();
        let namespace = object.value["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default();
        self.kinds.contains(&(gvk.group, gvk.kind)) || self.namespaces.contains(namespace)
    }
}

/// One object cannot be applied. Each says file and line.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    /// It has no name.
    #[error("{place}: {object} needs metadata.name (generateName cannot be applied)")]
    NoName { place: String, object: String },
    /// The server has no such kind.
    #[error("{place}: this cluster has no kind {kind} in {api_version}")]
    NoKind {
        place: String,
        kind: String,
        api_version: String,
    },
    /// The server has no such group or version.
    #[error("{place}: this cluster has no {api_version}")]
    NoApiVersion { place: String, api_version: String },
    /// It belongs to somebody whose engine would bring it back.
    #[error("{place}: {object} belongs to {owner}: change it there")]
    Owned {
        place: String,
        object: String,
        owner: String,
    },
    /// The server refuses some of its fields.
    #[error("{}", .0.iter().map(FieldRefusal::to_string).collect::<Vec<_>>().join("\n"))]
    Fields(Vec<FieldRefusal>),
    /// The server refused, or did not answer.
    #[error("{place}: {}", error::describe_error(.error))]
    Api {
        place: String,
        error: Box<kube::Error>,
    },
    /// What was written cannot be shown.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What a server says of one field.
#[derive(Debug)]
struct FieldRefusal {
    place: String,
    object: String,
    field: String,
    message: String,
}

impl fmt::Display for FieldRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            object,
            field,
            message,
        } = self;
        write!(f, "{place}: {object}: {field}: {message}")
    }
}

/// Applies one object. Returns what was done, as one word, and the object as written.
async fn apply_object(
    session: &Session,
    object: &ManifestObject,
    force: bool,
    dry_run: bool,
) -> Result<(&'static str, Value), ApplyError> {
    let name = object.value["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    if name.is_empty() {
        return Err(ApplyError::NoName {
            place: object.source_location("metadata"),
            object: object.short_name(),
        });
    }
    let api = find_api(session, object).await?;
    let told = |e| locate_refusal(object, e);
    let there = api.get_metadata_opt(name).await.map_err(told)?;
    if let Some(there) = &there {
        check_owner(session, object, there)?;
    }
    let before = there.and_then(|m| m.metadata.resource_version);
    let params = PatchParams {
        dry_run,
        force,
        field_manager: Some(api::FIELD_MANAGER.into()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let written = api
        .patch(name, &params, &Patch::Apply(&object.value))
        .await
        .map_err(told)?;
    let done = match (&before, &written.metadata.resource_version) {
        (None, _) => "created",
        (before, after) if before == after => "unchanged",
        _ => "configured",
    };
    let mut written = serde_json::to_value(&written)?;
    if let Some(meta) = written["metadata"].as_object_mut() {
        meta.shift_remove("managedFields");
    }
    Ok((done, written))
}

async fn find_api(
    session: &Session,
    object: &ManifestObject,
) -> Result<Api<DynamicObject>, ApplyError> {
    let place = |path: &str| object.source_location(path);
    match api_for_object(&session.client, object, &session.namespace).await {
        Ok(api) => Ok(api),
        Err(kube::Error::Discovery(_)) => {
            let gvk = object.gvk();
            Err(ApplyError::NoKind {
                place: place("kind"),
                api_version: gvk.api_version(),
                kind: gvk.kind,
            })
        }
        Err(e) if error::status_code(&e) == Some(404) => Err(ApplyError::NoApiVersion {
            place: place("apiVersion"),
            api_version: object.gvk().api_version(),
        }),
        Err(e) => Err(ApplyError::Api {
            place: place(""),
            error: Box::new(e),
        }),
    }
}

/// What the server says of an object, with the place of each field in its file.
fn locate_refusal(object: &ManifestObject, error: kube::Error) -> ApplyError {
    let causes = match &error {
        kube::Error::Api(status) => status.details.iter().flat_map(|d| &d.causes).collect(),
        _ => vec![],
    };
    let fields: Vec<FieldRefusal> = causes
        .into_iter()
        .filter(|c| !c.field.is_empty())
        .map(|c| FieldRefusal {
            place: object.source_location(&c.field),
            object: object.short_name(),
            field: c.field.clone(),
            message: c.message.clone(),
        })
        .collect();
    if fields.is_empty() {
        ApplyError::Api {
            place: object.source_location(""),
            error: Box::new(error),
        }
    } else {
        ApplyError::Fields(fields)
    }
}

/// Applying the object would drop its owner's labels, and the engine would restore them.
fn check_owner(
    session: &Session,
    object: &ManifestObject,
    there: &PartialObjectMeta<DynamicObject>,
) -> Result<(), ApplyError> {
    if object.gvk().group == api::GROUP {
        return Ok(());
    }
    let marks = OwnershipMarks::from_metadata(&there.metadata);
    if marks.lane_group.is_none() && (marks.app.is_none() || marks.environment.is_none()) {
        return Ok(());
    }
    let whose = marks
        .lane_group
        .as_ref()
        .map(|group| format!("lane group {}", Clean::from_untrusted(group)));
    let owner = || {
        marks
            .owner()
            .map(|o| o.describe_owner(Some(&session.namespace)))
            .unwrap_or_default()
    };
    Err(ApplyError::Owned {
        place: object.source_location("metadata"),
        object: object.short_name(),
        owner: whose.unwrap_or_else(owner),
    })
}

async fn api_for_object(
    client: &Client,
    object: &ManifestObject,
    namespace: &str,
) -> Result<Api<DynamicObject>, kube::Error> {
    let gvk: GroupVersionKind = object.gvk();
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await?;
    Ok(match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.value["metadata"]["namespace"]
                .as_str()
                .unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    })
}
