//! `lane explain 'GET /A/a?group=gray' -H 'k: v' --cookie k=v`: which lane a request takes, and why.

use clap::Args;
use color_eyre::eyre::Result;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    api::{Lane, LaneGroup},
    cli::{
        get,
        output::{self, Format, Table},
        session::{Session, usage},
    },
    domain::{lanes, request},
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// 'GET /A/a?group=gray'; a missing method is GET
    request: String,
    /// A header, as 'name: value'; may be repeated
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// A cookie, as 'name=value'; may be repeated
    #[arg(long, value_name = "COOKIE")]
    cookie: Vec<String>,
    /// The lane group [default: the only one]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn run(session: &Session, args: ExplainArgs) -> Result<()> {
    let parts = request::parse(&args.request, &args.header, &args.cookie).map_err(|e| usage(e.to_string()))?;
    let group = get::group(session, args.group.as_deref()).await?;
    let all: Vec<Lane> = get::list(session).await?;
    let name = LaneGroup::name_any(&group);
    let explained = lanes::explain(&name, &all, &parts);
    output::print(&match args.output {
        Format::Json | Format::Yaml => {
            let (lane, tag) = explained.taken.clone().unzip();
            let reasons = explained.reasons.iter().map(
                |r| json!({"lane": r.lane, "place": r.place, "condition": r.condition, "saw": r.saw, "held": r.held}),
            );
            let value = json!({"group": name, "lane": lane, "tag": tag, "reasons": reasons.collect::<Vec<_>>()});
            output::data(&value, args.output)?
        }
        Format::Name => explained.taken.map_or_else(String::new, |(lane, _)| lane),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["LANE", "ASKS", "SAW", "HOLDS"]);
            for reason in &explained.reasons {
                let holds = if reason.held { "yes" } else { "no" };
                let saw = reason.saw.clone().unwrap_or_else(|| "(nothing)".into());
                table.row([reason.lane.clone(), reason.condition.clone(), saw, holds.into()]);
            }
            let taken = match &explained.taken {
                Some((lane, tag)) => format!("Takes lane {lane} of {name}: tag {tag}.\n"),
                None => format!("Takes no lane of {name}: the baseline.\n"),
            };
            if table.is_empty() { taken } else { format!("{taken}\n{}", table.render()) }
        }
    })
}
