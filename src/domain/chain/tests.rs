use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    api::{
        App, Lane, LaneApp, LaneAppStatus, LaneGroup, LaneGroupSpec, LaneSpec, LaneStatus, Release,
        ReleasePhase, ReleaseSpec, ReleaseStatus, TaskKind, TaskPhase, TaskStatus,
    },
    domain::{
        signals::{Signals, Window},
        span::Source,
        text::Clean,
        world::{ObjectKey, Pod, Route, World, pods_by_key},
    },
};

/// Apps a, b and c in group g; the lane gray serves a and c.
fn world() -> World {
    let app = |name: &str| LaneApp {
        app: name.into(),
        service: None,
        port: 1,
    };
    let group = LaneGroup::new(
        "g",
        LaneGroupSpec {
            apps: ["a", "b", "c"].map(app).into(),
            ..LaneGroupSpec::default()
        },
    );
    let mut lane = Lane::new(
        "l",
        LaneSpec {
            group: "g".into(),
            tag: "gray".into(),
            enabled: true,
            ..LaneSpec::default()
        },
    );
    let says = |app: &str, served, reason: &str| LaneAppStatus {
        app: app.into(),
        served,
        reason: reason.into(),
        since: None,
    };
    lane.status = Some(LaneStatus {
        apps: vec![
            says("a", Served::Gray, "1 gray pod ready"),
            says("b", Served::Base, "no gray version is deployed"),
            says("c", Served::Gray, "1 gray pod ready"),
        ],
        ..LaneStatus::default()
    });
    let pod = |app: &str| {
        let key = ObjectKey {
            namespace: "n".into(),
            name: format!("{app}-gray"),
        };
        let (app, tag, ready) = (Some(app.to_owned()), Some("gray".to_owned()), true);
        Pod {
            key,
            app,
            tag,
            ready,
            address: Some("10.0.0.9".into()),
            ..Pod::default()
        }
    };
    let route = |app: &str| {
        let key = ObjectKey {
            namespace: "n".into(),
            name: format!("g-{app}"),
        };
        (
            key.clone(),
            Route {
                key,
                accepted: Some(true),
                ..Route::default()
            },
        )
    };
    World {
        groups: Arc::new(BTreeMap::from([("g".into(), Arc::new(group))])),
        lanes: Arc::new(BTreeMap::from([("l".into(), Arc::new(lane))])),
        pods: Arc::new(pods_by_key(["a", "c"].map(pod))),
        routes: Arc::new(BTreeMap::from(["a", "b", "c"].map(route))),
        ..World::default()
    }
}

fn hop(
    app: &str,
    span: &str,
    parent: Option<&str>,
    tag: Option<&str>,
    pod_tag: Option<&str>,
) -> Arc<Hop> {
    Arc::new(Hop {
        trace: "t".into(),
        span: span.into(),
        parent: parent.map(Into::into),
        entry: app == "a",
        group: Some("g".into()),
        app: app.into(),
        service: app.into(),
        tag: tag.map(Into::into),
        pod: Some(format!("{app}-{}", pod_tag.unwrap_or("base"))),
        pod_tag: pod_tag.map(Into::into),
        status: 200,
        ..Hop::default()
    })
}

const LATER: Timestamp = Timestamp::MAX;

fn verdicts(hops: &[Arc<Hop>], world: &World) -> Vec<(String, Verdict)> {
    let chains = assemble_chains(hops, world, LATER);
    assert_eq!(chains.len(), 1, "{chains:?}");
    assert_eq!(
        Some(chains[0].worst),
        chains[0].steps.iter().map(|s| s.verdict).max()
    );
    chains[0]
        .steps
        .iter()
        .map(|s| (s.app.clone(), s.verdict))
        .collect()
}

fn told(hops: &[Arc<Hop>], world: &World) -> (Vec<Verdict>, String) {
    let chain = assemble_chains(hops, world, LATER).remove(0);
    let cause = chain
        .worst_step()
        .and_then(|s| s.cause.clone())
        .unwrap_or_default();
    (chain.steps.iter().map(|s| s.verdict).collect(), cause)
}

const GRAY: Option<&str> = Some("gray");

