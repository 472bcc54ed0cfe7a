use proptest::prelude::*;

use super::*;
use crate::api::{Entry, EntryRoute, LaneGroupSpec, LaneSpec};

fn group() -> LaneGroup {
    let app = |name: &str, port| LaneApp {
        app: name.into(),
        service: None,
        port,
    };
    let spec = LaneGroupSpec {
        entry: Entry {
            gateway: "edge".into(),
            host: None,
            routes: vec![EntryRoute {
                path: "/A".into(),
                app: "a".into(),
                rewrite: Some("/".into()),
            }],
        },
        apps: vec![app("a", 1), app("b", 2), app("c", 3)],
        ..LaneGroupSpec::default()
    };
    let mut group = LaneGroup::new("demo", spec);
    group.metadata.namespace = Some("ns".into());
    group
}

fn lane(name: &str, tag: &str, on_loss: OnLoss) -> Lane {
    Lane::new(
        name,
        LaneSpec {
            group: "demo".into(),
            tag: tag.into(),
            enabled: true,
            on_loss,
            ..LaneSpec::default()
        },
    )
}

fn served(plan: &RoutePlan, lane: &str) -> String {
    let word = |s: &LaneAppStatus| if s.served == Served::Gray { 'g' } else { 'b' };
    plan.lanes[lane].iter().map(word).collect()
}

fn gray_rules(plan: &RoutePlan, app: &str) -> Vec<String> {
    let route = plan
        .routes
        .iter()
        .find(|r| r.metadata.name.as_deref() == Some(&format!("demo-{app}")))
        .unwrap();
    let rules = &route.spec.rules;
    assert!(
        rules.last().unwrap().matches.is_empty(),
        "the last rule is the baseline"
    );
    rules[..rules.len() - 1]
        .iter()
        .map(|r| r.backend_refs[0].name.clone())
        .collect()
}

const UP: LaneVersion = LaneVersion {
    expected: true,
    service: true,
    ready: 2,
};
const GONE: LaneVersion = LaneVersion {
    expected: true,
    service: true,
    ready: 0,
};
const NEVER: LaneVersion = LaneVersion {
    expected: false,
    service: false,
    ready: 0,
};

fn planned(
    on_loss: OnLoss,
    version: impl Fn(&str) -> LaneVersion,
    open: impl Fn(&str) -> bool,
) -> RoutePlan {
    plan_routes(&RouteInputs {
        group: &group(),
        lanes: &[lane("gray", "gray", on_loss)],
        version: &|app, _| version(app),
        open: &|app, _| {
            if open(app) {
                Ok(())
            } else {
                Err(LaneNotOpen::WindowWaits("its window".into()))
            }
        },
    })
}

#[test]
fn a_side_keeps_its_time_until_it_changes() {
    let then: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let now: jiff::Timestamp = "2026-11-23T12:05:00Z".parse().unwrap();
    let mut before = planned(
        OnLoss::FallBack,
        |app| if app == "b" { NEVER } else { UP },
        |_| true,
    )
    .lanes["gray"]
        .clone();
    carry_since(&[], &mut before, then);
    let mut after = planned(
        OnLoss::FallBack,
        |_| LaneVersion { ready: 1, ..UP },
        |_| true,
    )
    .lanes["gray"]
        .clone();
    carry_since(&before, &mut after, now);
    let times: Vec<_> = after.iter().map(|a| a.since.clone().unwrap()).collect();
    assert_eq!(times, [then, now, then].map(RecordedTime::from));
    // The clock was set back.
    let mut again = after.clone();
    carry_since(&after, &mut again, then);
    assert!(
        again.iter().all(|a| a.since == Some(then.into())),
        "{again:?}"
    );
}

#[test]
fn a_lane_has_a_rule_exactly_where_its_version_serves() {
    let plan = planned(
        OnLoss::FallBack,
        |app| if app == "b" { NEVER } else { UP },
        |_| true,
    );
    assert_eq!(served(&plan, "gray"), "gbg");
    assert_eq!(gray_rules(&plan, "a"), ["a-gray"]);
    assert_eq!(gray_rules(&plan, "b"), [""; 0]);
    assert_eq!(plan.lanes["gray"][1].reason, "no gray version is deployed");
    assert_eq!(plan.problems, [""; 0]);
}

