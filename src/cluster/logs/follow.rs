//! Follows the logs of all pods of a selection, also of those that come later. Their number is
//! bounded; what a log cannot tell now is asked again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use kube::api::LogParams;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::OpenLog;
use crate::{
    api::Uid,
    cluster::error,
    domain::{
        log::{ContainerChoice, LogEvent, LogLine, LogRequest, MAX_STREAMS},
        text::Clean,
        world::{ObjectKey, World},
    },
};

/// Events that wait for their reader; beyond, the logs wait.
const CHANNEL: usize = 1024;
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Failures of a new pod's log before they are told.
const PATIENCE: u32 = 4;
/// How long the log of a pod that is gone may still go on.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Longest pause before a log is asked for again.
const PAUSE_MOST: Duration = Duration::from_secs(15);

/// Follows the logs until the stream is dropped. It ends by itself with the log of a run before the
/// last restart, and when the only pod of the selection is gone.
pub fn follow_logs(
    opener: Arc<dyn OpenLog>,
    worlds: watch::Receiver<World>,
    request: LogRequest,
) -> impl Stream<Item = LogEvent> + Send {
    let (out, inbox) = mpsc::channel(CHANNEL);
    let followers = Followers {
        opener,
        worlds,
        request: Arc::new(request),
        out,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        left_out: 0,
    };
    let task = AbortOnDropHandle::new(tokio::spawn(followers.run()));
    stream::unfold((inbox, task), |(mut inbox, task)| async move {
        inbox.recv().await.map(|event| (event, (inbox, task)))
    })
}

/// A pod, and the container of it whose log is read.
type LogKey = (ObjectKey, Option<String>);

/// The logs that are followed now.
struct Followers {
    opener: Arc<dyn OpenLog>,
    worlds: watch::Receiver<World>,
    request: Arc<LogRequest>,
    out: mpsc::Sender<LogEvent>,
    running: BTreeMap<LogKey, AbortHandle>,
    tasks: JoinSet<LogKey>,
    left_out: usize,
}

impl Followers {
    async fn run(mut self) {
        let mut later = false;
        loop {
            if !self.follow_chosen_pods(later).await {
                return;
            }
            later = true;
            tokio::select! {
                changed = self.worlds.changed(), if !self.request.previous => {
                    if changed.is_err() {
                        // The last world stays; followers go on.
                        while self.tasks.join_next().await.is_some() {}
                        return;
                    }
                }
                ended = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Some(Ok(key)) = ended {
                        self.running.remove(&key);
                    }
                    let over = self.request.previous || self.request.selection.is_one_pod();
                    if over && self.tasks.is_empty() {
                        return;
                    }
                }
                () = self.out.closed() => return,
                else => return,
            }
        }
    }

    /// Starts and ends followers as the world demands; returns whether anybody still reads.
    async fn follow_chosen_pods(&mut self, later: bool) -> bool {
        let mut chosen = {
            let world = self.worlds.borrow_and_update();
            let chosen = find_pods(&world, &self.request);
            // What was chosen only for a while is not read any more; what is gone ends by itself.
            self.running.retain(|log, task| {
                let keep = !world.pods.contains_key(&log.0) || chosen.iter().any(|p| p.is_log(log));
                if !keep {
                    task.abort();
                }
                keep
            });
            chosen
        };
        if self.request.previous && later {
            return true;
        }
        chosen.retain(|pod| !self.running.contains_key(&pod.log_key()));
        let room = MAX_STREAMS.saturating_sub(self.running.len());
        let left_out = chosen.len().saturating_sub(room);
        for pod in chosen.into_iter().take(room) {
            if later
                && pod.is_first
                && self
                    .out
                    .send(LogEvent::Came(Arc::clone(&pod.key)))
                    .await
                    .is_err()
            {
                return false;
            }
            let key = pod.log_key();
            let follower = Follower {
                whole: later,
                opener: Arc::clone(&self.opener),
                worlds: self.worlds.clone(),
                request: Arc::clone(&self.request),
                out: self.out.clone(),
                pod,
            };
            let ended = key.clone();
            let task = self.tasks.spawn(async move {
                follower.run().await;
                ended
            });
            self.running.insert(key, task);
        }
        if left_out == std::mem::replace(&mut self.left_out, left_out) {
            return true;
        }
        self.out.send(LogEvent::LeftOut(left_out)).await.is_ok()
    }
}

