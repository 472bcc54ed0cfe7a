use proptest::prelude::*;

use super::*;
use crate::{
    api::{
        Condition, ConditionOn, Entry, EntryRoute, Lane, LaneGroup, LaneGroupSpec, LaneMatch,
        LaneSpec, Operator,
    },
    domain::request::{self, RequestParts, RequestView, is_under_prefix},
};

fn lane(name: &str, all: &[&str]) -> Lane {
    let rule = LaneMatch {
        all: all
            .iter()
            .map(|c| text::parse_condition(c).unwrap())
            .collect(),
        ..LaneMatch::default()
    };
    Lane::new(
        name,
        LaneSpec {
            group: "g".into(),
            tag: name.into(),
            enabled: true,
            rule,
            ..LaneSpec::default()
        },
    )
}

fn taken(lanes: &[Lane], line: &str, headers: &[&str]) -> Option<String> {
    let headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
    let (rules, problems) = Rules::compile("g", lanes);
    assert_eq!(problems, []);
    rules
        .decide_lane(&request::parse_request(line, &headers, &[]).unwrap())
        .map(|d| d.lane.to_owned())
}

#[test]
fn hashes_are_pinned() {
    // A key must stay in its lane across releases of graylane: these values must never change.
    assert_eq!(xxhash_rust::xxh3::xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(
        ["", "user-1", "user-2", "灰度用户"].map(hash_to_basis_points),
        GOLDEN
    );
}

const GOLDEN: [u32; 4] = [3138, 6057, 1220, 2379];

#[test]
fn every_operator_decides() {
    let is =
        |c: &str, line: &str, headers: &[&str]| taken(&[lane("l", &[c])], line, headers).is_some();
    assert!(is("parameter group == gray", "/a?group=gray&group=x", &[]));
    assert!(!is("parameter group == gray", "/a?group=x&group=gray", &[]));
    assert!(is("parameter g == a b", "/a?g=a+b", &[]));
    assert!(is("header X-User != 1", "/", &["x-user: 2"]));
    assert!(
        !is("header x-user != 1", "/", &[]),
        "a key that is not there fulfils nothing"
    );
    assert!(!is("header x-user notIn 1", "/", &[]));
    assert!(is("cookie uid in 1,2", "/", &["cookie: a=b; uid=2"]));
    assert!(is(
        "cookie uid in 1,2",
        "/",
        &["cookie: a=b", "cookie: uid=2"]
    ));
    assert!(is("header v prefix 1.", "/", &["v: 1.2"]));
    assert!(is("header v regex 1|2", "/", &["v: 2"]));
    assert!(
        !is("header v regex 1|2", "/", &["v: 21"]),
        "a regex takes the whole value"
    );
    assert!(is("method in POST,PUT", "PUT /", &[]));
    assert!(is("parameter x exists", "/?x", &[]));
    assert!(
        is("parameter x percent 100", "/?x=1", &[]) && !is("parameter x percent 0", "/?x=1", &[])
    );
}

#[test]
fn priority_then_name_decides_and_disabled_lanes_never() {
    let mut lanes = [
        lane("b", &["parameter x exists"]),
        lane("a", &["parameter x == 1"]),
        lane("c", &["parameter x == 1"]),
    ];
    assert_eq!(taken(&lanes, "/?x=1", &[]).as_deref(), Some("a"));
    lanes[2].spec.priority = -1;
    assert_eq!(taken(&lanes, "/?x=1", &[]).as_deref(), Some("c"));
    lanes[2].spec.enabled = false;
    lanes[1].spec.group = "other".into();
    assert_eq!(taken(&lanes, "/?x=1", &[]).as_deref(), Some("b"));
}

#[test]
fn shares_lie_side_by_side() {
    let mut lanes = [lane("a", &[]), lane("b", &[])];
    lanes[0].spec.share = Some(10.0);
    lanes[1].spec.share = Some(20.5);
    let (rules, _) = Rules::compile("g", &lanes);
    let mut counts = [0_u32; 3];
    for i in 0..20_000 {
        let request = RequestParts {
            trace: format!("{i:032x}"),
            path: "/".into(),
            ..RequestParts::default()
        };
        counts[match rules.decide_lane(&request).map(|d| d.lane) {
            Some("a") => 0,
            Some(_) => 1,
            None => 2,
        }] += 1;
    }
    // The hash is fixed, so the counts are too; 2000 and 4100 would be ideal.
    assert!(
        counts[0].abs_diff(2000) < 150 && counts[1].abs_diff(4100) < 200,
        "{counts:?}"
    );
}

fn problems(lanes: &[Lane]) -> Vec<String> {
    let routes = vec![EntryRoute {
        path: "/A".into(),
        app: "a".into(),
        rewrite: None,
    }];
    let entry = Entry {
        routes,
        ..Entry::default()
    };
    let group = LaneGroup::new(
        "g",
        LaneGroupSpec {
            entry,
            ..LaneGroupSpec::default()
        },
    );
    check_lanes("g", Some(&group), lanes)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_is_wrong_is_told_in_words() {
    let ok = lane("ok", &["parameter x == 1"]);
    assert_eq!(problems(std::slice::from_ref(&ok)), [""; 0]);
    let told = |lane: Lane| problems(&[ok.clone(), lane]).join("; ");
    assert_eq!(
        told(lane("r", &["header v regex a("])),
        "lane r, match.all[0]: the regex \"a(\" is invalid: unclosed group"
    );
    assert!(told(lane("r", &["header v regex a)(b"])).contains("unopened group"));
    assert!(told(lane("r", &["header v regex (\\d{1000}){1000}"])).contains("size limit"));
    assert_eq!(
        told(lane("n", &["parameter y == 1", "parameter y == 2"])),
        "lane n, match.all[1]: 'parameter y == 2' can never match together with 'parameter y == 1'"
    );
    assert!(
        told(lane("n", &["header y in a,b", "header Y regex c.*"]))
            .contains("can never match together")
    );
    assert!(
        told(lane("n", &["header y prefix a", "header y prefix b"]))
            .contains("can never match together")
    );
    assert!(
        told(lane("n", &["header y percent 0"])).contains("'header y percent 0' can never match")
    );
    assert_eq!(
        told(lane("p", &["parameter x in 1,2"])),
        "lane p, match: lane ok can take the same request, and comes first"
    );
    assert_eq!(
        told(lane("p", &["parameter x == 1", "header y exists"])),
        "lane p, match: takes no request: lane ok comes before it and takes all of them"
    );
    assert_eq!(told(lane("p", &["parameter x == 2"])), "");
    assert!(told(lane("p", &["method == post"])).contains("POST instead of post"));
    let with = |change: fn(&mut LaneSpec)| {
        let mut lane = lane("z", &["parameter x == 9"]);
        change(&mut lane.spec);
        told(lane)
    };
    assert_eq!(
        with(|s| s.tag = "a b".into()).split(':').next(),
        Some("lane z, tag")
    );
    assert_eq!(
        with(|s| s.tag = "Gray".into()).split(':').next(),
        Some("lane z, tag")
    );
    assert_eq!(
        with(|s| s.tag = String::new()),
        "lane z, tag: the tag is missing"
    );
    assert!(
        with(|s| s.rule.paths = vec!["/B".into()]).contains("no entry of the group leads to /B")
    );
    assert!(with(|s| s.rule.paths = vec!["A".into()]).contains("must start with /"));
    assert!(with(|s| s.rule.all[0].values.clear()).contains("== needs a value"));
    assert!(with(|s| s.rule.all[0].key = None).contains("the parameter's name is missing"));
    assert!(with(|s| s.share = Some(5.0)).contains("replaces conditions"));
    assert!(
        with(|s| {
            s.rule = LaneMatch::default();
            s.share = Some(101.0);
        })
        .contains("not a percentage")
    );
    assert!(with(|s| s.rule = LaneMatch::default()).contains("every request"));
    let share = |name: &str| {
        let mut lane = lane(name, &[]);
        lane.spec.share = Some(60.0);
        lane
    };
    assert!(
        problems(&[share("a"), share("b")])
            .join(";")
            .contains("come to 120 %")
    );
    let strange = check_lanes(
        "x",
        None,
        &[Lane::new(
            "l",
            LaneSpec {
                group: "x".into(),
                tag: "t".into(),
                ..LaneSpec::default()
            },
        )],
    );
    assert_eq!(
        strange[0].to_string(),
        "lane l, group: there is no lane group \"x\""
    );
}

fn group(routes: &[&str], host: Option<&str>) -> LaneGroup {
    let route = |path: &&str| EntryRoute {
        path: (*path).into(),
        app: "a".into(),
        rewrite: None,
    };
    let entry = Entry {
        gateway: "edge".into(),
        host: host.map(Into::into),
        routes: routes.iter().map(route).collect(),
    };
    let apps = vec![crate::api::LaneApp {
        app: "a".into(),
        service: None,
        port: 80,
    }];
    LaneGroup::new(
        "g",
        LaneGroupSpec {
            entry,
            apps,
            ..LaneGroupSpec::default()
        },
    )
}

fn explained(group: &LaneGroup, lanes: &[Lane], line: &str, headers: &[&str]) -> Explanation {
    let headers: Vec<String> = headers.iter().map(|h| (*h).to_owned()).collect();
    let entrance = EntryContext {
        group,
        lanes,
        routes: None,
        gateway: None,
    };
    explain_request(
        &entrance,
        &request::parse_request(line, &headers, &[]).unwrap(),
    )
}

#[test]
fn an_explanation_names_each_condition() {
    let lanes = [
        lane("a", &["parameter x == 1", "header y exists"]),
        lane("b", &["parameter x == 1"]),
    ];
    let told = explained(&group(&["/"], None), &lanes, "/?x=1", &[]);
    assert_eq!(
        told.outcome.describe_outcome("g"),
        "takes lane b of g: tag b"
    );
    let held: Vec<_> = told
        .reasons
        .iter()
        .map(|r| (r.lane.as_str(), r.condition.as_str(), r.held))
        .collect();
    assert_eq!(
        held,
        [
            ("a", "parameter x == 1", Some(true)),
            ("a", "header y exists", Some(false)),
            ("b", "parameter x == 1", Some(true))
        ]
    );
}

#[test]
fn an_explanation_says_what_the_entry_answers() {
    let lanes = [lane("gray", &["parameter group == gray"])];
    let entry = group(&["/A", "/B/"], None);
    let gray = "takes lane gray of g: tag gray";
    for (line, headers, want) in [
        ("/A/a?group=gray", &[][..], gray),
        ("/A/a", &[], "takes no lane of g: the baseline"),
        ("/A/b/../a?group=gray", &[], gray),
        ("/A/./a?group=gray", &[], gray),
        ("/B?group=gray", &[], gray),
        (
            "/nope?group=gray",
            &[],
            "takes no lane of g: the gateway answers 404 no route of Gateway edge takes GET /nope",
        ),
        (
            "//A/a?group=gray",
            &[],
            "takes no lane of g: the gateway answers 404 no route of Gateway edge takes GET //A/a",
        ),
        (
            "/%41/a?group=gray",
            &[],
            "takes no lane of g: the gateway answers 404 no route of Gateway edge takes GET /%41/a",
        ),
        (
            "/A/../nope",
            &[],
            "takes no lane of g: the gateway answers 404 no route of Gateway edge takes GET /nope",
        ),
        (
            "/../A",
            &[],
            "takes no lane of g: the gateway answers 400 the path leads above the root",
        ),
        (
            "/A/a?group=gray",
            &["Host: a b"],
            "takes no lane of g: the gateway answers 400 Host is no name or address with an optional port",
        ),
        (
            "CONNECT /A",
            &[],
            "takes no lane of g: the gateway answers 501 CONNECT is not served: this gateway is no forward proxy",
        ),
    ] {
        assert_eq!(
            explained(&entry, &lanes, line, headers)
                .outcome
                .describe_outcome("g"),
            want,
            "{line}"
        );
    }
    let hosted = group(&["/A"], Some("shop.example"));
    assert_eq!(
        explained(&hosted, &lanes, "/A?group=gray", &[])
            .outcome
            .describe_outcome("g"),
        gray
    );
    assert_eq!(
        explained(&hosted, &lanes, "/A?group=gray", &[]).assumed,
        ["Host: shop.example"]
    );
    assert_eq!(
        explained(
            &hosted,
            &lanes,
            "/A?group=gray",
            &["Host: Shop.Example:8080"]
        )
        .outcome
        .describe_outcome("g"),
        gray
    );
    let other = explained(&hosted, &lanes, "/A?group=gray", &["Host: other.example"]);
    assert!(
        matches!(other.outcome, EntryOutcome::Refused(_)) && other.assumed.is_empty(),
        "{other:?}"
    );
    // Hop-by-hop headers are removed before lanes are evaluated.
    let hop = [lane("l", &["header x-hop exists"])];
    let words = |headers: &[&str]| {
        explained(&entry, &hop, "/A", headers)
            .outcome
            .describe_outcome("g")
    };
    assert_eq!(words(&["x-hop: 1"]), "takes lane l of g: tag l");
    assert_eq!(
        words(&["x-hop: 1", "connection: close, X-Hop"]),
        "takes no lane of g: the baseline"
    );
    // The host is a header with HTTP/2 too, and there is always one.
    let hosts = [lane("l", &["header host == shop.example"])];
    assert_eq!(
        explained(&hosted, &hosts, "/A", &[])
            .outcome
            .describe_outcome("g"),
        "takes lane l of g: tag l"
    );
}

#[test]
fn a_share_goes_by_the_trace_and_without_one_by_chance() {
    let mut shared = lane("s", &[]);
    shared.spec.share = Some(25.0);
    let lanes = [shared, lane("t", &["parameter x == 1"])];
    let entry = group(&["/A"], None);
    let mut took = [0; 2];
    for i in 1..200_u128 {
        let header = format!("traceparent: 00-{i:032x}-00000000000000aa-01");
        let told = explained(&entry, &lanes, "/A", &[&header]);
        let wanted = hash_to_basis_points(&format!("{i:032x}")) < 2500;
        assert_eq!(
            told.outcome.as_forwarded().unwrap().lane.is_some(),
            wanted,
            "{told:?}"
        );
        assert_eq!(told.reasons[0].held, Some(wanted));
        took[usize::from(wanted)] += 1;
    }
    assert!(took[0] > 0 && took[1] > 0, "{took:?}");
    for headers in [&[][..], &["traceparent: nonsense"]] {
        let told = explained(&entry, &lanes, "/A", headers);
        let words = "takes lane s (tag s) in 25 of 100, the baseline in 75 of 100: chosen at random, because the \
        request has no traceparent";
        assert_eq!(
            (
                told.outcome.describe_outcome("g").as_str(),
                told.reasons[0].held
            ),
            (words, None)
        );
        let told = explained(&entry, &lanes, "/A?x=1", headers);
        assert!(
            told.outcome
                .describe_outcome("g")
                .contains("lane t (tag t) in 75 of 100"),
            "{told:?}"
        );
    }
    // A lane that comes before every share is certain.
    let mut first = lane("a", &["parameter x == 1"]);
    first.spec.priority = -1;
    let told = explained(&entry, &[first, lanes[0].clone()], "/A?x=1", &[]);
    assert_eq!(
        told.outcome.as_forwarded().unwrap().lane.as_deref(),
        Some("a")
    );
}

#[test]
fn cookies_lose_quotes_around_a_whole_value_only() {
    for (line, want) in [
        ("uid=gray", Some("gray")),
        ("uid=\"gray\"", Some("gray")),
        ("uid=\"gray", Some("\"gray")),
        ("uid=gray\"", Some("gray\"")),
        ("uid=gr\"ay", Some("gr\"ay")),
        ("uid=\"\"gray\"\"", Some("\"\"gray\"\"")),
        ("uid=\"", Some("\"")),
        ("uid=\"\"", Some("")),
        ("uid=", Some("")),
        ("uid", None),
        ("; uid = gray ;", Some("gray")),
        ("\tuid\t=\tgray", Some("gray")),
        ("uid=a=b", Some("a=b")),
        ("UID=gray", None),
        ("uid=1; uid=2", Some("1")),
    ] {
        let request = RequestParts {
            headers: vec![("cookie".into(), line.into())],
            ..RequestParts::default()
        };
        assert_eq!(request.cookie("uid"), want, "{line}");
    }
}

#[test]
fn a_preview_tells_who_moves() {
    let recent: Vec<RequestParts> = ["/?x=1", "/?x=2", "/"]
        .iter()
        .map(|l| request::parse_request(l, &[], &[]).unwrap())
        .collect();
    let (before, after) = (
        [lane("a", &["parameter x == 1"])],
        [lane("b", &["parameter x == 2"])],
    );
    let moves = preview_moves("g", &before, &after, &recent);
    assert_eq!(
        moves,
        [
            LaneMove {
                request: 0,
                from: Some("a".into()),
                to: None
            },
            LaneMove {
                request: 1,
                from: None,
                to: Some("b".into())
            },
        ]
    );
}

/// A plain reference implementation of the rule.
fn reference(lanes: &[Lane], request: &RequestParts) -> Option<String> {
    let mut lanes: Vec<&Lane> = lanes
        .iter()
        .filter(|l| l.spec.enabled && l.spec.group == "g")
        .collect();
    lanes.sort_by_key(|l| (l.spec.priority, l.metadata.name.clone()));
    let mut shared = 0;
    for lane in lanes {
        let rule = &lane.spec.rule;
        let share = lane.spec.share.map(|s| (s * 100.0).round() as u32);
        let from = shared;
        shared = (shared + share.unwrap_or(0)).min(10_000);
        let holds = |c: &Condition| naive(c, request);
        let in_share =
            share.is_none() || (from..shared).contains(&hash_to_basis_points(&request.trace));
        if (rule.paths.is_empty() || rule.paths.iter().any(|p| is_under_prefix(&request.path, p)))
            && rule.all.iter().all(holds)
            && (rule.any.is_empty() || rule.any.iter().any(holds))
            && in_share
        {
            return lane.metadata.name.clone();
        }
    }
    None
}

fn naive(c: &Condition, request: &RequestParts) -> bool {
    let key = c.key.as_deref().unwrap_or_default();
    let value = match c.on {
        ConditionOn::Parameter => request.parameter(key).map(|v| v.into_owned()),
        ConditionOn::Header => request.header(key).map(str::to_owned),
        ConditionOn::Cookie => request.cookie(key).map(str::to_owned),
        ConditionOn::Method => Some(request.method.clone()),
    };
    let Some(value) = value else { return false };
    let first = c.values.first();
    match c.op {
        Operator::Exists => c.values.is_empty(),
        Operator::In => c.values.contains(&value),
        Operator::NotIn => !c.values.is_empty() && !c.values.contains(&value),
        _ if c.values.len() != 1 => false,
        Operator::Equal => first == Some(&value),
        Operator::NotEqual => first != Some(&value),
        Operator::Prefix => value.starts_with(&c.values[0]),
        Operator::Regex => regex::Regex::new(&c.values[0])
            .is_ok_and(|r| r.find(&value).is_some_and(|m| m.len() == value.len())),
        Operator::Percent => c.values[0]
            .parse::<u32>()
            .is_ok_and(|p| p <= 100 && hash_to_basis_points(&value) < p * 100),
    }
}

fn conditions() -> impl Strategy<Value = Condition> {
    let on = prop_oneof![
        Just(ConditionOn::Parameter),
        Just(ConditionOn::Header),
        Just(ConditionOn::Cookie),
        Just(ConditionOn::Method)
    ];
    let op = prop_oneof![
        4 => Just(Operator::Equal), 1 => Just(Operator::NotEqual), 2 => Just(Operator::In), 1 => Just(Operator::NotIn),
        1 => Just(Operator::Prefix), 1 => Just(Operator::Regex), 1 => Just(Operator::Exists), 1 => Just(Operator::Percent),
    ];
    (
        on,
        "[a-l]",
        op,
        prop::collection::vec("[0-3]|[0-3][0-3]|GET|\\.|\\(", 0..3),
    )
        .prop_map(|(on, key, op, mut values)| {
            match op {
                Operator::Exists => values.clear(),
                Operator::In | Operator::NotIn => {}
                _ if values.len() > 1 => values.truncate(1),
                _ => {}
            }
            Condition {
                on,
                key: (on != ConditionOn::Method).then_some(key),
                op,
                values,
            }
        })
}

fn lanes() -> impl Strategy<Value = Vec<Lane>> {
    let rule = (
        prop::collection::vec("/|/[ab]|/[ab]/[ab]", 0..2),
        prop::collection::vec(conditions(), 0..3),
        prop::collection::vec(conditions(), 0..3),
    );
    let one = (
        rule,
        -1..2_i32,
        prop::bool::weighted(0.9),
        prop::option::weighted(0.2, 0..60_u32),
    );
    prop::collection::vec(one, 0..24).prop_map(|all| {
        let lane = |(i, ((paths, all, any), priority, enabled, share)): (
            usize,
            ((Vec<String>, _, _), _, _, Option<u32>),
        )| {
            let rule = LaneMatch { paths, all, any };
            let (group, tag, share) = ("g".into(), format!("t{i}"), share.map(f64::from));
            Lane::new(
                &format!("l{}", i * 7 % 24),
                LaneSpec {
                    group,
                    tag,
                    enabled,
                    priority,
                    rule,
                    share,
                    ..LaneSpec::default()
                },
            )
        };
        all.into_iter().enumerate().map(lane).collect()
    })
}

fn requests() -> impl Strategy<Value = RequestParts> {
    let pairs = || prop::collection::vec(("[a-l]", "[0-3]{0,2}"), 0..5);
    (
        prop_oneof![Just("GET"), Just("POST")],
        "/|(/[ab]){1,3}",
        pairs(),
        pairs(),
        pairs(),
        any::<u128>(),
    )
        .prop_map(|(method, path, query, headers, cookies, trace)| {
            let join = |pairs: Vec<(String, String)>, by: &str| {
                pairs
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(by)
            };
            let mut headers = headers;
            headers.push(("cookie".into(), join(cookies, "; ")));
            RequestParts {
                method: method.into(),
                path,
                query: join(query, "&"),
                headers,
                trace: format!("{trace:032x}"),
                ..RequestParts::default()
            }
        })
}

proptest! {
    #[test]
    fn decides_as_the_reference_does(lanes in lanes(), requests in prop::collection::vec(requests(), 1..8)) {
        let (rules, _) = Rules::compile("g", &lanes);
        for request in &requests {
            let lane = rules.decide_lane(request).map(|d| d.lane.to_owned());
            prop_assert_eq!(&lane, &reference(&lanes, request));
            let entry = group(&["/"], None);
            let told = explain_request(&EntryContext { group: &entry, lanes: &lanes, routes: None, gateway: None }, request);
            prop_assert_eq!(&lane, &told.outcome.as_forwarded().and_then(|t| t.lane.clone()));
        }
    }

    /// What the check reports about a lane is true for every request.
    #[test]
    fn checks_tell_the_truth(lanes in lanes(), requests in prop::collection::vec(requests(), 1..16)) {
        let told = check_lanes("g", None, &lanes);
        let of = |lane: &Lane, words: &str| told.iter().any(|p| Some(&p.lane) == lane.metadata.name.as_ref() && p.text.contains(words));
        for request in &requests {
            let alone = |lane: &Lane| { let mut l = lane.clone(); l.spec.enabled = true; reference(&[l], request).is_some() };
            let hits: Vec<&Lane> = lanes.iter().filter(|l| l.spec.enabled && l.spec.share.is_none() && alone(l)).collect();
            for lane in &hits {
                prop_assert!(!told.iter().any(|p| Some(&p.lane) == lane.metadata.name.as_ref()
                    && p.place.starts_with("match.all") && p.text.contains("never match")), "{told:?}");
                if reference(&lanes, request) == lane.metadata.name {
                    prop_assert!(!of(lane, "takes no request: "), "{:?}", told);
                }
            }
            // Two lanes that take the same request are reported, unless the list was cut.
            if let [a, b, ..] = hits[..] && told.iter().filter(|p| p.place == "match").count() < 100 {
                prop_assert!(of(a, "lane ") || of(b, "lane "), "{} {} {told:?}", a.spec.tag, b.spec.tag);
            }
        }
    }
}