#[test]
fn the_story_reads_a_b_c_whatever_the_order() {
    let hops = [
        hop("c", "3", Some("2"), GRAY, GRAY),
        hop("b", "2", Some("1"), GRAY, None),
        hop("a", "1", Some("client"), GRAY, GRAY),
    ];
    let want = [
        ("a", Verdict::Ok),
        ("b", Verdict::FellBack),
        ("c", Verdict::Ok),
    ]
    .map(|(a, v)| (a.to_owned(), v));
    assert_eq!(verdicts(&hops, &world()), want);
    assert_eq!(told(&hops, &world()).1, "no gray version is deployed");
    let base = [
        hop("c", "3", Some("2"), None, None),
        hop("b", "2", Some("1"), None, None),
        hop("a", "1", None, None, None),
    ];
    assert!(
        verdicts(&base, &world())
            .iter()
            .all(|(_, v)| *v == Verdict::Ok)
    );
}

#[test]
fn leaks_have_their_direction_and_cause() {
    let (verdicts, cause) = told(&[hop("a", "1", None, GRAY, None)], &world());
    assert_eq!(verdicts, [Verdict::LeakDown]);
    assert!(
        cause.contains("a-base answered") && cause.contains("HTTPRoute g-a is missing or shadowed"),
        "{cause}"
    );
    let (verdicts, cause) = told(&[hop("a", "1", None, None, GRAY)], &world());
    assert_eq!(verdicts, [Verdict::LeakUp]);
    assert!(
        cause.contains("does the Service a select gray pods?"),
        "{cause}"
    );
    assert_eq!(
        told(&[hop("a", "1", None, Some("other"), GRAY)], &world()).0,
        [Verdict::LeakUp]
    );

    let mut refused = world();
    let key = ObjectKey {
        namespace: "n".into(),
        name: "g-a".into(),
    };
    let route = Route {
        key: key.clone(),
        accepted: Some(false),
        message: Some(Clean::from_untrusted("bad")),
        group: None,
    };
    Arc::make_mut(&mut refused.routes).insert(key.clone(), route);
    assert!(
        told(&[hop("a", "1", None, GRAY, None)], &refused)
            .1
            .contains("has not accepted HTTPRoute g-a: bad")
    );
    Arc::make_mut(&mut refused.routes).remove(&key);
    assert!(
        told(&[hop("a", "1", None, GRAY, None)], &refused)
            .1
            .contains("there is no HTTPRoute g-a")
    );
}

#[test]
fn a_route_that_was_only_just_opened_leaks_nothing() {
    let mut world = world();
    let status = Arc::make_mut(Arc::make_mut(&mut world.lanes).get_mut("l").unwrap())
        .status
        .as_mut()
        .unwrap();
    status.apps[0].since = Some("2026-11-23T12:00:10.5Z".into());
    let at = |time: &str| {
        let hop = Hop {
            time: time.parse().unwrap(),
            ..(*hop("a", "1", None, GRAY, None)).clone()
        };
        told(&[Arc::new(hop)], &world).0
    };
    assert_eq!(at("2026-11-23T12:00:10Z"), [Verdict::FellBack]);
    assert_eq!(at("2026-11-23T12:00:12Z"), [Verdict::FellBack]);
    assert_eq!(at("2026-11-23T12:00:14Z"), [Verdict::LeakDown]);
}

#[test]
fn a_lost_tag_names_who_lost_it_and_stays_lost() {
    let hops = [
        hop("a", "1", None, GRAY, GRAY),
        hop("b", "2", Some("1"), None, None),
        hop("c", "3", Some("2"), None, None),
    ];
    let (verdicts, cause) = told(&hops, &world());
    assert_eq!(verdicts, [Verdict::Ok, Verdict::Lost, Verdict::Lost]);
    assert_eq!(
        cause,
        "a (a-gray) got x-mse-tag: gray and did not pass it on"
    );
    let changed = [
        hop("a", "1", None, GRAY, GRAY),
        hop("b", "2", Some("1"), Some("x"), None),
    ];
    assert_eq!(
        told(&changed, &world()).1,
        "a (a-gray) got x-mse-tag: gray and passed on x"
    );
}

