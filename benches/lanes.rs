//! How long the decision on one request takes, by the number of lanes.

use divan::{Bencher, black_box};
use graylane::{
    api::{Lane, LaneMatch, LaneSpec},
    domain::{
        lanes::{Rules, text},
        request::{RequestParts, parse_request},
    },
};

fn main() {
    divan::main();
}

const COUNTS: [usize; 3] = [10, 1_000, 10_000];

fn rules(count: usize, condition: impl Fn(usize) -> String) -> Rules {
    let lane = |i: usize| {
        let all = vec![text::parse_condition(&condition(i)).expect("a condition")];
        let rule = LaneMatch {
            all,
            ..LaneMatch::default()
        };
        let spec = LaneSpec {
            group: "g".into(),
            tag: format!("t{i}"),
            enabled: true,
            rule,
            ..LaneSpec::default()
        };
        Lane::new(&format!("l{i:05}"), spec)
    };
    let lanes: Vec<Lane> = (0..count).map(lane).collect();
    let (rules, problems) = Rules::compile("g", &lanes);
    assert!(problems.is_empty(), "{problems:?}");
    rules
}

/// What a browser sends, near enough.
fn request(line: &str) -> RequestParts {
    let headers = [
        "host: shop.example.com",
        "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "accept: text/html,application/xhtml+xml",
        "accept-language: en-US,en;q=0.9",
        "accept-encoding: gzip, deflate, br",
        "x-user-id: 4999",
        "cookie: session=0f8fad5bd9cb469fa165; theme=dark; uid=4999",
    ];
    parse_request(line, &headers.map(str::to_owned), &[]).expect("a request")
}

/// One parameter, another value for each lane; the last lane takes the request.
#[divan::bench(args = COUNTS)]
fn one_parameter_hit(bencher: Bencher, count: usize) {
    let rules = rules(count, |i| format!("parameter group == g{i}"));
    let request = request(&format!("/A/a?page=3&group=g{}", count - 1));
    assert!(rules.decide_lane(&request).is_some());
    bencher.bench(|| black_box(&rules).decide_lane(black_box(&request)));
}

/// The same, and no lane takes it.
#[divan::bench(args = COUNTS)]
fn one_parameter_miss(bencher: Bencher, count: usize) {
    let rules = rules(count, |i| format!("parameter group == g{i}"));
    let request = request("/A/a?page=3&group=none");
    assert!(rules.decide_lane(&request).is_none());
    bencher.bench(|| black_box(&rules).decide_lane(black_box(&request)));
}

/// One cookie.
#[divan::bench(args = COUNTS)]
fn one_cookie_hit(bencher: Bencher, count: usize) {
    let rules = rules(count, |i| {
        format!("cookie uid == {}", if i == 1 { 4999 } else { 10_000 + i })
    });
    let request = request("/A/a?page=3");
    assert!(rules.decide_lane(&request).is_some());
    bencher.bench(|| black_box(&rules).decide_lane(black_box(&request)));
}

/// Another header for each lane.
#[divan::bench(args = COUNTS)]
fn many_headers_miss(bencher: Bencher, count: usize) {
    let rules = rules(count, |i| format!("header x-key-{i} == 1"));
    let request = request("/A/a?page=3");
    assert!(rules.decide_lane(&request).is_none());
    bencher.bench(|| black_box(&rules).decide_lane(black_box(&request)));
}

/// Parameters, headers and cookies in turn, all operators that an index can serve.
#[divan::bench(args = COUNTS)]
fn mixed_hit(bencher: Bencher, count: usize) {
    let rules = rules(count, |i| match i % 3 {
        0 => format!("parameter group == g{i}"),
        1 => format!("header x-user-id in u{i},v{i}"),
        _ => format!("cookie uid == c{i}"),
    });
    let last = (count - 1) / 3 * 3;
    let request = request(&format!("/A/a?page=3&group=g{last}"));
    assert!(rules.decide_lane(&request).is_some());
    bencher.bench(|| black_box(&rules).decide_lane(black_box(&request)));
}
