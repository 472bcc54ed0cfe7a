//! `signals APP`: watches requests for a while and shows how each version of an App answered.

use std::time::Duration;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, WrapErr, bail, eyre};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Global, objects,
    output::{self, Format, Table},
    release::wait::parse_duration,
    session::{self, usage_error},
    world_watch,
};
use crate::{
    api::App,
    domain::{
        command_line::CommandLine,
        facts::Facts,
        signals::{
            Comparison, MIN_REQUESTS, Signals, Version, Window, WindowStats, compare_versions,
        },
        text,
        versions::VersionAge,
        world::World,
    },
};

/// Signals are kept for this long.
const MAX_WATCH: Duration = Duration::from_mins(5);

#[derive(Debug, Args)]
pub struct SignalsArgs {
    /// The App
    app: String,
    /// How long to watch, 5m at most
    #[arg(long = "for", default_value = "60s", value_name = "TIME", value_parser = parse_duration)]
    watch: Duration,
    /// Exit code 1 when the new version is worse, 0 when it is not, 2 when that cannot be told, as
    /// with fewer than 5 requests of either version
    #[arg(long)]
    check: bool,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Shape,
}

/// Output format (`-o`). There is no `name`: names alone are of no use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Wide,
    Json,
    Yaml,
}

/// Whether the new version is worse was asked and is not known. Exit code 2, because 1 means that
/// it is.
#[derive(Debug, thiserror::Error)]
#[error("whether the new version is worse cannot be told")]
pub(super) struct NotJudged;

/// The signals of an App.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignalReport {
    app: String,
    /// Length of the watch.
    seconds: f64,
    /// Why the new version is worse than the old one, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    worse: Option<String>,
    versions: Vec<VersionRow>,
    /// The new version compared with the old one, and requests of both, for `--check`.
    #[serde(skip)]
    judged: Judged,
}

/// How the new version does beside the old one.
#[derive(Debug)]
struct Judged {
    comparison: Comparison,
    old_requests: u64,
    new_requests: u64,
}

/// Signals of one version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionRow {
    /// `base`, `old`, `new`, or the tag of a lane; `nobody` if no pod answered.
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// Hash of the pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    requests: u64,
    failed: u64,
    /// Requests per second.
    rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// Some requests were not reported.
    sampled: bool,
}

pub(super) async fn watch_signals(global: &Global, args: SignalsArgs) -> Result<()> {
    if args.watch > MAX_WATCH || args.watch.is_zero() {
        return Err(usage_error("--for: from 1s to 5m"));
    }
    let told = observe_app(global, &args).await;
    let told = if args.check {
        told.wrap_err(NotJudged)?
    } else {
        told?
    };
    output::print(&match args.output {
        Shape::Json => output::format_value(&told, Format::Json)?,
        Shape::Yaml => output::format_value(&told, Format::Yaml)?,
        Shape::Table | Shape::Wide => report_table(&told, args.output == Shape::Wide).render(),
    })?;
    if args.check {
        return check_report(&told);
    }
    if let Some(worse) = &told.worse {
        say!("{worse}");
    }
    Ok(())
}

/// Watches the requests of an App; fails if there are none.
async fn observe_app(global: &Global, args: &SignalsArgs) -> Result<SignalReport> {
    let session = session::open(global).await?;
    objects::get_object::<App>(&session, &args.app).await?;
    let known = |w: &World| w.apps.contains_key(&args.app);
    let mut live = world_watch::watch_world(&session, "the App is gone", known).await?;
    let end = Instant::now() + args.watch;
    let mut signals = Signals::starting_at(Timestamp::now());
    loop {
        signals.follow_world(&live.worlds.borrow_and_update(), Timestamp::now());
        match timeout_at(end, live.worlds.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => bail!("the watch of the cluster has ended"),
            Err(_) => break,
        }
    }
    let world = live.worlds.borrow().clone();
    let told = build_report(&args.app, &signals, &world, Timestamp::now());
    if told.versions.is_empty() {
        let app = &args.app;
        let grouped = world
            .groups
            .iter()
            .find(|(_, g)| g.spec.apps.iter().any(|a| a.app == *app));
        let next = match grouped {
            Some((name, _)) => {
                let probe = CommandLine::graylane("probe")
                    .option("--group", name)
                    .arg("/PATH");
                format!("`{probe}` sends a request")
            }
            None => "it is in no lane group, and only requests of lane groups are seen".into(),
        };
        bail!(
            "no request of {app} was seen in {}: {next}",
            text::format_duration(args.watch)
        );
    }
    Ok(told)
}

/// Fails if the new version is worse, or if that cannot be told.
fn check_report(told: &SignalReport) -> Result<()> {
    if let Some(worse) = &told.worse {
        bail!("{worse}");
    }
    let Judged {
        comparison,
        old_requests: old,
        new_requests: new,
    } = told.judged;
    if comparison == Comparison::TooFew {
        let why = eyre!(
            "{MIN_REQUESTS} requests of each version are needed, and the old one had {old}, the new one {new}"
        );
        return Err(why.wrap_err(NotJudged));
    }
    Ok(())
}

