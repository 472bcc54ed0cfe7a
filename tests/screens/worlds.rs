//! Turns of the fixed world that it does not stand in by itself.

use std::sync::Arc;

use graylane::{
    api::{
        AppTemplate, BatchPhase, ClusterName, EnvironmentLock, EnvironmentState, Manifest,
        RecordedTime, Release, ReleasePhase, TaskPhase, TaskStatus, VariableGroup, Workflow, label,
    },
    domain::{
        hop::Hop,
        revision::Revision,
        rights::{Right, Rights},
        span::Source,
        text::Clean,
        world::{
            ApiUsage, EngineHolder, Link, LinkTrouble, ObjectKey, Pod, WatchGap, Workload,
            WorkloadKind, World, Worlds, pods_by_key,
        },
    },
    ui::fixture,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// The App whose release is looked at first.
pub const A: &str = "spring-cloud-a";
/// Its release.
pub const RELEASE: &str = "spring-cloud-a-production-7";

/// The fixed world with that release changed.
pub fn with_release(change: impl FnOnce(&mut Release)) -> World {
    let mut world = fixture::world();
    let releases = Arc::make_mut(&mut world.releases);
    change(Arc::make_mut(
        releases.get_mut(RELEASE).expect("it is there"),
    ));
    world.revision += 1;
    world
}

/// The release stands at that task: what comes before it is done, what comes after it has not begun.
pub fn at(task: &str, phase: TaskPhase, whole: ReleasePhase, message: Option<&str>) -> World {
    with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        let place = status
            .tasks
            .iter()
            .position(|t| t.name == task)
            .expect("a task of it");
        for after in &mut status.tasks[place + 1..] {
            *after = TaskStatus {
                name: after.name.clone(),
                kind: after.kind,
                environment: after.environment.clone(),
                ..TaskStatus::default()
            };
        }
        let here = &mut status.tasks[place];
        here.phase = phase;
        here.finished_at = None;
        for batch in &mut here.batches {
            (batch.phase, batch.finished_at) = (BatchPhase::Surging, None);
        }
        here.message = message.map(Into::into);
        (status.phase, status.task) = (whole, Some(task.into()));
        let names: Vec<&str> = status.tasks[..=place]
            .iter()
            .map(|t| t.name.as_str())
            .collect();
        status.history.retain(|h| {
            h.task
                .as_deref()
                .is_some_and(|t| names.contains(&t) && t != task)
        });
    })
}

/// The releases of two Apps wait for an approval.
pub fn two_approvals() -> World {
    let mut world = approval();
    let releases = Arc::make_mut(&mut world.releases);
    let waits = releases[RELEASE].clone();
    let other = releases.values_mut().find(|r| r.spec.app != A);
    let other = Arc::make_mut(other.expect("it is there"));
    let status = other.status.as_mut().expect("it has begun");
    let like = waits.status.as_ref().expect("it has begun");
    (status.phase, status.task) = (like.phase, like.task.clone());
    status.tasks.clone_from(&like.tasks);
    status.history.clear();
    frozen(world)
}

/// A second App waits: its release has failed.
pub fn two_waiting() -> World {
    let mut world = fixture::world();
    let releases = Arc::make_mut(&mut world.releases);
    let other = releases.values_mut().find(|r| r.spec.app != A);
    let other = Arc::make_mut(other.expect("it is there"));
    let status = other.status.as_mut().expect("it has begun");
    status.phase = ReleasePhase::Failed;
    let running = status
        .tasks
        .iter_mut()
        .find(|t| t.phase == TaskPhase::Running);
    running.expect("one is under way").phase = TaskPhase::Failed;
    world.revision += 1;
    world
}

/// Waits for a yes.
pub fn approval() -> World {
    frozen(at(
        "approve",
        TaskPhase::Waiting,
        ReleasePhase::Waiting,
        None,
    ))
}

