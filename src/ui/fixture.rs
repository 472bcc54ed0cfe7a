//! A fixed world for tests, screenshots and benchmarks: the demo workspace during a release window.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Model, Msg, Options, update};
use crate::{
    api::{
        Amount, App, AppSpec, AppStatus, ApprovalTask, BatchPhase, BatchStatus, BuildTask,
        CleanUpTask, DeployTask, Entry, EntryRoute, Environment, EnvironmentState,
        EnvironmentStatus, HistoryEntry, ImageSource, InventoryItem, Lane, LaneApp, LaneAppStatus,
        LaneGroup, LaneGroupSpec, LaneGroupStatus, LaneSpec, LaneStatus, Manifest, ObjectRef,
        ProceedTask, RecordedTime, Release, ReleasePhase, ReleaseSpec, ReleaseStatus, RolloutPlan,
        RouteStatus, Served, Stage, Task, TaskKind, TaskPhase, TaskStatus, Workflow,
    },
    domain::{
        hop::Hop,
        lanes::text,
        text::Clean,
        world::{EngineHolder, Event, Link, ObjectKey, Pod, Pods, Workload, World, pods_by_key},
    },
};

mod large;
mod traffic;

pub use large::large_world;
pub use traffic::{failing_hops, leaking_hops};

/// Current time in the fixture.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_795_467_800).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Time `seconds` before [`now`].
pub(super) fn seconds_ago(seconds: i64) -> Timestamp {
    now()
        .checked_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn timestamp_ago(seconds: i64) -> Option<RecordedTime> {
    Some(seconds_ago(seconds).into())
}

fn string_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn object_key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn named_task(name: &str) -> Task {
    Task {
        name: name.into(),
        ..Task::default()
    }
}

fn deploy_task(name: &str, environment: &str) -> Task {
    Task {
        deploy: Some(DeployTask {
            environment: environment.into(),
        }),
        ..named_task(name)
    }
}

fn demo_workflow() -> Workflow {
    let build = Task {
        build: Some(BuildTask {
            image: "backend".into(),
            ..BuildTask::default()
        }),
        ..named_task("build")
    };
    let approve = Task {
        approval: Some(ApprovalTask::default()),
        ..named_task("approve")
    };
    let proceed = Task {
        proceed: Some(ProceedTask {
            prompt: Some("look at the trace".into()),
        }),
        ..named_task("go-production")
    };
    let clean = CleanUpTask {
        environment: "gray".into(),
        ..CleanUpTask::default()
    };
    let clean = Task {
        clean_up: Some(clean),
        ..named_task("clean-gray")
    };
    let production = vec![
        build.clone(),
        approve,
        deploy_task("deploy-gray", "gray"),
        proceed,
        deploy_task("deploy-prod", "prod"),
        clean,
    ];
    let stage = |name: &str, tasks| Stage {
        name: name.into(),
        tasks,
    };
    Workflow {
        stages: vec![
            stage(
                "test",
                vec![build.clone(), deploy_task("deploy-test", "test")],
            ),
            stage("pre", vec![build, deploy_task("deploy-pre", "pre")]),
            stage("production", production),
        ],
    }
}

fn demo_environment(name: &str, namespace: &str, lane: Option<&str>) -> Environment {
    let batches = if name == "prod" {
        vec![Amount::Count(1), Amount::Percent(50), Amount::Percent(100)]
    } else {
        vec![]
    };
    Environment {
        name: name.into(),
        namespace: namespace.into(),
        lane: lane.map(Into::into),
        rollout: RolloutPlan {
            batches,
            ..RolloutPlan::default()
        },
        ..Environment::default()
    }
}

/// Manifest that every App of the fixture deploys.
pub const MANIFEST: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: \
    '{{ .AppStack.appName }}-{{ .AppStack.envName }}'\nspec:\n  selector:\n    matchLabels: {app: a}\n  template:\n    \
    metadata:\n      labels: {app: a}\n    spec:\n      containers:\n      - name: app\n        image: \
    '{{ .AppStack.image.backend }}'\n";

/// `spring-cloud-x` with an old and a new image tag; `releasing` says whether a release of it is
/// running.
fn demo_app(name: &str, old: &str, new: &str, releasing: bool) -> App {
    let images = BTreeMap::from([(
        "backend".to_owned(),
        ImageSource {
            repository: name.into(),
            default: Some(format!("{name}:{old}")),
            ..ImageSource::default()
        },
    )]);
    let manifests = vec![Manifest {
        name: "app.yaml".into(),
        priority: 0,
        template: MANIFEST.into(),
    }];
    let spec = AppSpec {
        images,
        manifests,
        environments: vec![
            demo_environment("test", "demo-test", None),
            demo_environment("pre", "demo-pre", None),
            demo_environment("gray", "demo", Some("gray")),
            demo_environment("prod", "demo", None),
        ],
        workflow: demo_workflow(),
        ..AppSpec::default()
    };
    let mut app = App::new(name, spec);
    app.metadata.uid = Some(format!("uid-{name}"));
    app.metadata.resource_version = Some("4102".into());
    let status = |state, tag: &str, version: &str| EnvironmentStatus {
        state,
        images: string_map(&[("backend", &format!("{name}:{tag}"))]),
        version: Some(version.into()),
        ..EnvironmentStatus::default()
    };
    let mut gray = status(EnvironmentState::Running, new, "20261123210112-001");
    let item = |kind: &str, version: &str| {
        let key = object_key("demo", &format!("{name}-gray"));
        let uid = format!("uid-{kind}");
        InventoryItem::new(ObjectRef::new(version, kind, key), uid.into())
    };
    gray.inventory = vec![item("Service", "v1"), item("Deployment", "apps/v1")];
    if !releasing {
        gray = EnvironmentStatus {
            state: EnvironmentState::Cleaned,
            ..EnvironmentStatus::default()
        };
    }
    let prod = if releasing {
        EnvironmentState::Deploying
    } else {
        EnvironmentState::Running
    };
    let environments = BTreeMap::from([
        (
            "test".to_owned(),
            status(EnvironmentState::Running, new, "20261123190211-002"),
        ),
        (
            "pre".to_owned(),
            status(EnvironmentState::Running, new, "20261123193040-001"),
        ),
        ("gray".to_owned(), gray),
        ("prod".to_owned(), status(prod, old, "20261118104500-001")),
    ]);
    app.status = Some(AppStatus {
        environments,
        ..AppStatus::default()
    });
    app
}

fn finished_task(name: &str, kind: TaskKind, from: i64, to: i64) -> TaskStatus {
    TaskStatus {
        name: name.into(),
        kind,
        phase: TaskPhase::Succeeded,
        attempt: 1,
        started_at: timestamp_ago(from),
        finished_at: timestamp_ago(to),
        ..TaskStatus::default()
    }
}

fn rolling_task(name: &str, old: &str, new: &str, batches: Vec<BatchStatus>) -> TaskStatus {
    TaskStatus {
        phase: TaskPhase::Running,
        finished_at: None,
        environment: Some("prod".into()),
        batches,
        old_images: string_map(&[("backend", &format!("{name}:{old}"))]),
        new_images: string_map(&[("backend", &format!("{name}:{new}"))]),
        old_version: Some("20261118104500-001".into()),
        new_version: Some("20261123210242-001".into()),
        ..finished_task("deploy-prod", TaskKind::Deploy, 58, 0)
    }
}

fn batch_status(number: u32, target: u32, phase: BatchPhase) -> BatchStatus {
    let (started_at, finished_at) = match phase {
        BatchPhase::Pending => (None, None),
        BatchPhase::Done => (timestamp_ago(58), timestamp_ago(37)),
        _ => (timestamp_ago(12), None),
    };
    BatchStatus {
        number,
        target,
        phase,
        started_at,
        finished_at,
    }
}

fn demo_release(
    name: &str,
    app: &str,
    phase: ReleasePhase,
    deploy: TaskStatus,
    new: &str,
) -> Release {
    let spec = ReleaseSpec {
        app: app.into(),
        stage: "production".into(),
        comment: Some("order totals in one call".into()),
        requester: "mia".into(),
        window: Some("w-1123".into()),
        ..ReleaseSpec::default()
    };
    let mut release = Release::new(name, spec);
    release.metadata.uid = Some(format!("uid-{name}"));
    release.metadata.resource_version = Some("4711".into());
    release.metadata.creation_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seconds_ago(240)),
    );
    let gray = TaskStatus {
        environment: Some("gray".into()),
        batches: vec![batch_status(1, 1, BatchPhase::Done)],
        new_images: deploy.new_images.clone(),
        ..finished_task("deploy-gray", TaskKind::Deploy, 130, 121)
    };
    let build = TaskStatus {
        new_images: deploy.new_images.clone(),
        ..finished_task("build", TaskKind::Build, 238, 201)
    };
    let approve = TaskStatus {
        message: Some("noah: pass".into()),
        ..finished_task("approve", TaskKind::Approval, 201, 131)
    };
    let clean = TaskStatus {
        name: "clean-gray".into(),
        kind: TaskKind::CleanUp,
        environment: Some("gray".into()),
        ..TaskStatus::default()
    };
    let entry = |seconds, by: &str, action: &str, task: &str| HistoryEntry {
        at: seconds_ago(seconds).into(),
        by: by.into(),
        action: action.into(),
        task: Some(task.into()),
        message: None,
    };
    release.status = Some(ReleaseStatus {
        phase,
        task: Some("deploy-prod".into()),
        started_at: timestamp_ago(240),
        images: string_map(&[("backend", &format!("{app}:{new}"))]),
        digests: string_map(&[("backend", "sha256:4f1c09e25b7d3aa1")]),
        tasks: vec![
            build,
            approve,
            gray,
            finished_task("go-production", TaskKind::Proceed, 121, 60),
            deploy,
            clean,
        ],
        history: vec![
            entry(240, "mia", "started", "build"),
            entry(201, "engine", "image built", "build"),
            entry(131, "noah", "approved", "approve"),
            entry(121, "engine", "gray serves", "deploy-gray"),
            entry(60, "mia", "let production go", "go-production"),
            entry(
                37,
                "engine",
                "batch 1 of 3 is exact and held",
                "deploy-prod",
            ),
        ],
        ..ReleaseStatus::default()
    });
    release
}