#[test]
fn a_tag_that_nobody_told_is_no_data_and_never_lost() {
    let unknown = |app: &str, span: &str, parent: Option<&str>, pod: Option<&str>| {
        let told = Hop {
            tag_unknown: true,
            source: Some(Source::Traefik),
            ..(*hop(app, span, parent, None, pod)).clone()
        };
        Arc::new(told)
    };
    let hops = [
        hop("a", "1", None, GRAY, GRAY),
        unknown("b", "2", Some("1"), None),
        hop("c", "3", Some("2"), GRAY, GRAY),
    ];
    let (verdicts, cause) = told(&hops, &world());
    assert_eq!(verdicts, [Verdict::Ok, Verdict::NoData, Verdict::Ok]);
    let words = "Traefik's access log has not reported the lane tag of any request; `graylane doctor --trace g` \
    says what is missing";
    assert_eq!(cause, words);
    assert_eq!(
        told(&[unknown("a", "1", None, GRAY)], &world()).0,
        [Verdict::NoData],
        "nor a leak up"
    );
    assert_eq!(
        told(&[unknown("a", "1", None, None)], &world()).0,
        [Verdict::NoData],
        "nor a leak down"
    );
    // No lane has a version of b, so the baseline answers whatever the tag is.
    assert_eq!(
        told(&[unknown("b", "1", None, None)], &world()).0,
        [Verdict::Ok]
    );
}

/// A clean-up takes the routes away before the lane says so.
#[test]
fn what_is_being_taken_down_leaks_nothing() {
    let spec = json!({"manifests": [], "environments": [
        {"name": "early", "namespace": "n", "lane": "gray"}, {"name": "prod", "namespace": "n"}]});
    let app = App::new("a", serde_json::from_value(spec).unwrap());
    let during = |phase: ReleasePhase, kind: TaskKind, environment: &str| {
        let task = TaskStatus {
            kind,
            phase: TaskPhase::Running,
            environment: Some(environment.into()),
            ..TaskStatus::default()
        };
        let spec = ReleaseSpec {
            app: "a".into(),
            ..ReleaseSpec::default()
        };
        let mut release = Release::new("a-1", spec);
        release.status = Some(ReleaseStatus {
            phase,
            tasks: vec![task],
            ..ReleaseStatus::default()
        });
        let world = World {
            apps: Arc::new([("a".to_owned(), Arc::new(app.clone()))].into()),
            releases: Arc::new([("a-1".to_owned(), Arc::new(release))].into()),
            ..world()
        };
        told(&[hop("a", "1", None, GRAY, None)], &world).0
    };
    use ReleasePhase as P;
    assert_eq!(
        during(P::Running, TaskKind::CleanUp, "early"),
        [Verdict::FellBack]
    );
    assert_eq!(
        during(P::Aborting, TaskKind::Deploy, "early"),
        [Verdict::FellBack]
    );
    assert_eq!(
        during(P::Running, TaskKind::CleanUp, "prod"),
        [Verdict::LeakDown]
    );
    assert_eq!(
        during(P::Running, TaskKind::Deploy, "early"),
        [Verdict::LeakDown]
    );
    assert_eq!(
        during(P::Succeeded, TaskKind::CleanUp, "early"),
        [Verdict::LeakDown]
    );
}

#[test]
fn promises_follow_the_lane_and_its_pods() {
    let mut strict = world();
    let lanes = Arc::make_mut(&mut strict.lanes);
    Arc::make_mut(lanes.get_mut("l").unwrap()).spec.strict = true;
    assert_eq!(
        told(&[hop("b", "1", None, GRAY, None)], &strict).0,
        [Verdict::LeakDown]
    );
    let mut off = world();
    let lanes = Arc::make_mut(&mut off.lanes);
    Arc::make_mut(lanes.get_mut("l").unwrap()).spec.enabled = false;
    assert_eq!(
        told(&[hop("a", "1", None, GRAY, None)], &off),
        (vec![Verdict::FellBack], "the lane gray is disabled".into())
    );
    let gone = World {
        pods: Arc::default(),
        ..world()
    };
    let (verdicts, cause) = told(&[hop("a", "1", None, GRAY, None)], &gone);
    assert_eq!(
        (verdicts, cause.as_str()),
        (vec![Verdict::FellBack], "a has no ready gray pod any more")
    );
    assert_eq!(
        expected_side(None, "x", GRAY, &world()).reason,
        "x is in no lane group"
    );
    assert_eq!(
        expected_side(Some("g"), "a", Some("blue"), &world()).reason,
        "no lane of g has the tag blue"
    );
}

