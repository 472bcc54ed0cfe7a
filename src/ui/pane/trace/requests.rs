//! The Trace pane: groups of chains, or single chains, newest first. Leaks stand out, with their
//! hop and cause.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::groups;
use crate::{
    domain::{
        chain::{Chain, Verdict},
        command_line::CommandLine,
        lanes::GatewayFeatures,
        text::format_duration,
        world::Link,
    },
    ui::{
        facts,
        keymap::{Action, KeyContext},
        model::Model,
        pane::Pane,
        theme::Role,
        view::{
            chain,
            columns::{self, ListRoom},
            labels,
            title::{add_sort_order, pane_title},
        },
        widget::{Canvas, RichText, wrap_words},
    },
};

/// Says why no requests are seen, and which command tells more.
fn explain_silence(model: &Model) -> Vec<String> {
    let world = &model.world;
    let mut sources = world.hop_sources.iter();
    if let Some(why) = sources.find_map(|source| source.why_not_followed()) {
        return vec![why.to_string()];
    }
    let others = world
        .groups
        .iter()
        .find(|(_, group)| GatewayFeatures::from_group(group).is_some());
    let Some((name, _)) = others else {
        let key = model.options.keymap.key_anywhere(Action::Probe);
        let words = match (world.groups.is_empty(), &world.link) {
            (true, Link::Live) => {
                "no requests are seen: there is no lane group that says where they come in".into()
            }
            (true, _) => "requests are shown here".into(),
            (false, _) => format!("no requests seen yet; {key} sends one"),
        };
        return vec![words];
    };
    let ill = world
        .hop_sources
        .iter()
        .filter_map(|s| Some(format!("{}: {}", s.name, s.problem.as_ref()?)));
    let mut words: Vec<String> = ill.collect();
    let doctor = CommandLine::graylane("doctor").option("--trace", name);
    let doctor = model.place_command(doctor);
    words.push(if words.is_empty() {
        format!("no requests seen yet; {doctor} says what could report them")
    } else {
        format!("{doctor} says what is missing")
    });
    words
}

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let (rows, selected) = model.row_position(Pane::Trace);
    let mut head = pane_title(model, Pane::Trace);
    if model.trace.inside.is_some() {
        let chain = model
            .selected_chain()
            .map(|c| chain::chain_line(model, &c.steps))
            .unwrap_or_default();
        let key = model.key_for(KeyContext::Global, Action::Back);
        head = head
            .add(Role::Text, " ")
            .join(chain)
            .add(Role::Muted, format!(" {key} leaves it"));
    }
    if model.trace.frozen.is_some() {
        head = head.add(Role::Badge, " frozen ");
    }
    if model.trace.only_wrong {
        head = head.add(Role::Warn, " only wrong");
    }
    let facts = hop_counters(model, usize::from(area.width));
    let head = add_sort_order(model, Pane::Trace, head, &facts, area.width);
    let inner = canvas.draw_pane(area, &head, &facts, focused);
    if rows == 0 {
        if model.facts.chains.is_empty() {
            let width = usize::from(inner.width).saturating_sub(2);
            let lines = explain_silence(model)
                .into_iter()
                .flat_map(|words| wrap_words(&words, width));
            for (row, line) in (0..inner.height).zip(lines) {
                canvas.draw_line(
                    inner,
                    row,
                    &RichText::styled(Role::Muted, format!(" {line}")),
                );
            }
            return;
        }
        let words = match model.trace.only_wrong {
            _ if model.trace.inside.is_some() => "none of these requests is kept any more",
            true => "nothing wrong among the requests seen",
            false => "nothing passes the filter",
        };
        canvas.draw_line(
            inner,
            0,
            &RichText::styled(Role::Muted, format!(" {words}")),
        );
        return;
    }
    // The default selection is marked only when the pane is focused or something was chosen.
    let selected =
        selected.filter(|_| focused || model.trace.chain.is_some() || model.trace.group.is_some());
    let width = usize::from(inner.width).saturating_sub(2);
    let full = |most| Pane::Trace.behaviour().full_width(model, most);
    let room = ListRoom::of_list(model, Pane::Trace, width, full);
    if model.is_grouped() {
        groups::draw_list(canvas, model, inner, selected, focused, room);
        return;
    }
    let chains = model.visible_chains();
    let way = longest_way(model, &chains);
    canvas.draw_list(inner, rows, selected, focused, 1, |i, _| {
        chains
            .get(i)
            .map(|chain| {
                let row = chain_row(model, chain, room.width, way);
                vec![room.show_row(TIME_WIDTH, row)]
            })
            .unwrap_or_default()
    });
}

/// Width of the time before each request.
const TIME_WIDTH: usize = 9;

/// Width of the longest chain of hops.
fn longest_way(model: &Model, chains: &[&Arc<Chain>]) -> usize {
    columns::measure_rows(chains.len(), 0, |i| {
        chains
            .get(i)
            .map_or(0, |c| chain::chain_line(model, &c.steps).width())
    })
}

/// Width in which no single request is cut.
pub(super) fn full_width(model: &Model) -> usize {
    let chains = model.visible_chains();
    let way = longest_way(model, &chains);
    columns::measure_rows(chains.len(), 0, |i| {
        chains
            .get(i)
            .map_or(0, |c| chain_row(model, c, columns::FULL_WIDTH, way).width())
    })
}

fn hop_counters(model: &Model, width: usize) -> RichText {
    let world = &model.world;
    let mut line = RichText::new();
    if width > 50 {
        // With groups, the count must match the time of the groups.
        let hops = if model.is_grouped() {
            model.facts.figures.hops
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

fn chain_row(model: &Model, chain: &Chain, width: usize, longest: usize) -> RichText {
    let wide = width > 56;
    let mut line =
        RichText::styled(Role::Muted, labels::format_time(chain.time)).add(Role::Text, " ");
    let tag = chain.tag.as_deref().unwrap_or("-");
    line = line.add_column(
        if chain.tag.is_some() {
            Role::Lane
        } else {
            Role::Muted
        },
        tag,
        if wide { 7 } else { 5 },
    );
    let way = chain::chain_line(model, &chain.steps);
    let room = (width / 2)
        .saturating_sub(if wide { 8 } else { 14 })
        .max(16)
        .min(longest.max(12) + 1);
    let at = line.width() + room;
    line = line
        .join(way)
        .pad_to(at)
        .add(Role::Text, if wide { " " } else { "" });
    if chain.is_wrong() {
        // Without room for hop and cause, show at least the verdict in full.
        let brief = line.width() + 22 > width;
        let words = match (brief, chain.worst.is_bad()) {
            (true, _) => facts::verdict_word(chain),
            (_, true) => model.facts.describe_problem(chain),
            _ => model.facts.describe_request(chain),
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
        line = line.add_column(role, chain.worst.as_str(), 10);
    }
    if line.width() + 3 <= width || wrong {
        line = line.add_right_column(
            if wrong { Role::Warn } else { Role::Muted },
            chain.status.to_string(),
            3,
        );
    }
    if line.width() + 7 <= width {
        line = line.add_right_column(
            Role::Muted,
            format_duration(std::time::Duration::from_micros(chain.micros)),
            7,
        );
    }
    if wide {
        line.add(Role::Muted, format!("  {}", chain.path))
    } else {
        line
    }
}
