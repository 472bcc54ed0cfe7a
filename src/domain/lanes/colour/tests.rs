use std::cmp::Reverse;

use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::{
    api::{
        Condition, ConditionOn, Entry, GatewaySeen, LaneGroupSpec, LaneGroupStatus, LaneSpec,
        Operator,
        gateway_api::{LANE_GATEWAY, ValueMatch},
    },
    domain::{
        lanes::{Rules, check_lanes, gateway_match::expand_conditions, text},
        request::{RequestParts, RequestView},
    },
};

fn group(controller: &str, features: Option<&[&str]>) -> LaneGroup {
    let route = |path: &str, rewrite: Option<&str>| EntryRoute {
        path: path.into(),
        app: "a".into(),
        rewrite: rewrite.map(str::to_owned),
    };
    let entry = Entry {
        gateway: "edge".into(),
        host: None,
        routes: vec![
            route("/A", Some("/")),
            route("/A/deep", None),
            route("/B", Some("/b")),
        ],
    };
    let mut group = LaneGroup::new(
        "g",
        LaneGroupSpec {
            entry,
            ..LaneGroupSpec::default()
        },
    );
    let features = features.map(|all| all.iter().map(|f| (*f).to_owned()).collect());
    let gateway = Some(GatewaySeen {
        class: "them".into(),
        controller: Some(controller.into()),
        features,
    });
    group.status = Some(LaneGroupStatus {
        gateway,
        ..LaneGroupStatus::default()
    });
    group
}

fn traefik() -> LaneGroup {
    group("traefik.io/gateway-controller", None)
}

fn lane(name: &str, priority: i32, paths: &[&str], all: &[&str], any: &[&str]) -> Lane {
    let mut spec = LaneSpec {
        group: "g".into(),
        tag: format!("t-{name}"),
        enabled: true,
        priority,
        ..LaneSpec::default()
    };
    spec.rule.paths = paths.iter().map(|p| (*p).to_owned()).collect();
    spec.rule.all = all
        .iter()
        .map(|c| text::parse_condition(c).unwrap())
        .collect();
    spec.rule.any = any
        .iter()
        .map(|c| text::parse_condition(c).unwrap())
        .collect();
    Lane::new(name, spec)
}

fn refused(group: &LaneGroup, condition: &str) -> String {
    let means = GatewayFeatures::from_group(group).unwrap();
    expand_conditions(&lane("l", 0, &[], &[condition], &[]).spec, &means)
        .map_or_else(|wrong| wrong[0].1.to_string(), |_| String::new())
}

/// A gateway as its specification defines it: the most specific match, then the order of rules.
fn gateway(rules: &[Vec<ColouredRule>], request: &RequestParts) -> Option<TagAction> {
    let holds = |wanted: &ValueMatch, value: Option<&str>| match (wanted.kind.as_str(), value) {
        ("Exact", Some(v)) => v == wanted.value,
        ("RegularExpression", Some(v)) => Regex::new(&wanted.value).unwrap().is_match(v),
        _ => false,
    };
    let takes = |m: &RouteMatch| {
        is_under_prefix(&request.path, &m.path.as_ref().unwrap().value)
            && m.method.as_ref().is_none_or(|n| *n == request.method)
            && m.headers.iter().all(|h| holds(h, request.header(&h.name)))
            && m.query_params
                .iter()
                .all(|q| holds(q, request.parameter(&q.name).as_deref()))
    };
    let rank = |m: &RouteMatch| {
        let path = m.path.as_ref().unwrap().value.trim_end_matches('/').len();
        Reverse((
            path,
            m.method.is_some(),
            m.headers.len(),
            m.query_params.len(),
        ))
    };
    let flat = rules
        .iter()
        .flatten()
        .flat_map(|r| r.matches.iter().map(move |m| (m, r)));
    let mut taking: Vec<_> = flat.filter(|(m, _)| takes(m)).collect();
    taking.sort_by_key(|(m, _)| rank(m));
    taking.first().map(|(_, rule)| rule.tag.clone())
}

