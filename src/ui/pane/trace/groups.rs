//! Groups of similar requests, one per line: count, rate, latency and outcome. The most urgent
//! group comes first; the order changes only when something happens.

use ratatui::layout::Rect;

use crate::{
    domain::{
        chain::{ChainFault, ChainGroup, Verdict},
        text::{self, format_duration, format_rate},
    },
    ui::{
        facts,
        model::Model,
        pane::Pane,
        theme::Role,
        view::{
            chain,
            columns::{FULL_WIDTH, ListRoom, draw_head, measure_rows},
            labels,
        },
        widget::{Canvas, RichText, longest_fitting},
    },
};

/// Column widths; a column of width 0 is left out.
#[derive(Clone, Copy, Default)]
struct ColumnWidths {
    tag: usize,
    chain: usize,
    requests: usize,
    rate: usize,
    latency: usize,
    spark: usize,
}

impl ColumnWidths {
    /// Width of what tells the groups apart: lane and chain, or the lane alone where both take too
    /// much.
    const fn pinned(self, most: usize) -> usize {
        if self.tag + self.chain <= most {
            self.tag + self.chain
        } else {
            self.tag
        }
    }
}

pub(super) fn draw_list(
    canvas: &mut Canvas<'_>,
    model: &Model,
    inner: Rect,
    selected: Option<usize>,
    focused: bool,
    room: ListRoom,
) {
    let groups = model.visible_groups();
    let columns = column_widths(model, &groups, room.width);
    let pinned = columns.pinned(room.most_pinned);
    let head = room.show_row(pinned, head_line(columns));
    let body = draw_head(canvas, model, Pane::Trace, inner, groups.len(), &head);
    let most = most_requests(&groups);
    canvas.draw_list(body, groups.len(), selected, focused, 1, |i, _| {
        let group = groups.get(i);
        let row = group.map(|group| group_row(model, group, columns, most, room.width));
        row.map(|row| vec![room.show_row(pinned, row)])
            .unwrap_or_default()
    });
}

/// Most requests of any group in one column of its sparkline.
fn most_requests(groups: &[&ChainGroup]) -> u64 {
    let columns = groups.iter().flat_map(|g| &g.columns);
    columns.map(|c| c.requests).max().unwrap_or(0)
}

/// Width in which nothing is cut.
pub(super) fn full_width(model: &Model) -> usize {
    let groups = model.visible_groups();
    let columns = column_widths(model, &groups, FULL_WIDTH);
    let most = most_requests(&groups);
    measure_rows(groups.len(), 0, |i| {
        let row = groups
            .get(i)
            .map(|group| group_row(model, group, columns, most, FULL_WIDTH));
        row.map_or(0, |row| row.width())
    })
}

/// Chooses the columns that fit: the outcome always, then figures by importance.
fn column_widths(model: &Model, groups: &[&ChainGroup], width: usize) -> ColumnWidths {
    let way = groups
        .iter()
        .map(|g| chain::chain_line(model, &g.newest.steps).width())
        .max()
        .unwrap_or(0);
    let tag = if width > 56 { 7 } else { 5 };
    let mut columns = ColumnWidths {
        tag,
        chain: way.min(width * 2 / 5).max(5) + 1,
        ..ColumnWidths::default()
    };
    let told = groups
        .iter()
        .filter_map(|g| describe_worst(model, g, false))
        .map(|t| text::display_width(&t))
        .max();
    let most = if width < 70 { width / 3 } else { width * 2 / 5 };
    let verdict = told.map_or(10, |told| (told + 4).clamp(10, most.max(18)));
    let mut left = width.saturating_sub(columns.tag + columns.chain + verdict);
    let mut give = |wanted: usize| {
        let given = if left >= wanted { wanted } else { 0 };
        left -= given;
        given
    };
    columns.requests = give(5);
    columns.latency = give(6);
    columns.rate = give(7);
    columns.spark = give(8);
    if columns.spark > 0 {
        columns.spark = (8 + left).min(facts::SPARKLINE_COLUMNS + 2);
    }
    columns
}

