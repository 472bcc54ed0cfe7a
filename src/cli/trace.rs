//! `trace [GROUP]`: prints requests as they arrive, each with its chain and verdict.

use std::{collections::HashSet, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, WrapErr, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    Global,
    hop_collector::{HopCollector, OtlpAddresses},
    objects, output,
    release::wait::parse_duration,
    session,
    world_watch::{self, WorldWatch},
};
use crate::{
    api::{LaneGroup, Served},
    cluster::trace::SpanInlet,
    domain::{
        chain::{Chain, ChainStep},
        facts::{self, Facts},
        text::{self, format_count},
        world::World,
    },
};

/// Default length: enough to read kept hops and some new ones.
const DEFAULT_LENGTH: Duration = Duration::from_secs(4);
/// The default with spans: these are joined after a trace was quiet for 6 seconds.
const DEFAULT_LENGTH_WITH_SPANS: Duration = Duration::from_secs(9);
/// Interval at which incomplete chains are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Only requests of this lane group
    group: Option<String>,
    /// Keep printing until --for is over or Ctrl-C is pressed
    #[arg(long, short)]
    follow: bool,
    /// Only requests that leaked or failed
    #[arg(long)]
    wrong: bool,
    /// How long [default: a few seconds; with --follow no end]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    watch: Option<Duration>,
    /// Only the chains of this trace, fetched in full from the trace stores of the lane groups
    #[arg(long, value_name = "TRACE", conflicts_with = "follow")]
    id: Option<String>,
    /// Also receive spans over OTLP/gRPC at this address, for example from a service on this
    /// machine
    #[arg(long, value_name = "ADDRESS:PORT")]
    otlp: Option<SocketAddr>,
    /// How to print them; json is one object a line, one a request
    #[arg(long, short, default_value = "table")]
    output: Shape,
}

/// Output format (`-o`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Json,
}

/// Chains that were printed or skipped.
#[derive(Default)]
struct PrintedChains {
    known: HashSet<String>,
    all: u64,
    wrong: u64,
}

/// Receives spans at an address, and takes them for hops of the world.
async fn receive_spans(live: &WorldWatch, grpc: SocketAddr) -> Result<()> {
    let addresses = OtlpAddresses {
        grpc: Some(grpc),
        http: None,
    };
    let received = HopCollector::start_receivers(
        SpanLineWriter::new(live.inlet.clone()),
        addresses,
        false,
        &live.stop,
    )
    .await?;
    received.map(|hops| tokio::spawn(hops.track_cluster(live.worlds.clone(), live.stop.clone())));
    Ok(())
}

pub(super) async fn trace_requests(global: &Global, args: TraceArgs) -> Result<()> {
    let session = session::open(global).await?;
    if let Some(group) = &args.group {
        objects::get_object::<LaneGroup>(&session, group).await?;
    }
    let mut live = world_watch::watch_world(&session, "there is no lane group", |w: &World| {
        !w.groups.is_empty()
    })
    .await?;
    if let Some(grpc) = args.otlp {
        receive_spans(&live, grpc).await?;
    }
    if let Some(id) = &args.id {
        fetch_from_stores(&live, args.group.as_deref(), id).await?;
    }
    let spans = args.id.is_some() || args.otlp.is_some();
    let short = if spans {
        DEFAULT_LENGTH_WITH_SPANS
    } else {
        DEFAULT_LENGTH
    };
    let length = args.watch.or((!args.follow).then_some(short));
    let end = length.map(|length| Instant::now() + length);
    let (mut facts, mut printed) = (Facts::default(), PrintedChains::default());
    loop {
        let world = live.worlds.borrow_and_update().clone();
        facts.refresh(&world, Timestamp::now());
        let settled: Vec<Arc<Chain>> = facts.settled_chains().cloned().collect();
        print_chains(&facts, settled, &args, &mut printed)?;
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let next = Instant::now() + POLL_INTERVAL;
        if let Ok(Err(_)) =
            timeout_at(end.map_or(next, |end| end.min(next)), live.worlds.changed()).await
        {
            bail!("the watch of the cluster has ended");
        }
    }
    // Chains that still wait for a hop are printed as far as they are known.
    print_chains(&facts, facts.chains.to_vec(), &args, &mut printed)?;
    if printed.all == 0 {
        let seen = length.map(text::format_duration).unwrap_or_default();
        bail!(
            "no request was seen in {seen}: `graylane probe /PATH` sends one, `graylane doctor --trace GROUP` says what is missing"
        );
    }
    if printed.wrong > 0 {
        let all = format_count(printed.all, "request");
        bail!("{} of {all} went wrong", printed.wrong);
    }
    if args.wrong {
        say!(
            "Nothing went wrong with {}.",
            format_count(printed.all, "request")
        );
    }
    Ok(())
}