#[test]
fn gaps_and_failures_are_told_and_not_hidden() {
    let orphan = hop("c", "3", Some("2"), GRAY, GRAY);
    assert_eq!(
        assemble_chains(std::slice::from_ref(&orphan), &world(), orphan.time),
        [],
        "its caller may still come"
    );
    let (verdicts, cause) = told(&[orphan], &world());
    assert_eq!(verdicts, [Verdict::NoData, Verdict::Ok]);
    assert!(cause.contains("the caller of c"), "{cause}");
    let mut failed = (*hop("a", "1", None, GRAY, GRAY)).clone();
    (failed.pod, failed.status, failed.error) = (None, 503, Some("no ready endpoint".into()));
    assert_eq!(
        told(&[Arc::new(failed)], &world()),
        (vec![Verdict::NoData], "no ready endpoint".into())
    );
}

#[test]
fn a_hop_whose_caller_is_told_late_joins_its_chain_and_is_judged_by_it() {
    let now = Timestamp::UNIX_EPOCH;
    let (mut world, mut chains, mut signals) = (world(), Chains::new(9), Signals::default());
    let mut tell = |hops: Vec<Arc<Hop>>, after: i64| {
        world.hops_seen += hops.len() as u64;
        Arc::make_mut(&mut world.hops).extend(hops);
        let now = now + SignedDuration::from_secs(after);
        chains.follow_world(&world, now);
        signals.follow_world(&world, now);
        let told = chains
            .all_chains()
            .map(|c| c.steps.iter().map(|s| (s.app.clone(), s.verdict)).collect())
            .collect();
        let asked = signals
            .read_window("c", |_| true, Window::Minute, now)
            .requests;
        (told, asked)
    };
    let step = |app: &str, verdict: Verdict| (app.to_owned(), verdict);
    let orphan = hop("c", "3", Some("unseen-3"), None, None);
    let told: (Vec<Vec<_>>, _) = tell(vec![orphan.clone()], 0);
    assert_eq!(told, (vec![], 1), "its caller may still come");
    let alone = vec![step("", Verdict::NoData), step("c", Verdict::Ok)];
    assert_eq!(tell(vec![], 10), (vec![alone], 1));
    let amended = Hop {
        parent: Some("1".into()),
        amends: true,
        ..(*orphan).clone()
    };
    let told = tell(vec![hop("a", "1", None, GRAY, GRAY), Arc::new(amended)], 11);
    let whole = vec![step("a", Verdict::Ok), step("c", Verdict::Lost)];
    assert_eq!(
        told,
        (vec![whole], 1),
        "one chain, and the request counts once"
    );
}

#[test]
fn chains_are_judged_once_and_bounded() {
    let mut world = world();
    let mut chains = Chains::new(2);
    let now = Timestamp::UNIX_EPOCH;
    world.hops = Arc::new(vec![hop("b", "2", Some("1"), GRAY, None)]);
    world.hops_seen = 1;
    assert!(
        !chains.follow_world(&world, now),
        "a's hop is still to come"
    );
    world.hops = Arc::new(vec![
        hop("b", "2", Some("1"), GRAY, None),
        hop("a", "1", None, GRAY, GRAY),
    ]);
    world.hops_seen = 2;
    assert!(chains.follow_world(&world, now));
    assert!(!chains.follow_world(&world, now), "nothing new");
    assert_eq!(chains.all_chains().next().unwrap().steps.len(), 2);
    // b gets a gray version; that does not turn the earlier fallback into a leak. A late hop joins
    // the chain.
    let lanes = Arc::make_mut(&mut world.lanes);
    Arc::make_mut(lanes.get_mut("l").unwrap())
        .status
        .as_mut()
        .unwrap()
        .apps[1]
        .served = Served::Gray;
    let key = ObjectKey {
        namespace: "n".into(),
        name: "b-gray".into(),
    };
    let pod = Pod {
        key: key.clone(),
        app: Some("b".into()),
        tag: Some("gray".into()),
        ready: true,
        ..Pod::default()
    };
    Arc::make_mut(&mut world.pods).insert(Arc::new(key), Arc::new(pod));
    world.hops = Arc::new(vec![hop("c", "3", Some("2"), GRAY, GRAY)]);
    world.hops_seen = 3;
    assert!(chains.follow_world(&world, now));
    let chain = chains.all_chains().next().unwrap().clone();
    assert_eq!(
        chain.steps.iter().map(|s| s.verdict).collect::<Vec<_>>(),
        [Verdict::Ok, Verdict::FellBack, Verdict::Ok]
    );
    for trace in ["u", "v"] {
        let mut other = (*hop("a", "9", None, None, None)).clone();
        other.trace = trace.into();
        chains.push(Arc::new(other));
    }
    assert!(chains.judge_pending(&world, now));
    assert_eq!(
        chains
            .all_chains()
            .map(|c| c.trace.as_str())
            .collect::<Vec<_>>(),
        ["u", "v"]
    );
}

