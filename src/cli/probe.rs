//! `probe '/A/a?group=gray'`: sends real requests to the entry of a lane group and shows the chains
//! that they took.

mod diff;

use std::collections::BTreeMap;

use clap::Args;
use color_eyre::eyre::{Result, bail};
use kube::ResourceExt;

use super::{
    Global, objects,
    output::{self, Format, Table},
    session::{self, usage_error},
    world_watch::{self, WorldWatch},
};
use crate::{
    api::{ProbeSpec, Served},
    domain::world::World,
    probe::{self, Probed, Via},
};

pub(super) use diff::NotCompared;

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The path and query at the entry, as '/A/a?group=gray'
    path: String,
    /// How often
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// A header, as NAME=VALUE; may be repeated
    #[arg(long, short = 'H', value_name = "K=V")]
    header: Vec<String>,
    /// A cookie, as NAME=VALUE; may be repeated
    #[arg(long, value_name = "K=V")]
    cookie: Vec<String>,
    /// The lane group [default: the only one]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Which version must answer, as APP=gray,APP=base [default: what the lanes promise]
    #[arg(long, value_name = "APP=SIDE", value_delimiter = ',')]
    expect: Vec<String>,
    /// Send the request twice, so that a lane takes it and so that none does, and compare the
    /// answers; PATH is then the path without what the lane looks at. Exit code 0 when they are
    /// equal, 1 when they differ, 2 when that cannot be told
    #[arg(long, conflicts_with_all = ["count", "expect"])]
    diff: bool,
    /// The lane that takes the gray request [default: the first enabled one by priority]
    #[arg(long, value_name = "NAME", requires = "diff")]
    lane: Option<String>,
    // Written as an attribute: rustdoc would take `[*]` for a link.
    #[arg(
        long,
        value_name = "PATH",
        requires = "diff",
        help = "What may differ: a path in a JSON body ('$.time', '$.items[*].id', '$' for the whole body) \
                or the name of a header; may be repeated"
    )]
    ignore: Vec<String>,
    /// How to print it; json is one object a line, one a request
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn send_and_print(global: &Global, args: ProbeArgs) -> Result<()> {
    let spec = ProbeSpec {
        path: args.path.clone(),
        headers: parse_headers(&args.header, &args.cookie)?,
        expect: parse_expectations(&args.expect)?,
        count: args.count,
    };
    if !spec.path.starts_with('/') {
        return Err(usage_error(format!(
            "{:?} is not a path: it must start with /",
            spec.path
        )));
    }
    if args.diff {
        return diff::compare_versions(global, &args, spec).await;
    }
    let place = ProbeTarget::open_target(global, args.group.as_deref()).await?;
    let probed = place.send(&spec).await?;
    output::print(&match args.output {
        Format::Json => {
            let lines = probed.iter().map(|p| Ok(serde_json::to_string(p)? + "\n"));
            lines.collect::<Result<String>>()?
        }
        Format::Yaml => output::format_value(&probed, Format::Yaml)?,
        Format::Name => probed.iter().map(|p| format!("{}\n", p.verdict)).collect(),
        Format::Table | Format::Wide => probes_table(&probed, args.output == Format::Wide).render(),
    })?;
    let wrong: Vec<&Probed> = probed.iter().filter(|p| !p.is_ok()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let mut problems: Vec<&str> = vec![];
    for problem in wrong.iter().flat_map(|p| &p.problems) {
        if !problems.contains(&problem.as_str()) {
            problems.push(problem);
        }
    }
    bail!(
        "{} of {} requests were not as expected\n{}",
        wrong.len(),
        probed.len(),
        problems.join("\n")
    )
}

/// The entry that probes are sent to.
struct ProbeTarget {
    group: String,
    live: WorldWatch,
    via: Via,
}

impl ProbeTarget {
    async fn open_target(global: &Global, group: Option<&str>) -> Result<Self> {
        let config = session::load_config(global)?;
        let session = session::open_as(global, &config).await?;
        let via = session::resolve_via(global, &config)?;
        let via = via.map_or(Via::Entry, |way| way.into_via(&session.client));
        let group = objects::resolve_group(&session, group).await?.name_any();
        let shown = |w: &World| w.groups.contains_key(&group);
        let live = world_watch::watch_world(&session, "the lane group is gone", shown).await?;
        Ok(Self { group, live, via })
    }

    async fn send(&self, spec: &ProbeSpec) -> Result<Vec<Probed>> {
        let feed = self.live.hop_feed();
        Ok(probe::send_probes(spec, &self.group, &feed, &self.via).await?)
    }
}

/// The probed requests as a table. A chain looks like `spring-cloud-a=gray[127.64.16.5] ->
/// spring-cloud-b=base[127.64.16.2]`.
fn probes_table(probed: &[Probed], wide: bool) -> Table {
    let mut table = Table::new(if wide {
        &["STATUS", "MS", "LANE", "VERDICT", "CHAIN", "BODY"]
    } else {
        &["STATUS", "MS", "LANE", "VERDICT", "CHAIN"]
    });
    for request in probed {
        let mut row = request.table_cells().to_vec();
        if wide {
            row.push(request.body.lines().next().unwrap_or_default().to_owned());
        }
        table.add_row(row);
    }
    table
}

fn parse_pair<'a>(text: &'a str, what: &str, example: &str) -> Result<(&'a str, &'a str)> {
    let split = text.split_once('=').map(|(k, v)| (k.trim(), v.trim()));
    split
        .filter(|(k, _)| !k.is_empty())
        .ok_or_else(|| usage_error(format!("{what} {text:?}: write {example}")))
}