/// The release was frozen, and so was one before it, of which production runs.
pub fn frozen(mut world: World) -> World {
    let app = Arc::make_mut(
        Arc::make_mut(&mut world.apps)
            .get_mut(A)
            .expect("it is there"),
    );
    let gray = app
        .status
        .as_mut()
        .and_then(|s| s.environments.get_mut("gray"))
        .expect("it is there");
    gray.state = EnvironmentState::Cleaned;
    let revision = Revision::from_app(app);
    let releases = Arc::make_mut(&mut world.releases);
    let release = Arc::make_mut(releases.get_mut(RELEASE).expect("it is there"));
    release.status.as_mut().expect("it has begun").revision = Some(revision.name().into());
    let mut before = release.clone();
    before.metadata.name = Some("spring-cloud-a-production-6".into());
    before.metadata.creation_timestamp = None;
    let status = before.status.as_mut().expect("it has begun");
    (status.phase, status.task) = (ReleasePhase::Succeeded, None);
    let deploy = status
        .tasks
        .iter_mut()
        .find(|t| t.name == "deploy-prod")
        .expect("a task of it");
    (deploy.phase, deploy.finished_at) =
        (TaskPhase::Succeeded, Some("2026-11-18T10:45:00Z".into()));
    deploy.new_images = [("backend".to_owned(), "spring-cloud-a:1.4.2".to_owned())].into();
    releases.insert("spring-cloud-a-production-6".into(), Arc::new(before));
    world.revisions = Arc::new([(revision.name().to_owned(), Arc::new(revision))].into());
    world
}

/// The same for somebody who may look and do nothing else.
pub fn viewer() -> World {
    let lacking = Right::HOME
        .into_iter()
        .filter(|r| *r != Right::Logs)
        .map(|r| ("demo".into(), r))
        .collect();
    World {
        rights: Arc::new(Rights {
            who: Some(Clean::from("vera")),
            lacking,
        }),
        ..approval()
    }
}

/// Waits for a word before production.
pub fn proceed() -> World {
    at(
        "go-production",
        TaskPhase::Waiting,
        ReleasePhase::Waiting,
        Some("look at the trace"),
    )
}

/// A deploy has failed.
pub fn failed() -> World {
    let message =
        "spring-cloud-a-gray: 0 of 1 pods ready after 5 min: CrashLoopBackOff: exit code 1";
    at(
        "deploy-gray",
        TaskPhase::Failed,
        ReleasePhase::Failed,
        Some(message),
    )
}

/// Held by a person.
pub fn held() -> World {
    with_release(|release| {
        release.spec.control.paused = true;
        let status = release.status.as_mut().expect("it has begun");
        status.phase = ReleasePhase::Paused;
        status.message = Some("paused by noah: dashboards first".into());
    })
}

/// Done, from its first task to its last.
pub fn succeeded() -> World {
    with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        let end: RecordedTime = fixture::now().into();
        for task in &mut status.tasks {
            task.phase = TaskPhase::Succeeded;
            task.message = None;
            for batch in &mut task.batches {
                batch.phase = BatchPhase::Done;
            }
            task.started_at.get_or_insert_with(|| end.clone());
            task.finished_at.get_or_insert_with(|| end.clone());
        }
        (status.phase, status.task, status.message) = (ReleasePhase::Succeeded, None, None);
        status.finished_at = Some(end);
    })
}

/// Requests are told by spans, of which some are left out.
pub fn sampled() -> World {
    let mut world = fixture::world();
    let hops = world.hops.iter().map(|hop| {
        Arc::new(Hop {
            source: Some(Source::Otlp),
            ..Hop::clone(hop)
        })
    });
    world.hops = Arc::new(hops.collect());
    world
}

/// A world in which nothing moves, however long one looks.
pub fn quiet() -> World {
    let mut world = succeeded();
    world.hops = Arc::default();
    Arc::make_mut(&mut world.releases).retain(|name, _| name == RELEASE);
    world.engine = world.engine.map(|engine| EngineHolder {
        renewed: None,
        ..engine
    });
    world
}

