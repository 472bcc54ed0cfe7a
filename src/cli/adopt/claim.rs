//! Checks who owns the objects to adopt, and adopts a single unowned object for an existing App.

use color_eyre::eyre::{Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{AdoptArgs, confirm_adoption, dry_run, images_of};
use crate::{
    api::{App, Environment, ObjectRef, Uid, VariableGroup},
    cli::{
        objects, output,
        session::{Session, api_error, usage_error},
        variables,
    },
    cluster::owner as live,
    domain::{
        adopt::FoundWorkload,
        owner::{self, Owner, Ownership, OwnershipMarks, describe_object},
        variables::resolve_shared_values,
        workflow::{object_names, render_objects},
    },
};

/// Splits `svc/web` into the kind, in lower case and singular, and the name.
pub(in crate::cli) fn parse_kind_and_name(text: &str) -> Result<(String, &str)> {
    let (kind, name) = text.split_once('/').unwrap_or(("deployment", text));
    let kind = kind.split('.').next().unwrap_or_default().to_lowercase();
    if kind.is_empty() || name.is_empty() || name.contains('/') {
        return Err(usage_error(format!(
            "{text}: write KIND/NAME, as in deployment/web"
        )));
    }
    let whole = match kind.as_str() {
        "deploy" => "deployment",
        "sts" => "statefulset",
        "ds" => "daemonset",
        "svc" => "service",
        "cm" => "configmap",
        "sa" => "serviceaccount",
        "pvc" => "persistentvolumeclaim",
        "ing" => "ingress",
        "ingresses" => "ingress",
        "hpa" => "horizontalpodautoscaler",
        "pdb" => "poddisruptionbudget",
        "networkpolicies" | "netpol" => "networkpolicy",
        kind => kind,
    };
    let one = whole
        .strip_suffix('s')
        .filter(|one| !one.ends_with('s'))
        .unwrap_or(whole);
    Ok((one.to_owned(), name))
}

/// Fails if another App or a controller owns one of the objects: an object has one owner.
pub(super) async fn check_owners(
    session: &Session,
    found: &FoundWorkload,
    me: &Owner,
) -> Result<()> {
    let apps: Vec<App> = objects::list_if_installed(session).await?;
    let mut problems = vec![];
    for object in std::iter::once(&found.deployment).chain(&found.service) {
        let meta: ObjectMeta = serde_json::from_value(object["metadata"].clone())?;
        let mut object_ref = ObjectRef::from_object(object);
        // A typed object carries no apiVersion and kind.
        if std::ptr::eq(object, &raw const found.deployment) {
            (object_ref.api_version, object_ref.kind) = ("apps/v1".into(), "Deployment".into());
        } else {
            (object_ref.api_version, object_ref.kind) = ("v1".into(), "Service".into());
        }
        let marks = OwnershipMarks::from_metadata(&meta);
        let noted = owner::find_in_inventories(&apps, &object_ref, &Uid::from_meta(&meta));
        match owner::determine_ownership(&marks, me, noted.as_ref()) {
            Ownership::Ours | Ownership::Unowned => {}
            Ownership::Theirs(other) => problems.push(format!(
                "{} belongs to {}, and an object has one owner: adopt this one with a Service of its own (--service), or \
                 take it out of that App first",
                describe_object(&object_ref),
                other.describe_owner(Some(&session.namespace))
            )),
            Ownership::Managed(maker) => {
                problems.push(format!("{} is made by {maker}, which would undo what graylane writes", describe_object(&object_ref)));
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!("nothing was written\n{}", problems.join("\n"))
    }
}

/// Adopts one object that the App renders and that is unowned, or owned by an environment that the
/// App no longer has.
pub(super) async fn adopt_object(
    session: &Session,
    args: &AdoptArgs,
    app: &App,
    kind: &str,
    name: &str,
) -> Result<()> {
    let environment = objects::find_environment(app, &args.new.environment)?;
    let groups = variables::list_groups(session).await?;
    let group_of = |name: &str| groups.get(name);
    let is_named = |o: &ObjectRef| o.kind.to_lowercase() == kind && o.key.name == name;
    let app_name = app.name_any();
    let Some(object) = object_names(app, environment, group_of)
        .into_iter()
        .find(is_named)
    else {
        bail!(
            "App {app_name} exists already and makes no {kind} {name} in {}: --app names another one, --add-gray \
            adds a \
             gray version to it",
            args.new.environment
        );
    };
    let me = Owner::for_environment(app, &args.new.environment);
    let cluster = &object.key.namespace.cluster;
    let client = session.clusters.client_for(cluster);
    let what = describe_object(&object);
    let found = live::read_marks(client.clone(), &object)
        .await
        .map_err(api_error(format!("reading {what}")))?;
    let Some((marks, found)) = found else {
        bail!("{what} does not exist: the next release makes it")
    };
    let apps: Vec<App> = objects::list_objects(session).await?;
    let noted = owner::find_in_inventories(&apps, &object, &Uid::from_meta(&found.metadata));
    let mut former = None;
    match owner::determine_ownership(&marks, &me, noted.as_ref()) {
        Ownership::Unowned => {}
        Ownership::Theirs(owner) if owner.is_former(&me, app) => former = Some(owner),
        Ownership::Ours => bail!(
            "App {app_name} exists already, and {what} is its own: --add-gray adds a gray version to it, --app names \
             another one"
        ),
        whose => bail!(
            "{}",
            owner::explain_refusal(&object, &whose, &marks, &me).unwrap_or_default()
        ),
    }
    let mut text = String::new();
    if session.clusters.is_home(cluster) {
        text = describe_next_release(session, app, environment, group_of, &object).await?;
    }
    text.push_str(&format!(
        "Adopting labels {what} as {}; no pod restarts.\n",
        me.describe_owner(Some(&session.namespace))
    ));
    output::print(&text)?;
    if args.print {
        return Ok(());
    }
    if !confirm_adoption(args, &format!("Adopt {what}?"))? {
        bail!("nothing was written");
    }
    live::adopt_object(client, &object, &me, former.as_ref()).await?;
    output::print(&format!(
        "{what} adopted by {}\n",
        me.describe_owner(Some(&session.namespace))
    ))
}

/// What the next release would change of an object.
async fn describe_next_release<'a>(
    session: &Session,
    app: &App,
    environment: &Environment,
    group_of: impl Fn(&str) -> Option<&'a VariableGroup>,
    wanted: &ObjectRef,
) -> Result<String> {
    let shared = resolve_shared_values(&app.name_any(), &app.spec, environment, group_of)
        .unwrap_or_default();
    let objects = render_objects(
        app,
        environment,
        &shared,
        &images_of(app, &environment.name),
    )
    .unwrap_or_default();
    let Some(object) = objects
        .iter()
        .find(|o| owner::is_same(&ObjectRef::from_object(o), wanted))
    else {
        return Ok(String::new());
    };
    let change = dry_run::describe_change(session, object).await?;
    Ok(format!(
        "The next release would change:\n  {}\n",
        change.replace('\n', "\n  ")
    ))
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::label, cli::session::tests::on_pocket};

    /// Two Deployments behind one Service: the owner of the Service decides which of them can be
    /// adopted together with it.
    #[tokio::test]
    async fn what_another_app_has_is_not_adopted_a_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let me = Owner {
            home: Some("demo".into()),
            app: "reviews-v2".into(),
            environment: "prod".into(),
        };
        let meta = |name: &str, labels: Value, more: Value| {
            let mut meta =
                json!({"name": name, "namespace": "demo", "uid": name, "labels": labels});
            json_patch::merge(&mut meta, &more);
            json!({"metadata": meta})
        };
        let ours = |app: &str| json!({label::APP: app, label::ENVIRONMENT: "prod"});
        let made = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Operator", "name": "o", "uid": "o", "controller": true}]});
        let plain = || meta("reviews", json!({}), json!({}));
        for (deployment, service, want) in [
            (plain(), Some(plain()), None),
            (plain(), None, None),
            (
                meta("r", ours("reviews-v2"), json!({})),
                Some(plain()),
                None,
            ),
            (
                plain(),
                Some(meta("reviews", ours("reviews-v1"), json!({}))),
                Some("Service demo/reviews belongs to environment prod of app reviews-v1"),
            ),
            (
                meta("r", ours("b"), json!({})),
                Some(plain()),
                Some("Deployment demo/r belongs to environment prod of app b"),
            ),
            (
                plain(),
                Some(meta("reviews", json!({label::LANE_GROUP: "g"}), json!({}))),
                Some("made by lane group g"),
            ),
            (
                plain(),
                Some(meta("reviews", json!({}), made)),
                Some("made by Operator o"),
            ),
        ] {
            let found = FoundWorkload {
                deployment,
                service,
                ..FoundWorkload::default()
            };
            let told = check_owners(&session, &found, &me)
                .await
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default();
            assert!(
                want.map_or(told.is_empty(), |w| told.contains(w)),
                "{want:?}: {told}"
            );
        }
    }

    #[test]
    fn kinds_are_named_as_kubectl_names_them() {
        let of = |text: &str| {
            parse_kind_and_name(text)
                .map(|(kind, name)| format!("{kind} {name}"))
                .ok()
        };
        for (text, want) in [
            ("web", "deployment web"),
            ("deployment/web", "deployment web"),
            ("deployments/web", "deployment web"),
            ("deployment.apps/web", "deployment web"),
            ("deploy/web", "deployment web"),
            ("Service/web", "service web"),
            ("svc/web", "service web"),
            ("cm/web", "configmap web"),
            ("ingress/web", "ingress web"),
            ("ingresses/web", "ingress web"),
            ("statefulsets/web", "statefulset web"),
        ] {
            assert_eq!(of(text).as_deref(), Some(want), "{text}");
        }
        assert!(
            ["", "/", "a/", "/b", "a/b/c"]
                .iter()
                .all(|text| of(text).is_none())
        );
    }
}
