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

use super::{Global, probe::NotCompared, session, via::ViaArg};
use crate::{
    api::{NamespaceRef, ObjectRef},
    cluster::{
        agent::Agent,
        connect::{self, ClusterSource, ConnectError, Connected},
        error, logs,
        perform::{self, PerformError},
        yaml,
    },
    config::{self, Config},
    demo::{run::Demo, seed},
    domain::{
        diff::Ignored,
        intent::{Intent, ProbeRequest},
        lanes::ChainRequests,
        text::Clean,
        world::{Link, ShownWorlds},
    },
    probe::{self, HopFeed, Probed, Via},
    ui::{
        Answer, EffectHandler, Fault, IntentOutcome, Options, Query,
        effect::{
            Foreground, ForegroundCommand, ProbeOutcome as Shown, Returned, ShownNamespace,
            place_of_context,
        },
        options::RequestedOptions,
        terminal::run_cockpit,
        theme::Depth,
    },
};

mod cluster_session;
mod describe;
mod edit;
mod foreground;
mod forward;
mod namespaces;
mod own_command;
mod save;

use cluster_session::{ActiveCluster, ClusterSession, HomeCluster, RequestedNamespace};
use namespaces::RememberedNamespaces;

/// Lines of logs that are delivered as one answer.
const LINES_AT_ONCE: usize = 256;

/// Runs the cockpit on a pocket's state folder or on a real cluster.
pub(super) async fn open_cockpit(global: &Global) -> Result<()> {
    let config = session::load_config(global)?;
    let source = session::resolve_source(global, &config)?;
    let connected = connect::prepare_client(&source, config.namespace.as_deref(), Agent::Cockpit)?;
    let by = match (&source, &global.user) {
        (ClusterSource::State(_), _) => Some(config.user_name()),
        (_, Some(_)) => {
            Some(session::acting_user(global, &config, &source, &connected.client).await?)
        }
        // The server reports the user together with the rights; the first frame does not wait for
        // it.
        (_, None) => None,
    };
    // The watches open a dozen TLS connections at once; the first frame goes before.
    connected.clusters.meter().hold_requests();
    let place = place_name(&source, &connected.name);
    // The process that runs a pocket also writes its log.
    let home = HomeCluster {
        place,
        source: Some(source.clone()),
        connected: connected.clone(),
        worlds: None,
    };
    let seat = ClusterSession::new(
        home,
        by,
        global.kubeconfig.clone(),
        RequestedNamespace {
            all: global.all_namespaces,
            name: config.namespace.clone(),
            // What the command line says holds; the configuration gives way to the last choice.
            fixed: global.namespace.is_some(),
            remembered: RememberedNamespaces::in_file(config::namespaces_file()),
        },
    );
    let unusable = wait_until_unusable(source, connected, seat.worlds());
    show_cockpit(global, &config, seat, unusable).await
}

/// Runs the cockpit on the demo of this process.
pub(super) async fn run_with_demo(global: &Global, dir: &Path, demo: &Demo) -> Result<()> {
    let config = session::load_config(global)?;
    let clusters = demo.clusters();
    let connected = Connected {
        client: clusters.home_client().clone(),
        clusters,
        namespace: seed::NAMESPACE.into(),
        name: "demo".into(),
    };
    let place = format!("pocket {}", abbreviate_home(dir));
    let home = HomeCluster {
        place,
        source: None,
        connected,
        worlds: Some((demo.worlds(), demo.inlet())),
    };
    let seat = ClusterSession::new(
        home,
        Some(config.user_name()),
        global.kubeconfig.clone(),
        // A demo begins where its apps are.
        RequestedNamespace {
            all: global.all_namespaces,
            ..RequestedNamespace::default()
        },
    );
    show_cockpit(global, &config, seat, std::future::pending()).await
}

/// Completes only when the cluster can never be shown: no pocket, or no valid credentials. A server
/// that is away, or that was reached once, may come back.
async fn wait_until_unusable(
    source: ClusterSource,
    connected: Connected,
    mut worlds: watch::Receiver<ShownWorlds>,
) -> ConnectError {
    let began = worlds.borrow().cluster().cluster_name.clone();
    // `wait_for` returns a read lock on the world, which must not be held while waiting.
    let seen = async {
        worlds
            .wait_for(|w| w.cluster().link == Link::Live || w.cluster().cluster_name != began)
            .await
            .is_ok()
    };
    tokio::select! {
        Err(why) = connect::await_first_answer(&source, &connected) => match why {
            ConnectError::Server { .. } => std::future::pending().await,
            why => why,
        },
        _ = seen => std::future::pending().await,
        else => std::future::pending().await,
    }
}