/// An environment of A is locked, and another one has failed.
pub fn locked() -> World {
    let mut world = fixture::world();
    let apps = Arc::make_mut(&mut world.apps);
    let app = Arc::make_mut(apps.get_mut(A).expect("it is there"));
    let found = app
        .spec
        .environments
        .iter_mut()
        .find(|e| e.name == "test")
        .expect("an environment");
    found.lock = Some(EnvironmentLock {
        by: "noah".into(),
        reason: "load test until six".into(),
    });
    let status = app
        .status
        .as_mut()
        .and_then(|s| s.environments.get_mut("pre"))
        .expect("it has run");
    status.state = EnvironmentState::Error;
    status.message = Some(
        "deployments.apps spring-cloud-a-pre: field manager kubectl-edit owns .spec.replicas"
            .into(),
    );
    world
}

/// Templates and variable groups: A was made from one and has left it, and the next release to gray would change a value.
pub fn templated() -> World {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .AppStack.appName }}-{{ .AppStack.envName }}'}\n\
                    data: {level: '{{ .Values.level }}'}\n";
    let spec = json!({"description": "a Spring Cloud service with a gray lane", "app": {
        "repository": "https://git.example/${APP}",
        "images": {"backend": {"repository": "registry.example/${APP}"}},
        "manifests": [{"name": "config.yaml", "template": manifest}],
        "environments": [
            {"name": "gray", "namespace": "demo", "lane": "gray", "variableGroups": ["shared"]},
            {"name": "prod", "namespace": "demo", "variableGroups": ["shared"], "values": {"level": "warn"}},
        ],
        "workflow": {"stages": [{"name": "production", "tasks": [{"name": "up", "deploy": {"environment": "gray"}}]}]},
    }});
    let groups = [
        (
            "shared",
            json!({"description": "for everybody", "values": {"level": "info", "region": "eu-1"}}),
        ),
        (
            "a-own",
            json!({"app": A, "values": {"level": "debug", "retries": 3}}),
        ),
    ];
    // What released A to gray, with what the group said then.
    let mut world = with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        status.variables = [(
            "gray".to_owned(),
            [("region".to_owned(), json!("us-1"))].into(),
        )]
        .into();
    });
    world.templates = Arc::new([("service".to_owned(), Arc::new(made(spec)))].into());
    let group = |(name, spec): (&str, Value)| {
        let mut group = VariableGroup::new(name, serde_json::from_value(spec).expect("a spec"));
        group.metadata.uid = Some(format!("uid-{name}"));
        (name.to_owned(), Arc::new(group))
    };
    world.variables = Arc::new(groups.into_iter().map(group).collect());
    let apps = Arc::make_mut(&mut world.apps);
    let app = Arc::make_mut(apps.get_mut(A).expect("it is there"));
    app.metadata.annotations = Some([(label::TEMPLATE.to_owned(), "service".to_owned())].into());
    let gray = app
        .spec
        .environments
        .iter_mut()
        .find(|e| e.name == "gray")
        .expect("an environment");
    gray.variable_groups = vec!["a-own".into(), "shared".into()];
    let status = app
        .status
        .as_mut()
        .and_then(|s| s.environments.get_mut("gray"))
        .expect("it has run");
    status.release = Some(RELEASE.into());
    world
}

fn made(spec: Value) -> AppTemplate {
    let mut template = AppTemplate::new("service", serde_json::from_value(spec).expect("a spec"));
    (template.metadata.uid, template.metadata.resource_version) =
        (Some("uid-service".into()), Some("41".into()));
    template
}

/// A workflow with nothing between the button and production.
pub fn straight_to_production() -> World {
    let mut world = fixture::world();
    let apps = Arc::make_mut(&mut world.apps);
    let app = Arc::make_mut(apps.get_mut("spring-cloud-b").expect("it is there"));
    let mut workflow = Workflow::clone(&app.spec.workflow);
    for stage in &mut workflow.stages {
        stage
            .tasks
            .retain(|t| t.approval.is_none() && t.proceed.is_none());
    }
    app.spec.workflow = workflow;
    world
}

