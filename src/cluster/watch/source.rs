//! One kind in one namespace, watched for good: list, watch, and after a break wait and list again.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1 as core};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event as Seen, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::rows::{self, Row};
use crate::{
    api::{App, Approval, Lane, LaneGroup, Release, label},
    cluster::error,
    domain::{rights::Rights, world::Key},
};

/// The kinds that make a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    App,
    Release,
    Approval,
    Group,
    Lane,
    Workload,
    Pod,
    Route,
    Event,
    Engine,
}

impl Kind {
    /// Our own kinds, and the engine's lease: in our namespace only.
    pub(super) const HOME: [Self; 6] =
        [Self::App, Self::Release, Self::Approval, Self::Group, Self::Lane, Self::Engine];
    /// In every namespace of an environment.
    pub(super) const EVERYWHERE: [Self; 4] = [Self::Workload, Self::Pod, Self::Route, Self::Event];

    /// A cluster that lacks it, or does not show it to us, still makes a world.
    const fn is_optional(self) -> bool {
        matches!(self, Self::Route | Self::Event | Self::Engine)
    }
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceId {
    pub(super) kind: Kind,
    pub(super) namespace: String,
}

/// What a watch says.
pub(super) enum Message {
    From(SourceId, Change),
    /// The server answers, or does not and why.
    Server(Result<(), String>),
    /// What we may do.
    Rights(Rights),
}

pub(super) enum Change {
    Begin,
    Listed(Key, Box<Row>),
    Ready,
    Set(Key, Box<Row>),
    Gone(Key),
    Broken(String),
}

/// The name of the Lease that the engine holds.
pub const ENGINE_LEASE: &str = "graylane-engine";

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// How soon a kind that the cluster lacks is asked for again.
const ABSENT: Duration = Duration::from_secs(30);

/// Runs one watch until `stop`.
pub(super) async fn run(client: Client, id: SourceId, out: Sender<Message>, stop: CancellationToken) {
    let plain = watcher::Config::default;
    let ours = || plain().labels(label::APP);
    let task = async {
        match id.kind {
            Kind::App => home::<App>(&client, &id, &out, Row::App).await,
            Kind::Release => home::<Release>(&client, &id, &out, Row::Release).await,
            Kind::Approval => home::<Approval>(&client, &id, &out, Row::Approval).await,
            Kind::Group => home::<LaneGroup>(&client, &id, &out, Row::Group).await,
            Kind::Lane => home::<Lane>(&client, &id, &out, Row::Lane).await,
            Kind::Workload => {
                let row = |d: Deployment| Some(Row::Workload(rows::workload(&d)));
                follow(Api::namespaced(client, &id.namespace), ours(), &id, &out, row).await;
            }
            Kind::Pod => {
                let row = |p: core::Pod| Some(Row::Pod(rows::pod(&p)));
                follow(Api::namespaced(client, &id.namespace), ours(), &id, &out, row).await;
            }
            Kind::Route => {
                let api = Api::namespaced_with(client, &id.namespace, &http_routes());
                let row = |r: DynamicObject| Some(Row::Route(rows::route(&r)));
                follow(api, plain().labels(label::LANE_GROUP), &id, &out, row).await;
            }
            Kind::Event => {
                let row = |e: core::Event| Some(Row::Event(rows::event(&e)));
                follow(Api::namespaced(client, &id.namespace), plain(), &id, &out, row).await;
            }
            Kind::Engine => {
                let config = plain().fields(&format!("metadata.name={ENGINE_LEASE}"));
                let row = |l: Lease| rows::engine(&l).map(Row::Engine);
                follow(Api::namespaced(client, &id.namespace), config, &id, &out, row).await;
            }
        }
    };
    stop.run_until_cancelled(task).await;
}

fn http_routes() -> ApiResource {
    ApiResource {
        group: "gateway.networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "gateway.networking.k8s.io/v1".into(),
        kind: "HTTPRoute".into(),
        plural: "httproutes".into(),
    }
}

async fn home<T>(client: &Client, id: &SourceId, out: &Sender<Message>, row: fn(std::sync::Arc<T>) -> Row)
where
    T: Resource<DynamicType = ()> + DeserializeOwned,
{
    let api = Api::namespaced_with(client.clone(), &id.namespace, &ApiResource::erase::<T>(&()));
    follow(api, watcher::Config::default(), id, out, |object| rows::own(object, row)).await;
}

async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    id: &SourceId,
    out: &Sender<Message>,
    row: impl Fn(K) -> Option<Row>,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let send = |change| out.send(Message::From(id.clone(), change));
    let mut pause = BACKOFF_FIRST;
    loop {
        let mut events = std::pin::pin!(watcher(api.clone(), config.clone()));
        let failed = loop {
            let Some(event) = events.next().await else { break None };
            let change = match event {
                Ok(Seen::Init) => Some(Change::Begin),
                Ok(Seen::InitApply(object)) => {
                    let key = rows::key(&object);
                    row(object).map(|row| Change::Listed(key, Box::new(row)))
                }
                Ok(Seen::InitDone) => {
                    pause = BACKOFF_FIRST;
                    Some(Change::Ready)
                }
                Ok(Seen::Apply(object)) => {
                    let key = rows::key(&object);
                    // What does not fit its schema (any more) is not shown.
                    Some(row(object).map_or(Change::Gone(key.clone()), |row| Change::Set(key, Box::new(row))))
                }
                Ok(Seen::Delete(object)) => Some(Change::Gone(rows::key(&object))),
                Err(error) => break Some(error),
            };
            if let Some(change) = change
                && send(change).await.is_err()
            {
                return;
            }
        };
        // Too old a resourceVersion is no fault: list again at once.
        let Some(error) = failed.filter(|e| !is_expired(e)) else { continue };
        let absent = id.kind.is_optional() && matches!(status(&error), Some(403 | 404));
        if absent {
            let _ = send(Change::Begin).await;
            let _ = send(Change::Ready).await;
            tokio::time::sleep(ABSENT).await;
            continue;
        }
        if send(Change::Broken(words(&error))).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MOST);
    }
}

/// Asks the server now and then whether it is there: a connection may die without a word.
pub(super) async fn probe(client: Client, out: Sender<Message>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    const ANSWER: Duration = Duration::from_secs(4);
    let task = async {
        loop {
            tokio::time::sleep(EVERY).await;
            let said = match tokio::time::timeout(ANSWER, client.apiserver_version()).await {
                Ok(Ok(_)) => Ok(()),
                // An answer is an answer, whatever it says.
                Ok(Err(e)) if error::code(&e).is_some() => Ok(()),
                Ok(Err(e)) => Err(error::words(&e)),
                Err(_) => Err(format!("the server has not answered for {} s", ANSWER.as_secs())),
            };
            if out.send(Message::Server(said)).await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(task).await;
}

fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            error::code(e)
        }
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

fn is_expired(error: &watcher::Error) -> bool {
    status(error) == Some(410)
}

fn words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            error::words(e)
        }
        other => other.to_string(),
    }
}