async fn show_cockpit(
    global: &Global,
    config: &Config,
    seat: ClusterSession,
    unusable: impl Future<Output = ConnectError>,
) -> Result<()> {
    let named = config.color.as_deref().map(str::parse::<Depth>).transpose();
    let named =
        named.map_err(|why| session::usage_error(format!("color in the configuration: {why}")))?;
    let wanted = RequestedOptions {
        theme: config.theme.clone(),
        theme_file: config.theme_text()?,
        read_only: config.read_only,
        mouse: config.mouse,
        keys: config.keys_text()?,
        commands: config::read_commands_file()?,
        place: seat.place(),
        depth: global.look.color.or(named),
        ascii: config.ascii,
    };
    let options = Options::resolve(&wanted, |name| std::env::var(name).ok());
    let via = session::resolve_via(global, config)?;
    let (worlds, stop) = (seat.worlds(), CancellationToken::new());
    let outside = Arc::new(ClusterEffects { seat, via });
    let mut screen = pin!(run_cockpit(
        options,
        worlds,
        Arc::clone(&outside) as Arc<dyn EffectHandler>,
        stop.clone()
    ));
    let (ended, why) = tokio::select! {
        ended = &mut screen => (ended, None),
        why = unusable => {
            stop.cancel();
            (screen.await, Some(why))
        }
    };
    outside.seat.stop_watching();
    ended.wrap_err("the cockpit")?;
    why.map_or(Ok(()), |why| Err(why.into()))
}

/// Name of a cluster on the screen.
pub(super) fn place_name(source: &ClusterSource, name: &str) -> String {
    match source {
        ClusterSource::State(dir) => format!("pocket {}", abbreviate_home(dir)),
        ClusterSource::Kubectl { .. } => place_of_context(name),
        ClusterSource::InCluster => "this cluster".into(),
    }
}

/// The path with the home folder abbreviated to `~`.
fn abbreviate_home(dir: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
    let inside = home.as_ref().and_then(|h| dir.strip_prefix(h).ok());
    inside.map_or_else(
        || dir.display().to_string(),
        |rest| format!("~/{}", rest.display()),
    )
}

/// Carries out what the terminal UI asks for.
struct ClusterEffects {
    seat: ClusterSession,
    via: Option<ViaArg>,
}

impl EffectHandler for ClusterEffects {
    fn after_first_frame(&self) {
        self.seat.release_requests();
    }

    fn perform_intent(
        &self,
        namespace: String,
        intent: Intent,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>> {
        // The clusters of this moment, even if another one is selected before this is done.
        let here = self.seat.active_cluster();
        async move {
            let Some(here) = here else {
                return Err(not_connected());
            };
            let (client, by) = (
                here.clusters.home_client().clone(),
                here.acting_user().await?,
            );
            let done = perform::perform_intent(&client, &namespace, &by, intent)
                .await
                .map_err(|e| to_fault(&e))?;
            let releases = done.release_names().map(str::to_owned).collect();
            Ok(IntentOutcome {
                text: Clean::from_untrusted(&done.message),
                releases,
                ..IntentOutcome::default()
            })
        }
        .boxed()
    }

    fn send_probe(
        &self,
        namespace: String,
        request: ProbeRequest,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>> {
        let here = self.seat.active_cluster();
        let way = here.and_then(|here| Some((hop_feed(&here, &namespace)?, self.via_entry(&here))));
        async move {
            let Some((feed, via)) = way else {
                return Err(not_connected());
            };
            let probed = probe::send_probes(&request.probe, &request.group, &feed, &via)
                .await
                .map_err(|e| Fault::new(&e.to_string()))?;
            let right = probed.iter().filter(|p| p.is_ok()).count();
            let text =
                Clean::from_untrusted(&format!("{right} of {} requests as expected", probed.len()));
            let probes = probed.into_iter().map(to_ui_probe).collect();
            Ok(IntentOutcome {
                text,
                probes,
                ..IntentOutcome::default()
            })
        }
        .boxed()
    }

    fn run_query(&self, ask: Query) -> BoxStream<'static, Answer> {
        match (ask, self.seat.active_cluster()) {
            (Query::Contexts, _) => {
                let answer = match self.seat.cluster_choices() {
                    Ok(choices) => Answer::Choices(choices),
                    Err(why) => Answer::Failed(Fault::new(&why.to_string())),
                };
                stream::iter([answer]).boxed()
            }
            (Query::Namespaces, Some(here)) => {
                let client = here.clusters.home_client().clone();
                stream::once(namespaces::list_choices(client)).boxed()
            }
            (Query::Discard(path), _) => edit::discard_draft(path),
            (Query::Save { path, text }, _) => stream::once(save::save_text(path, text)).boxed(),
            (Query::RunCommand(argv), _) => own_command::run_command(argv),
            (_, None) => stream::iter([Answer::Failed(not_connected())]).boxed(),
            (Query::Logs { namespace, request }, Some(here)) => {
                let Some((worlds, _)) = here.feed_of(&namespace) else {
                    return stream::iter([Answer::Failed(not_connected())]).boxed();
                };
                let opener = Arc::new(here.clusters.clone());
                logs::follow_logs(opener, worlds, request)
                    .ready_chunks(LINES_AT_ONCE)
                    .map(Answer::Log)
                    .boxed()
            }
            (Query::Describe(target), Some(here)) => {
                let answers = describe::describe_target(target, here);
                stream::once(answers).flat_map(stream::iter).boxed()
            }
            (Query::Editable(object), Some(here)) => {
                stream::once(edit::read_object(object, here)).boxed()
            }
            (Query::CheckEdit(draft), Some(here)) => {
                stream::once(edit::check_draft(draft, here)).boxed()
            }
            (Query::Ports(pod), Some(here)) => stream::once(forward::read_ports(pod, here)).boxed(),
            (Query::PortForward { pod, port }, Some(here)) => {
                forward::forward_port(here.source(), &pod, port)
            }
            (Query::Comparison { namespace, asked }, Some(here)) => {
                self.compare_answers(&namespace, asked, &here)
            }
            (Query::Yaml(object), Some(here)) => stream::once(read_yaml(object, here))
                .flat_map(stream::iter)
                .boxed(),
        }
    }

    fn prepare_foreground(&self, task: Foreground) -> Result<ForegroundCommand, Fault> {
        match task {
            Foreground::Edit { name, text } => foreground::prepare_editor(&name, &text),
            Foreground::Run(command) => Ok(foreground::prepare_own_command(&command)),
            Foreground::Shell { pod, container } => {
                let here = self.seat.active_cluster().ok_or_else(not_connected)?;
                foreground::prepare_shell(here.source(), &pod, &container)
            }
        }
    }

    fn finish_foreground(
        &self,
        command: &ForegroundCommand,
        status: std::io::Result<std::process::ExitStatus>,
    ) -> Result<Returned, Fault> {
        foreground::read_result(command, status)
    }

    fn reconnect(&self) {
        if let Some(here) = self.seat.active_cluster() {
            here.clusters.meter().retry_now();
        }
    }

    fn fetch_trace(&self, namespace: &str, group: &str, trace: &str) {
        let Some(here) = self.seat.active_cluster() else {
            return;
        };
        let Some((worlds, inlet)) = here.feed_of(namespace) else {
            return;
        };
        let group = worlds.borrow().groups.get(group).cloned();
        if let Some(group) = group {
            here.fetch_trace(inlet, group, trace.to_owned());
        }
    }

    fn switch_cluster(&self, name: &str) {
        self.seat.switch_context(name);
    }

    fn switch_namespace(&self, namespace: &ShownNamespace) {
        self.seat.switch_namespace(namespace);
    }
}

impl ClusterEffects {
    /// Sends a request to gray and to base; the answer is the comparison.
    fn compare_answers(
        &self,
        namespace: &str,
        asked: Arc<ChainRequests>,
        here: &ActiveCluster,
    ) -> BoxStream<'static, Answer> {
        let Some(feed) = hop_feed(here, namespace) else {
            return stream::iter([Answer::Failed(not_connected())]).boxed();
        };
        let via = self.via_entry(here);
        let answer = async move {
            let ignored = Ignored::default();
            match probe::compare_pair(&asked.pair, &asked.group, &feed, &via, &ignored).await {
                Ok(compared) => Answer::Compared(Box::new(compared.pair)),
                Err(why) => Answer::Failed(Fault::new(&format!("{NotCompared}: {why}"))),
            }
        };
        stream::once(answer).boxed()
    }