fn demo_lane(
    name: &str,
    enabled: bool,
    priority: i32,
    condition: &str,
    apps: &[(&str, Served, &str)],
) -> Lane {
    let mut spec = LaneSpec {
        group: "mse-demo".into(),
        tag: name.into(),
        enabled,
        priority,
        ..LaneSpec::default()
    };
    spec.rule.all.extend(text::parse_condition(condition));
    let mut lane = Lane::new(name, spec);
    lane.metadata.uid = Some(format!("uid-lane-{name}"));
    lane.metadata.resource_version = Some("4300".into());
    let apps = apps.iter().map(|(app, served, reason)| LaneAppStatus {
        app: (*app).into(),
        served: *served,
        reason: (*reason).into(),
        since: None,
    });
    lane.status = Some(LaneStatus {
        apps: apps.collect(),
        ..LaneStatus::default()
    });
    lane
}

fn demo_group() -> LaneGroup {
    let app = |name: &str, port| LaneApp {
        app: name.into(),
        service: None,
        port,
    };
    let route = |path: &str, app: &str| EntryRoute {
        path: path.into(),
        app: app.into(),
        rewrite: Some("/".into()),
    };
    let spec = LaneGroupSpec {
        entry: Entry {
            gateway: "edge".into(),
            host: None,
            routes: vec![route("/A", "spring-cloud-a")],
        },
        apps: vec![
            app("spring-cloud-a", 20001),
            app("spring-cloud-b", 20002),
            app("spring-cloud-c", 20003),
        ],
        ..LaneGroupSpec::default()
    };
    let mut group = LaneGroup::new("mse-demo", spec);
    let route = |name: &str| RouteStatus {
        name: name.into(),
        accepted: Some(true),
        by: Some("graylane.dev/lane-gateway".into()),
        ..RouteStatus::default()
    };
    group.status = Some(LaneGroupStatus {
        routes: ["mse-demo-entry", "mse-demo-a", "mse-demo-b", "mse-demo-c"]
            .map(route)
            .into(),
        problems: vec![],
        addresses: vec!["127.64.0.1:8080".into()],
        ..LaneGroupStatus::default()
    });
    group
}

