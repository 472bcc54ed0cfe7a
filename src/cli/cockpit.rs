//! The cockpit: connects the terminal UI to a cluster and carries out its intents.

use std::{path::Path, pin::pin, sync::Arc};

use color_eyre::eyre::{Result, WrapErr};
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Global, session, via::ViaArg};
use crate::{
    cluster::{
        agent::Agent,
        connect::{self, ConnectError, Connected, Source},
        error,
        logs::{self, LogWish},
        perform::{self, PerformError},
        yaml,
    },
    config::Config,
    demo::{run::Demo, seed},
    domain::{
        intent::Intent,
        text::Clean,
        world::{Link, World},
    },
    probe::{self, Probed, Via},
    ui::{
        Answer, Ask, Done, Fault, Options, Outside, effect::Probed as Shown, options::Wanted,
        terminal::cockpit,
    },
};

mod seat;

use seat::{Home, Seat};

/// Lines of an existing log that are delivered as one answer.
const LINES_AT_ONCE: usize = 256;

/// Runs the cockpit on a pocket's state folder or on a real cluster.
pub(super) async fn run(global: &Global) -> Result<()> {
    let config = session::config(global)?;
    let source = session::source(global, &config)?;
    let connected = connect::prepare(&source, config.namespace.as_deref(), Agent::Cockpit)?;
    let by = match (&source, &global.user) {
        (Source::State(_), _) => Some(config.user()),
        (_, Some(_)) => Some(session::acting(global, &config, &source, &connected.client).await?),
        // The server reports the user together with the rights; the first frame does not wait for
        // it.
        (_, None) => None,
    };
    let place = place_of(&source, &connected.name);
    // The process that runs a pocket also writes its log.
    let home = Home {
        place,
        source: Some(source.clone()),
        connected: connected.clone(),
        worlds: None,
    };
    let seat = Seat::new(
        home,
        by,
        global.kubeconfig.clone(),
        config.namespace.clone(),
    );
    let unusable = unusable(source, connected, seat.worlds());
    show(global, &config, seat, unusable).await
}

/// Runs the cockpit on the demo of this process.
pub(super) async fn with_demo(global: &Global, dir: &Path, demo: &Demo) -> Result<()> {
    let config = session::config(global)?;
    let clusters = demo.clusters();
    let connected = Connected {
        client: clusters.home().clone(),
        clusters,
        namespace: seed::NAMESPACE.into(),
        name: "demo".into(),
    };
    let place = format!("pocket {}", short(dir));
    let home = Home {
        place,
        source: None,
        connected,
        worlds: Some((demo.worlds(), demo.inlet())),
    };
    let seat = Seat::new(home, Some(config.user()), global.kubeconfig.clone(), None);
    show(global, &config, seat, std::future::pending()).await
}

/// Completes only when the cluster can never be shown: no pocket, or no valid credentials. A server
/// that is away, or that was reached once, may come back.
async fn unusable(
    source: Source,
    connected: Connected,
    mut worlds: watch::Receiver<World>,
) -> ConnectError {
    let began = worlds.borrow().place.clone();
    // `wait_for` returns a read lock on the world, which must not be held while waiting.
    let seen = async {
        worlds
            .wait_for(|w| w.link == Link::Live || w.place != began)
            .await
            .is_ok()
    };
    tokio::select! {
        Err(why) = connect::first_answer(&source, &connected) => match why {
            ConnectError::Server { .. } => std::future::pending().await,
            why => why,
        },
        _ = seen => std::future::pending().await,
        else => std::future::pending().await,
    }
}

async fn show(
    global: &Global,
    config: &Config,
    seat: Seat,
    unusable: impl Future<Output = ConnectError>,
) -> Result<()> {
    let named = config.color.as_deref().map(str::parse).transpose();
    let named = named
        .map_err(|why: String| session::usage(format!("color in the configuration: {why}")))?;
    let wanted = Wanted {
        theme: config.theme.clone(),
        theme_file: config.theme_text()?,
        read_only: config.read_only,
        keys: config.keys_text()?,
        place: seat.place(),
        depth: global.look.color.or(named),
        ascii: config.ascii,
    };
    let options = Options::resolve(&wanted, |name| std::env::var(name).ok());
    let via = session::via(global, config)?;
    let (worlds, stop) = (seat.worlds(), CancellationToken::new());
    let outside = Arc::new(Cluster { seat, via });
    let mut screen = pin!(cockpit(
        options,
        worlds,
        Arc::clone(&outside) as Arc<dyn Outside>,
        stop.clone()
    ));
    let (ended, why) = tokio::select! {
        ended = &mut screen => (ended, None),
        why = unusable => {
            stop.cancel();
            (screen.await, Some(why))
        }
    };
    outside.seat.leave();
    ended.wrap_err("the cockpit")?;
    why.map_or(Ok(()), |why| Err(why.into()))
}

/// Name of a cluster on the screen.
pub(super) fn place_of(source: &Source, name: &str) -> String {
    match source {
        Source::State(dir) => format!("pocket {}", short(dir)),
        Source::Kubectl { .. } => format!("context {name}"),
        Source::InCluster => "this cluster".into(),
    }
}

/// The path with the home folder abbreviated to `~`.
fn short(dir: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
    let inside = home.as_ref().and_then(|h| dir.strip_prefix(h).ok());
    inside.map_or_else(
        || dir.display().to_string(),
        |rest| format!("~/{}", rest.display()),
    )
}

/// Carries out what the terminal UI asks for.
struct Cluster {
    seat: Seat,
    via: Option<ViaArg>,
}

