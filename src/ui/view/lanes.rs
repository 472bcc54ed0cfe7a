//! The Lanes pane: the lane group and its routes; each lane with its rule, and which side serves
//! each App and why.

use ratatui::layout::Rect;

use super::{apps::title, chain, words};
use crate::{
    api::{Lane, LaneGroup, LaneMode, gateway_api::LANE_GATEWAY},
    ui::{
        model::{Model, Pane},
        rule,
        theme::Role,
        widget::{Canvas, Rich, ranked},
    },
};

/// Resources that this pane depends on.
const SEEN: &[&str] = &["lanes.graylane.dev", "lanegroups.graylane.dev"];

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let lanes = model.lanes();
    let (rows, selected) = model.place(Pane::Lanes);
    let own = model
        .selected_lane()
        .and_then(|(_, l)| model.world.groups.get_key_value(&l.spec.group));
    let group = own.or_else(|| model.world.groups.iter().next());
    let facts = group
        .map(|(name, _)| Rich::of(Role::Muted, name))
        .unwrap_or_default();
    let inner = canvas.pane(area, &title(model, Pane::Lanes), &facts, focused);
    let inner = super::gap::draw(canvas, model, inner, SEEN);
    let text = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(1),
        ..inner
    };
    let mut used = 0u16;
    if let Some((_, group)) = group {
        canvas.line(text, 0, &summary(model, group, usize::from(text.width)));
        used = 1;
        let problems = group
            .status
            .as_ref()
            .map(|s| s.problems.as_slice())
            .unwrap_or_default();
        for problem in problems.iter().take(2).filter(|_| inner.height > 6) {
            canvas.line(
                text,
                used,
                &Rich::of(
                    Role::Warn,
                    format!("{} {problem}", model.options.glyphs.warn),
                ),
            );
            used += 1;
        }
    }
    let body = Rect {
        y: inner.y + used.min(inner.height),
        height: inner.height.saturating_sub(used),
        ..inner
    };
    if rows == 0 && model.world.gap(SEEN).is_some() {
        return;
    }
    if rows == 0 {
        canvas.line(body, 0, &Rich::of(Role::Muted, " no lanes"));
        return;
    }
    // Three lines per lane where that fits, because the reasons explain why a chain is not gray.
    let lines = |name: &&String| {
        let found = model.world.lanes.get(*name);
        found.map_or(0, |lane| {
            rows_of(
                model,
                name,
                lane,
                3,
                usize::from(body.width.saturating_sub(2)),
            )
            .len()
        })
    };
    let wanted = if usize::from(body.height) >= rows * 3 {
        lanes.iter().map(lines).max().unwrap_or(2)
    } else {
        2
    };
    let each = if wanted > 2 { 3 } else { 2 };
    canvas.list(body, rows, selected, focused, each, |i, width| {
        let Some((name, lane)) = lanes
            .get(i)
            .and_then(|n| model.world.lanes.get_key_value(*n))
        else {
            return vec![];
        };
        rows_of(model, name, lane, usize::from(each), width)
    });
}

/// Width at which no lane's rule is cut.
pub(super) fn need(model: &Model) -> usize {
    let rows = model
        .world
        .lanes
        .iter()
        .take(50)
        .map(|(name, lane)| rows_of(model, name, lane, 3, usize::MAX));
    rows.flatten().map(|row| row.width()).max().unwrap_or(0) + 4
}

/// Number of lines needed, with the frame.
pub(super) fn height(model: &Model, width: u16) -> usize {
    let (lanes, width) = (&model.world.lanes, usize::from(width).saturating_sub(4));
    let lines = lanes
        .iter()
        .take(50)
        .map(|(name, lane)| rows_of(model, name, lane, 3, width).len());
    lines.max().unwrap_or(1) * lanes.len().max(1) + 3
}

