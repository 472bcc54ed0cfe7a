//! `probe PATH --diff`: sends the same request once with and once without a lane and compares the
//! responses.

use color_eyre::eyre::{Context, Result, bail, eyre};
use serde::Serialize;

use super::{ProbeArgs, ProbeTarget, probe_cells};
use crate::{
    api::{Lane, ProbeSpec},
    cli::{
        Global,
        output::{self, Format, Table},
        session::usage_error,
    },
    domain::{
        diff::{Comparison, Difference, Ignored, compare_answers},
        lanes::build_request_pair,
    },
    probe::Probed,
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
    match compared.found.count() {
        0 => Ok(()),
        1 => bail!("the answers differ in 1 place"),
        n => bail!("the answers differ in {n} places"),
    }
}

struct Compared {
    lane: String,
    base: Probed,
    gray: Probed,
    found: Comparison,
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
    let both = build_request_pair(&place.group, &lanes, args.lane.as_deref(), plain)?;
    let base = send_one(&place, &both.requests.base, "base").await?;
    let gray = send_one(&place, &both.requests.gray, "gray").await?;
    for (name, probed, tag) in [("base", &base, None), ("gray", &gray, Some(&both.tag))] {
        // The tag is known only if the chain was reported.
        if !probed.chain.is_empty() && probed.lane.as_ref() != tag {
            let was = probed
                .lane
                .as_ref()
                .map_or_else(|| "untagged".to_owned(), |t| format!("tagged {t}"));
            bail!(
                "the request for {name} went {was}: do the routes follow the lanes? See `graylane lane explain`"
            );
        }
    }
    let (Some(old), Some(new)) = (&base.raw, &gray.raw) else {
        bail!("there are no two answers")
    };
    let found = compare_answers(old, new, ignored);
    Ok(Compared {
        lane: both.lane,
        base,
        gray,
        found,
    })
}

/// Sends one request and fails unless it is answered completely.
async fn send_one(place: &ProbeTarget, spec: &ProbeSpec, side: &str) -> Result<Probed> {
    let probed = place.send(spec).await?.into_iter().next();
    let probed = probed.ok_or_else(|| eyre!("{side}: nothing was sent"))?;
    if probed.raw.is_none() {
        bail!(
            "{side}: {}",
            probed.problems.first().map_or("no answer", String::as_str)
        );
    }
    Ok(probed)
}

impl Compared {
    fn format_result(&self, format: Format) -> Result<String> {
        let Self {
            lane,
            base,
            gray,
            found,
        } = self;
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
            Format::Table | Format::Wide => Ok(self.format_table()),
        }
    }

    fn format_table(&self) -> String {
        let mut table = Table::new(&["SIDE", "STATUS", "MS", "LANE", "VERDICT", "CHAIN"]);
        for (side, probed) in [("base", &self.base), ("gray", &self.gray)] {
            table.add_row(std::iter::once(side.to_owned()).chain(probe_cells(probed)));
        }
        let mut text = table.render() + "\n";
        if self.found.is_equal() {
            text += "The answers are equal.\n";
        } else {
            text += "From base to gray:\n";
        }
        for difference in &self.found.differences {
            text += &format!("  {difference}\n");
        }
        if self.found.left_out > 0 {
            text += &format!("  and {} more\n", self.found.left_out);
        }
        if self.found.partial {
            text += "Only the first 64 KiB of each body are compared.\n";
        }
        text
    }
}
