//! `render APP --environment ENV [--image backend=REF]`: the manifests as they would be applied.

use std::collections::BTreeMap;

use clap::Args;
use color_eyre::eyre::{Result, bail};

use super::{
    Global, get,
    output::{self, Format},
    session::{self, usage},
};
use crate::{
    api::App,
    domain::template::{self, Context},
};

#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The App
    app: String,
    /// The environment
    #[arg(long, short, value_name = "NAME")]
    environment: String,
    /// An image, as NAME=REF; may be repeated [default: what runs there, else the App's default]
    #[arg(long, short, value_name = "NAME=REF")]
    image: Vec<String>,
    /// yaml, or json for a List
    #[arg(long, short, default_value = "yaml")]
    output: Format,
}

pub(super) async fn run(global: &Global, args: RenderArgs) -> Result<()> {
    let session = session::open(global).await?;
    let app: App = get::one(&session, &args.app).await?;
    let context = context(&app, &args)?;
    let mut manifests: Vec<_> = app.spec.manifests.iter().collect();
    manifests.sort_by_key(|m| m.priority);
    let mut text = String::new();
    let mut objects = vec![];
    let mut problems = vec![];
    for manifest in manifests {
        // Read as objects also for YAML: what does not parse is told at the template's line.
        match template::manifests(&manifest.name, &manifest.template, &context) {
            Ok(read) => objects.extend(read),
            Err(errors) => {
                problems.extend(errors.iter().map(ToString::to_string));
                continue;
            }
        }
        if let Ok(rendered) = template::render(&manifest.name, &manifest.template, &context) {
            text.push_str(&format!("---\n# {}\n{}\n", manifest.name, rendered.trim_end()));
        }
    }
    if !problems.is_empty() {
        bail!("the manifests of {} for {} cannot be rendered\n{}", args.app, args.environment, problems.join("\n"));
    }
    output::print(&match args.output {
        Format::Json => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
            output::data(&list, Format::Json)?
        }
        Format::Name => {
            let name = |o: &serde_json::Value| {
                let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
                format!("{}/{}\n", text(&o["kind"]).to_lowercase(), text(&o["metadata"]["name"]))
            };
            objects.iter().map(name).collect()
        }
        Format::Yaml | Format::Table | Format::Wide => text,
    })
}

fn context(app: &App, args: &RenderArgs) -> Result<Context> {
    let environment = get::environment(app, &args.environment)?;
    let defaults = app.spec.images.iter().filter_map(|(name, source)| Some((name.clone(), source.default.clone()?)));
    let mut images: BTreeMap<String, String> = defaults.collect();
    let status = app.status.as_ref().and_then(|s| s.environments.get(&args.environment));
    images.extend(status.map(|s| s.images.clone()).unwrap_or_default());
    for text in &args.image {
        let Some((name, reference)) = text.split_once('=').filter(|(n, r)| !n.is_empty() && !r.is_empty()) else {
            return Err(usage(format!("--image {text}: write NAME=REF, as in backend=spring-cloud-a:v2")));
        };
        if !app.spec.images.contains_key(name) {
            let known: Vec<String> = app.spec.images.keys().cloned().collect();
            bail!("app {} has no image {name}; there {}", args.app, get::names(&known));
        }
        images.insert(name.into(), reference.into());
    }
    Ok(Context::of(&args.app, environment, images))
}
