//! The Trace pane: groups of chains, or single chains, newest first. Leaks stand out, with their
//! hop and cause.

use ratatui::layout::Rect;

use super::{apps::title, chain, groups, words};
use crate::{
    domain::{
        chain::{Chain, Verdict},
        command_line::CommandLine,
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

/// Says why no requests are seen, and which command tells more.
fn silence(model: &Model) -> Vec<String> {
    let world = &model.world;
    let others = world
        .groups
        .iter()
        .find(|(_, group)| Means::of(group).is_some());
    let Some((name, _)) = others else {
        return vec!["no requests seen yet".into()];
    };
    let ill = world
        .hop_sources
        .iter()
        .filter_map(|s| Some(format!("{}: {}", s.name, s.problem.as_ref()?)));
    let mut words: Vec<String> = ill.collect();
    let doctor = CommandLine::graylane("doctor").option("--trace", name);
    words.push(match words.is_empty() {
        true => format!("no requests seen yet; {doctor} says who would tell of them"),
        false => format!("{doctor} says what is missing"),
    });
    words
}

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let (rows, selected) = model.place(Pane::Trace);
    let mut head = title(model, Pane::Trace);
    if model.inside.is_some() {
        let chain = model
            .selected_chain()
            .map(|c| chain::chain(model, &c.steps))
            .unwrap_or_default();
        let key = model.key(Context::Global, Action::Back);
        head = head
            .add(Role::Text, " ")
            .join(chain)
            .add(Role::Muted, format!(" {key} leaves it"));
    }
    if model.frozen.is_some() {
        head = head.add(Role::Badge, " frozen ");
    }
    if model.only_wrong {
        head = head.add(Role::Warn, " only wrong");
    }
    let inner = canvas.pane(
        area,
        &head,
        &counters(model, usize::from(area.width)),
        focused,
    );
    if rows == 0 {
        if model.facts.chains.is_empty() {
            let width = usize::from(inner.width).saturating_sub(2);
            let lines = silence(model)
                .into_iter()
                .flat_map(|words| wrap(&words, width));
            for (row, line) in (0..inner.height).zip(lines) {
                canvas.line(inner, row, &Rich::of(Role::Muted, format!(" {line}")));
            }
            return;
        }
        let words = match model.only_wrong {
            _ if model.inside.is_some() => "none of these requests is kept any more",
            true => "nothing wrong among the requests seen",
            false => "nothing passes the filter",
        };
        canvas.line(inner, 0, &Rich::of(Role::Muted, format!(" {words}")));
        return;
    }
    // The default selection is marked only when the pane is focused or something was chosen.
    let selected = selected.filter(|_| focused || model.chain.is_some() || model.group.is_some());
    if model.is_grouped() {
        groups::draw(canvas, model, inner, selected, focused);
        return;
    }
    let chains = model.chains();
    let way = chains
        .iter()
        .take(100)
        .map(|c| chain::chain(model, &c.steps).width())
        .max()
        .unwrap_or(0);
    canvas.list(inner, rows, selected, focused, 1, |i, width| {
        chains
            .get(i)
            .map(|chain| vec![row(model, chain, width, way)])
            .unwrap_or_default()
    });
}

fn counters(model: &Model, width: usize) -> Rich {
    let world = &model.world;
    let mut line = Rich::new();
    if width > 50 {
        // With groups, the count must match the time of the groups.
        let hops = if model.is_grouped() {
            model.facts.shown.hops
        } else {
            world.hops_seen
        };
        line = line.add(Role::Muted, format!("{hops} hops"));
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
    line = line.col(
        if chain.tag.is_some() {
            Role::Lane
        } else {
            Role::Muted
        },
        tag,
        if wide { 7 } else { 5 },
    );
    let way = chain::chain(model, &chain.steps);
    let room = (width / 2)
        .saturating_sub(if wide { 8 } else { 14 })
        .max(16)
        .min(longest.max(12) + 1);
    let at = line.width() + room;
    line = line
        .join(way)
        .to(at)
        .add(Role::Text, if wide { " " } else { "" });
    if chain.is_wrong() {
        // Without room for hop and cause, show at least the verdict in full.
        let brief = line.width() + 22 > width;
        let words = match (brief, chain.worst.is_bad()) {
            (true, _) => facts::word(chain),
            (_, true) => model.facts.blame(chain),
            _ => model.facts.story(chain),
        };
        return line.add(Role::Bad, format!("{} {words}", model.options.glyphs.bad));
    }
    let role = match chain.worst {
        Verdict::Ok => Role::Ok,
        Verdict::FellBack => Role::Accent,
        _ => Role::Muted,
    };
    let wrong = chain.status >= 400;
    // When only one fits: an error status, else the verdict.
    if line.width() + 13 <= width || !wrong {
        line = line.col(role, chain.worst.word(), 10);
    }
    if line.width() + 3 <= width || wrong {
        line = line.right(
            if wrong { Role::Warn } else { Role::Muted },
            chain.status.to_string(),
            3,
        );
    }
    if line.width() + 7 <= width {
        line = line.right(
            Role::Muted,
            duration(std::time::Duration::from_micros(chain.micros)),
            7,
        );
    }
    if wide {
        line.add(Role::Muted, format!("  {}", chain.path))
    } else {
        line
    }
}
