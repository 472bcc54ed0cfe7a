//! `adopt deployment/NAME --environment ENV [--add-gray]`: makes an App from a running workload.
//! Shows what it would write and what re-applying it would change; writes nothing before the user
//! confirms. A workload that another App owns is refused.

mod claim;
mod dry_run;
mod find;

pub(super) use claim::parse_kind_and_name;
pub(super) use find::find_workload;

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
};

use clap::Args;
use color_eyre::eyre::{Result, WrapErr, bail};
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    Global,
    new_app_args::NewAppArgs,
    objects,
    output::{self, Format},
    session::{self, Session, api_error, usage_error},
    variables::{self, Groups},
};
use crate::{
    api::{
        App, AppSpec, Environment, EnvironmentState, EnvironmentStatus, FIELD_MANAGER,
        InventoryItem, ObjectRef, RecordedTime, TaskKind,
    },
    cluster::{error, owner},
    domain::{
        adopt::{self, Adoption, GrayVersion},
        command_line::CommandLine,
        owner::Owner,
        text::{join_lines, unified_diff},
        variables::{Values, format_unresolved, resolve_shared_values as shared_values},
        workflow::render_objects,
    },
};

#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// deployment/NAME; for an App that exists, any KIND/NAME that its manifests make, or with
    /// --add-gray the Deployment to put a gray version beside
    workload: String,
    #[command(flatten)]
    new: NewAppArgs,
    /// Print the App as YAML, write nothing
    #[arg(long)]
    print: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn adopt_workload(global: &Global, args: AdoptArgs) -> Result<()> {
    let (kind, name) = claim::parse_kind_and_name(&args.workload)?;
    let only = || {
        usage_error(format!(
            "{}: only a Deployment can be adopted: write deployment/NAME",
            args.workload
        ))
    };
    if kind != "deployment" && (args.new.app.is_none() || args.new.add_gray) {
        return Err(only());
    }
    let session = session::open(global).await?;
    let app = args
        .new
        .app
        .clone()
        .unwrap_or_else(|| adopt::default_app_name(name, &args.new.environment));
    let apps: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let there = apps
        .get_opt(&app)
        .await
        .map_err(api_error(format!("reading App {app}")))?;
    if let Some(there) = there.as_ref().filter(|_| !args.new.add_gray) {
        return claim::adopt_object(&session, &args, there, &kind, name).await;
    }
    if kind != "deployment" {
        return Err(only());
    }
    let found = find::find_workload(&session, name, args.new.service.as_deref()).await?;
    if let Some(there) = there {
        return add_gray_version(&session, &args, there, &found, name).await;
    }
    claim::check_owners(
        &session,
        &found,
        &Owner {
            home: Some(session.namespace.clone()),
            app: app.clone(),
            environment: args.new.environment.clone(),
        },
    )
    .await?;
    let mut adoption = adopt::adopt_workload(&found, &app, &args.new.environment)?;
    adoption.notes.extend(adopt::note_other_services(&found));
    let mut object = App::new(&app, adoption.spec.clone());
    object.metadata.namespace = Some(session.namespace.clone());
    if args.new.add_gray {
        adoption.spec = with_gray(&object, &args, &adoption.images, &found, &Groups::new())?;
        object.spec = adoption.spec.clone();
    }
    if args.print {
        return output::print(&output::format_value(&object, Format::Yaml)?);
    }
    let (text, labelled) = describe_adoption(&session, &app, &adoption).await?;
    output::print(&text)?;
    if !confirm_adoption(&args, &format!("Adopt {labelled}?"))? {
        bail!("nothing was written");
    }
    write_adoption(&session, &apps, object, &adoption, &args.new.environment).await?;
    let next = CommandLine::graylane("release start")
        .arg(&app)
        .fixed_args("--stage production");
    output::print(&format!("app {app} adopted; next: `{next}`\n"))
}

