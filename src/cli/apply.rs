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

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use color_eyre::eyre::{Result, bail};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::GroupVersionKind,
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
    cluster::{error, owner},
    domain::{
        owner::{OwnershipMarks, describe_item},
        text::Clean,
        world,
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
    /// Adopt objects that are there, belong to no App, and would be written by an App of these
    /// files
    #[arg(long)]
    adopt: bool,
    /// Take fields over that somebody else manages
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
        bail!(
            "no objects in {}",
            args.file
                .iter()
                .map(|f| f.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let session = session::open(global).await?;
    // The server would refuse these too, but with a less helpful message.
    fail_on_problems(&approval_guard::check_approvals(&session, &objects).await)?;
    let here = Prerequisites::from_objects(&objects);
    let mut seen: Vec<Option<Value>> = vec![None; objects.len()];
    for (object, seen) in objects
        .iter()
        .zip(&mut seen)
        .filter(|(o, _)| !here.must_wait(o))
    {
        match apply_object(&session, object, args.force, true).await {
            Ok((_, written)) => *seen = Some(written),
            Err(problem) => problems.push(problem),
        }
    }
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
            words.push_str(&format!("{} is right (dry run)\n", object.short_name()));
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
        let what = describe_item(&free.item);
        if args.dry_run {
            words.push_str(&format!(
                "{what} would be adopted by {}\n",
                free.owner.describe_owner(Some(&session.namespace))
            ));
            continue;
        }
        let client = session
            .clusters
            .client_for(world::split_context(&free.item.namespace).0);
        owner::adopt_object(client, &free.item, &free.owner, free.former.as_ref()).await?;
        words.push_str(&format!(
            "{what} adopted by {}\n",
            free.owner.describe_owner(Some(&session.namespace))
        ));
    }
    output::print(&match args.output {
        Format::Json | Format::Yaml => output::format_list(&applied, args.output)?,
        Format::Name => objects.iter().map(|o| o.short_name() + "\n").collect(),
        Format::Table | Format::Wide => words,
    })
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

/// Applies one object. Returns what was done, as one word, and the object as written. Errors name
/// file and line.
async fn apply_object(
    session: &Session,
    object: &ManifestObject,
    force: bool,
    dry_run: bool,
) -> Result<(&'static str, Value), String> {
    let place = |path: &str| object.source_location(path);
    let name = object.value["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    if name.is_empty() {
        return Err(format!(
            "{}: {} needs metadata.name (generateName cannot be applied)",
            place("metadata"),
            object.short_name()
        ));
    }
    let api = match api_for_object(&session.client, object, &session.namespace).await {
        Ok(api) => api,
        Err(kube::Error::Discovery(_)) => {
            let gvk = object.gvk();
            return Err(format!(
                "{}: this cluster has no kind {} in {}",
                place("kind"),
                gvk.kind,
                gvk.api_version()
            ));
        }
        Err(e) if error::status_code(&e) == Some(404) => {
            return Err(format!(
                "{}: this cluster has no {}",
                place("apiVersion"),
                object.gvk().api_version()
            ));
        }
        Err(e) => return Err(format!("{}: {}", place(""), error::describe_error(&e))),
    };
    let told = |e: kube::Error| match &e {
        kube::Error::Api(status) => {
            let causes = status
                .details
                .iter()
                .flat_map(|d| &d.causes)
                .filter(|c| !c.field.is_empty());
            let lines: Vec<String> = causes
                .map(|c| {
                    format!(
                        "{}: {}: {}: {}",
                        place(&c.field),
                        object.short_name(),
                        c.field,
                        c.message
                    )
                })
                .collect();
            if lines.is_empty() {
                format!("{}: {}", place(""), error::describe_error(&e))
            } else {
                lines.join("\n")
            }
        }
        _ => format!("{}: {}", place(""), error::describe_error(&e)),
    };
    let there = api.get_metadata_opt(name).await.map_err(told)?;
    // Applying the object would drop the App's labels, and the engine would restore them.
    let marks = there
        .as_ref()
        .map(|m| OwnershipMarks::from_metadata(&m.metadata))
        .filter(|_| object.gvk().group != api::GROUP);
    if let Some(marks) =
        marks.filter(|m| m.lane_group.is_some() || m.app.is_some() && m.environment.is_some())
    {
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
        let whose = whose.unwrap_or_else(owner);
        return Err(format!(
            "{}: {} belongs to {whose}: change it there",
            place("metadata"),
            object.short_name()
        ));
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
    let mut written = serde_json::to_value(&written).map_err(|e| e.to_string())?;
    if let Some(meta) = written["metadata"].as_object_mut() {
        meta.shift_remove("managedFields");
    }
    Ok((done, written))
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