fn build_report(app: &str, signals: &Signals, world: &World, now: Timestamp) -> SignalReport {
    let mut facts = Facts::default();
    facts.refresh(world, now);
    let read = |which: &dyn Fn(&Version) -> bool| {
        signals.read_window(app, which, Window::FiveMinutes, now)
    };
    // The baseline first, old before new; requests without an answer last.
    let mut versions: Vec<&Version> = signals.active_versions(app, now).collect();
    versions.sort_by_key(|v| {
        (
            **v == Version::Unknown,
            !v.is_base(),
            facts.version_age(app, v),
            *v,
        )
    });
    let versions = versions
        .into_iter()
        .map(|version| version_row(&facts, app, version, &read(&|v| v == version)));
    let of = |age: VersionAge| read(&|v| v.is_base() && facts.version_age(app, v) == age);
    let name = format!("{app} new");
    let (old, new) = (of(VersionAge::Old), of(VersionAge::New));
    let comparison = compare_versions(&old, &new);
    SignalReport {
        app: app.to_owned(),
        seconds: (signals.observed_seconds(Window::FiveMinutes, now) * 10.0).round() / 10.0,
        worse: comparison.describe_comparison(&name),
        versions: versions.collect(),
        judged: Judged {
            comparison,
            old_requests: old.requests,
            new_requests: new.requests,
        },
    }
}

fn version_row(facts: &Facts, app: &str, version: &Version, read: &WindowStats) -> VersionRow {
    let (environment, template) = match version {
        Version::Base { environment, hash } => (environment.clone(), hash.clone()),
        Version::Lane(_) | Version::Unknown => (None, None),
    };
    let ms = |latency: Option<Duration>| latency.map(|l| l.as_micros() as f64 / 1000.0);
    VersionRow {
        version: facts
            .version_label(app, version)
            .unwrap_or("nobody")
            .to_owned(),
        environment,
        template,
        requests: read.requests,
        failed: read.failed,
        rate: (read.rate() * 100.0).round() / 100.0,
        p50_ms: ms(read.p50()),
        p95_ms: ms(read.p95()),
        p99_ms: ms(read.p99()),
        sampled: read.sampled,
    }
}

fn report_table(told: &SignalReport, wide: bool) -> Table {
    let mut head = vec![
        "VERSION",
        "ENVIRONMENT",
        "RATE",
        "FAILED",
        "P50",
        "P95",
        "P99",
        "DATA",
    ];
    if wide {
        head.push("TEMPLATE");
    }
    let mut table = Table::new(&head);
    let ms = |ms: Option<f64>| {
        ms.map(|ms| text::format_duration(Duration::from_micros((ms * 1000.0) as u64)))
    };
    for row in &told.versions {
        let mut cells = vec![
            row.version.clone(),
            row.environment.clone().unwrap_or_default(),
            text::format_rate(row.rate),
            format!("{} of {}", row.failed, row.requests),
        ];
        cells.extend([row.p50_ms, row.p95_ms, row.p99_ms].map(|v| ms(v).unwrap_or_default()));
        cells.push(if row.sampled { "sampled" } else { "exact" }.into());
        if wide {
            cells.push(row.template.clone().unwrap_or_default());
        }
        table.add_row(cells);
    }
    table
}

#[cfg(all(test, feature = "cockpit"))]
mod tests {
    use super::*;
    use crate::ui::fixture;

    #[test]
    fn each_version_has_its_row_and_a_worse_one_is_told() {
        let app = "spring-cloud-a";
        let world = fixture::with_hops(fixture::world(), fixture::failing_hops());
        let mut signals = Signals::default();
        signals.follow_world(&world, fixture::now());
        let told = build_report(app, &signals, &world, fixture::now());
        let versions: Vec<&str> = told.versions.iter().map(|v| v.version.as_str()).collect();
        assert_eq!(versions, ["old", "new", "gray"]);
        assert_eq!(
            told.worse.as_deref(),
            Some("new is worse: 9 of 9 failures met spring-cloud-a new")
        );
        let text = report_table(&told, true).render();
        let wanted = "VERSION   ENVIRONMENT   RATE";
        assert!(
            text.starts_with(wanted) && text.contains("9 of ") && text.contains("exact   84b5cf"),
            "{text}"
        );
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(
            (
                json["versions"][1]["failed"].as_u64(),
                &json["versions"][1]["sampled"]
            ),
            (Some(9), &false.into())
        );
        assert_eq!(json.get("judged"), None);
    }

    #[test]
    fn a_check_tells_worse_from_not_worse_and_from_not_known() {
        let report = |hops| {
            let world = fixture::with_hops(fixture::world(), hops);
            let mut signals = Signals::default();
            signals.follow_world(&world, fixture::now());
            build_report("spring-cloud-a", &signals, &world, fixture::now())
        };
        let worse = check_report(&report(fixture::failing_hops())).unwrap_err();
        assert!(!worse.is::<NotJudged>(), "{worse:#}");
        assert_eq!(
            worse.to_string(),
            "new is worse: 9 of 9 failures met spring-cloud-a new"
        );
        let mut told = report(vec![]);
        assert_ne!(told.judged.comparison, Comparison::TooFew);
        assert!(check_report(&told).is_ok());
        told.judged = Judged {
            comparison: compare_versions(&WindowStats::default(), &WindowStats::default()),
            old_requests: 7,
            new_requests: 4,
        };
        let unknown = check_report(&told).unwrap_err();
        assert!(unknown.is::<NotJudged>(), "{unknown:#}");
        assert_eq!(
            format!("{unknown:#}"),
            "whether the new version is worse cannot be told: 5 requests of each version are needed, and the old one had 7, the new one 4"
        );
    }
}