fn request(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> RequestParts {
    let headers = headers
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    RequestParts {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers,
        ..RequestParts::default()
    }
}

#[test]
fn what_cannot_be_expressed_is_refused_with_what_to_use_instead() {
    let traefik = traefik();
    for (condition, words) in [
        ("cookie uid == 1", "cannot match cookies"),
        ("header x != 1", "name the wanted values"),
        ("parameter x notIn 1,2", "name the wanted values"),
        ("header uid percent 10", "name values with in"),
        ("method prefix P", "use == or in"),
        ("method == PROPFIND", "knows no method"),
        ("parameter a[] == 1", "called \"a[]\""),
        ("header x regex [a-z&&b]", "means something else"),
    ] {
        let told = refused(&traefik, condition);
        assert!(told.contains(words), "{condition}: {told:?}");
    }
    for fine in [
        "header x regex [a-c]+",
        "parameter x prefix a.b",
        "header x exists",
        "method in GET,PUT",
    ] {
        assert_eq!(refused(&traefik, fine), "", "{fine}");
    }
    let plain = group("example.org/other", Some(&["HTTPRouteMethodMatching"]));
    assert_eq!(refused(&plain, "method == GET"), "");
    assert!(
        refused(&plain, "parameter x == 1")
            .contains("does not support HTTPRouteQueryParamMatching: use a header")
    );
    assert!(refused(&plain, "header x prefix 1").contains("needs a regular expression"));
    assert_eq!(refused(&plain, "header x == 1"), "");
    let told = group_problems(&plain, &GatewayFeatures::from_group(&plain).unwrap());
    assert!(
        told.len() == 1 && told[0].contains("HTTPRoutePathRewrite"),
        "{told:?}"
    );
    assert!(GatewayFeatures::from_group(&group(LANE_GATEWAY, None)).is_none());
}

#[test]
fn a_refusal_is_an_error_at_its_place_also_of_a_disabled_lane() {
    let mut share = lane("share", 0, &[], &[], &[]);
    share.spec.share = Some(10.0);
    let mut off = lane("off", 1, &[], &["header a == 1", "cookie b == 1"], &[]);
    off.spec.enabled = false;
    let problems = check_lanes("g", Some(&traefik()), &[share, off]);
    let told: Vec<_> = problems
        .iter()
        .map(|p| (p.lane.as_str(), p.place.as_str(), p.severity))
        .collect();
    assert!(
        told.contains(&("share", "share", Severity::Error)),
        "{problems:?}"
    );
    assert!(
        told.contains(&("off", "match.all[1]", Severity::Error)),
        "{problems:?}"
    );
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn rules_name_paths_and_rewrites_by_entry() {
    let lanes = [lane(
        "one",
        0,
        &["/A/x", "/B"],
        &["parameter group in a,b"],
        &[],
    )];
    let group = traefik();
    let (rules, problems) = build_coloured_rules(
        &group,
        &lanes,
        &GatewayFeatures::from_group(&group).unwrap(),
    );
    assert_eq!(problems, []);
    let short = |r: &ColouredRule| {
        let paths: Vec<_> = r
            .matches
            .iter()
            .map(|m| m.path.clone().unwrap().value)
            .collect();
        (
            paths.join(" "),
            r.tag.clone(),
            r.rewrite.clone().unwrap_or_default(),
        )
    };
    let set = || TagAction::Set("t-one".into());
    let told: Vec<Vec<_>> = rules
        .iter()
        .map(|of| of.iter().map(short).collect())
        .collect();
    assert_eq!(
        told[0],
        [
            ("/A/x /A/x".into(), set(), "/x".into()),
            ("/A".into(), TagAction::None, "/".into())
        ]
    );
    assert_eq!(
        told[1],
        [("/A/deep".into(), TagAction::None, String::new())]
    );
    assert_eq!(
        told[2],
        [
            ("/B /B".into(), set(), "/b".into()),
            ("/B".into(), TagAction::None, "/b".into())
        ]
    );
}

#[test]
fn a_clients_own_tag_counts_after_the_lanes() {
    let mut group = traefik();
    group.spec.client_may_tag = true;
    let lanes = [
        lane("one", 0, &[], &["method == GET"], &[]),
        lane("two", 1, &[], &["parameter p == 1"], &[]),
    ];
    let (rules, _) = build_coloured_rules(
        &group,
        &lanes,
        &GatewayFeatures::from_group(&group).unwrap(),
    );
    let own = [("x-mse-tag", "t-two")];
    let tag =
        |method: &str, query: &str| gateway(&rules, &request(method, "/A", query, &own)).unwrap();
    assert_eq!(tag("GET", ""), TagAction::Set("t-one".into()));
    assert_eq!(tag("PUT", "p=1"), TagAction::Set("t-two".into()));
    assert_eq!(tag("PUT", ""), TagAction::Client("t-two".into()));
}

#[test]
fn what_has_no_room_is_left_out_and_told() {
    let group = traefik();
    let means = GatewayFeatures::from_group(&group).unwrap();
    let many: Vec<String> = (0..60).map(|i| format!("v{i}")).collect();
    let wide = format!("parameter p in {}", many.join(","));
    let lanes: Vec<Lane> = (0..4)
        .map(|i| {
            lane(
                &format!("l{i}"),
                i,
                &[],
                &[&wide.replace(" p ", &format!(" p{i} "))],
                &[],
            )
        })
        .collect();
    let (rules, problems) = build_coloured_rules(&group, &lanes, &means);
    assert_eq!(rules.len(), 3);
    assert!(
        problems.iter().all(|p| p.text.contains("no room")),
        "{problems:?}"
    );
    let left: Vec<_> = problems.iter().map(|p| p.lane.as_str()).collect();
    assert_eq!(left, ["l3", "l2", "l1"], "the first lane stays");
    for of in &rules {
        assert!(
            of.len() <= MAX_RULES
                && of.iter().map(|r| r.matches.len()).sum::<usize>() <= MAX_MATCHES
        );
        assert!(of.iter().all(|r| r.matches.len() <= 64));
    }
    let alone = lane(
        "alone",
        0,
        &[],
        &[&wide, &wide.replace(" p ", " q "), "header h in a,b,c"],
        &[],
    );
    let (rules, problems) = build_coloured_rules(&group, &[alone], &means);
    assert!(
        problems[0].text.contains("more than 128 matches"),
        "{problems:?}"
    );
    assert_eq!(rules[0].len(), 1, "the baseline is served");
}

#[test]
fn two_patterns_on_one_key_are_refused_where_an_order_hangs_on_them() {
    let group = traefik();
    let lanes = [
        lane("one", 0, &[], &["header x regex a.*"], &[]),
        lane("two", 1, &[], &["header x regex .*b"], &[]),
    ];
    let (_, problems) = build_coloured_rules(
        &group,
        &lanes,
        &GatewayFeatures::from_group(&group).unwrap(),
    );
    assert!(
        problems.len() == 1 && problems[0].lane == "two",
        "{problems:?}"
    );
    assert!(
        problems[0].text.contains("lane one takes first"),
        "{problems:?}"
    );
}

fn conditions() -> impl Strategy<Value = Condition> {
    let values = prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("ab")], 1..3);
    let on = prop_oneof![
        Just(ConditionOn::Parameter),
        Just(ConditionOn::Header),
        Just(ConditionOn::Method)
    ];
    (on, any::<bool>(), 0..4_usize, values).prop_map(|(on, key, op, values)| {
        let method = on == ConditionOn::Method;
        let op = if method { op % 2 } else { op };
        let (op, values) = match op {
            0 => (Operator::Equal, vec![values[0]]),
            1 => (Operator::In, values),
            2 => (Operator::Prefix, vec![values[0]]),
            _ => (Operator::Exists, vec![]),
        };
        let name = |v: &str| {
            if method {
                if v == "a" { "GET" } else { "PUT" }
            } else {
                v
            }
            .to_owned()
        };
        Condition {
            on,
            key: (!method).then(|| if key { "K" } else { "l" }.to_owned()),
            op,
            values: values.into_iter().map(name).collect(),
        }
    })
}