#[test]
fn a_told_chain_is_judged_by_the_requests_tag() {
    let chain =
        |body: &str, tag| from_links(&text::parse_chains(body).unwrap()[0], "g", tag, &world());
    let good = chain("Agray[10.0.0.9][config=base] -> B[1] -> Cgray[2]", GRAY);
    let seen: Vec<_> = good
        .steps
        .iter()
        .map(|s| (s.app.as_str(), s.verdict))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", Verdict::Ok),
            ("b", Verdict::FellBack),
            ("c", Verdict::Ok)
        ]
    );
    assert_eq!(good.steps[0].pod.as_deref(), Some("a-gray"));
    assert_eq!(chain("A[1] -> B[1] -> C[1]", GRAY).worst, Verdict::LeakDown);
    assert_eq!(
        chain("A[1] -> B[1] -> Cgray[1]", None).worst,
        Verdict::LeakUp
    );
}

fn answered(hop: &Arc<Hop>, status: u16) -> Arc<Hop> {
    Arc::new(Hop {
        status,
        ..Hop::clone(hop)
    })
}

/// A hop that passes a failure on is not where the failure began, and a call that succeeded when it
/// was retried is not a failure.
#[test]
fn a_failure_is_told_where_it_began() {
    let a = answered(&hop("a", "1", None, None, None), 500);
    let b = answered(&hop("b", "2", Some("1"), None, None), 502);
    let c = answered(&hop("c", "3", Some("2"), None, None), 500);
    let again = hop("c", "4", Some("2"), None, None);
    let failed = |hops: &[Arc<Hop>]| {
        let chain = assemble_chains(hops, &world(), LATER).remove(0);
        (chain.is_wrong(), chain.failed_step().map(|s| s.app.clone()))
    };
    let at = |app: &str| (true, Some(app.to_owned()));
    assert_eq!(failed(&[a.clone(), b.clone(), c.clone()]), at("c"));
    assert_eq!(failed(&[a.clone(), b.clone()]), at("b"));
    assert_eq!(
        failed(&[a.clone(), hop("b", "2", Some("1"), None, None), c.clone()]),
        at("a"),
        "b got over it"
    );
    assert_eq!(
        failed(&[hop("a", "1", None, None, None), b, c, again]),
        (false, None)
    );
    let nobody = Arc::new(Hop {
        pod: None,
        status: 0,
        ..Hop::clone(&hop("b", "2", Some("1"), None, None))
    });
    assert_eq!(failed(&[a, nobody]), at("b"));
}

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn seen(hops: &[Arc<Hop>]) -> World {
    World {
        hops: Arc::new(hops.to_vec()),
        hops_seen: hops.len() as u64,
        ..world()
    }
}

