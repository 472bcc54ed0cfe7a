//! Trace: chains as they come, newest first. A leak is loud, names its hop and its cause.

use ratatui::layout::Rect;

use super::{apps::title, chain, words};
use crate::{
    domain::{
        chain::{Chain, Verdict},
        lanes::Means,
        text::duration,
    },
    ui::{
        facts,
        keymap::{Action, Context},
        model::{Model, Pane},
        theme::Role,
        widget::{Canvas, Rich, wrap},
    },
};

/// All entries are served by gateways of others, which tell nobody what they did.
fn silent(model: &Model) -> bool {
    !model.world.groups.is_empty() && model.world.groups.values().all(|g| Means::of(g).is_some())
}

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let chains = model.chains();
    let (rows, selected) = model.place(Pane::Trace);
    let mut head = title(model, Pane::Trace);
    if model.frozen.is_some() {
        head = head.add(Role::Badge, " frozen ");
    }
    if model.only_wrong {
        head = head.add(Role::Warn, " only wrong");
    }
    let inner = canvas.pane(area, &head, &counters(model, usize::from(area.width)), focused);
    if rows == 0 {
        let words = match (model.facts.chains.is_empty(), model.only_wrong) {
            (true, _) if silent(model) => {
                let key = model.key(Context::Global, Action::Probe);
                &format!("this gateway reports no requests; {key} probes, and shows the chain")
            }
            (true, _) => "no requests seen yet",
            (false, true) => "nothing wrong among the requests seen",
            (false, false) => "nothing passes the filter",
        };
        canvas.line(inner, 0, &Rich::of(Role::Muted, format!(" {words}")));
        return;
    }
    // The newest stands at the top and is not marked unless somebody looks.
    let selected = selected.filter(|_| focused || model.chain.is_some());
    let way = chains.iter().take(100).map(|c| chain::chain(model, &c.steps).width()).max().unwrap_or(0);
    canvas.list(inner, rows, selected, focused, 1, |i, width| {
        chains.get(i).map(|chain| vec![row(model, chain, width, way)]).unwrap_or_default()
    });
}

fn counters(model: &Model, width: usize) -> Rich {
    let world = &model.world;
    let mut line = Rich::new();
    if width > 50 {
        line = line.add(Role::Muted, format!("{} hops", world.hops_seen));
    }
    if world.hops_dropped > 0 {
        line = line.add(Role::Warn, format!("  {} dropped", world.hops_dropped));
    } else if width > 50 {
        line = line.add(Role::Muted, ", none dropped");
    }
    line
}

fn row(model: &Model, chain: &Chain, width: usize, longest: usize) -> Rich {
    let wide = width > 56;
    let mut line = Rich::of(Role::Muted, words::hms(chain.time)).add(Role::Text, " ");
    let tag = chain.tag.as_deref().unwrap_or("-");
    line = line.col(if chain.tag.is_some() { Role::Lane } else { Role::Muted }, tag, if wide { 7 } else { 5 });
    let way = chain::chain(model, &chain.steps);
    let room = (width / 2).saturating_sub(if wide { 8 } else { 14 }).max(16).min(longest.max(12) + 1);
    let at = line.width() + room;
    line = line.join(way).to(at).add(Role::Text, if wide { " " } else { "" });
    if facts::is_wrong(chain) {
        // Where there is no room for the hop and the cause, at least what is wrong stands whole.
        let brief = line.width() + 22 > width;
        let words = if brief { facts::word(chain) } else { model.facts.blame(chain) };
        return line.add(Role::Bad, format!("{} {words}", model.options.glyphs.bad));
    }
    let role = match chain.worst {
        Verdict::Ok => Role::Ok,
        Verdict::FellBack => Role::Accent,
        _ => Role::Muted,
    };
    let wrong = chain.status >= 400;
    // Where there is room for one of them: a status that tells something, or else how it went.
    if line.width() + 13 <= width || !wrong {
        line = line.col(role, chain.worst.word(), 10);
    }
    if line.width() + 3 <= width || wrong {
        line = line.right(if wrong { Role::Warn } else { Role::Muted }, chain.status.to_string(), 3);
    }
    if line.width() + 7 <= width {
        line = line.right(Role::Muted, duration(std::time::Duration::from_micros(chain.micros)), 7);
    }
    if wide { line.add(Role::Muted, format!("  {}", chain.path)) } else { line }
}

/// A chain hop by hop, for reading.
pub(super) fn detail(model: &Model, chain: &Chain) -> Vec<Rich> {
    let glyphs = &model.options.glyphs;
    let width = usize::from(model.size.0).saturating_sub(8).max(20);
    let mut lines = vec![];
    let tag = chain.tag.as_deref().map_or_else(|| "untagged".into(), |t| format!("tagged {t}"));
    let head = Rich::of(Role::Muted, format!("{} UTC  ", words::hms(chain.time)));
    lines.push(head.add(Role::Text, &chain.path).add(Role::Lane, format!("  {tag}")));
    let role = if facts::is_wrong(chain) { Role::Bad } else { Role::Ok };
    let spent = duration(std::time::Duration::from_micros(chain.micros));
    let line = Rich::of(role, facts::word(chain)).add(Role::Muted, format!("  status {} in {spent}", chain.status));
    lines.extend([line, Rich::new(), chain::chain(model, &chain.steps), Rich::new()]);
    for (i, step) in chain.steps.iter().enumerate() {
        let (role, sign) = words::served(glyphs, step.served);
        let indent = "  ".repeat(step.depth.min(12));
        let branch = if i == 0 { String::new() } else { format!("{} ", glyphs.branch) };
        let side = step.served.map_or("nobody", crate::api::Served::word);
        let mut line = Rich::of(Role::Border, format!("{indent}{branch}")).add(role, format!("{sign} "));
        line = line.add(Role::Title, &step.app).add(role, format!(" {side}"));
        let role = if step.verdict.is_bad() { Role::Bad } else { Role::Muted };
        line = line.add(role, format!("  {}", step.verdict.word()));
        if let Some(status) = step.status {
            line = line.add(if status < 400 { Role::Muted } else { Role::Warn }, format!("  {status}"));
        }
        if let Some(micros) = step.micros {
            line = line.add(Role::Muted, format!("  {}", duration(std::time::Duration::from_micros(micros))));
        }
        lines.push(line);
        let more = format!("{indent}    ");
        let pod = step.pod.as_deref().unwrap_or("no pod");
        let at = step.address.as_deref().unwrap_or("no address");
        let tag = step.tag.as_deref().map_or_else(|| "came untagged".into(), |t| format!("came tagged {t}"));
        lines.push(Rich::of(Role::Muted, format!("{more}{pod}  {at}  {tag}")));
        if let Some(cause) = &step.cause {
            let role = if step.verdict.is_bad() { Role::Bad } else { Role::Accent };
            for part in wrap(cause, width.saturating_sub(more.len())) {
                lines.push(Rich::of(role, format!("{more}{part}")));
            }
        }
        if let Some(error) = step.hop.as_ref().and_then(|h| h.error.as_ref()) {
            lines.push(Rich::of(Role::Bad, format!("{more}{error}")));
        }
    }
    lines
}
