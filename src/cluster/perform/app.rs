//! Creates Apps from a template. All of them are validated, by graylane and by the server, before
//! the first one is created.

use std::collections::BTreeMap;

use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};

use super::{
    Outcome, PerformContext, PerformError, Result, api_error, check_unchanged, is_conflict,
};
use crate::{
    api::{self, App, AppTemplate, VariableGroup},
    cluster::error,
    domain::{
        apps::{self, ExistingObjects, Setting},
        intent::SeenObject,
    },
};

/// The Apps that would be created, and the template that was read.
pub(super) async fn plan_apps(
    at: &PerformContext<'_>,
    template: &str,
    seen: Option<&SeenObject>,
    names: &[String],
    settings: &[Setting],
) -> Result<(Vec<App>, AppTemplate)> {
    let found = get_template(at, template, seen).await?;
    let there = at
        .namespaced_api::<App>()
        .list(&ListParams::default())
        .await
        .map_err(api_error("listing apps"))?
        .items;
    let groups = list_variable_groups(at).await?;
    let around = ExistingObjects {
        apps: there.iter().collect(),
        groups: groups
            .iter()
            .map(|(name, group)| (name.as_str(), group))
            .collect(),
    };
    let made = apps::make_apps(&found, names, settings, &around)
        .map_err(|all| creation_refused(template, &all))?;
    let dry = PostParams {
        dry_run: true,
        ..post_params()
    };
    let mut problems = vec![];
    for app in &made {
        if let Err(why) = at.namespaced_api::<App>().create(&dry, app).await {
            problems.push(format!(
                "app {}: {}",
                app.name_any(),
                error::describe_error(&why)
            ));
        }
    }
    if problems.is_empty() {
        Ok((made, found))
    } else {
        Err(creation_refused(template, &problems))
    }
}

/// The template, if it is as the person saw it.
async fn get_template(
    at: &PerformContext<'_>,
    template: &str,
    seen: Option<&SeenObject>,
) -> Result<AppTemplate> {
    let what = format!("app template {template}");
    let found = at
        .namespaced_api::<AppTemplate>()
        .get_opt(template)
        .await
        .map_err(api_error(format!("reading {what}")))?;
    let found = match (found, seen) {
        (Some(found), _) => found,
        (None, Some(_)) => {
            return Err(PerformError::Stale {
                what,
                why: "it was deleted".into(),
            });
        }
        (None, None) => {
            let all = at
                .namespaced_api::<AppTemplate>()
                .list(&ListParams::default())
                .await
                .map_err(api_error("listing app templates"))?;
            let mut known: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
            known.sort();
            let known = if known.is_empty() {
                "none is there".into()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(PerformError::refused_with(format!(
                "there is no {what} in namespace {}; {known}",
                at.namespace
            )));
        }
    };
    check_unchanged(&what, seen, &found)?;
    Ok(found)
}

async fn list_variable_groups(at: &PerformContext<'_>) -> Result<BTreeMap<String, VariableGroup>> {
    let groups = match at
        .namespaced_api::<VariableGroup>()
        .list(&ListParams::default())
        .await
    {
        Ok(list) => list.items,
        // Installed before VariableGroups existed.
        Err(e) if error::status_code(&e) == Some(404) => vec![],
        Err(e) => return Err(api_error("listing variable groups")(e)),
    };
    Ok(groups.into_iter().map(|g| (g.name_any(), g)).collect())
}

fn creation_refused(template: &str, problems: &[String]) -> PerformError {
    let count = if let [_] = problems {
        String::new()
    } else {
        format!(": {} errors", problems.len())
    };
    PerformError::refused_with(format!(
        "no app was made from template {template}{count}\n{}",
        problems.join("\n")
    ))
}

/// Creates all Apps. There is no transaction over several objects: after an error in between, the
/// message says what was created and what was not. The Apps that were created run nothing, and
/// another attempt can name the rest.
#[tracing::instrument(level = "debug", skip_all, fields(template, apps = names.len()))]
pub(super) async fn create_apps(
    at: &PerformContext<'_>,
    template: &str,
    seen: Option<&SeenObject>,
    names: &[String],
    settings: &[Setting],
) -> Result<Outcome> {
    let (apps, _) = plan_apps(at, template, seen, names, settings).await?;
    let mut made: Vec<&str> = vec![];
    for (app, name) in apps.iter().zip(names) {
        let written = at.namespaced_api::<App>().create(&post_params(), app).await;
        let taken = is_conflict(&written);
        if let Err(why) = written {
            let why = if taken {
                "somebody else has created it meanwhile".into()
            } else {
                error::describe_error(&why)
            };
            let left = names[made.len()..].join(" ");
            let made = if made.is_empty() {
                "nothing was made".into()
            } else {
                format!("made: {}", made.join(", "))
            };
            return Err(PerformError::refused_with(format!(
                "app {name}: {why}; {made}; not made: {left}"
            )));
        }
        made.push(name);
    }
    let message = format!(
        "made {} from template {template}; nothing of it runs before a release",
        names.join(", ")
    );
    Ok(Outcome {
        message,
        objects: made
            .into_iter()
            .map(|name| ("App".to_owned(), name.to_owned()))
            .collect(),
    })
}

fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}