fn lanes() -> impl Strategy<Value = Vec<Lane>> {
    let paths = prop::collection::vec(
        prop_oneof![Just("/A"), Just("/A/x"), Just("/A/deep/y"), Just("/B")],
        0..2,
    );
    let conditions = || prop::collection::vec(conditions(), 0..3);
    let fields = (paths, conditions(), conditions(), -1..2_i32);
    prop::collection::vec(fields, 1..4).prop_map(|all| {
        let one = |(i, (paths, all, any, priority)): (usize, (Vec<&str>, _, _, i32))| {
            let mut made = lane(&format!("l{i}"), priority, &paths, &[], &[]);
            (made.spec.rule.all, made.spec.rule.any) = (all, any);
            made
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

fn requests() -> impl Strategy<Value = RequestParts> {
    let value = || {
        prop_oneof![
            Just(None),
            Just(Some("a")),
            Just(Some("b")),
            Just(Some("ab")),
            Just(Some("c"))
        ]
    };
    let path = prop_oneof![
        Just("/A"),
        Just("/A/x"),
        Just("/A/deep"),
        Just("/A/deep/y/z"),
        Just("/B/q"),
        Just("/C")
    ];
    (any::<bool>(), path, [value(), value(), value(), value()]).prop_map(
        |(get, path, [a, b, c, d])| {
            let query: Vec<String> = [("K", a), ("l", b)]
                .iter()
                .filter_map(|(k, v)| Some(format!("{k}={}", (*v)?)))
                .collect();
            let headers: Vec<(&str, &str)> = [("k", c), ("l", d)]
                .iter()
                .filter_map(|(k, v)| Some((*k, (*v)?)))
                .collect();
            request(
                if get { "GET" } else { "PUT" },
                path,
                &query.join("&"),
                &headers,
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    /// A gateway that knows only Gateway API's order decides as the lanes' priorities do.
    #[test]
    fn priorities_hold_at_every_gateway(lanes in lanes(), requests in prop::collection::vec(requests(), 1..12)) {
        let group = traefik();
        let (rules, problems) = build_coloured_rules(&group, &lanes, &GatewayFeatures::from_group(&group).unwrap());
        // Leave out lanes that were refused.
        let kept: Vec<Lane> =
            lanes.iter().filter(|l| problems.iter().all(|p| Some(&p.lane) != l.metadata.name.as_ref())).cloned().collect();
        let (ours, _) = Rules::compile("g", &kept);
        for request in &requests {
            let wanted = ours.decide_lane(request).map_or(TagAction::None, |d| TagAction::Set(d.tag.to_owned()));
            if let Some(tag) = gateway(&rules, request) { prop_assert_eq!(tag, wanted, "{:?} {:?}", request, rules) } else { prop_assert_eq!(request.path.as_str(), "/C") }
        }
    }
}
