//! How long one look takes: at a release, by the number of others under way, and at the lanes of a group, by the
//! number of its apps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use divan::{Bencher, black_box};
use graylane::{
    api::{
        App, Entry, EntryRoute, Lane, LaneApp, LaneGroup, LaneGroupSpec, LaneSpec, Release,
        ReleaseSpec,
    },
    domain::{
        revision::{FrozenApp, Revision},
        routes::{LaneVersion, RouteInputs, plan_routes},
        workflow::{Observed, ReleaseFacts, RoutesSeen, Timers, check_lane_open, decide_steps},
    },
};
use jiff::Timestamp;

fn main() {
    divan::main();
}

const COUNTS: [usize; 2] = [10, 1_000];

fn release(app: &str) -> Release {
    let spec = ReleaseSpec {
        app: app.into(),
        stage: "baseline".into(),
        ..ReleaseSpec::default()
    };
    let mut release = Release::new(&format!("{app}-1"), spec);
    release.metadata.uid = Some(format!("uid-{app}"));
    release.metadata.namespace = Some("demo".into());
    release
}

/// A deploy begins: the manifests are rendered, every object is to be made.
#[divan::bench(args = COUNTS)]
fn decide_a_deploy(bencher: Bencher, others: usize) {
    let app: App =
        serde_saphyr::from_str(include_str!("../samples/spring-cloud-a.yaml")).expect("the sample");
    let frozen = FrozenApp::for_revision(&app, &Arc::new(Revision::from_app(&app)));
    let others: Vec<Release> = (0..others)
        .map(|i| release(&format!("other-{i}")))
        .collect();
    let (release, others) = (release("spring-cloud-a"), others.iter().collect::<Vec<_>>());
    let rendered = graylane::domain::workflow::ProposalCache::default();
    let facts = ReleaseFacts {
        app: Ok(frozen),
        groups: BTreeMap::new(),
        approvals: vec![],
        objects: BTreeMap::new(),
        claims: BTreeMap::new(),
        workloads: BTreeMap::new(),
        records: BTreeMap::new(),
        pods: BTreeMap::new(),
        routes: RoutesSeen::default(),
        away: BTreeMap::new(),
        unseen: BTreeMap::new(),
        jobs: BTreeMap::new(),
    };
    let observed = Observed {
        release: &release,
        others: &others,
        facts: &facts,
        probes: None,
        trouble: None,
        timers: &Timers::default(),
        rendered: &rendered,
        clock: Duration::ZERO,
        now: Timestamp::UNIX_EPOCH,
    };
    assert!(
        decide_steps(&observed).steps.len() > 2,
        "its environment is noted, its objects are made"
    );
    bencher.bench_local(|| decide_steps(black_box(&observed)));
}

/// Three lanes over all apps of a group, of which every other one has a gray version; a release under way for each.
#[divan::bench(args = COUNTS)]
fn plan_lanes(bencher: Bencher, apps: usize) {
    let name = |i: usize| format!("app-{i}");
    let members = (0..apps)
        .map(|i| LaneApp {
            app: name(i),
            service: None,
            port: 80,
        })
        .collect();
    let route = EntryRoute {
        path: "/A".into(),
        app: name(0),
        rewrite: None,
    };
    let entry = Entry {
        gateway: "edge".into(),
        host: None,
        routes: vec![route],
    };
    let group = LaneGroup::new(
        "g",
        LaneGroupSpec {
            entry,
            apps: members,
            ..LaneGroupSpec::default()
        },
    );
    let lane = |tag: &str| {
        Lane::new(
            tag,
            LaneSpec {
                group: "g".into(),
                tag: tag.into(),
                enabled: true,
                ..LaneSpec::default()
            },
        )
    };
    let lanes = ["gray", "blue", "green"].map(lane);
    let releases: Vec<Release> = (0..apps).map(|i| release(&name(i))).collect();
    let releases: Vec<&Release> = releases.iter().collect();
    let version = |app: &str, tag: &str| {
        let up = tag == "gray" && app.ends_with(['0', '2', '4', '6', '8']);
        LaneVersion {
            expected: up,
            service: up,
            ready: u32::from(up),
        }
    };
    let open = |app: &str, tag: &str| check_lane_open(app, tag, &|_| None, &releases);
    let inputs = RouteInputs {
        group: &group,
        lanes: &lanes,
        version: &version,
        open: &open,
    };
    assert_eq!(
        plan_routes(&inputs).routes.len(),
        apps + 1,
        "one an app, one for the entry"
    );
    bencher.bench_local(|| plan_routes(black_box(&inputs)));
}
