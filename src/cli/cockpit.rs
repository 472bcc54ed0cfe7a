//! The cockpit: the screen's wishes carried out, on the cluster that was asked for.

use std::{path::Path, sync::Arc};

use color_eyre::eyre::{Result, WrapErr};
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Global, session};
use crate::{
    cluster::{
        self,
        connect::{self, Source},
        error,
        logs::{self, LogWish},
        perform::{self, PerformError},
        yaml,
    },
    config::Config,
    demo::{run::Demo, seed},
    domain::{intent::Intent, text::Clean, world::World},
    probe::{self, Probed},
    ui::{Answer, Ask, Done, Fault, Options, Outside, effect::Probed as Shown, options::Wanted, terminal::cockpit},
};

/// Old lines of a log that come at once.
const LINES_AT_ONCE: usize = 256;

/// On a cluster that runs by itself: the pocket of a state folder, or a real one.
pub(super) async fn run(global: &Global) -> Result<()> {
    let config = session::config(global)?;
    let source = session::source(global, &config)?;
    let connected = connect::connect(&source, config.namespace.as_deref()).await?;
    // A pocket's own log is written by whoever runs it.
    let place = match &source {
        Source::State(dir) => format!("pocket {}", short(dir)),
        Source::Kubectl { .. } => format!("context {}", connected.name),
    };
    let stop = CancellationToken::new();
    let worlds = cluster::watch::spawn(connected.client.clone(), connected.namespace.clone(), stop.clone());
    let by = session::acting(global, &config, &source, &connected.client).await?;
    let outside = Cluster { client: connected.client, namespace: connected.namespace, by, worlds };
    let done = show(global, &config, place, outside, stop.clone()).await;
    stop.cancel();
    done
}

/// On the demo that this process runs.
pub(super) async fn with_demo(global: &Global, dir: &Path, demo: &Demo) -> Result<()> {
    let config = session::config(global)?;
    let outside =
        Cluster { client: demo.client(), namespace: seed::NAMESPACE.into(), by: config.user(), worlds: demo.worlds() };
    show(global, &config, format!("pocket {}", short(dir)), outside, CancellationToken::new()).await
}

async fn show(
    global: &Global,
    config: &Config,
    place: String,
    outside: Cluster,
    stop: CancellationToken,
) -> Result<()> {
    let named = config.color.as_deref().map(str::parse).transpose();
    let named = named.map_err(|why: String| session::usage(format!("color in the configuration: {why}")))?;
    let wanted = Wanted {
        theme: config.theme.clone(),
        theme_file: config.theme_text()?,
        read_only: config.read_only,
        keys: config.keys_text()?,
        me: outside.by.clone(),
        place,
        depth: global.look.color.or(named),
        ascii: config.ascii,
    };
    let options = Options::resolve(&wanted, |name| std::env::var(name).ok());
    let worlds = outside.worlds.clone();
    cockpit(options, worlds, Arc::new(outside), stop).await.wrap_err("the cockpit")?;
    Ok(())
}

/// `~/…` for what lies at home.
fn short(dir: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
    let inside = home.as_ref().and_then(|h| dir.strip_prefix(h).ok());
    inside.map_or_else(|| dir.display().to_string(), |rest| format!("~/{}", rest.display()))
}

/// Who carries out what the screen wishes.
struct Cluster {
    client: Client,
    namespace: String,
    by: String,
    worlds: watch::Receiver<World>,
}

impl Outside for Cluster {
    fn perform(&self, intent: Intent) -> BoxFuture<'static, Result<Done, Fault>> {
        if let Intent::Probe { group, probe } = intent {
            let worlds = self.worlds.clone();
            return async move {
                let probed = probe::run(&probe, &group, &worlds).await.map_err(|e| Fault::new(&e.to_string()))?;
                let right = probed.iter().filter(|p| p.is_ok()).count();
                let text = Clean::from_untrusted(&format!("{right} of {} requests as expected", probed.len()));
                let probes = probed.into_iter().map(shown).collect();
                Ok(Done { text, probes, ..Done::default() })
            }
            .boxed();
        }
        let (client, namespace, by) = (self.client.clone(), self.namespace.clone(), self.by.clone());
        async move {
            let done = perform::perform(&client, &namespace, &by, intent).await.map_err(|e| fault(&e))?;
            let releases = done.releases().map(str::to_owned).collect();
            Ok(Done { text: Clean::from_untrusted(&done.message), releases, ..Done::default() })
        }
        .boxed()
    }

    fn ask(&self, ask: Ask) -> BoxStream<'static, Answer> {
        let client = self.client.clone();
        match ask {
            Ask::Logs { pod, container, tail, previous } => {
                let wish = LogWish { container, follow: !previous, tail: Some(tail), previous };
                let opened = async move { logs::read(&client, &pod.namespace, &pod.name, &wish).await };
                opened.map(lines).flatten_stream().boxed()
            }
            Ask::Yaml(object) => async move {
                let what = object.title();
                let api = yaml::api_by_resource(&client, &object.resource, &object.key.namespace).await;
                let text = match api {
                    Ok(Some(api)) => yaml::read(&api, &object.key.name, false).await.map_err(|e| error::words(&e)),
                    Ok(None) => Err(format!("this cluster has no {}", object.resource)),
                    Err(e) => Err(error::words(&e)),
                };
                match text {
                    Ok(text) => vec![Answer::Lines(text.lines().map(Clean::from_untrusted).collect()), Answer::End],
                    Err(why) => vec![Answer::Failed(Fault::new(&format!("{what}: {why}")))],
                }
            }
            .map(stream::iter)
            .flatten_stream()
            .boxed(),
        }
    }
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
    Fault { moved_on: matches!(why, PerformError::Stale { .. }), ..Fault::new(&why.to_string()) }
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