fn parse_headers(headers: &[String], cookies: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for header in headers {
        // The syntax of curl is accepted too.
        let (name, value) = match header.split_once(": ") {
            Some((name, value)) if !name.contains('=') => (name.trim(), value.trim()),
            _ => parse_pair(header, "--header", "NAME=VALUE")?,
        };
        all.insert(name.to_owned(), value.to_owned());
    }
    for cookie in cookies {
        parse_pair(cookie, "--cookie", "NAME=VALUE")?;
        let line: &mut String = all.entry("cookie".into()).or_default();
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(cookie.trim());
    }
    Ok(all)
}

fn parse_expectations(texts: &[String]) -> Result<BTreeMap<String, Served>> {
    let mut sides = BTreeMap::new();
    for text in texts.iter().filter(|t| !t.trim().is_empty()) {
        let (app, side) = parse_pair(text, "--expect", "APP=gray or APP=base")?;
        let side = match side {
            "gray" => Served::Gray,
            "base" => Served::Base,
            other => {
                return Err(usage_error(format!(
                    "--expect {text:?}: {other:?} is neither gray nor base"
                )));
            }
        };
        sides.insert(app.to_owned(), side);
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn headers_and_cookies_are_read_as_people_write_them() {
        let read = parse_headers(
            &texts(&["x-user=7", "accept: a=b"]),
            &texts(&["u=1", "v=2"]),
        )
        .unwrap();
        let wanted = [("accept", "a=b"), ("cookie", "u=1; v=2"), ("x-user", "7")];
        assert_eq!(
            read,
            wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
        assert!(parse_headers(&texts(&["nothing"]), &[]).is_err());
        assert!(parse_headers(&[], &texts(&["=x"])).is_err());
    }

    #[test]
    fn expectations_name_a_side() {
        let read = parse_expectations(&texts(&["a=gray", "b=base"])).unwrap();
        assert_eq!(
            read,
            [
                ("a".to_owned(), Served::Gray),
                ("b".to_owned(), Served::Base)
            ]
            .into()
        );
        assert!(
            parse_expectations(&texts(&["a=blue"]))
                .unwrap_err()
                .to_string()
                .contains("neither gray nor base")
        );
    }
}