/// Production of A is a StatefulSet: its lowest pod is left alone by its own partition, two are to be new in this batch,
/// one of them is.
pub fn stateful(batch: u32) -> World {
    let mut world = with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        let task = status
            .tasks
            .iter_mut()
            .find(|t| t.name == "deploy-prod")
            .expect("a task of it");
        let (mut last, held) = (task.batches[2].clone(), task.batches[1].clone());
        (last.target, last.number) = (3, 3);
        (task.phase, task.message) = (TaskPhase::Running, None);
        task.batches = vec![task.batches[0].clone(), held, last];
        for found in &mut task.batches {
            found.phase = match found.number.cmp(&batch) {
                std::cmp::Ordering::Less => BatchPhase::Done,
                std::cmp::Ordering::Equal => BatchPhase::Surging,
                std::cmp::Ordering::Greater => BatchPhase::Pending,
            };
        }
        status.phase = ReleasePhase::Running;
    });
    let all = Arc::make_mut(&mut world.deployments);
    let mut set = all
        .values()
        .find(|w| w.key.name == "spring-cloud-a-prod")
        .expect("it is there")
        .clone();
    all.remove(&set.key);
    let new = Some("spring-cloud-a-prod-84b5cf".to_owned());
    (set.kind, set.revision, set.left_alone, set.ready) = (WorkloadKind::StatefulSet, new, 1, 3);
    let pods = Arc::make_mut(&mut world.pods);
    let old = |p: &Pod| p.app.as_deref() == Some(A) && p.environment.as_deref() == Some("prod");
    let all = pods.values().filter(|p| old(p));
    let mut moved: Vec<Pod> = all.map(|p| Pod::clone(p)).collect();
    pods.retain(|_, p| !old(p));
    // Old ones have the lower places.
    moved.sort_by_key(|p| p.hash.as_deref() == Some("84b5cf"));
    let (images, coming) = (moved[3].images.clone(), Clean::from("ContainerCreating"));
    (
        moved[2].images,
        moved[2].hash,
        moved[2].ready,
        moved[2].state,
    ) = (images, Some("84b5cf".into()), false, coming);
    for (place, mut pod) in moved.into_iter().enumerate() {
        pod.key.name = format!("spring-cloud-a-prod-{place}");
        pod.owner = Some("spring-cloud-a-prod".into());
        pod.hash = pod.hash.map(|h| format!("spring-cloud-a-prod-{h}"));
        pods.extend(pods_by_key([pod]));
    }
    world.stateful = Arc::new([(set.key.clone(), set)].into());
    let manifest = fixture::MANIFEST.replace("kind: Deployment", PROD_IS_A_SET);
    manifests(&mut world, A).push(Manifest {
        name: "app.yaml".into(),
        priority: 0,
        template: manifest,
    });
    world
}

const PROD_IS_A_SET: &str =
    "kind: {{ if eq .AppStack.envName \"prod\" }}StatefulSet{{ else }}Deployment{{ end }}";

/// An App's manifests, none left.
fn manifests<'a>(world: &'a mut World, app: &str) -> &'a mut Vec<Manifest> {
    let app = Arc::make_mut(
        Arc::make_mut(&mut world.apps)
            .get_mut(app)
            .expect("it is there"),
    );
    app.spec.manifests.clear();
    &mut app.spec.manifests
}

/// Before its last batch.
pub fn stateful_held() -> World {
    let mut world = stateful(3);
    let release = Arc::make_mut(
        Arc::make_mut(&mut world.releases)
            .get_mut(RELEASE)
            .expect("it is there"),
    );
    let status = release.status.as_mut().expect("it has begun");
    let task = status
        .tasks
        .iter_mut()
        .find(|t| t.name == "deploy-prod")
        .expect("a task of it");
    (task.batches[2].phase, task.phase, status.phase) = (
        BatchPhase::Pending,
        TaskPhase::Waiting,
        ReleasePhase::Waiting,
    );
    let pods = Arc::make_mut(&mut world.pods).values_mut();
    for pod in
        pods.filter(|p| p.state.as_str() == "ContainerCreating" && p.app.as_deref() == Some(A))
    {
        let pod = Arc::make_mut(pod);
        (pod.ready, pod.state) = (true, Clean::from("Running"));
    }
    world
}

