//! Sets, enables and deletes lanes; never overwrites someone else's change, and never writes an
//! invalid lane.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::ObjectMeta,
};

use super::{
    MAX_ATTEMPTS, Outcome, PerformContext, PerformError, Result, api_error, check_unchanged,
    is_conflict,
};
use crate::{
    api::ClusterName,
    api::{self, App, Lane, LaneGroup, LaneSpec},
    cluster::{error, gateways},
    domain::{
        intent::SeenObject,
        lanes::{LaneCheck, Problem, Severity},
    },
};

#[tracing::instrument(level = "debug", skip_all, fields(lane = name))]
pub(super) async fn set_lane(
    at: &PerformContext<'_>,
    name: &str,
    seen: Option<&SeenObject>,
    spec: LaneSpec,
) -> Result<Outcome> {
    let what = format!("lane {name}");
    validate_lane(at, name, &spec).await?;
    if seen.is_some() {
        return edit_lane(
            at,
            name,
            seen,
            |lane| lane.spec = spec.clone(),
            format!("{what} was saved"),
        )
        .await;
    }
    if at
        .namespaced_api::<Lane>()
        .get_metadata_opt(name)
        .await
        .map_err(api_error(&what))?
        .is_some()
    {
        return Err(PerformError::refused_with(format!("{what} exists already")));
    }
    let metadata = ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    let lane = Lane {
        metadata,
        spec,
        status: None,
    };
    at.namespaced_api::<Lane>()
        .create(&post_params(), &lane)
        .await
        .map_err(api_error(&what))?;
    Ok(Outcome::for_object(
        "Lane",
        name,
        format!("{what} was created"),
    ))
}

#[tracing::instrument(level = "debug", skip_all, fields(lane = name, enabled))]
pub(super) async fn enable_lane(
    at: &PerformContext<'_>,
    name: &str,
    seen: Option<&SeenObject>,
    enabled: bool,
) -> Result<Outcome> {
    let lane = get_lane(at, name, seen).await?;
    if enabled {
        validate_lane(
            at,
            name,
            &LaneSpec {
                enabled,
                ..lane.spec
            },
        )
        .await?;
    }
    let message = format!(
        "lane {name} is {}",
        if enabled { "enabled" } else { "disabled" }
    );
    edit_lane(at, name, seen, |lane| lane.spec.enabled = enabled, message).await
}

#[tracing::instrument(level = "debug", skip_all, fields(lane = name))]
pub(super) async fn delete_lane(
    at: &PerformContext<'_>,
    name: &str,
    seen: Option<&SeenObject>,
) -> Result<Outcome> {
    let what = format!("lane {name}");
    let lane = get_lane(at, name, seen).await?;
    check_unchanged(&what, seen, &lane)?;
    // Deletes only the version that the person saw.
    let version = seen
        .and_then(|s| s.version.as_ref())
        .and_then(|_| lane.resource_version());
    let preconditions = Preconditions {
        uid: lane.uid(),
        resource_version: version,
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    at.namespaced_api::<Lane>()
        .delete(name, &params)
        .await
        .map_err(deleted_or_api_error(&what))?;
    Ok(Outcome::for_object(
        "Lane",
        name,
        format!("{what} was deleted"),
    ))
}

async fn get_lane(at: &PerformContext<'_>, name: &str, seen: Option<&SeenObject>) -> Result<Lane> {
    let found = at
        .namespaced_api::<Lane>()
        .get_opt(name)
        .await
        .map_err(api_error(format!("lane {name}")))?;
    found.ok_or_else(|| match seen {
        Some(_) => PerformError::Stale {
            what: format!("lane {name}"),
            why: "it was deleted".into(),
        },
        None => PerformError::refused_with(format!(
            "there is no lane {name} in namespace {}",
            at.namespace
        )),
    })
}

/// As an API error, but a missing object was deleted after it was read.
fn deleted_or_api_error(what: &str) -> impl FnOnce(kube::Error) -> PerformError {
    let what = what.to_owned();
    move |e| match error::status_code(&e) {
        Some(404) => PerformError::Stale {
            what,
            why: "it was deleted".into(),
        },
        _ => api_error(what)(e),
    }
}

fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

/// Changes a lane as it is now. Without a version in `seen`, a status written meanwhile by the
/// engine does not matter.
async fn edit_lane(
    at: &PerformContext<'_>,
    name: &str,
    seen: Option<&SeenObject>,
    change: impl Fn(&mut Lane),
    message: String,
) -> Result<Outcome> {
    let what = format!("lane {name}");
    for _ in 0..MAX_ATTEMPTS {
        let mut lane = get_lane(at, name, seen).await?;
        check_unchanged(&what, seen, &lane)?;
        change(&mut lane);
        let written = at
            .namespaced_api::<Lane>()
            .replace(name, &post_params(), &lane)
            .await;
        if is_conflict(&written) {
            continue;
        }
        return written
            .map(|_| Outcome::for_object("Lane", name, message))
            .map_err(deleted_or_api_error(&what));
    }
    Err(PerformError::Stale {
        what,
        why: "it is being written too often".into(),
    })
}

/// Refuses a lane with errors.
pub(super) async fn validate_lane(
    at: &PerformContext<'_>,
    name: &str,
    spec: &LaneSpec,
) -> Result<()> {
    let found = check_lane(at.client, at.namespace, name, spec, None).await?;
    let errors = found.problems.iter();
    let errors: Vec<String> = errors
        .filter(|p| p.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(PerformError::refused_with(errors.join("; ")))
    }
}

/// What is found when a lane is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneFindings {
    /// Problems of the lane, and those that it causes in other lanes: one that fills up the route
    /// leaves no room for the lanes after it.
    pub problems: Vec<Problem>,
    /// Why it is not known whether the lane leads to another cluster.
    pub unchecked: Option<String>,
}

/// Checks a lane beside the others of its group as they are now, and writes nothing. `away` tells
/// other clusters' contexts; without it, where Apps run is not checked.
#[tracing::instrument(level = "debug", skip_all, fields(lane = name))]
pub async fn check_lane(
    client: &Client,
    namespace: &str,
    name: &str,
    spec: &LaneSpec,
    away: Option<&(dyn Fn(&ClusterName) -> bool + Sync)>,
) -> Result<LaneFindings> {
    let lanes = Api::<Lane>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
        .map_err(api_error("listing lanes"))?
        .items;
    let group = Api::<LaneGroup>::namespaced(client.clone(), namespace)
        .get_opt(&spec.group)
        .await
        .map_err(api_error(format!("lane group {}", spec.group)))?;
    let group = match group {
        Some(group) => Some(gateways::with_live_gateway(client, group).await),
        None => None,
    };
    let (mut apps, mut unchecked) = (vec![], None);
    if away.is_some() && group.is_some() {
        // This only adds a warning: a user who may not list Apps can still set lanes.
        let api = Api::<App>::namespaced(client.clone(), namespace);
        match api.list(&ListParams::default()).await {
            Ok(all) => apps = all.items,
            Err(why) => unchecked = Some(error::describe_error(&why)),
        }
    }
    let check = LaneCheck {
        name: &spec.group,
        group: group.as_ref(),
        app_of: &|app| apps.iter().find(|a| a.name_any() == app),
        away: &|cluster| away.is_some_and(|away| away(cluster)),
    };
    Ok(LaneFindings {
        problems: check.find_new_problems(&lanes, name, spec),
        unchecked,
    })
}
