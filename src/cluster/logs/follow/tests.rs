//! Logs without a cluster: each request is answered by the next part of a script.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use kube::api::LogParams;
use tokio::sync::watch;

use super::*;
use crate::{
    cluster::logs::{OpenLog, RawLines, read_logs},
    domain::{
        pod_selection::PodSelection,
        world::{Pod, pods_by_key},
    },
};

/// One answer to a request for a log.
#[derive(Clone)]
enum Part {
    /// Lines, then the log ends.
    Ends(Vec<&'static str>),
    /// Lines, then nothing for good.
    Stays(Vec<&'static str>),
    Refused(&'static str),
    /// The server finds the request wrong.
    Invalid(&'static str),
}

/// Answers by pod, and what was asked.
#[derive(Default)]
struct Script {
    parts: Mutex<HashMap<String, VecDeque<Part>>>,
    asked: Mutex<Vec<(String, LogParams)>>,
}

impl Script {
    fn new(parts: &[(&str, &[Part])]) -> Arc<Self> {
        let parts = parts
            .iter()
            .map(|(pod, parts)| ((*pod).to_owned(), parts.iter().cloned().collect()));
        Arc::new(Self {
            parts: Mutex::new(parts.collect()),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<(String, LogParams)> {
        self.asked.lock().unwrap().clone()
    }
}

impl OpenLog for Script {
    fn open_log(
        &self,
        pod: &ObjectKey,
        params: LogParams,
    ) -> BoxFuture<'static, Result<RawLines, kube::Error>> {
        self.asked.lock().unwrap().push((pod.name.clone(), params));
        let next = self
            .parts
            .lock()
            .unwrap()
            .get_mut(&pod.name)
            .and_then(VecDeque::pop_front);
        let lines = |lines: Vec<&str>| {
            let owned: Vec<_> = lines.into_iter().map(|l| Ok(l.to_owned())).collect();
            stream::iter(owned)
        };
        let opened: Result<RawLines, kube::Error> = match next {
            Some(Part::Ends(all)) => Ok(lines(all).boxed()),
            Some(Part::Stays(all)) => Ok(lines(all).chain(stream::pending()).boxed()),
            Some(Part::Refused(why)) => Err(kube::Error::Service(why.into())),
            Some(Part::Invalid(why)) => Err(kube::Error::Api(
                kube::core::Status::failure(why, "BadRequest")
                    .with_code(400)
                    .boxed(),
            )),
            None => Ok(stream::pending().boxed()),
        };
        async move { opened }.boxed()
    }
}

fn world(pods: &[&str]) -> World {
    let pod = |name: &&str| Pod {
        key: ObjectKey::at_home("demo", *name),
        app: Some("shop".into()),
        uid: Some(format!("uid of {name}").into()),
        containers: vec![Clean::from("app"), Clean::from("proxy")],
        ..Pod::default()
    };
    World {
        pods: Arc::new(pods_by_key(pods.iter().map(pod))),
        ..World::default()
    }
}

fn request() -> LogRequest {
    LogRequest {
        selection: PodSelection::of_app("shop"),
        tail: Some(500),
        ..LogRequest::default()
    }
}

fn told(event: &LogEvent) -> String {
    match event {
        LogEvent::Line(line) => format!("{} {}", line.pod.name, line.text),
        LogEvent::Came(pod) => format!("+ {}", pod.name),
        LogEvent::Gone(pod) => format!("- {}", pod.name),
        LogEvent::Failed(pod, why) => format!("! {} {why}", pod.name),
        LogEvent::LeftOut(pods) => format!("left out {pods}"),
        LogEvent::NoRunBefore(pod) => format!("{} has no run before", pod.name),
    }
}

type Events = Pin<Box<dyn Stream<Item = LogEvent> + Send>>;

async fn next(events: &mut Events) -> String {
    told(&events.next().await.expect("one more event"))
}

const T1: &str = "2026-11-30T21:00:01.5Z one";
const T2: &str = "2026-11-30T21:00:01.7Z two";
const T3: &str = "2026-11-30T21:00:02.0Z three";

#[tokio::test(start_paused = true)]
async fn a_log_goes_on_after_a_restart_and_no_line_comes_twice() {
    let script = Script::new(&[(
        "a",
        &[
            Part::Ends(vec![T1, T2]),
            Part::Refused("container app is waiting to start"),
            Part::Refused("container app is waiting to start"),
            Part::Stays(vec![T1, T2, T3]),
        ],
    )]);
    let (_worlds, seen) = watch::channel(world(&["a"]));
    let mut events: Events = Box::pin(follow_logs(script.clone(), seen, request()));
    assert_eq!(next(&mut events).await, "a one");
    assert_eq!(next(&mut events).await, "a two");
    let failed = next(&mut events).await;
    assert!(failed.contains("waiting to start"), "{failed}");
    assert_eq!(
        next(&mut events).await,
        "a three",
        "the same trouble is told once"
    );
    let asked = script.asked();
    assert_eq!(
        (asked[0].1.tail_lines, asked[0].1.since_time),
        (Some(500), None)
    );
    let last = asked.last().unwrap().1.clone();
    assert_eq!(last.tail_lines, None);
    assert_eq!(last.since_time, "2026-11-30T21:00:01.7Z".parse().ok());
    assert!(
        asked
            .iter()
            .all(|(_, p)| p.timestamps && p.follow && p.container.as_deref() == Some("app"))
    );
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_are_read_whole_and_those_that_go_say_so_once() {
    let script = Script::new(&[
        ("a", &[Part::Ends(vec![T1])]),
        ("b", &[Part::Stays(vec![T2])]),
    ]);
    let (worlds, seen) = watch::channel(world(&["a"]));
    let mut events: Events = Box::pin(follow_logs(script.clone(), seen, request()));
    assert_eq!(next(&mut events).await, "a one");
    worlds.send_replace(world(&["b"]));
    let mut rest = vec![
        next(&mut events).await,
        next(&mut events).await,
        next(&mut events).await,
    ];
    rest.sort();
    assert_eq!(rest, ["+ b", "- a", "b two"]);
    let asked = script.asked();
    let b = asked.iter().find(|(pod, _)| pod == "b").unwrap();
    assert_eq!(b.1.tail_lines, None, "all of a new pod's log is new");
    assert!(asked.iter().filter(|(pod, _)| pod == "a").count() <= 2);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_logs_is_bounded_and_the_rest_is_told() {
    let names: Vec<String> = (0..MAX_STREAMS + 7).map(|n| format!("p{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let script = Script::new(&[]);
    let (worlds, seen) = watch::channel(world(&names));
    let mut events: Events = Box::pin(follow_logs(script.clone(), seen, request()));
    assert_eq!(next(&mut events).await, "left out 7");
    worlds.send_replace(world(&names[..MAX_STREAMS]));
    assert_eq!(next(&mut events).await, "left out 0");
    assert_eq!(script.asked().len(), MAX_STREAMS);
}

#[tokio::test(start_paused = true)]
async fn one_pod_ends_with_its_log_and_another_run_is_not_followed() {
    let pod = |name: &str| PodSelection::of_pod(ObjectKey::at_home("demo", name));
    let script = Script::new(&[
        ("a", &[Part::Ends(vec![T1])]),
        ("b", &[Part::Ends(vec![T2])]),
    ]);
    let (_worlds, seen) = watch::channel(world(&["b"]));
    let of = |name: &str, previous| LogRequest {
        selection: pod(name),
        previous,
        ..LogRequest::default()
    };
    let gone: Vec<LogEvent> = follow_logs(script.clone(), seen.clone(), of("a", false))
        .collect()
        .await;
    assert_eq!(gone.iter().map(told).collect::<Vec<_>>(), ["a one", "- a"]);
    let before: Vec<LogEvent> = follow_logs(script.clone(), seen, of("b", true))
        .collect()
        .await;
    assert_eq!(before.iter().map(told).collect::<Vec<_>>(), ["b two"]);
    let asked = script.asked();
    assert!(asked[1].1.previous && !asked[1].1.follow);
}

#[tokio::test]
async fn logs_that_are_read_to_their_ends_are_one_in_the_order_of_time() {
    let script = Script::new(&[
        ("a", &[Part::Ends(vec![T1, "no time", T3])]),
        ("b", &[Part::Ends(vec![T2])]),
        ("c", &[Part::Refused("no route")]),
    ]);
    let world = world(&["a", "b", "c"]);
    let events = read_logs(&*script, &world, &request()).await;
    let all: Vec<String> = events.map(|event| told(&event)).collect().await;
    assert!(all[0].starts_with("! c "), "{all:?}");
    assert_eq!(all[1..], ["a one", "a no time", "b two", "a three"]);
}

#[test]
fn a_container_is_that_of_the_pods_that_have_it() {
    let world = world(&["a"]);
    let of = |containers: ContainerChoice| LogRequest {
        containers,
        ..request()
    };
    let found = |request: &LogRequest| {
        let pods = find_pods(&world, request);
        pods.into_iter()
            .map(|p| p.container.unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let named = |names: &[&str]| {
        ContainerChoice::Named(names.iter().map(|name| (*name).to_owned()).collect())
    };
    assert_eq!(found(&of(ContainerChoice::First)), ["app"]);
    assert_eq!(found(&of(ContainerChoice::All)), ["app", "proxy"]);
    assert_eq!(found(&of(named(&["proxy"]))), ["proxy"]);
    assert!(found(&of(named(&["other"]))).is_empty());
}

/// Lines tell their container where there are several, and a pod comes and goes once.
#[tokio::test]
async fn several_containers_of_a_pod_are_read_at_once() {
    let script = Script::new(&[("a", &[Part::Ends(vec![T1]), Part::Ends(vec![T2])])]);
    let request = LogRequest {
        containers: ContainerChoice::All,
        ..request()
    };
    let events: Vec<LogEvent> = read_logs(&*script, &world(&["a"]), &request)
        .await
        .collect()
        .await;
    let by = events.iter().map(|event| match event {
        LogEvent::Line(line) => line.container.as_deref().unwrap_or("-").to_owned(),
        other => told(other),
    });
    assert_eq!(by.collect::<Vec<_>>(), ["app", "proxy"]);
    let asked = script.asked();
    let asked: Vec<_> = asked.iter().map(|(_, p)| p.container.as_deref()).collect();
    assert_eq!(asked, [Some("app"), Some("proxy")]);
}

/// Of many pods few were restarted: that the others have no run before is no failure.
#[tokio::test]
async fn of_many_pods_the_runs_before_are_read_where_there_are_any() {
    const NONE: &str = "previous terminated container \"app\" in pod \"a\" not found";
    let script = Script::new(&[
        ("a", &[Part::Invalid(NONE)]),
        ("b", &[Part::Ends(vec![T2])]),
    ]);
    let request = LogRequest {
        previous: true,
        ..request()
    };
    let world = world(&["a", "b"]);
    let events = read_logs(&*script, &world, &request).await;
    let all: Vec<String> = events.map(|event| told(&event)).collect().await;
    assert_eq!(all, ["a has no run before", "b two"]);

    let alone = Script::new(&[("a", &[Part::Invalid(NONE)])]);
    let one = LogRequest {
        selection: PodSelection::of_pod(ObjectKey::at_home("demo", "a")),
        previous: true,
        ..LogRequest::default()
    };
    let events = read_logs(&*alone, &world, &one).await;
    let all: Vec<String> = events.map(|event| told(&event)).collect().await;
    assert!(all[0].starts_with("! a "), "{all:?}");
}