    /// How probes reach the entry.
    fn via_entry(&self, here: &ActiveCluster) -> Via {
        let way = self.via.clone();
        way.map_or(Via::Entry, |way| way.into_via(here.clusters.home_client()))
    }
}

/// Where the hops of probes are looked for; `None` where the namespace is not watched.
fn hop_feed(here: &ActiveCluster, namespace: &str) -> Option<HopFeed> {
    let (worlds, inlet) = here.feed_of(namespace)?;
    Some(HopFeed::new(worlds, here.trace_fetcher(inlet)))
}

fn not_connected() -> Fault {
    Fault::new("there is no connection to this cluster; nothing was done")
}

/// An object as YAML.
async fn read_yaml(object: ObjectRef, here: ActiveCluster) -> Vec<Answer> {
    let what = object.title();
    let NamespaceRef {
        cluster,
        name: namespace,
    } = &object.key.namespace;
    let client = here.clusters.client_for(cluster);
    let api = yaml::api_by_resource(&client, &object.resource_word(), namespace).await;
    let text = match api {
        Ok(Some(api)) => yaml::read_yaml(&api, &object.key.name, false)
            .await
            .map_err(|e| error::describe_error(&e)),
        Ok(None) => Err(format!("this cluster has no {}", object.resource_word())),
        Err(e) => Err(error::describe_error(&e)),
    };
    match text {
        Ok(text) => vec![
            Answer::Lines(text.lines().map(Clean::from_untrusted).collect()),
            Answer::End,
        ],
        Err(why) => vec![Answer::Failed(Fault::new(&format!("{what}: {why}")))],
    }
}

fn to_fault(why: &PerformError) -> Fault {
    let moved_on = matches!(
        why,
        PerformError::Stale { .. } | PerformError::Outrun { .. }
    );
    Fault {
        moved_on,
        ..Fault::new(&why.to_string())
    }
}

fn to_ui_probe(probed: Probed) -> Shown {
    Shown {
        passed: probed.is_ok(),
        path: probed.path,
        trace: probed.trace,
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
