//! `probe PATH --diff`: sends the same request once with and once without a lane and compares the
//! responses.

use color_eyre::eyre::{Context, Result, bail};
use serde::Serialize;

use super::{ProbeArgs, ProbeTarget};
use crate::{
    api::{Lane, ProbeSpec},
    cli::{
        Global,
        output::{self, Format},
        session::usage_error,
    },
    domain::{
        diff::{Difference, Ignored},
        lanes::build_request_pair,
    },
    probe::{ComparedAnswers, Probed, compare_pair},
};

/// Nothing was compared. Exit code 2, because 1 means that the responses differ.
#[derive(Debug, thiserror::Error)]
#[error("gray and base were not compared")]
pub(in crate::cli) struct NotCompared;

/// The output of `-o json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ComparisonOutput<'a> {
    equal: bool,
    /// Lane of the gray request.
    lane: &'a str,
    base: &'a Probed,
    gray: &'a Probed,
    differences: &'a [Difference],
    /// Number of further differences.
    left_out: usize,
    /// A body was not read completely.
    partial: bool,
}

pub(super) async fn compare_versions(
    global: &Global,
    args: &ProbeArgs,
    plain: ProbeSpec,
) -> Result<()> {
    let ignored =
        Ignored::parse(&args.ignore).map_err(|e| usage_error(format!("--ignore: {e}")))?;
    let compared = send_and_compare(global, args, plain, &ignored)
        .await
        .wrap_err(NotCompared)?;
    output::print(&compared.format_result(args.output)?)?;
    match compared.answers.found.count() {
        0 => Ok(()),
        1 => bail!("the answers differ in 1 place"),
        n => bail!("the answers differ in {n} places"),
    }
}

struct Compared {
    lane: String,
    answers: ComparedAnswers,
}

async fn send_and_compare(
    global: &Global,
    args: &ProbeArgs,
    plain: ProbeSpec,
    ignored: &Ignored,
) -> Result<Compared> {
    let place = ProbeTarget::open_target(global, args.group.as_deref()).await?;
    let lanes: Vec<Lane> = place
        .live
        .worlds
        .borrow()
        .lanes
        .values()
        .map(|l| (**l).clone())
        .collect();
    let pair = build_request_pair(&place.group, &lanes, args.lane.as_deref(), plain)?;
    let feed = place.live.hop_feed();
    let answers = compare_pair(&pair, &place.group, &feed, &place.via, ignored).await?;
    Ok(Compared {
        lane: pair.lane,
        answers,
    })
}

impl Compared {
    fn format_result(&self, format: Format) -> Result<String> {
        let Self { lane, answers } = self;
        let ComparedAnswers {
            base, gray, found, ..
        } = answers;
        let equal = found.is_equal();
        let (differences, left_out, partial) =
            (found.differences.as_slice(), found.left_out, found.partial);
        match format {
            Format::Json | Format::Yaml => output::format_value(
                &ComparisonOutput {
                    equal,
                    lane,
                    base,
                    gray,
                    differences,
                    left_out,
                    partial,
                },
                format,
            ),
            Format::Name => Ok(if equal { "equal\n" } else { "different\n" }.into()),
            Format::Table | Format::Wide => {
                let lines = answers.report_lines().into_iter();
                Ok(lines.map(|line| line.text + "\n").collect())
            }
        }
    }
}