/// What an adoption changes, and the objects that get labels.
async fn describe_adoption(
    session: &Session,
    app: &str,
    adoption: &Adoption,
) -> Result<(String, String)> {
    let mut text = describe_app(app, &adoption.spec);
    text.push_str("\nApplying it back would change:\n");
    for wanted in &adoption.objects {
        text.push_str(&format!(
            "  {}\n",
            dry_run::describe_change(session, wanted)
                .await?
                .replace('\n', "\n  ")
        ));
    }
    for note in &adoption.notes {
        text.push_str(&format!("\nNote: {note}"));
    }
    let labelled: Vec<String> = adoption.objects.iter().map(dry_run::object_title).collect();
    let labelled = labelled.join(" and ");
    text.push_str(&format!(
        "\nAdopting creates App {app} and labels {labelled} as its own; no pod restarts.\n",
    ));
    Ok((text, labelled))
}

/// Adds a gray version to an existing App.
async fn add_gray_version(
    session: &Session,
    args: &AdoptArgs,
    mut app: App,
    found: &adopt::FoundWorkload,
    name: &str,
) -> Result<()> {
    let images = images_of(&app, &args.new.environment);
    let environment = objects::find_environment(&app, &args.new.environment)?;
    let groups = variables::list_groups(session).await?;
    let shared = resolve_group_values(&app, environment, &groups)?;
    let objects = render_objects(&app, environment, &shared, &images)
        .map_err(|all| color_eyre::Report::msg(join_lines(&all)))?;
    if !objects
        .iter()
        .any(|o| o["kind"] == "Deployment" && o["metadata"]["name"] == name)
    {
        bail!(
            "app {} makes no Deployment {name} in {}: it is another app's",
            app.name_any(),
            args.new.environment
        );
    }
    let spec = with_gray(&app, args, &images, found, &groups)?;
    let seen = app.spec.clone();
    let (old, new) = (
        output::format_value(&app.spec, Format::Yaml)?,
        output::format_value(&spec, Format::Yaml)?,
    );
    app.spec = spec;
    app.metadata.managed_fields = None;
    if args.print {
        app.status = None;
        return output::print(&output::format_value(&app, Format::Yaml)?);
    }
    output::print(&format!(
        "App {} would change:\n{}",
        app.name_any(),
        unified_diff(&old, &new)
    ))?;
    if !confirm_adoption(args, &format!("Change App {}?", app.name_any()))? {
        bail!("nothing was written");
    }
    let apps: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let name = app.name_any();
    replace_app(&apps, app, &seen).await?;
    let next = CommandLine::graylane("release start")
        .arg(&name)
        .fixed_args("--stage …");
    output::print(&format!(
        "app {name} has a {} version; next: `{next}`\n",
        args.new.gray
    ))
}

/// Replaces an App if its spec is still the one that was shown. The engine may write the status at
/// any time, so a conflict is retried with the new resource version.
async fn replace_app(apps: &Api<App>, mut app: App, seen: &AppSpec) -> Result<()> {
    let name = app.name_any();
    let what = || format!("App {name}");
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    for _ in 0..owner::MAX_ATTEMPTS {
        match apps.replace(&name, &params, &app).await {
            Err(why) if error::is_conflict(&why) => {
                let now = apps.get(&name).await.map_err(api_error(what()))?;
                if now.uid() != app.uid() || now.spec != *seen {
                    bail!(
                        "{} has changed since it was shown; nothing was written",
                        what()
                    );
                }
                app.metadata.resource_version = now.resource_version();
            }
            done => return done.map(drop).map_err(api_error(what())),
        }
    }
    bail!("{} is being written too often; nothing was written", what())
}

/// The spec with a gray version. Fails when gray objects would overlap with existing ones.
fn with_gray(
    app: &App,
    args: &AdoptArgs,
    images: &BTreeMap<String, String>,
    found: &adopt::FoundWorkload,
    groups: &Groups,
) -> Result<AppSpec> {
    let gray = GrayVersion {
        beside: &args.new.environment,
        environment: &args.new.gray,
        tag: &args.new.gray,
    };
    let spec = adopt::add_gray(&app.spec, &gray)?;
    let mut with = app.clone();
    with.spec = spec;
    let objects = |name: &str| {
        let environment = with.spec.environment(name).cloned().unwrap_or_default();
        let shared = resolve_group_values(&with, &environment, groups)?;
        render_objects(&with, &environment, &shared, images)
            .map_err(|all| color_eyre::Report::msg(join_lines(&all)))
    };
    let mut old = objects(&args.new.environment)
        .wrap_err_with(|| format!("rendering {}", args.new.environment))?;
    old.extend(found.others.iter().cloned());
    let new = objects(&args.new.gray).wrap_err_with(|| format!("rendering {}", args.new.gray))?;
    let problems = adopt::find_overlaps(&old, &new, &gray);
    if !problems.is_empty() {
        bail!(
            "{} would not be separate from {}\n{}",
            args.new.gray,
            args.new.environment,
            problems.join("\n")
        );
    }
    Ok(with.spec)
}

