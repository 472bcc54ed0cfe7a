//! `render APP --environment ENV [--image backend=REF]`: prints the manifests as they would be
//! applied now. `render --release NAME`: prints them as that release applies them, from its frozen
//! App.

use std::collections::BTreeMap;

use clap::Args;
use color_eyre::eyre::{Result, bail, eyre};
use serde_json::Value;

use super::{
    Global, objects,
    output::{self, Format},
    session::{self, Session, usage_error},
    variables::{self, Groups},
};
use crate::{
    api::{App, Release},
    cluster::revision::read_proposal,
    domain::{
        template::{self, Context},
        variables::{format_unresolved, resolve_shared_values},
    },
};

#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The App
    #[arg(required_unless_present = "release", conflicts_with = "release")]
    app: Option<String>,
    /// The environment [with --release: all that it deploys to]
    #[arg(long, short, value_name = "NAME", required_unless_present = "release")]
    environment: Option<String>,
    /// Print them as this release applies them, from its revision
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    release: Option<String>,
    /// An image, as NAME=REF; may be repeated [default: what runs there, else the App's default]
    #[arg(long, short, value_name = "NAME=REF")]
    image: Vec<String>,
    /// yaml, or json for a List
    #[arg(long, short, default_value = "yaml")]
    output: Format,
}

pub(super) async fn render_manifests(global: &Global, args: RenderArgs) -> Result<()> {
    let session = session::open(global).await?;
    if let Some(name) = &args.release {
        return print_frozen_manifests(&session, name, &args).await;
    }
    let (name, place) = (
        args.app.as_deref().unwrap_or_default(),
        args.environment.as_deref().unwrap_or_default(),
    );
    let app: App = objects::get_object(&session, name).await?;
    let groups = variables::list_groups(&session).await?;
    let context = build_context(&app, name, place, &args.image, &groups)?;
    let mut manifests: Vec<_> = app.spec.manifests.iter().collect();
    manifests.sort_by_key(|m| m.priority);
    let mut text = String::new();
    let mut objects = vec![];
    let mut problems = vec![];
    for manifest in manifests {
        // Parsed even for YAML output, so that errors are reported with the line in the template.
        match template::render_manifests(&manifest.name, &manifest.template, &context) {
            Ok(read) => objects.extend(read),
            Err(errors) => {
                problems.extend(errors.iter().map(ToString::to_string));
                continue;
            }
        }
        if let Ok(rendered) = template::render(&manifest.name, &manifest.template, &context) {
            text.push_str(&format!(
                "---\n# {}\n{}\n",
                manifest.name,
                rendered.trim_end()
            ));
        }
    }
    if !problems.is_empty() {
        bail!(
            "the manifests of {name} for {place} cannot be rendered\n{}",
            problems.join("\n")
        );
    }
    output::print(&match args.output {
        Format::Json => output::format_list(&objects, Format::Json)?,
        Format::Name => objects.iter().map(self::short_name).collect(),
        Format::Yaml | Format::Table | Format::Wide => text,
    })
}

/// Kind and name, as `deployment/web`.
fn short_name(object: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}\n",
        text(&object["kind"]).to_lowercase(),
        text(&object["metadata"]["name"])
    )
}

/// Prints what a release applies, with the labels that it adds.
async fn print_frozen_manifests(session: &Session, name: &str, args: &RenderArgs) -> Result<()> {
    let release: Release = objects::get_object(session, name).await?;
    let found = read_proposal(&session.client, &session.namespace, &release, None).await?;
    let mut environments = found.proposal.environments;
    environments.retain(|(environment, _)| {
        args.environment
            .as_ref()
            .is_none_or(|wanted| environment == wanted)
    });
    if environments.is_empty() {
        bail!(
            "release {name} deploys to no environment {}",
            args.environment.as_deref().unwrap_or_default()
        );
    }
    let objects = || environments.iter().flat_map(|(_, objects)| objects);
    output::print(&match args.output {
        Format::Json => output::format_list(&objects().collect::<Vec<_>>(), Format::Json)?,
        Format::Name => objects().map(self::short_name).collect(),
        Format::Yaml | Format::Table | Format::Wide => {
            let mut text = String::new();
            for (environment, objects) in &environments {
                for object in objects {
                    text += &format!(
                        "---\n# {environment}\n{}",
                        output::format_value(object, Format::Yaml)?
                    );
                }
            }
            text
        }
    })
}

fn build_context(
    app: &App,
    name: &str,
    place: &str,
    given: &[String],
    groups: &Groups,
) -> Result<Context> {
    let environment = objects::find_environment(app, place)?;
    let defaults = app
        .spec
        .images
        .iter()
        .filter_map(|(name, source)| Some((name.clone(), source.default.clone()?)));
    let mut images: BTreeMap<String, String> = defaults.collect();
    let status = app.status.as_ref().and_then(|s| s.environments.get(place));
    images.extend(status.map(|s| s.images.clone()).unwrap_or_default());
    for text in given {
        let Some((image, reference)) = text
            .split_once('=')
            .filter(|(n, r)| !n.is_empty() && !r.is_empty())
        else {
            return Err(usage_error(format!(
                "--image {text}: write NAME=REF, as in backend=spring-cloud-a:v2"
            )));
        };
        if !app.spec.images.contains_key(image) {
            let known: Vec<String> = app.spec.images.keys().cloned().collect();
            bail!(
                "app {name} has no image {image}; there {}",
                objects::describe_names(&known)
            );
        }
        images.insert(image.into(), reference.into());
    }
    let shared = resolve_shared_values(name, &app.spec, environment, |name| groups.get(name));
    Ok(Context::for_environment(
        name,
        environment,
        &shared.map_err(|all| eyre!(format_unresolved(&all)))?,
        images,
    ))
}