fn head_line(columns: ColumnWidths) -> RichText {
    let mut line = RichText::new()
        .add_column(Role::Muted, "LANE", columns.tag)
        .add_column(Role::Muted, "CHAIN", columns.chain);
    for (name, width) in [
        ("5 MIN", columns.requests),
        ("RATE", columns.rate),
        ("P95", columns.latency),
    ] {
        line = line.add_right_column(Role::Muted, name, width);
    }
    if columns.spark > 0 {
        let title = longest_fitting(&["REQUESTS", "REQS"], columns.spark - 2);
        line = line
            .add(Role::Text, "  ")
            .add_column(Role::Muted, title, columns.spark - 2);
    }
    line.add(Role::Muted, "  WORST")
}

/// Formats a count in at most four columns: `12`, `1.2k`.
fn format_count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..10_000 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        10_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// What is wrong with a group, how often, and where; `None` for a healthy group.
fn describe_worst(model: &Model, group: &ChainGroup, brief: bool) -> Option<String> {
    let (wrong, chain) = group.worst.as_ref()?;
    let many = if group.wrong > 1 {
        format!("{}x ", format_count(group.wrong))
    } else {
        String::new()
    };
    let words = match (brief, wrong) {
        (true, _) => facts::verdict_word(chain),
        (_, ChainFault::Leaked) => model.facts.describe_problem(chain),
        _ => model.facts.describe_request(chain),
    };
    Some(format!("{many}{words}"))
}

fn group_row(
    model: &Model,
    group: &ChainGroup,
    columns: ColumnWidths,
    most: u64,
    width: usize,
) -> RichText {
    let glyphs = &model.options.glyphs;
    let tag = group.key.tag.as_deref();
    let mut line = RichText::new().add_column(
        if tag.is_some() {
            Role::Lane
        } else {
            Role::Muted
        },
        tag.unwrap_or("-"),
        columns.tag,
    );
    let at = line.width() + columns.chain;
    line = line
        .join(chain::chain_line(model, &group.newest.steps).cut_to_width(columns.chain - 1))
        .pad_to(at);
    if columns.requests > 0 {
        line = line.add_right_column(Role::Text, format_count(group.requests), columns.requests);
    }
    if columns.rate > 0 {
        line = line.add_right_column(Role::Muted, format_rate(group.minute.rate()), columns.rate);
    }
    if columns.latency > 0 {
        line = line.add_right_column(
            Role::Muted,
            group.minute.p95().map(format_duration).unwrap_or_default(),
            columns.latency,
        );
    }
    if columns.spark > 0 {
        let room = (columns.spark - 2).min(group.columns.len());
        let drawn =
            labels::format_sparkline(glyphs, &group.columns[group.columns.len() - room..], most);
        let at = line.width() + columns.spark;
        line = line.add(Role::Text, "  ").join(drawn).pad_to(at);
    }
    line = line.add(Role::Text, "  ");
    if group.minute.sampled && line.width() + 30 <= width {
        line = line.add(Role::Warn, "sampled ");
    }
    // Without room for hop and cause, show at least the verdict in full.
    if let Some(told) = describe_worst(model, group, line.width() + 22 > width) {
        line.add(Role::Bad, format!("{} {told}", glyphs.bad))
    } else {
        let role = match group.newest.worst {
            Verdict::Ok => Role::Ok,
            Verdict::FellBack => Role::Accent,
            _ => Role::Muted,
        };
        let line = line.add(role, group.newest.worst.as_str());
        if group.newest.status >= 400 {
            line.add(Role::Warn, format!(" {}", group.newest.status))
        } else {
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use super::format_count;

    #[test]
    fn a_count_is_no_longer_than_four_columns() {
        assert_eq!(
            [7, 999, 1_000, 9_999, 10_000, 999_999, 2_000_000].map(format_count),
            ["7", "999", "1.0k", "9.9k", "10k", "999k", "2M"]
        );
    }
}