/// Values that the environment's variable groups provide.
pub(super) fn resolve_group_values(
    app: &App,
    environment: &Environment,
    groups: &Groups,
) -> Result<Values> {
    let found = shared_values(&app.name_any(), &app.spec, environment, |name| {
        groups.get(name)
    });
    found.map_err(|all| color_eyre::Report::msg(format_unresolved(&all)))
}

/// Images for rendering: those that run, else the default of the App, else a placeholder. Object
/// names do not depend on images.
pub(super) fn images_of(app: &App, environment: &str) -> BTreeMap<String, String> {
    let known = app
        .status
        .as_ref()
        .and_then(|s| s.environments.get(environment));
    let mut images = known.map(|e| e.images.clone()).unwrap_or_default();
    for (name, source) in &app.spec.images {
        let default = source
            .default
            .clone()
            .unwrap_or_else(|| format!("{}:none", source.repository));
        images.entry(name.clone()).or_insert(default);
    }
    images
}

async fn write_adoption(
    session: &Session,
    apps: &Api<App>,
    object: App,
    adoption: &Adoption,
    environment: &str,
) -> Result<()> {
    let (name, object_app) = (object.name_any(), object.clone());
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let mut app = apps
        .create(&params, &object)
        .await
        .map_err(api_error(format!("App {name}")))?;
    let mut inventory = vec![];
    for object in &adoption.objects {
        let object = ObjectRef::from_object(object);
        let uid = owner::adopt_object(
            session.client.clone(),
            &object,
            &Owner::for_environment(&object_app, environment),
            None,
        )
        .await?;
        inventory.push(InventoryItem::new(object, uid));
    }
    let status = EnvironmentStatus {
        state: EnvironmentState::Running,
        images: adoption.images.clone(),
        inventory,
        changed_at: Some(RecordedTime::to_second(jiff::Timestamp::now())),
        ..EnvironmentStatus::default()
    };
    app.set_environment_status(environment, status);
    apps.replace_status(&name, &params, &app)
        .await
        .map_err(api_error(format!("the status of App {name}")))?;
    Ok(())
}

/// A short description of the App: images, environments and stages.
pub(super) fn describe_app(name: &str, spec: &AppSpec) -> String {
    let mut text = format!("App {name}\n");
    for (image, source) in &spec.images {
        text.push_str(&format!(
            "  image {image}: {}\n",
            source.default.as_deref().unwrap_or(&source.repository)
        ));
    }
    for environment in &spec.environments {
        let batches: Vec<String> = environment
            .rollout
            .batches
            .iter()
            .map(ToString::to_string)
            .collect();
        let lane = environment
            .lane
            .as_ref()
            .map(|l| format!(", lane tag {l}"))
            .unwrap_or_default();
        let plan = if batches.is_empty() {
            ", one batch".into()
        } else {
            format!(", batches {}", batches.join(", "))
        };
        text.push_str(&format!(
            "  environment {} in namespace {}{lane}{plan}\n",
            environment.name, environment.namespace
        ));
    }
    for stage in &spec.workflow.stages {
        let word = |t: &crate::api::Task| {
            let kind = t.spec().map_or(TaskKind::Unknown, |spec| spec.kind());
            if t.name.starts_with(kind.as_str()) {
                t.name.clone()
            } else {
                format!("{} ({kind})", t.name)
            }
        };
        let tasks: Vec<String> = stage.tasks.iter().map(word).collect();
        text.push_str(&format!("  stage {}: {}\n", stage.name, tasks.join(", ")));
    }
    text
}