impl Outside for Cluster {
    fn perform(&self, intent: Intent) -> BoxFuture<'static, Result<Done, Fault>> {
        if let Intent::Probe { group, probe } = intent {
            let (worlds, here) = (self.seat.worlds(), self.seat.here());
            let via = self.via.clone();
            return async move {
                let Some(here) = here else {
                    return Err(nowhere());
                };
                let via = via.map_or(Via::Entry, |way| way.with(here.clusters.home()));
                let probed = probe::run(&probe, &group, &worlds, &via)
                    .await
                    .map_err(|e| Fault::new(&e.to_string()))?;
                let right = probed.iter().filter(|p| p.is_ok()).count();
                let text = Clean::from_untrusted(&format!(
                    "{right} of {} requests as expected",
                    probed.len()
                ));
                let probes = probed.into_iter().map(shown).collect();
                Ok(Done {
                    text,
                    probes,
                    ..Done::default()
                })
            }
            .boxed();
        }
        // The clusters of this moment, even if another one is selected before this is done.
        let here = self.seat.here();
        async move {
            let Some(here) = here else {
                return Err(nowhere());
            };
            let (client, namespace, by) = (
                here.clusters.home().clone(),
                &here.namespace,
                here.by().await?,
            );
            let done = perform::perform(&client, namespace, &by, intent)
                .await
                .map_err(|e| fault(&e))?;
            let releases = done.releases().map(str::to_owned).collect();
            Ok(Done {
                text: Clean::from_untrusted(&done.message),
                releases,
                ..Done::default()
            })
        }
        .boxed()
    }

    fn ask(&self, ask: Ask) -> BoxStream<'static, Answer> {
        match (ask, self.seat.here()) {
            (Ask::Contexts, _) => {
                let answer = match self.seat.choices() {
                    Ok(choices) => Answer::Choices(choices),
                    Err(why) => Answer::Failed(Fault::new(&why.to_string())),
                };
                stream::iter([answer]).boxed()
            }
            (_, None) => stream::iter([Answer::Failed(nowhere())]).boxed(),
            (
                Ask::Logs {
                    pod,
                    container,
                    tail,
                    previous,
                },
                Some(here),
            ) => {
                let (context, namespace) = pod.place();
                let (client, namespace) = (here.clusters.of(context), namespace.to_owned());
                let wish = LogWish {
                    container,
                    follow: !previous,
                    tail: Some(tail),
                    previous,
                };
                let opened = async move { logs::read(&client, &namespace, &pod.name, &wish).await };
                opened.map(lines).flatten_stream().boxed()
            }
            (Ask::Yaml(object), Some(here)) => async move {
                let what = object.title();
                let (context, namespace) = object.key.place();
                let client = here.clusters.of(context);
                let api = yaml::api_by_resource(&client, &object.resource, namespace).await;
                let text = match api {
                    Ok(Some(api)) => yaml::read(&api, &object.key.name, false)
                        .await
                        .map_err(|e| error::words(&e)),
                    Ok(None) => Err(format!("this cluster has no {}", object.resource)),
                    Err(e) => Err(error::words(&e)),
                };
                match text {
                    Ok(text) => vec![
                        Answer::Lines(text.lines().map(Clean::from_untrusted).collect()),
                        Answer::End,
                    ],
                    Err(why) => vec![Answer::Failed(Fault::new(&format!("{what}: {why}")))],
                }
            }
            .map(stream::iter)
            .flatten_stream()
            .boxed(),
        }
    }

    fn reconnect(&self) {
        if let Some(here) = self.seat.here() {
            here.clusters.meter().retry();
        }
    }

    fn fetch_trace(&self, group: &str, trace: &str) {
        let group = self.seat.worlds().borrow().groups.get(group).cloned();
        if let (Some(here), Some(group)) = (self.seat.here(), group) {
            here.fetch_trace(group, trace.to_owned());
        }
    }

    fn switch(&self, name: &str) {
        self.seat.switch(name);
    }
}

fn nowhere() -> Fault {
    Fault::new("there is no connection to the cluster that is looked at; nothing was done")
}

fn lines<S>(opened: Result<S, kube::Error>) -> BoxStream<'static, Answer>
where
    S: stream::Stream<Item = std::io::Result<Clean>> + Send + 'static,
{
    let failed = |why: &str| Answer::Failed(Fault::new(&format!("the log cannot be read: {why}")));
    match opened {
        Err(e) => stream::iter([failed(&error::words(&e))]).boxed(),
        Ok(log) => {
            let answers = log.ready_chunks(LINES_AT_ONCE).map(move |chunk| {
                let read: std::io::Result<Vec<Clean>> = chunk.into_iter().collect();
                read.map_or_else(|e| failed(&e.to_string()), Answer::Lines)
            });
            answers.chain(stream::iter([Answer::End])).boxed()
        }
    }
}

fn fault(why: &PerformError) -> Fault {
    let moved_on = matches!(
        why,
        PerformError::Stale { .. } | PerformError::Outrun { .. }
    );
    Fault {
        moved_on,
        ..Fault::new(&why.to_string())
    }
}

fn shown(probed: Probed) -> Shown {
    Shown {
        passed: probed.is_ok(),
        path: probed.path,
        status: probed.status,
        latency_ms: probed.latency_ms,
        lane: probed.lane,
        chains: probed.chains,
        expected: probed.expected,
        verdict: probed.verdict.to_string(),
        problems: probed.problems,
        body: Clean::lines_from(&probed.body),
    }
}
