//! The Lanes pane: the lane group and its routes; each lane with its rule, and which side serves
//! each App and why.

use ratatui::layout::Rect;

use super::LaneRow;
use crate::{
    api::{LaneGroup, LaneGroupStatus, LaneMode, gateway_api::LANE_GATEWAY},
    domain::text::{display_width, format_count},
    ui::{
        model::Model,
        pane::Pane,
        rule,
        theme::Role,
        view::{
            chain,
            columns::{self, ListRoom},
            first_steps,
            gap::draw_gap,
            title::{add_sort_order, pane_title},
        },
        widget::{Canvas, RichText, join_by_rank},
    },
};

/// Resources that this pane depends on.
const RESOURCES: &[&str] = &["lanes.graylane.dev", "lanegroups.graylane.dev"];

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let lanes = model.visible_lanes();
    let (rows, selected) = model.row_position(Pane::Lanes);
    let own = model
        .selected_lane()
        .and_then(|(_, l)| model.world.groups.get_key_value(&l.spec.group));
    let group = own.or_else(|| model.world.groups.iter().next());
    let facts = group
        .map(|(name, _)| RichText::styled(Role::Muted, name))
        .unwrap_or_default();
    let title = pane_title(model, Pane::Lanes);
    let title = add_sort_order(model, Pane::Lanes, title, &facts, area.width);
    let inner = canvas.draw_pane(area, &title, &facts, focused);
    let inner = draw_gap(canvas, model, inner, RESOURCES);
    let text = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(1),
        ..inner
    };
    let used = group.map_or(0, |(_, group)| draw_group(canvas, model, group, text));
    let body = Rect {
        y: inner.y + used.min(inner.height),
        height: inner.height.saturating_sub(used),
        ..inner
    };
    if rows == 0 && model.world.find_gap(RESOURCES).is_some() {
        return;
    }
    if rows == 0 {
        if model.pane_filter(Pane::Lanes).is_empty() {
            first_steps::draw_steps(canvas, body, &first_steps::without_lanes(model));
        } else {
            let words = " nothing passes the filter";
            canvas.draw_line(body, 0, &RichText::styled(Role::Muted, words));
        }
        return;
    }
    let width = usize::from(body.width.saturating_sub(2));
    let room = ListRoom::of_list(model, Pane::Lanes, width, |_| full_width(model));
    // Three lines per lane where that fits, because the reasons explain why a chain is not gray.
    let lines = |row: &LaneRow<'_>| lane_rows(model, *row, 3, room.width).len();
    let wanted = if usize::from(body.height) >= rows * 3 {
        lanes.iter().map(lines).max().unwrap_or(2)
    } else {
        2
    };
    let each = if wanted > 2 { 3 } else { 2 };
    canvas.draw_list(body, rows, selected, focused, each, |i, _| {
        let Some(row) = lanes.get(i) else {
            return vec![];
        };
        let lines = lane_rows(model, *row, usize::from(each), room.width);
        // The name stays, and the indent of the lines below it.
        let namespace = if model.shows_all {
            display_width(row.scope.name()) + 1
        } else {
            0
        };
        let name = 2 + namespace + display_width(row.name);
        let pinned = std::iter::once(name).chain(std::iter::repeat(2));
        let shown = pinned.zip(lines);
        shown
            .map(|(pinned, line)| room.show_row(pinned, line))
            .collect()
    });
}

/// Width in which nothing is cut.
pub(super) fn full_width(model: &Model) -> usize {
    let lanes = model.visible_lanes();
    columns::measure_rows(lanes.len(), 0, |i| {
        let found = lanes.get(i);
        let lines = found.map(|row| lane_rows(model, *row, 3, columns::FULL_WIDTH));
        let widths = lines.into_iter().flatten().map(|line| line.width());
        widths.max().unwrap_or(0)
    })
}

/// Draws a lane group and its problems; returns the number of lines.
fn draw_group(canvas: &mut Canvas<'_>, model: &Model, group: &LaneGroup, text: Rect) -> u16 {
    canvas.draw_line(
        text,
        0,
        &group_summary(model, group, usize::from(text.width)),
    );
    let mut used = 1;
    let problems = group
        .status
        .as_ref()
        .map(|s| s.problems.as_slice())
        .unwrap_or_default();
    for problem in problems.iter().take(2).filter(|_| text.height > 6) {
        canvas.draw_line(
            text,
            used,
            &RichText::styled(
                Role::Warn,
                format!("{} {problem}", model.options.glyphs.warn),
            ),
        );
        used += 1;
    }
    used
}

/// Width at which no lane's rule is cut.
pub(super) fn needed_width(model: &Model) -> usize {
    let rows = model
        .all_lanes()
        .take(50)
        .map(|row| lane_rows(model, row, 3, usize::MAX));
    rows.flatten().map(|row| row.width()).max().unwrap_or(0) + 4
}

/// Number of lines needed, with the frame.
pub(super) fn needed_height(model: &Model, width: u16) -> usize {
    let width = usize::from(width).saturating_sub(4);
    let lines = model
        .all_lanes()
        .take(50)
        .map(|row| lane_rows(model, row, 3, width).len());
    lines.max().unwrap_or(1) * model.all_lanes().count().max(1) + 3
}