/// A container whose log is read.
#[derive(Clone, Debug)]
pub(super) struct ChosenPod {
    pub(super) key: Arc<ObjectKey>,
    pub(super) uid: Option<Uid>,
    pub(super) container: Option<String>,
    /// Name of the container, where several of the pod are read.
    shown: Option<Arc<str>>,
    /// The first one of its pod, which tells when the pod comes and goes.
    is_first: bool,
    /// One of several logs: what it has not got is no failure of all.
    is_one_of_many: bool,
}

impl ChosenPod {
    fn log_key(&self) -> LogKey {
        ((*self.key).clone(), self.container.clone())
    }

    fn is_log(&self, (pod, container): &LogKey) -> bool {
        *self.key == *pod && self.container == *container
    }

    pub(super) fn parse_line(&self, line: &str) -> LogLine {
        LogLine {
            container: self.shown.clone(),
            ..LogLine::parse_line(&self.key, line)
        }
    }

    pub(super) fn failed(&self, why: &str) -> LogEvent {
        let why = match &self.shown {
            Some(container) => Clean::from_untrusted(&format!("container {container}: {why}")),
            None => Clean::from_untrusted(why),
        };
        LogEvent::Failed(Arc::clone(&self.key), why)
    }

    /// What it means that the log cannot be opened.
    pub(super) fn refused(&self, why: &kube::Error) -> LogEvent {
        // The server has no reason of its own for it.
        let has_no_run_before = matches!(why, kube::Error::Api(status)
            if status.code == 400 && status.message.starts_with("previous terminated container"));
        if has_no_run_before && self.is_one_of_many {
            return LogEvent::NoRunBefore(Arc::clone(&self.key));
        }
        self.failed(&error::describe_error(why))
    }
}

/// The chosen containers of the chosen pods. A pod that is named is tried even when it is unknown.
pub(super) fn find_pods(world: &World, request: &LogRequest) -> Vec<ChosenPod> {
    let mut found: Vec<ChosenPod> = vec![];
    let is_one_pod = request.selection.is_one_pod();
    for pod in request.selection.select_pods(world) {
        let has = |name: &String| pod.containers.iter().any(|c| **c == **name);
        let all = || pod.containers.iter().map(ToString::to_string);
        let containers: Vec<Option<String>> = match &request.containers {
            ContainerChoice::First => vec![all().next()],
            ContainerChoice::All => all().map(Some).collect(),
            ContainerChoice::Named(names) => names
                .iter()
                .filter(|name| is_one_pod || has(name))
                .map(|name| Some(name.clone()))
                .collect(),
        };
        add_containers(&mut found, &pod.key, pod.uid.as_ref(), containers);
    }
    if let (Some(key), true) = (&request.selection.pod, found.is_empty()) {
        let containers = match &request.containers {
            ContainerChoice::Named(names) => names.iter().cloned().map(Some).collect(),
            ContainerChoice::First | ContainerChoice::All => vec![None],
        };
        add_containers(&mut found, key, None, containers);
    }
    let is_one_of_many = found.len() > 1;
    for pod in &mut found {
        pod.is_one_of_many = is_one_of_many;
    }
    found
}

fn add_containers(
    found: &mut Vec<ChosenPod>,
    key: &ObjectKey,
    uid: Option<&Uid>,
    containers: Vec<Option<String>>,
) {
    let (key, are_several) = (Arc::new(key.clone()), containers.len() > 1);
    let logs = containers.into_iter().enumerate();
    found.extend(logs.map(|(i, container)| ChosenPod {
        key: Arc::clone(&key),
        uid: uid.cloned(),
        shown: container.as_deref().filter(|_| are_several).map(Arc::from),
        container,
        is_first: i == 0,
        is_one_of_many: false,
    }));
}

