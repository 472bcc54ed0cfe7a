//! Draws one request hop by hop: who answered, how, and where it went wrong.

use std::sync::Arc;

use super::{chain, labels};
use crate::{
    api::Served,
    domain::{
        chain::{Chain, Verdict},
        text::format_duration,
    },
    ui::{
        facts,
        model::{Model, ProbeTrace},
        theme::Role,
        widget::{RichText, wrap_words},
    },
};

/// The traces of probes, one below the other, with what is known of them by now.
pub(super) fn trace_lines(model: &Model, traces: &[ProbeTrace]) -> Vec<RichText> {
    let mut lines = vec![];
    for ProbeTrace {
        label,
        trace,
        chains,
    } in traces
    {
        let head = RichText::styled(Role::Accent, label);
        lines.push(head.add(Role::Muted, format!("  trace {trace}")));
        let of_trace = |chain: &&Arc<Chain>| chain.trace == *trace;
        let mut now = model.facts.chains.iter().filter(of_trace).peekable();
        if now.peek().is_some() {
            for chain in now {
                lines.extend(request_lines(model, chain));
                lines.push(RichText::new());
            }
        } else if chains.is_empty() {
            let words = "no hop of it has been reported";
            lines.extend([RichText::styled(Role::Muted, words), RichText::new()]);
        } else {
            for chain in chains {
                lines.extend(request_lines(model, chain));
                lines.push(RichText::new());
            }
        }
    }
    lines.pop();
    lines
}

/// A chain in full, hop by hop.
pub(super) fn request_lines(model: &Model, chain: &Chain) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let width = usize::from(model.size.0).saturating_sub(8).max(20);
    let mut lines = vec![];
    let tag = chain
        .tag
        .as_deref()
        .map_or_else(|| "untagged".into(), |t| format!("tagged {t}"));
    let head = RichText::styled(
        Role::Muted,
        format!("{} UTC  ", labels::format_time(chain.time)),
    );
    lines.push(
        head.add(Role::Text, &chain.path)
            .add(Role::Lane, format!("  {tag}")),
    );
    let role = if chain.is_wrong() {
        Role::Bad
    } else {
        Role::Ok
    };
    let told = if chain.is_wrong() {
        model.facts.describe_problem(chain)
    } else {
        facts::verdict_word(chain)
    };
    let spent = format_duration(std::time::Duration::from_micros(chain.micros));
    lines.push(
        RichText::styled(role, told)
            .add(Role::Muted, format!("  status {} in {spent}", chain.status)),
    );
    lines.extend([
        RichText::new(),
        chain::chain_line(model, &chain.steps),
        RichText::new(),
    ]);
    let failure = chain.failed_step();
    for (i, step) in chain.steps.iter().enumerate() {
        let (role, sign) = chain::side_sign(model, step);
        let indent = "  ".repeat(step.depth.min(12));
        let branch = if i == 0 {
            String::new()
        } else {
            format!("{} ", glyphs.branch)
        };
        let side = match step.served {
            Some(Served::Gray) => Served::Gray.as_str(),
            Some(Served::Base) => model
                .facts
                .version_label(&step.app, &step.version)
                .unwrap_or(Served::Base.as_str()),
            None => "nobody",
        };
        let mut line = RichText::styled(Role::Border, format!("{indent}{branch}"))
            .add(role, format!("{sign} "));
        line = line
            .add(Role::Title, &step.app)
            .add(role, format!(" {side}"));
        // The hop failed but reached the right side, so only the failure is shown.
        let is_here = failure.is_some_and(|f| std::ptr::eq(f, step));
        let failed = match step.status {
            _ if !step.has_failed() => None,
            Some(status @ 1..) if is_here => Some(format!("FAILED {status}")),
            Some(status @ 1..) => Some(format!("{status} from below")),
            _ => Some("FAILED, no answer".into()),
        };
        if failed.is_none() || step.verdict != Verdict::Ok {
            let role = if step.verdict.is_bad() {
                Role::Bad
            } else {
                Role::Muted
            };
            line = line.add(role, format!("  {}", step.verdict.as_str()));
        }
        if let Some(words) = failed {
            line = line.add(
                if is_here { Role::Bad } else { Role::Warn },
                format!("  {words}"),
            );
        } else if let Some(status) = step.status {
            line = line.add(
                if status < 400 {
                    Role::Muted
                } else {
                    Role::Warn
                },
                format!("  {status}"),
            );
        }
        if let Some(micros) = step.micros {
            line = line.add(
                Role::Muted,
                format!(
                    "  {}",
                    format_duration(std::time::Duration::from_micros(micros))
                ),
            );
        }
        lines.push(line);
        let more = format!("{indent}    ");
        let pod = step.pod.as_deref().unwrap_or("no pod");
        let at = step.address.as_deref().unwrap_or("no address");
        let tag = step
            .tag
            .as_deref()
            .map_or_else(|| "came untagged".into(), |t| format!("came tagged {t}"));
        lines.push(RichText::styled(
            Role::Muted,
            format!("{more}{pod}  {at}  {tag}"),
        ));
        if let Some(cause) = &step.cause {
            let role = if step.verdict.is_bad() {
                Role::Bad
            } else {
                Role::Accent
            };
            for part in wrap_words(cause, width.saturating_sub(more.len())) {
                lines.push(RichText::styled(role, format!("{more}{part}")));
            }
        }
        if let Some(error) = step.hop.as_ref().and_then(|h| h.error.as_ref()) {
            lines.push(RichText::styled(Role::Bad, format!("{more}{error}")));
        }
    }
    lines
}