/// Reads a trace from the stores and passes its spans to the join.
async fn fetch_from_stores(live: &WorldWatch, group: Option<&str>, id: &str) -> Result<()> {
    let world = live.worlds.borrow().clone();
    let fetcher = live.trace_fetcher();
    let mut stores = 0;
    for (name, own) in world
        .groups
        .iter()
        .filter(|(name, _)| group.is_none_or(|g| g == **name))
    {
        let fetched = fetcher.fetch_once(own, id).await;
        stores += fetched
            .wrap_err_with(|| format!("lane group {name}"))?
            .stores;
    }
    if stores == 0 {
        bail!(
            "no lane group names a store of traces (spec.hops: tempo, jaeger, zipkin or skyWalking)"
        );
    }
    Ok(())
}

/// Receives span lines and passes them to the join.
struct SpanLineWriter {
    inlet: SpanInlet,
    rest: Vec<u8>,
}

impl SpanLineWriter {
    const fn new(inlet: SpanInlet) -> Self {
        Self {
            inlet,
            rest: vec![],
        }
    }
}

impl Write for SpanLineWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Ok(span) = serde_json::from_slice(&line) {
                self.inlet.send(span);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Prints the chains that were not printed yet, oldest first.
fn print_chains(
    facts: &Facts,
    mut chains: Vec<Arc<Chain>>,
    args: &TraceArgs,
    printed: &mut PrintedChains,
) -> Result<()> {
    let all: HashSet<String> = facts.chains.iter().map(|c| c.id.clone()).collect();
    printed.known.retain(|id| all.contains(id));
    let of_trace = |c: &Chain| args.id.as_ref().is_none_or(|id| c.trace == *id);
    let own = |c: &Chain| of_trace(c) && (args.group.is_none() || c.group == args.group);
    chains.retain(|c| own(c) && printed.known.insert(c.id.clone()));
    chains.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    for chain in chains {
        printed.all += 1;
        printed.wrong += u64::from(chain.is_wrong());
        if args.wrong && !chain.is_wrong() {
            continue;
        }
        output::print(&match args.output {
            Shape::Table => format_chain(facts, &chain),
            Shape::Json => chain_to_json(facts, &chain).to_string() + "\n",
        })?;
    }
    Ok(())
}

fn step_version(facts: &Facts, step: &ChainStep) -> String {
    let version = facts
        .version_label(&step.app, &step.version)
        .map(str::to_owned);
    version
        .or_else(|| step.served.map(|s| Served::as_str(s).to_owned()))
        .unwrap_or_else(|| "?".into())
}

/// One line: `21:03:14.250  gray      ok          200    13ms  a=gray -> b=base  /A/a?group=gray`.
fn format_chain(facts: &Facts, chain: &Chain) -> String {
    let hops = chain.steps.iter().map(|step| {
        let app = if step.app.is_empty() { "?" } else { &step.app };
        format!("{app}={}", step_version(facts, step))
    });
    let hops = hops.collect::<Vec<_>>().join(" -> ");
    let lane = text::pad_right(chain.tag.as_deref().unwrap_or("-"), 8);
    let verdict = facts::verdict_word(chain);
    let took = text::format_duration(Duration::from_micros(chain.micros));
    let why = if chain.is_wrong() {
        format!("  {}", facts.describe_problem(chain))
    } else {
        String::new()
    };
    let time = chain.time.strftime("%H:%M:%S%.3f");
    format!(
        "{time}  {lane}  {verdict:<10}  {:>3}  {took:>6}  {hops}  {}{why}\n",
        chain.status, chain.path
    )
}

fn chain_to_json(facts: &Facts, chain: &Chain) -> Value {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let hop = |step: &ChainStep| {
        json!({
            "depth": step.depth, "app": step.app, "version": step_version(facts, step), "pod": step.pod,
            "status": step.status, "ms": step.micros.map(ms), "verdict": step.verdict, "cause": step.cause,
        })
    };
    json!({
        "time": chain.time, "trace": chain.trace, "group": chain.group, "lane": chain.tag, "path": chain.path,
        "status": chain.status, "ms": ms(chain.micros), "verdict": chain.worst, "failed": chain.has_failed(),
        "wrong": chain.is_wrong().then(|| facts.describe_problem(chain)),
        "chain": chain.steps.iter().map(hop).collect::<Vec<_>>(),
    })
}

#[cfg(all(test, feature = "cockpit"))]
mod tests {
    use super::*;
    use crate::ui::fixture;

    #[test]
    fn a_line_and_an_object_say_who_answered_and_what_went_wrong() {
        let mut facts = Facts::default();
        facts.refresh(
            &fixture::with_hops(fixture::world(), fixture::failing_hops()),
            fixture::now(),
        );
        let failed = facts
            .chains
            .iter()
            .find(|c| c.has_failed())
            .unwrap()
            .clone();
        let text = format_chain(&facts, &failed);
        let wanted = "ms  spring-cloud-a=new -> spring-cloud-b=base -> spring-cloud-c=old  /A/a";
        assert!(
            text.contains(wanted)
                && text.contains("FAILED 500  500")
                && text.contains("FAILED 500 at A new"),
            "{text}"
        );
        let object = chain_to_json(&facts, &failed);
        assert_eq!(
            (&object["failed"], object["chain"][0]["version"].as_str()),
            (&true.into(), Some("new"))
        );
        assert_eq!(
            facts.settled_chains().count(),
            facts.chains.len(),
            "a gateway tells whole chains"
        );
    }
}