struct PodSet<'a> {
    environment: &'a str,
    namespace: &'a str,
    image: String,
    hash: &'a str,
    ready: u32,
    coming: u32,
    address: u32,
}

fn add_pods(world: &mut Pods, app: &str, side: &PodSet<'_>) {
    for i in 0..side.ready + side.coming {
        let ready = i < side.ready;
        let suffix = ["x7k2p", "m4d9q", "t8v5z", "b3n6w", "c2r7h", "j9s4f"]
            .get(i as usize)
            .copied()
            .unwrap_or("zzzzz");
        let name = format!("{app}-{}-{}-{suffix}", side.environment, side.hash);
        let pod = Pod {
            key: object_key(side.namespace, &name),
            app: Some(app.into()),
            environment: Some(side.environment.into()),
            tag: (side.environment == "gray").then(|| "gray".into()),
            hash: Some(side.hash.into()),
            address: Some(format!("127.64.16.{}", side.address + i)),
            state: Clean::from(if ready {
                "Running"
            } else {
                "ContainerCreating"
            }),
            ready,
            images: vec![Clean::from(side.image.as_str())],
            containers: vec![Clean::from("app"), Clean::from("proxy")],
            born: Some(seconds_ago(if ready { 3000 + i64::from(i) * 7 } else { 3 })),
            ..Pod::default()
        };
        world.extend(pods_by_key([pod]));
    }
}