/// B has two StatefulSets beside its Deployment in production, before which nobody is asked.
pub fn stateful_mixed() -> World {
    let mut world = straight_to_production();
    let base = world
        .deployments
        .values()
        .find(|w| w.key.name == "spring-cloud-b-prod")
        .expect("it is there")
        .clone();
    let set = |name: &str| {
        let key = ObjectKey {
            name: name.into(),
            ..base.key.clone()
        };
        Workload {
            kind: WorkloadKind::StatefulSet,
            key,
            ..base.clone()
        }
    };
    let sets = [set("spring-cloud-b-cache"), set("spring-cloud-b-queue")];
    world.stateful = Arc::new(sets.into_iter().map(|s| (s.key.clone(), s)).collect());
    let all = manifests(&mut world, "spring-cloud-b");
    all.push(Manifest {
        name: "app.yaml".into(),
        priority: 0,
        template: fixture::MANIFEST.into(),
    });
    for name in ["cache", "queue"] {
        let template = fixture::MANIFEST.replace("kind: Deployment", "kind: StatefulSet");
        let template = template.replace("-{{ .AppStack.envName }}", &format!("-{name}"));
        let template = format!("{{{{ if eq .AppStack.envName \"prod\" }}}}{template}{{{{ end }}}}");
        all.push(Manifest {
            name: format!("{name}.yaml"),
            priority: 0,
            template,
        });
    }
    world
}

/// The newest requests were no GET.
pub fn posted() -> World {
    let mut hops = fixture::failing_hops();
    for hop in &mut hops {
        hop.method = "POST".into();
    }
    fixture::with_hops(fixture::world(), hops)
}

/// The lane takes requests by a header and a cookie.
pub fn header_lane() -> World {
    let mut world = fixture::world();
    let lanes = Arc::make_mut(&mut world.lanes);
    let lane = Arc::make_mut(lanes.get_mut("gray").expect("it is there"));
    lane.spec.rule.all = ["header x-user in mia,noah", "cookie beta == 1"]
        .map(|text| graylane::domain::lanes::text::parse_condition(text).expect("a condition"))
        .into();
    world
}

/// Nothing has been applied yet.
pub fn empty() -> World {
    World {
        link: Link::Live,
        namespace: "demo".into(),
        ..World::default()
    }
}

/// The server answers, and knows nothing of graylane.
pub fn not_installed() -> World {
    let why = "the server could not find the requested resource";
    World {
        link: lost(LinkTrouble::Missing, 42, why),
        namespace: "demo".into(),
        ..World::default()
    }
}

/// An App that was only just begun: no environments, no stages; a lane group without lanes.
pub fn without_parts() -> World {
    let mut world = fixture::world();
    world.releases = Arc::default();
    world.lanes = Arc::default();
    (world.hops, world.hops_seen) = (Arc::default(), 0);
    let apps = Arc::make_mut(&mut world.apps);
    apps.retain(|name, _| name == A);
    let app = Arc::make_mut(apps.get_mut(A).expect("it is there"));
    app.spec.environments.clear();
    app.spec.workflow = Workflow::default();
    world
}

fn ago(seconds: i64) -> jiff::Timestamp {
    fixture::now()
        .checked_sub(SignedDuration::from_secs(seconds))
        .expect("a time")
}

fn lost(trouble: LinkTrouble, seconds: i64, why: &str) -> Link {
    Link::Stale {
        since: ago(seconds),
        trouble,
        why: Clean::from(why),
    }
}

/// Nobody can prove who we are.
pub fn credentials_gone() -> World {
    let why = "the login plugin says: token has expired; run: aws sso login";
    World {
        link: lost(LinkTrouble::Unauthorized, 310, why),
        asked: asked(0),
        ..fixture::world()
    }
}

fn asked(throttled: u64) -> ApiUsage {
    ApiUsage {
        total: 1284,
        minute: 9,
        throttled,
        until: None,
        watches: 16,
    }
}

