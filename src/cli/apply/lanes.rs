//! Lanes and lane groups among those that are there, at the gateway that serves them: what it cannot do is refused
//! before anything is written.

use std::collections::BTreeMap;

use color_eyre::eyre::Result;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::files::Object;
use crate::{
    api::{self, Lane, LaneGroup},
    cli::{get, lane, session::Session},
    cluster::gateways,
    domain::lanes::{self, Means, Severity},
};

/// Problems, each with file and line.
pub(super) async fn check(session: &Session, objects: &[Object]) -> Result<Vec<String>> {
    let (groups, lanes) = (of::<LaneGroup>(session, objects, "LaneGroup"), of::<Lane>(session, objects, "Lane"));
    if groups.is_empty() && lanes.is_empty() {
        return Ok(vec![]);
    }
    // A cluster without our definitions gets them by these very files, or tells so itself.
    let (Ok(live), Ok(before)) = (get::list::<LaneGroup>(session).await, get::list::<Lane>(session).await) else {
        return Ok(vec![]);
    };
    let mut after: BTreeMap<String, Lane> = before.iter().map(|l| (l.name_any(), l.clone())).collect();
    after.extend(lanes.iter().map(|(_, lane)| (lane.name_any(), lane.clone())));
    let after: Vec<Lane> = after.into_values().collect();
    let mut named: Vec<String> = groups.iter().map(|(_, g)| g.name_any()).collect();
    named.extend(lanes.iter().map(|(_, l)| l.spec.group.clone()));
    named.sort();
    named.dedup();
    let mut problems = vec![];
    for name in named {
        let ours = groups.iter().find(|(_, g)| g.name_any() == name);
        let there = live.iter().find(|g| g.name_any() == name);
        let Some(mut group) = ours.map(|(_, g)| g.clone()).or(there.cloned()) else { continue };
        group.status = there.and_then(|g| g.status.clone());
        group.metadata.namespace = Some(session.namespace.clone());
        let group = gateways::as_now(&session.client, group).await;
        let old = lanes::check(&name, there, &before);
        for problem in lanes::check(&name, Some(&group), &after).iter().filter(|p| p.severity == Severity::Error) {
            match lanes.iter().find(|(_, lane)| lane.name_any() == problem.lane) {
                Some((object, _)) => {
                    let place = object.place(&format!("spec.{}", problem.place));
                    problems.push(format!("{place}: {}: {}", object.words(), problem.text));
                }
                None if old.contains(problem) => {}
                None => problems.push(problem.to_string()),
            }
        }
        for (object, lane) in lanes.iter().filter(|(_, lane)| lane.spec.group == name) {
            for warning in lane::elsewhere(session, &group, lane).await.unwrap_or_default() {
                let place = object.place(&format!("spec.{}", warning.place));
                eprintln!("warning: {place}: {}: {}", object.words(), warning.text);
            }
        }
        if let (Some((object, _)), Some(means)) = (ours, Means::of(&group)) {
            let wrong = lanes::group_problems(&group, &means);
            problems.extend(wrong.iter().map(|w| format!("{}: {}: {w}", object.place("spec"), object.words())));
        }
    }
    Ok(problems)
}

/// Those of the session's namespace: of other ones this session knows nothing.
fn of<'a, T: DeserializeOwned>(session: &Session, objects: &'a [Object], kind: &str) -> Vec<(&'a Object, T)> {
    let home = |o: &&Object| {
        let namespace = o.value["metadata"]["namespace"].as_str().unwrap_or(&session.namespace);
        o.gvk().group == api::GROUP && o.gvk().kind == kind && namespace == session.namespace
    };
    objects.iter().filter(home).filter_map(|o| Some((o, serde_json::from_value(o.value.clone()).ok()?))).collect()
}