/// Summary of a lane group: `gateway edge · mesh · ✓ 4 routes taken`.
fn summary(model: &Model, group: &LaneGroup, width: usize) -> Rich {
    let glyphs = &model.options.glyphs;
    let status = group.status.clone().unwrap_or_default();
    let taken = status
        .routes
        .iter()
        .filter(|r| r.accepted == Some(true))
        .count();
    let all = status.routes.len();
    let refused = status.routes.iter().find(|r| r.accepted == Some(false));
    let mode = match group.spec.mode {
        LaneMode::Mesh => "mesh",
        LaneMode::Gateway => "gateway",
        LaneMode::Agent => "agent",
    };
    let head = Rich::of(Role::Muted, "gateway ");
    let place = Rich::of(Role::Text, &group.spec.entry.gateway)
        .add(Role::Muted, format!(" {} ", glyphs.dot));
    let mode = Rich::of(Role::Muted, format!("{mode} {} ", glyphs.dot));
    let line = Rich::new();
    let line = match (refused, taken == all && all > 0) {
        (Some(route), _) => {
            let why = route.message.as_deref().unwrap_or("refused");
            line.add(
                Role::Bad,
                format!("{} route {}: {why}", glyphs.bad, route.name),
            )
        }
        (None, true) => line
            .add(Role::Ok, glyphs.ok)
            .add(Role::Text, format!(" {taken} routes taken")),
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
                format!("{} {taken} of {all} routes taken{why}", glyphs.warn),
            )
        }
    };
    let mut parts = vec![(1, head), (0, place), (2, mode), (0, line)];
    // Our own gateway controller is not named.
    if let Some(controller) = status
        .gateway
        .and_then(|g| g.controller)
        .filter(|c| c != LANE_GATEWAY)
    {
        parts.push((4, Rich::of(Role::Muted, format!(" by {controller}"))));
    }
    if group.spec.client_may_tag {
        parts.push((
            3,
            Rich::of(Role::Muted, format!(" {} clients may tag", glyphs.dot)),
        ));
    }
    ranked(parts, width)
}

fn rows_of(model: &Model, name: &str, lane: &Lane, each: usize, width: usize) -> Vec<Rich> {
    let glyphs = &model.options.glyphs;
    let spec = &lane.spec;
    let (role, sign) = match (model.pending_about(name), spec.enabled) {
        (Some(_), _) => (Role::Busy, glyphs.spinner(model.beat)),
        (None, true) => (Role::Lane, glyphs.full),
        (None, false) => (Role::Muted, glyphs.empty),
    };
    let title = if spec.enabled {
        Role::Title
    } else {
        Role::Muted
    };
    let mut first = vec![(0, Rich::of(role, format!("{sign} ")).add(title, name))];
    if spec.tag != name {
        first.push((1, Rich::of(Role::Muted, " tag ").add(Role::Lane, &spec.tag)));
    }
    if !spec.enabled {
        first.push((0, Rich::of(Role::Warn, " off")));
    }
    if spec.strict {
        first.push((2, Rich::of(Role::Accent, " strict")));
    }
    first.push((3, Rich::of(Role::Muted, format!(" #{}", spec.priority))));
    first.push((0, Rich::of(Role::Text, format!(" {}", rule::words(spec)))));
    let mut lines = vec![ranked(first, width)];

    let status = lane.status.clone().unwrap_or_default();
    let mut apps = Rich::of(Role::Text, "  ");
    let mut reasons = vec![];
    for app in &status.apps {
        let (role, hop) = chain::hop(model, &app.app, Some(app.served));
        apps = apps.add(role, format!("{hop} "));
        let short = words::short(model, &app.app);
        if app.served == crate::api::Served::Base {
            reasons.push((short, app.reason.as_str()));
        }
    }
    let problem = status
        .problems
        .first()
        .map(|p| Rich::of(Role::Warn, format!("  {} {p}", glyphs.warn)));
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
        Rich::of(
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
            lines.extend([apps.join(why.unwrap_or_default()), problem])
        }
        (Some(problem), _) => lines.push(problem),
        (None, Some(why)) if each > 2 && apps.width() + why.width() > width => {
            lines.extend([apps, why])
        }
        (None, why) => lines.push(apps.join(why.unwrap_or_default())),
    }
    lines
}