#[test]
fn groups_are_of_one_way_and_the_wrong_ones_come_first() {
    let mut chains = Chains::new(100);
    let each = |n: i64, tag: Option<&str>, pod_tag: Option<&str>, status| {
        let mut hop = Hop::clone(&hop("a", &n.to_string(), None, tag, pod_tag));
        (hop.trace, hop.time, hop.status) = (n.to_string(), at(1000 + n), status);
        Arc::new(hop)
    };
    let mut hops = vec![
        each(1, None, None, 200),
        each(2, GRAY, GRAY, 200),
        each(3, None, None, 200),
    ];
    chains.follow_world(&seen(&hops), at(1010));
    let told = |chains: &Chains, now: i64| {
        let groups = chains.list_groups(5, at(now));
        groups
            .iter()
            .map(|g| (g.key.tag.clone(), g.requests, g.wrong, g.urgency()))
            .collect::<Vec<_>>()
    };
    let gray = GRAY.map(str::to_owned);
    assert_eq!(
        told(&chains, 1010),
        [
            (gray.clone(), 1, 0, ChainFault::Nothing),
            (None, 2, 0, ChainFault::Nothing)
        ]
    );
    assert_eq!(chains.alarm_count(), 0);
    hops.push(each(4, None, None, 500));
    hops.push(each(5, GRAY, None, 200));
    hops.push(each(6, None, None, 500));
    chains.follow_world(&seen(&hops), at(1010));
    let leaked = (gray.clone(), 1, 1, ChainFault::Leaked);
    assert_eq!(
        told(&chains, 1010),
        [
            leaked,
            (None, 4, 2, ChainFault::Failed),
            (gray, 1, 0, ChainFault::Nothing)
        ]
    );
    assert_eq!(
        chains.alarm_count(),
        2,
        "the second failure of a group is no news"
    );
    assert_eq!(
        told(&chains, 1500),
        [],
        "what is over is not told of for ever"
    );
}

/// Spans come in any order, and the caller's span may be the last. Until then they are in no group,
/// unless they failed.
#[test]
fn what_may_still_become_whole_is_not_counted_yet() {
    let sampled = |app: &str, span: &str, parent: Option<&str>, status| {
        let mut hop = Hop::clone(&hop(app, span, parent, None, None));
        (hop.time, hop.source, hop.status) = (at(1000), Some(Source::Otlp), status);
        Arc::new(hop)
    };
    let mut chains = Chains::new(100);
    let mut hops = vec![sampled("a", "1", None, 200)];
    chains.follow_world(&seen(&hops), at(1001));
    assert_eq!(
        (
            chains.list_groups(0, at(1001)).len(),
            chains.settled_chains().count()
        ),
        (0, 0)
    );
    hops.push(sampled("b", "2", Some("1"), 200));
    chains.follow_world(&seen(&hops), at(1003));
    chains.follow_world(&seen(&hops), at(1007));
    let groups = chains.list_groups(0, at(1007));
    assert_eq!(
        (
            groups.len(),
            groups[0].requests,
            groups[0].key.hops.len(),
            chains.settled_chains().count()
        ),
        (1, 1, 2, 1)
    );
    assert!(groups[0].minute.sampled);
    // It comes after the waiting time, so the chain moves to the group that it belongs to.
    hops.push(sampled("c", "3", Some("2"), 200));
    chains.follow_world(&seen(&hops), at(1008));
    let groups = chains.list_groups(0, at(1008));
    assert_eq!(
        (groups.len(), groups[0].requests, groups[0].key.hops.len()),
        (1, 1, 3)
    );
    let failed = [Hop {
        trace: "u".into(),
        ..Hop::clone(&sampled("a", "9", None, 503))
    }
    .into()];
    chains.follow_world(&seen(&[&hops[..], &failed].concat()), at(1009));
    assert_eq!(
        chains
            .list_groups(0, at(1009))
            .first()
            .map(ChainGroup::urgency),
        Some(ChainFault::Failed)
    );
}

/// The newer of two failures in a group turns out to belong to another group: the older one is
/// still reported.
#[test]
fn a_failure_that_moves_to_another_group_leaves_the_others_told() {
    let failed = |trace: &str, span: &str, parent: Option<&str>, time, app: &str| {
        let mut hop = Hop::clone(&hop(app, span, parent, None, None));
        (hop.trace, hop.time, hop.status) = (trace.into(), at(time), 503);
        Arc::new(hop)
    };
    let mut hops = vec![
        failed("t", "1", None, 1000, "a"),
        failed("u", "1", None, 1002, "a"),
    ];
    let mut chains = Chains::new(100);
    chains.follow_world(&seen(&hops), at(1003));
    hops.push(failed("u", "2", Some("1"), 1002, "b"));
    chains.follow_world(&seen(&hops), at(1004));
    let groups = chains.list_groups(0, at(1005));
    let told: Vec<_> = groups
        .iter()
        .map(|g| (g.key.hops.len(), g.wrong, g.urgency()))
        .collect();
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|(_, wrong, urgency)| (*wrong, *urgency) == (1, ChainFault::Failed)),
        "{told:?}"
    );
}

