//! Determines which versions of an App are behind which Services, by their endpoints.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

use crate::{
    api::{App, EnvironmentState, LaneApp, LaneGroup, label},
    domain::{lanes::GatewayFeatures, routes::LaneVersion},
    engine::cache::{Cache, SERVICE_NAME_LABEL},
};

/// How long a foreign gateway gets to learn of new pods before it gets their route. Counted from
/// when this engine has observed them, regardless of their timestamps.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Apps of a group whose baseline was never deployed.
pub(super) fn apps_without_baseline<'a>(group: &'a LaneGroup, apps: &[Arc<App>]) -> Vec<&'a str> {
    let is_coming = |name: &str| {
        let app = apps.iter().find(|a| a.name_any() == name);
        app.is_some_and(|app| {
            let baselines = app.spec.environments.iter().filter(|e| e.lane.is_none());
            let deployed = |e: &str| {
                app.status
                    .as_ref()
                    .is_some_and(|s| s.environments.get(e).is_some_and(|e| !e.images.is_empty()))
            };
            !baselines.into_iter().any(|e| deployed(&e.name))
        })
    };
    group
        .spec
        .apps
        .iter()
        .map(|a| a.app.as_str())
        .filter(|name| is_coming(name))
        .collect()
}

/// Reports Services of baselines that also select gray pods, which untagged requests may reach.
pub(super) fn find_mixed_services(cache: &Cache, group: &LaneGroup) -> Vec<String> {
    let home = group.namespace().unwrap_or_default();
    let slices = cache.slices.list();
    let of_baseline = |app: &LaneApp| {
        let own = |s: &&Arc<EndpointSlice>| {
            s.namespace().as_deref() == Some(&home)
                && s.labels().get(SERVICE_NAME_LABEL).map(String::as_str) == Some(app.service())
        };
        let pods = slices.iter().filter(own).flat_map(|s| &s.endpoints);
        let gray = pods
            .filter_map(|e| e.target_ref.as_ref()?.name.clone())
            .find_map(|pod| {
                let pod = cache.workloads.pods.get_named(&home, &pod)?;
                Some((
                    pod.name_any(),
                    pod.labels().get(label::SERVICE_TAG)?.clone(),
                ))
            });
        let (pod, tag) = gray?;
        let service = app.service();
        Some(format!(
            "Service {service} also selects pods with a tag ({pod}: {tag}): untagged requests may reach them. Make \
            its selector match the baseline only"
        ))
    };
    group.spec.apps.iter().filter_map(of_baseline).collect()
}

/// Observes the version of an App with a lane's tag. A pod counts when the endpoints of the Service
/// say it is ready, because gateways only reach these. A foreign gateway learns of pods through its
/// own watch, so for such a gateway pods count a moment later, and no route is older than its
/// endpoints. Also returns whether some pods do not count yet.
pub(super) fn observe_version(
    cache: &Cache,
    group: &LaneGroup,
    app: Option<&App>,
    name: &str,
    tag: &str,
    opens: bool,
) -> (LaneVersion, bool) {
    let Some(member) = group.spec.apps.iter().find(|a| a.app == name) else {
        return (LaneVersion::default(), false);
    };
    let service = member.lane_service(tag);
    let home = group.namespace().unwrap_or_default();
    let environment = app.and_then(|a| {
        let environment = a.spec.environment_of_lane(tag)?;
        a.status.as_ref()?.environments.get(&environment.name)
    });
    let there = cache.services.get_named(&home, &service);
    let slices = cache.slices.list();
    let own = slices.iter().filter(|s| {
        s.namespace().as_deref() == Some(&home)
            && s.labels().get(SERVICE_NAME_LABEL) == Some(&service)
    });
    let ready = own.flat_map(|s| s.endpoints.iter()).filter(|e| {
        let c = e.conditions.clone().unwrap_or_default();
        c.ready.unwrap_or(true) && c.terminating != Some(true)
    });
    let opens = opens && GatewayFeatures::from_group(group).is_some();
    let young =
        |name: &str, state: &str| opens && cache.state_ages.state_age(name, state) < SETTLE_TIME;
    let pods = &cache.workloads.pods;
    let settled = |e: &Endpoint| {
        let Some(target) = e.target_ref.as_ref() else {
            return true;
        };
        let name = target.name.as_deref().unwrap_or_default();
        let pod = pods.get_named(&home, name);
        // Ready again is as new to a gateway as ready for the first time.
        let since = pod.and_then(|p| p.ready?.since);
        let ready = since.map(|t| t.to_string()).unwrap_or_default();
        !young(
            &format!("{service}/{}", target.uid.as_deref().unwrap_or(name)),
            &ready,
        )
    };
    let made = there
        .as_ref()
        .is_some_and(|s| young(&s.uid().unwrap_or_default(), ""));
    let (old, new): (Vec<&Endpoint>, Vec<&Endpoint>) = ready.partition(|e| settled(e) && !made);
    let version = LaneVersion {
        expected: new.is_empty()
            && environment.is_some_and(|e| e.state == EnvironmentState::Running),
        service: there.is_some_and(|s| s.metadata.deletion_timestamp.is_none()),
        ready: u32::try_from(old.len()).unwrap_or(u32::MAX),
    };
    (version, !new.is_empty())
}