/// Summary of a lane group: `gateway edge · mesh · ✓ 4 routes taken`.
fn group_summary(model: &Model, group: &LaneGroup, width: usize) -> RichText {
    let glyphs = &model.options.glyphs;
    let status = group.status.clone().unwrap_or_default();
    let mode = match group.spec.mode {
        LaneMode::Mesh => "mesh",
        LaneMode::Gateway => "gateway",
        LaneMode::Agent => "agent",
    };
    let head = RichText::styled(Role::Muted, "gateway ");
    let place = RichText::styled(Role::Text, &group.spec.entry.gateway)
        .add(Role::Muted, format!(" {} ", glyphs.dot));
    let mode = RichText::styled(Role::Muted, format!("{mode} {} ", glyphs.dot));
    let line = route_state(model, &status);
    let mut parts = vec![(1, head), (0, place), (2, mode), (0, line)];
    // Our own gateway controller is not named.
    if let Some(controller) = status
        .gateway
        .and_then(|g| g.controller)
        .filter(|c| c != LANE_GATEWAY)
    {
        parts.push((
            4,
            RichText::styled(Role::Muted, format!(" by {controller}")),
        ));
    }
    if group.spec.client_may_tag {
        parts.push((
            3,
            RichText::styled(Role::Muted, format!(" {} clients may tag", glyphs.dot)),
        ));
    }
    join_by_rank(parts, width)
}

/// Whether the routes of a group are taken.
fn route_state(model: &Model, status: &LaneGroupStatus) -> RichText {
    let glyphs = &model.options.glyphs;
    let taken = status
        .routes
        .iter()
        .filter(|r| r.accepted == Some(true))
        .count();
    let all = status.routes.len();
    let refused = status.routes.iter().find(|r| r.accepted == Some(false));
    let line = RichText::new();
    match (refused, taken == all && all > 0) {
        (Some(route), _) => {
            let why = route.message.as_deref().unwrap_or("refused");
            line.add(
                Role::Bad,
                format!("{} route {}: {why}", glyphs.bad, route.name),
            )
        }
        (None, true) => line.add(Role::Ok, glyphs.ok).add(
            Role::Text,
            format!(" {} accepted", format_count(taken, "route")),
        ),
        (None, false) if all == 0 => line.add(Role::Muted, "no routes yet"),
        (None, false) => {
            let silent = status
                .routes
                .iter()
                .find(|r| r.accepted.is_none())
                .and_then(|r| r.message.as_deref());
            let why = silent.map(|words| format!(": {words}")).unwrap_or_default();
            line.add(
                Role::Warn,
                format!("{} {taken} of {all} routes accepted{why}", glyphs.warn),
            )
        }
    }
}

fn lane_rows(model: &Model, row: LaneRow<'_>, each: usize, width: usize) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let lane = row.lane;
    let mut lines = vec![lane_head(model, row, width)];

    let status = lane.status.clone().unwrap_or_default();
    let mut apps = RichText::styled(Role::Text, "  ");
    let mut reasons = vec![];
    for app in &status.apps {
        let (role, hop) = chain::hop_label(glyphs, row.scope.facts, &app.app, Some(app.served));
        apps = apps.add(role, format!("{hop} "));
        let short = row.scope.facts.short_name(&app.app);
        if app.served == crate::api::Served::Base {
            reasons.push((short, app.reason.as_str()));
        }
    }
    let problem = status
        .problems
        .first()
        .map(|p| RichText::styled(Role::Warn, format!("  {} {p}", glyphs.warn)));
    let same = |first: &str| {
        reasons.len() == status.apps.len() && reasons.iter().all(|(_, r)| *r == first)
    };
    let why = reasons.first().map(|(short, r)| {
        if same(r) {
            (*r).to_owned()
        } else {
            format!("{short}: {r}")
        }
    });
    let why = why.map(|r| {
        RichText::styled(
            Role::Muted,
            if each > 2 {
                format!("  {r}")
            } else {
                format!(" {r}")
            },
        )
    });
    match (problem, why) {
        (Some(problem), why) if each > 2 => {
            lines.extend([apps.join(why.unwrap_or_default()), problem]);
        }
        (Some(problem), _) => lines.push(problem),
        (None, Some(why)) if each > 2 && apps.width() + why.width() > width => {
            lines.extend([apps, why]);
        }
        (None, why) => lines.push(apps.join(why.unwrap_or_default())),
    }
    lines
}

/// Name, tag and rule of a lane.
fn lane_head(model: &Model, row: LaneRow<'_>, width: usize) -> RichText {
    let glyphs = &model.options.glyphs;
    let (namespace, name, spec) = (row.scope.name(), row.name, &row.lane.spec);
    let (role, sign) = match (model.pending_about(namespace, name), spec.enabled) {
        (Some(_), _) => (Role::Busy, glyphs.spinner_frame(model.beat)),
        (None, true) => (Role::Lane, glyphs.full),
        (None, false) => (Role::Muted, glyphs.empty),
    };
    let title = if spec.enabled {
        Role::Title
    } else {
        Role::Muted
    };
    let mut head = RichText::styled(role, format!("{sign} "));
    if model.shows_all {
        head.push(Role::Muted, format!("{namespace}/"));
    }
    let mut first = vec![(0, head.add(title, name))];
    if spec.tag != *name {
        first.push((
            1,
            RichText::styled(Role::Muted, " tag ").add(Role::Lane, &spec.tag),
        ));
    }
    if !spec.enabled {
        first.push((0, RichText::styled(Role::Warn, " off")));
    }
    if spec.strict {
        first.push((2, RichText::styled(Role::Accent, " strict")));
    }
    first.push((
        3,
        RichText::styled(Role::Muted, format!(" #{}", spec.priority)),
    ));
    first.push((
        0,
        RichText::styled(Role::Text, format!(" {}", rule::describe_rule(spec))),
    ));
    join_by_rank(first, width)
}
