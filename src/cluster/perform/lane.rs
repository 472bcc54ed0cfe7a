//! Sets, enables and deletes lanes; never overwrites someone else's change, and never writes an
//! invalid lane.

use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::ObjectMeta,
};

use super::{Outcome, PerformError, Place, Result, TRIES, check, is_conflict, told};
use crate::{
    api::{self, Lane, LaneGroup, LaneSpec},
    cluster::{error, gateways},
    domain::{
        intent::Seen,
        lanes::{self, Severity},
    },
};

pub(super) async fn set(
    at: &Place<'_>,
    name: &str,
    seen: Option<&Seen>,
    spec: LaneSpec,
) -> Result<Outcome> {
    let what = format!("lane {name}");
    sound(at, name, &spec).await?;
    if seen.is_some() {
        return edit(
            at,
            name,
            seen,
            |lane| lane.spec = spec.clone(),
            format!("{what} was saved"),
        )
        .await;
    }
    if at
        .api::<Lane>()
        .get_metadata_opt(name)
        .await
        .map_err(told(&what))?
        .is_some()
    {
        return Err(PerformError::refused(format!("{what} is there already")));
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
    at.api::<Lane>()
        .create(&params(), &lane)
        .await
        .map_err(told(&what))?;
    Ok(Outcome::one("Lane", name, format!("{what} was created")))
}

pub(super) async fn enable(
    at: &Place<'_>,
    name: &str,
    seen: Option<&Seen>,
    enabled: bool,
) -> Result<Outcome> {
    let lane = get(at, name, seen).await?;
    if enabled {
        sound(
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
    edit(at, name, seen, |lane| lane.spec.enabled = enabled, message).await
}

pub(super) async fn delete(at: &Place<'_>, name: &str, seen: Option<&Seen>) -> Result<Outcome> {
    let what = format!("lane {name}");
    let lane = get(at, name, seen).await?;
    check(&what, seen, &lane)?;
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
    at.api::<Lane>()
        .delete(name, &params)
        .await
        .map_err(gone(&what))?;
    Ok(Outcome::one("Lane", name, format!("{what} was deleted")))
}

async fn get(at: &Place<'_>, name: &str, seen: Option<&Seen>) -> Result<Lane> {
    let found = at
        .api::<Lane>()
        .get_opt(name)
        .await
        .map_err(told(format!("lane {name}")))?;
    found.ok_or_else(|| match seen {
        Some(_) => PerformError::Stale {
            what: format!("lane {name}"),
            why: "it was deleted".into(),
        },
        None => PerformError::refused(format!(
            "there is no lane {name} in namespace {}",
            at.namespace
        )),
    })
}

/// As [`told`], but a missing object was deleted after it was read.
fn gone(what: &str) -> impl FnOnce(kube::Error) -> PerformError {
    let what = what.to_owned();
    move |e| match error::code(&e) {
        Some(404) => PerformError::Stale {
            what,
            why: "it was deleted".into(),
        },
        _ => told(what)(e),
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

/// Changes a lane as it is now. Without a version in `seen`, a status written meanwhile by the
/// engine does not matter.
async fn edit(
    at: &Place<'_>,
    name: &str,
    seen: Option<&Seen>,
    change: impl Fn(&mut Lane),
    message: String,
) -> Result<Outcome> {
    let what = format!("lane {name}");
    for _ in 0..TRIES {
        let mut lane = get(at, name, seen).await?;
        check(&what, seen, &lane)?;
        change(&mut lane);
        let written = at.api::<Lane>().replace(name, &params(), &lane).await;
        if is_conflict(&written) {
            continue;
        }
        return written
            .map(|_| Outcome::one("Lane", name, message))
            .map_err(gone(&what));
    }
    Err(PerformError::Stale {
        what,
        why: "it is being written too often".into(),
    })
}

/// Refuses a lane with errors, validated together with the other lanes of its group.
async fn sound(at: &Place<'_>, name: &str, spec: &LaneSpec) -> Result<()> {
    let before = at
        .api::<Lane>()
        .list(&ListParams::default())
        .await
        .map_err(told("listing lanes"))?
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
        .api::<LaneGroup>()
        .get_opt(&spec.group)
        .await
        .map_err(told(format!("lane group {}", spec.group)))?;
    let group = match group {
        Some(group) => Some(gateways::as_now(at.client, group).await),
        None => None,
    };
    // Includes the effect on others: a lane that fills up the route leaves no room for the lanes
    // after it.
    let problems = lanes::introduced(&spec.group, group.as_ref(), &before, &all, name);
    let mine = problems.iter().filter(|p| p.severity == Severity::Error);
    let told: Vec<String> = mine.map(ToString::to_string).collect();
    if told.is_empty() {
        Ok(())
    } else {
        Err(PerformError::refused(told.join("; ")))
    }
}
