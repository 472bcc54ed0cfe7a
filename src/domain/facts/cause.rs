//! Finds why an environment makes no progress: from its workloads, their pods and warning events.

use super::{Facts, environment_pods};
use crate::domain::{text::Clean, world::World};

/// The first message that explains why waiting will not help.
pub fn find_stall_cause<'a>(
    facts: &'a Facts,
    world: &'a World,
    app: &'a str,
    environment: &'a str,
) -> Option<&'a Clean> {
    let workload = world
        .workloads_of(app, environment)
        .filter(|w| w.stuck)
        .find_map(|w| w.message.as_ref());
    // States of a pod that is starting normally.
    let coming = |state: &str| {
        matches!(
            state,
            "Running" | "ContainerCreating" | "PodInitializing" | "NotReady"
        )
    };
    let pod = || {
        let all = environment_pods(facts, world, app, environment);
        all.filter(|p| !p.ready && !p.terminating && !coming(&p.state))
            .find_map(|p| p.message.as_ref())
    };
    // StatefulSets report no conditions, so their warning events are used.
    let event = || {
        let short = |w: &&crate::domain::world::Workload| w.ready < w.replicas;
        let mut all = world.workloads_of(app, environment).filter(short);
        all.find_map(|w| {
            let about = |e: &&crate::domain::world::Event| {
                e.warning
                    && e.object == w.key
                    && &*e.kind == "StatefulSet"
                    && e.reason.starts_with("Failed")
            };
            world.events.iter().rev().find(about).map(|e| &e.message)
        })
    };
    workload.or_else(pod).or_else(event)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::world::{Event, ObjectKey, Pod, Workload, pods_by_key};

    #[test]
    fn what_will_not_get_well_by_waiting_is_told_and_a_pod_on_its_way_is_not() {
        let key = ObjectKey::at_home("demo", "w");
        let told = |workload: Workload, pod: Option<Pod>, event: Option<Event>| {
            let (app, environment) = (Some("a".to_owned()), Some("prod".to_owned()));
            let workload = Workload {
                key: key.clone(),
                app: app.clone(),
                environment: environment.clone(),
                replicas: 2,
                ..workload
            };
            let pods = pod.map(|p| Pod {
                key: ObjectKey::at_home("demo", "p"),
                app: app.clone(),
                environment: environment.clone(),
                ..p
            });
            let world = World {
                stateful: Arc::new([(key.clone(), workload)].into()),
                pods: Arc::new(pods_by_key(pods)),
                events: Arc::new(event.into_iter().collect()),
                ..World::default()
            };
            let mut facts = Facts::default();
            facts.refresh(&world, jiff::Timestamp::UNIX_EPOCH);
            find_stall_cause(&facts, &world, "a", "prod").map(ToString::to_string)
        };
        let clean = |text: &str| Clean::from_untrusted(text);
        let pod = |state: &str| {
            Some(Pod {
                state: clean(state),
                message: Some(clean("why")),
                ..Pod::default()
            })
        };
        let says = |stuck| Workload {
            message: Some(clean("quota")),
            stuck,
            ..Workload::default()
        };
        let warning = |reason: &str| {
            let kind = clean("StatefulSet");
            Some(Event {
                warning: true,
                kind,
                object: key.clone(),
                reason: clean(reason),
                message: clean("forbidden"),
                ..Event::default()
            })
        };
        let none = Workload::default;
        assert_eq!(
            told(says(true), pod("ImagePullBackOff"), None).as_deref(),
            Some("quota")
        );
        assert_eq!(
            told(says(false), pod("ImagePullBackOff"), None).as_deref(),
            Some("why")
        );
        assert_eq!(told(none(), pod("Pending"), None).as_deref(), Some("why"));
        assert_eq!(told(none(), pod("Running"), None), None);
        assert_eq!(told(none(), pod("ContainerCreating"), None), None);
        assert_eq!(
            told(none(), None, warning("FailedCreate")).as_deref(),
            Some("forbidden")
        );
        assert_eq!(told(none(), None, warning("Unhealthy")), None);
    }
}
