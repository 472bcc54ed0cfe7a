//! Sets, enables and deletes lanes; never overwrites someone else's change, and never writes an
//! invalid lane.

use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::ObjectMeta,
};

use super::{
    MAX_ATTEMPTS, Outcome, PerformContext, PerformError, Result, api_error, check_unchanged,
    is_conflict,
};
use crate::{
    api::{self, Lane, LaneGroup, LaneSpec},
    cluster::{error, gateways},
    domain::{
        intent::SeenObject,
        lanes::{self, Severity},
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

/// Refuses a lane with errors, validated together with the other lanes of its group.
#[tracing::instrument(level = "debug", skip_all, fields(lane = name))]
/// Checks a lane among those of its group.
pub(super) async fn validate_lane(
    at: &PerformContext<'_>,
    name: &str,
    spec: &LaneSpec,
) -> Result<()> {
    let before = at
        .namespaced_api::<Lane>()
        .list(&ListParams::default())
        .await
        .map_err(api_error("listing lanes"))?
        .items;
    let mut all: Vec<Lane> = before
        .iter()
        .filter(|l| l.name_any() != name)
        .cloned()
        .collect();
    let metadata = ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    all.push(Lane {
        metadata,
        spec: spec.clone(),
        status: None,
    });
    let group = at
        .namespaced_api::<LaneGroup>()
        .get_opt(&spec.group)
        .await
        .map_err(api_error(format!("lane group {}", spec.group)))?;
    let group = match group {
        Some(group) => Some(gateways::with_live_gateway(at.client, group).await),
        None => None,
    };
    // Includes the effect on others: a lane that fills up the route leaves no room for the lanes
    // after it.
    let problems = lanes::find_new_problems(&spec.group, group.as_ref(), &before, &all, name);
    let mine = problems.iter().filter(|p| p.severity == Severity::Error);
    let told: Vec<String> = mine.map(ToString::to_string).collect();
    if told.is_empty() {
        Ok(())
    } else {
        Err(PerformError::refused_with(told.join("; ")))
    }
}