#[test]
fn the_entry_colours_rewrites_and_asks_the_apps_service() {
    let plan = planned(OnLoss::FallBack, |_| UP, |_| true);
    let json = serde_json::to_value(&plan.routes[0]).unwrap();
    assert_eq!(json["metadata"]["name"], "demo-entry");
    assert_eq!(json["spec"]["parentRefs"][0]["name"], "edge");
    let rule = &json["spec"]["rules"][0];
    assert_eq!(
        rule["matches"][0]["path"],
        serde_json::json!({"type": "PathPrefix", "value": "/A"})
    );
    assert_eq!(rule["filters"][0]["extensionRef"]["name"], "demo");
    assert_eq!(
        rule["filters"][1]["urlRewrite"]["path"]["replacePrefixMatch"],
        "/"
    );
    assert_eq!(
        rule["backendRefs"][0],
        serde_json::json!({"name": "a", "port": 1})
    );
}

#[test]
fn a_closed_window_keeps_requests_on_the_baseline_with_its_reason() {
    let plan = planned(OnLoss::Hold, |_| UP, |app| app != "c");
    assert_eq!(served(&plan, "gray"), "ggb");
    assert_eq!(
        plan.lanes["gray"][2].reason,
        LaneNotOpen::WindowWaits("its window".into()).to_string()
    );
}

#[test]
fn a_lost_version_follows_the_policy() {
    let at = |policy| planned(policy, |app| if app == "c" { GONE } else { UP }, |_| true);
    assert_eq!(served(&at(OnLoss::FallBack), "gray"), "ggb");
    assert_eq!(served(&at(OnLoss::Hold), "gray"), "ggg");
    assert_eq!(gray_rules(&at(OnLoss::Hold), "c"), ["c-gray"]);
    assert_eq!(served(&at(OnLoss::Close), "gray"), "bbb");
    assert_eq!(gray_rules(&at(OnLoss::Close), "a"), [""; 0]);
}

#[test]
fn an_entry_to_a_strange_app_is_a_problem_at_its_place() {
    let mut group = group();
    group.spec.entry.routes[0].app = "x".into();
    let plan = plan_routes(&RouteInputs {
        group: &group,
        lanes: &[],
        version: &|_, _| UP,
        open: &|_, _| Ok(()),
    });
    assert!(
        plan.problems[0].starts_with("entry.routes[0] /A: x is not"),
        "{:?}",
        plan.problems
    );
    assert_eq!(plan.routes.len(), 3);
}

fn versions() -> impl Strategy<Value = LaneVersion> {
    (any::<bool>(), any::<bool>(), 0_u32..3).prop_map(|(e, s, r)| LaneVersion {
        expected: e,
        service: s,
        ready: r,
    })
}

fn policies() -> impl Strategy<Value = OnLoss> {
    prop_oneof![
        Just(OnLoss::FallBack),
        Just(OnLoss::Hold),
        Just(OnLoss::Close)
    ]
}

proptest! {
    /// A rule never has an empty backend unless the lane holds, never exists before its window
    /// opens, and never exists for a disabled lane.
    #[test]
    fn rules_are_safe(
        seen in prop::collection::vec(versions(), 6), open in prop::collection::vec(any::<bool>(), 6),
        policy in prop::collection::vec(policies(), 2), enabled in prop::collection::vec(any::<bool>(), 2),
    ) {
        let index = |app: &str, tag: &str| usize::from(app.as_bytes()[0] - b'a') + if tag == "g1" { 0 } else { 3 };
        let mut lanes = [lane("one", "g1", policy[0]), lane("two", "g2", policy[1])];
        for (lane, on) in lanes.iter_mut().zip(&enabled) { lane.spec.enabled = *on; }
        let plan = plan_routes(&RouteInputs {
            group: &group(), lanes: &lanes,
            version: &|app, tag| seen[index(app, tag)],
            open: &|app, tag| if open[index(app, tag)] { Ok(()) } else { Err(LaneNotOpen::WindowWaits("b".into())) },
        });
        for (i, lane) in lanes.iter().enumerate() {
            for (app, status) in ["a", "b", "c"].iter().zip(&plan.lanes[lane.metadata.name.as_ref().unwrap()]) {
                let (seen, open) = (seen[index(app, &lane.spec.tag)], open[index(app, &lane.spec.tag)]);
                let there = gray_rules(&plan, app).contains(&format!("{app}-{}", lane.spec.tag));
                prop_assert_eq!(there, status.served == Served::Gray);
                prop_assert!(!status.reason.is_empty());
                if there {
                    prop_assert!(enabled[i] && open);
                    prop_assert!((seen.service && seen.ready > 0) || policy[i] == OnLoss::Hold);
                }
            }
        }
    }
}