fn demo_workload(
    app: &str,
    environment: &str,
    namespace: &str,
    replicas: u32,
    ready: u32,
    image: &str,
) -> Workload {
    Workload {
        key: object_key(namespace, &format!("{app}-{environment}")),
        app: Some(app.into()),
        environment: Some(environment.into()),
        replicas,
        ready,
        updated: replicas,
        available: ready,
        images: vec![Clean::from(image)],
        ..Workload::default()
    }
}

/// Apps A and C are in one release window: A is held after its first batch, the first batch of C is
/// starting. B is not released. All requests go where they should.
pub fn world() -> World {
    let (a, b, c) = ("spring-cloud-a", "spring-cloud-b", "spring-cloud-c");
    let mut held = rolling_task(
        a,
        "1.4.2",
        "1.5.0",
        vec![
            batch_status(1, 1, BatchPhase::Done),
            batch_status(2, 2, BatchPhase::Pending),
            batch_status(3, 4, BatchPhase::Pending),
        ],
    );
    held.phase = TaskPhase::Waiting;
    held.message = Some("batch 1 of 3 is exact and held: 1 new, 3 old".into());
    let coming = rolling_task(
        c,
        "2.0.1",
        "2.1.0",
        vec![
            batch_status(1, 1, BatchPhase::Surging),
            batch_status(2, 2, BatchPhase::Pending),
            batch_status(3, 4, BatchPhase::Pending),
        ],
    );
    let releases = [
        demo_release(
            "spring-cloud-a-production-7",
            a,
            ReleasePhase::Waiting,
            held,
            "1.5.0",
        ),
        demo_release(
            "spring-cloud-c-production-4",
            c,
            ReleasePhase::Running,
            coming,
            "2.1.0",
        ),
    ];
    let apps = [
        demo_app(a, "1.4.2", "1.5.0", true),
        demo_app(b, "1.1.0", "1.1.0", false),
        demo_app(c, "2.0.1", "2.1.0", true),
    ];
    let mut all = Pods::new();
    let mut workloads = BTreeMap::new();
    for (i, (name, old, new)) in [
        (a, "1.4.2", "1.5.0"),
        (b, "1.1.0", "1.1.0"),
        (c, "2.0.1", "2.1.0"),
    ]
    .iter()
    .enumerate()
    {
        let at = 20 * u32::try_from(i).unwrap_or(0) + 10;
        let image = |tag: &str| format!("{name}:{tag}");
        let mut put = |environment: &str,
                       namespace: &str,
                       image: String,
                       hash: &str,
                       ready,
                       coming,
                       address| {
            add_pods(
                &mut all,
                name,
                &PodSet {
                    environment,
                    namespace,
                    image,
                    hash,
                    ready,
                    coming,
                    address,
                },
            );
        };
        put("test", "demo-test", image(new), "7c9d4f", 1, 0, at + 100);
        put("pre", "demo-pre", image(new), "7c9d4f", 1, 0, at + 101);
        match *name {
            n if n == a => {
                put("gray", "demo", image(new), "84b5cf", 1, 0, at);
                put("prod", "demo", image(new), "84b5cf", 1, 0, at + 1);
                put("prod", "demo", image(old), "6f8b7d", 3, 0, at + 4);
            }
            n if n == c => {
                put("gray", "demo", image(new), "5d77b9", 1, 0, at);
                put("prod", "demo", image(new), "5d77b9", 0, 1, at + 1);
                put("prod", "demo", image(old), "9c6d58", 4, 0, at + 4);
            }
            _ => put("prod", "demo", image(old), "66d9f4", 4, 0, at + 4),
        }
        let mut of = |w: Workload| workloads.insert(w.key.clone(), w);
        of(demo_workload(name, "test", "demo-test", 1, 1, &image(new)));
        of(demo_workload(name, "pre", "demo-pre", 1, 1, &image(new)));
        of(demo_workload(name, "prod", "demo", 4, 4, &image(new)));
        if *name != b {
            of(demo_workload(name, "gray", "demo", 1, 1, &image(new)));
        }
    }
    let served = [
        (a, Served::Gray, "1 ready gray pod"),
        (b, Served::Base, "no gray version is deployed"),
        (c, Served::Gray, "1 ready gray pod"),
    ];
    let lanes = [
        demo_lane("gray", true, 10, "parameter group == gray", &served),
        demo_lane("beta", false, 20, "header x-user in mia,noah", &[]),
    ];
    let hops = traffic::regular_hops();
    let named = |name: Option<&String>| name.cloned().unwrap_or_default();
    World {
        me: Some(Clean::from("mia")),
        revision: 12,
        link: Link::Live,
        namespace: "demo".into(),
        apps: Arc::new(
            apps.into_iter()
                .map(|a| (named(a.metadata.name.as_ref()), Arc::new(a)))
                .collect(),
        ),
        releases: Arc::new(
            releases
                .into_iter()
                .map(|r| (named(r.metadata.name.as_ref()), Arc::new(r)))
                .collect(),
        ),
        groups: Arc::new(BTreeMap::from([(
            "mse-demo".to_owned(),
            Arc::new(demo_group()),
        )])),
        lanes: Arc::new(
            lanes
                .into_iter()
                .map(|l| (named(l.metadata.name.as_ref()), Arc::new(l)))
                .collect(),
        ),
        pods: Arc::new(all),
        deployments: Arc::new(workloads),
        events: Arc::new(vec![Event {
            time: Some(seconds_ago(42)),
            kind: Clean::from("Deployment"),
            object: object_key("demo", "spring-cloud-a-prod"),
            reason: Clean::from("ScalingReplicaSet"),
            message: Clean::from("Scaled up replica set spring-cloud-a-prod-84b5cf to 1"),
            count: 1,
            ..Event::default()
        }]),
        hops_seen: hops.len() as u64,
        hops: Arc::new(hops),
        engine: Some(EngineHolder {
            holder: Clean::from("captain-1"),
            renewed: Some(seconds_ago(2)),
        }),
        ..World::default()
    }
}

/// Options that do not depend on environment variables.
pub fn options() -> Options {
    Options {
        place: "pocket ~/.local/state/graylane/demo".into(),
        ..Options::default()
    }
}

/// A model that has received this world.
pub fn model_of(world: World) -> Model {
    let mut model = Model::new(options(), now());
    model.size = (120, 36);
    update(&mut model, Msg::World(Arc::new(world)));
    model
}

/// A model that has received [`world`].
pub fn model() -> Model {
    model_of(world())
}

/// Adds hops to a world.
pub fn with_hops(mut world: World, hops: Vec<Hop>) -> World {
    let mut all = (*world.hops).clone();
    all.extend(hops.into_iter().map(Arc::new));
    world.hops_seen = all.len() as u64;
    world.hops = Arc::new(all);
    world.revision += 1;
    world
}