/// Nothing was ever seen.
pub fn never_there() -> World {
    World {
        link: lost(LinkTrouble::Offline, 42, "connection refused"),
        namespace: "demo".into(),
        ..World::default()
    }
}

/// The server wants peace; the watches still live.
pub fn throttled() -> World {
    let until = fixture::now()
        .checked_add(SignedDuration::from_secs(12))
        .expect("a time");
    World {
        asked: ApiUsage {
            until: Some(until),
            ..asked(7)
        },
        ..fixture::world()
    }
}

/// A right is missing.
pub fn forbidden() -> World {
    let why = "pods is forbidden: User \"mia\" cannot list resource \"pods\" in API group \"\" in the namespace \"demo\"";
    let gap = |resource, namespace: &str| WatchGap {
        cluster: ClusterName::Home,
        resource,
        namespace: Some(namespace.into()),
        trouble: LinkTrouble::Forbidden,
        since: ago(60),
        why: Clean::from(why),
    };
    let gaps = vec![
        gap("pods", "demo"),
        gap("pods", "demo-test"),
        gap("lanes.graylane.dev", "demo"),
    ];
    World {
        gaps: gaps.into(),
        pods: Arc::default(),
        lanes: Arc::default(),
        asked: asked(0),
        ..fixture::world()
    }
}

/// Production is in another cluster, and that one does not answer; a third one does.
pub fn contexts() -> World {
    let mut world = fixture::world();
    let apps = Arc::make_mut(&mut world.apps);
    let app = Arc::make_mut(apps.get_mut(A).expect("it is there"));
    let found = app
        .spec
        .environments
        .iter_mut()
        .find(|e| e.name == "prod")
        .expect("an environment");
    found.context = "prod-eu".into();
    let clusters = [
        (ClusterName::from("pre-eu"), Link::Live),
        (
            "prod-eu".into(),
            lost(LinkTrouble::Offline, 185, "no route to host"),
        ),
    ];
    World {
        clusters: Arc::new(clusters.into()),
        asked: asked(0),
        ..world
    }
}

/// The connection is lost.
pub fn stale() -> World {
    let since = fixture::now()
        .checked_sub(SignedDuration::from_secs(95))
        .expect("a time");
    let why = Clean::from("connection refused; trying again");
    World {
        link: Link::Stale {
            since,
            trouble: LinkTrouble::Offline,
            why,
        },
        ..fixture::world()
    }
}

/// Three namespaces at once. `demo` and `shop` have Apps and releases of the same names.
pub fn all_namespaces() -> Worlds {
    let with_user = |mut world: World, namespace: &str| {
        world.namespace = namespace.into();
        world.cluster_name = Clean::default();
        (namespace.to_owned(), Arc::new(world))
    };
    let mut payments = quiet();
    let apps = Arc::make_mut(&mut payments.apps);
    apps.retain(|name, _| name == A);
    let ledger = apps.remove(A).expect("it is there");
    apps.insert("ledger".into(), ledger);
    payments.releases = Arc::default();
    payments.pods = Arc::default();
    payments.lanes = Arc::default();
    Worlds {
        cluster: World {
            link: Link::Live,
            ..World::default()
        },
        by_namespace: [
            with_user(fixture::world(), "demo"),
            with_user(payments, "payments"),
            with_user(two_approvals(), "shop"),
        ]
        .into(),
    }
}

/// Nobody may list Apps in all namespaces.
pub fn all_namespaces_refused() -> Worlds {
    let why = "apps.graylane.dev is forbidden: User \"mia\" cannot list resource \"apps\" at the cluster scope";
    let gap = WatchGap {
        cluster: ClusterName::Home,
        resource: "apps.graylane.dev",
        namespace: None,
        trouble: LinkTrouble::Forbidden,
        since: ago(60),
        why: Clean::from(why),
    };
    Worlds {
        cluster: World {
            link: Link::Live,
            gaps: vec![gap].into(),
            ..World::default()
        },
        ..Worlds::default()
    }
}