fn hops() -> impl Strategy<Value = Vec<Arc<Hop>>> {
    let tag = || {
        prop_oneof![
            Just(None),
            Just(Some("gray".to_owned())),
            Just(Some("x".to_owned()))
        ]
    };
    let one = (
        "[tu]",
        "[0-9]",
        prop::option::of("[0-9]"),
        prop_oneof![Just("a"), Just("b"), Just("z")],
        tag(),
        tag(),
        any::<bool>(),
        0..100_i64,
    );
    prop::collection::vec(one, 0..16).prop_map(|all| {
        let made = |(trace, span, parent, app, tag, pod_tag, up, time): (
            String,
            String,
            _,
            &str,
            _,
            Option<String>,
            bool,
            i64,
        )| {
            let mut hop = (*hop(app, &span, None, None, None)).clone();
            (hop.trace, hop.parent, hop.tag, hop.pod_tag) =
                (trace, parent, tag, pod_tag.filter(|_| up));
            hop.pod = up.then(|| "p".into());
            hop.time = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(time);
            Arc::new(hop)
        };
        all.into_iter().map(made).collect()
    })
}

proptest! {
    /// However the hops arrive, the groups count each chain once, in its final form.
    #[test]
    fn groups_count_what_chains_are(hops in hops(), parts in prop::collection::vec(1usize..6, 1..16)) {
        let mut unique = std::collections::BTreeSet::new();
        let hops: Vec<_> = hops.into_iter().filter(|h| unique.insert((h.trace.clone(), h.span.clone()))).collect();
        let (mut chains, mut told) = (Chains::new(1000), 0);
        for part in parts.into_iter().chain([hops.len()]) {
            told = (told + part).min(hops.len());
            chains.follow_world(&seen(&hops[..told]), at(120));
        }
        let mut wanted: BTreeMap<GroupKey, (u64, u64)> = BTreeMap::new();
        for chain in chains.all_chains() {
            let counted = wanted.entry(GroupKey::from_chain(chain)).or_default();
            *counted = (counted.0 + 1, counted.1 + u64::from(chain.is_wrong()));
        }
        let groups = chains.list_groups(0, at(120));
        let found: BTreeMap<GroupKey, (u64, u64)> =
            groups.iter().map(|g| (GroupKey::clone(&g.key), (g.requests, g.wrong))).collect();
        prop_assert_eq!(&found, &wanted);
        for group in &groups {
            prop_assert_eq!(group.urgency() != ChainFault::Nothing, group.wrong > 0);
        }
    }

    /// In any order, the hops give the same chains with no hop twice; only hops in a cycle are left
    /// out.
    #[test]
    fn no_order_matters_and_nothing_is_made_up(hops in hops(), seed in any::<u64>()) {
        // Span ids are unique within a trace, as gateways generate them.
        let mut seen = std::collections::BTreeSet::new();
        let hops: Vec<_> = hops.into_iter().filter(|h| seen.insert((h.trace.clone(), h.span.clone()))).collect();
        let world = world();
        let chains = assemble_chains(&hops, &world, LATER);
        let mut shuffled = hops.clone();
        shuffled.sort_by_key(|h| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{}{}", h.trace, h.span).as_bytes(), seed));
        prop_assert_eq!(&assemble_chains(&shuffled, &world, LATER), &chains);
        let steps: Vec<_> = chains.iter().flat_map(|c| &c.steps).filter_map(|s| s.hop.as_ref()).map(|h| (&h.trace, &h.span)).collect();
        let unique: std::collections::BTreeSet<_> = steps.iter().collect();
        prop_assert_eq!(unique.len(), steps.len());
        prop_assert!(steps.len() <= hops.len());
        for step in chains.iter().flat_map(|c| &c.steps) {
            prop_assert_eq!(step.cause.is_some(), step.verdict != Verdict::Ok);
            // An untagged request that the baseline answers is fine or has lost its tag; it is
            // never a leak.
            if step.tag.is_none() && step.served == Some(Served::Base) {
                prop_assert!(matches!(step.verdict, Verdict::Ok | Verdict::Lost));
            }
        }
    }
}