/// `tailLines` and the like of a first request.
pub(super) fn first_params(request: &LogRequest, container: Option<String>) -> LogParams {
    LogParams {
        container,
        previous: request.previous,
        timestamps: true,
        since_seconds: request.since.map(i64::from),
        tail_lines: request.tail.map(i64::from),
        ..LogParams::default()
    }
}

/// Follows the log of one container through its restarts, until its pod is gone.
struct Follower {
    pod: ChosenPod,
    /// The pod came later: all of its log is new.
    whole: bool,
    opener: Arc<dyn OpenLog>,
    worlds: watch::Receiver<World>,
    request: Arc<LogRequest>,
    out: mpsc::Sender<LogEvent>,
}

impl Follower {
    async fn run(self) {
        let (mut last, mut pause) = (None, PAUSE_FIRST);
        let mut said: Option<LogEvent> = None;
        let mut failures = 0;
        loop {
            let before = last;
            let failed = self.read_log(&mut last).await;
            if last > before {
                (pause, said) = (PAUSE_FIRST, None);
            }
            let over = self.request.previous || self.is_gone();
            failures = if failed.is_some() { failures + 1 } else { 0 };
            // A container of a new pod is about to start.
            let early = self.whole && failures < PATIENCE;
            let failed = failed.filter(|_| !early);
            let news = failed.filter(|why| said.as_ref() != Some(why) && !self.is_gone());
            if let Some(why) = news {
                said = Some(why.clone());
                self.send(why).await;
            }
            if over {
                break;
            }
            self.wait_or_gone(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
        if !self.request.previous && self.pod.is_first {
            self.send(LogEvent::Gone(Arc::clone(&self.pod.key))).await;
        }
    }

    /// Reads until the log ends; returns why it could not be read.
    async fn read_log(&self, last: &mut Option<Timestamp>) -> Option<LogEvent> {
        let mut params = first_params(&self.request, self.pod.container.clone());
        params.follow = !self.request.previous;
        if self.whole || last.is_some() {
            (params.since_seconds, params.tail_lines) = (None, None);
            params.since_time = *last;
        }
        let mut lines = match self.opener.open_log(&self.pod.key, params).await {
            Ok(lines) => lines,
            Err(why) => return Some(self.pod.refused(&why)),
        };
        // The server counts whole seconds, so lines of the last one come again.
        let known = *last;
        let mut over = std::pin::pin!(gone_for(self.worlds.clone(), self.pod.clone(), LAST_WORDS));
        loop {
            let line = tokio::select! {
                line = lines.next() => line?,
                () = &mut over => return None,
            };
            let line = match line {
                Ok(line) => self.pod.parse_line(&line),
                Err(why) => return Some(self.pod.failed(&why.to_string())),
            };
            if known.is_some() && line.time <= known {
                continue;
            }
            *last = (*last).max(line.time);
            self.send(LogEvent::Line(line)).await;
        }
    }

    async fn send(&self, event: LogEvent) {
        if self.out.send(event).await.is_err() {
            // Nobody reads any more: this task is about to be aborted.
            std::future::pending::<()>().await;
        }
    }

    fn is_gone(&self) -> bool {
        is_gone(&self.worlds.borrow(), &self.pod)
    }

    async fn wait_or_gone(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = gone_for(self.worlds.clone(), self.pod.clone(), Duration::ZERO) => {}
        }
    }
}

/// Completes this long after the pod is gone.
async fn gone_for(mut worlds: watch::Receiver<World>, pod: ChosenPod, time: Duration) {
    let watched = pod.uid.is_some();
    if !watched || worlds.wait_for(|w| is_gone(w, &pod)).await.is_err() {
        // Nobody watches the pod, so only the log's end counts.
        std::future::pending::<()>().await;
    }
    sleep(time).await;
}

/// Whether the pod is no longer there, or another one has its name.
fn is_gone(world: &World, pod: &ChosenPod) -> bool {
    world
        .pods
        .get(&*pod.key)
        .is_none_or(|now| pod.uid.is_some() && now.uid != pod.uid)
}

#[cfg(test)]
mod tests;