fn confirm_adoption(args: &AdoptArgs, question: &str) -> Result<bool> {
    if args.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage_error(
            "adopting needs --yes when nobody can be asked; --print only shows the App",
        ));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use std::{
        fmt::Debug,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use http::{Method, Request};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Client, Resource,
        api::{Patch, PatchParams},
        client::Body,
        core::NamespaceResourceScope,
    };
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::{
        api::{ObjectKey, label},
        cli::session::tests::on_pocket,
    };

    /// A client that has a competing writer: before each of the first `times` writes of this
    /// object, `patch` is written to it.
    fn outrun<K>(client: &Client, name: &'static str, times: u32, patch: Value) -> Client
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let (client, left) = (client.clone(), Arc::new(AtomicU32::new(times)));
        let service = service_fn(move |request: Request<Body>| {
            let (client, left, mut patch) = (client.clone(), Arc::clone(&left), patch.clone());
            async move {
                let writes = matches!(*request.method(), Method::PATCH | Method::PUT);
                if writes
                    && left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                        .is_ok()
                {
                    patch["metadata"]["annotations"]["n"] =
                        left.load(Ordering::SeqCst).to_string().into();
                    let api = Api::<K>::namespaced(client.clone(), "demo");
                    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                        .await?;
                }
                client.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(service, "demo")
    }

    #[tokio::test]
    async fn whoever_writes_something_else_meanwhile_keeps_nobody_from_adopting() {
        let dir = tempfile::tempdir().unwrap();
        let client = on_pocket(dir.path()).await.client;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "demo");
        let me = Owner {
            home: Some("demo".into()),
            app: "a".into(),
            environment: "prod".into(),
        };
        let theirs = json!({"metadata": {"labels": {label::APP: "b", label::ENVIRONMENT: "prod"}}});
        for (name, times, patch, want) in [
            ("busy", 5, json!({}), None),
            (
                "stormy",
                u32::MAX,
                json!({}),
                Some("is being written too often"),
            ),
            (
                "taken",
                1,
                theirs,
                Some("belongs to environment prod of app b"),
            ),
        ] {
            let map = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            maps.create(&PostParams::default(), &map).await.unwrap();
            let object = ObjectRef::new("v1", "ConfigMap", ObjectKey::at_home("demo", name));
            let told = owner::adopt_object(
                outrun::<ConfigMap>(&client, name, times, patch),
                &object,
                &me,
                None,
            )
            .await;
            match want {
                None => assert_eq!(
                    maps.get(name).await.unwrap().uid(),
                    told.ok().map(String::from)
                ),
                Some(want) => assert!(told.unwrap_err().to_string().contains(want), "{name}"),
            }
        }
    }

    #[tokio::test]
    async fn an_app_is_written_when_its_spec_is_what_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let client = on_pocket(dir.path()).await.client;
        let app = json!({"metadata": {"name": "a"}, "spec": {
            "images": {}, "manifests": [], "environments": [{"name": "prod", "namespace": "demo"}],
            "workflow": {"stages": []},
        }});
        let apps: Api<App> = Api::namespaced(client.clone(), "demo");
        let made = apps
            .create(
                &PostParams::default(),
                &serde_json::from_value(app).unwrap(),
            )
            .await
            .unwrap();
        let seen = made.spec.clone();
        let mut wanted = made.clone();
        wanted.spec.environments[0].lane = Some("gray".into());
        wanted.metadata.managed_fields = None;
        let through =
            |times, patch| Api::namespaced(outrun::<App>(&client, "a", times, patch), "demo");
        let edit = json!({"spec": {"description": "another", "environments": []}});
        let told = replace_app(&through(1, edit), wanted.clone(), &seen)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("App a has changed since it was shown"),
            "{told}"
        );
        let back = Patch::Merge(
            json!({"spec": {"environments": [{"name": "prod", "namespace": "demo"}]}}),
        );
        apps.patch("a", &PatchParams::default(), &back)
            .await
            .unwrap();
        replace_app(&through(5, json!({})), wanted, &seen)
            .await
            .unwrap();
        assert_eq!(
            apps.get("a").await.unwrap().spec.environments[0]
                .lane
                .as_deref(),
            Some("gray")
        );
    }
}
