//! Who gets which part of the screen.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::ui::{
    model::Pane,
    widget::{Need, share},
};

/// The least that anything is shown in.
const LEAST: (u16, u16) = (60, 20);

/// The parts of one screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Two lines.
    pub(super) header: Rect,
    /// Names of panes, where not all are seen.
    pub(super) tabs: Option<Rect>,
    /// Everything between.
    pub(super) body: Rect,
    /// The panes that are seen.
    pub(super) panes: Vec<(Pane, Rect)>,
    /// One line.
    pub(super) footer: Rect,
}

/// What the panes have to show.
pub(super) struct Needs<'a> {
    /// Columns in which nothing at the left is cut.
    pub(super) left: usize,
    /// Lines of a pane with its frame, at a width.
    pub(super) height: &'a dyn Fn(Pane, u16) -> usize,
}

/// Cuts the screen up; the error is what to say when it is too small.
pub(super) fn plan(area: Rect, focus: Pane, zoom: bool, needs: &Needs<'_>) -> Result<Plan, String> {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return Err(format!(
            "needs {}x{}, has {}x{}",
            LEAST.0, LEAST.1, area.width, area.height
        ));
    }
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let mut plan = Plan {
        header,
        tabs: None,
        body,
        panes: vec![],
        footer,
    };
    if zoom {
        let [tabs, rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(body);
        plan.tabs = Some(tabs);
        plan.panes = vec![(focus, rest)];
    } else if area.width < 80 {
        narrow(&mut plan, focus, needs);
    } else {
        wide(&mut plan, focus, needs);
    }
    Ok(plan)
}

/// One pane at a time, and beneath it the one that on-call must not lose sight of.
fn narrow(plan: &mut Plan, focus: Pane, needs: &Needs<'_>) {
    let [tabs, rest] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(plan.body);
    plan.tabs = Some(tabs);
    let other = if focus == Pane::Trace {
        Pane::Rollout
    } else {
        Pane::Trace
    };
    let top = lines(needs, focus, rest.width)
        .clamp(rest.height / 2, rest.height - (rest.height * 2 / 5).max(6));
    let [top, bottom] =
        Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(rest);
    plan.panes = vec![(focus, top), (other, bottom)];
}

fn lines(needs: &Needs<'_>, pane: Pane, width: u16) -> u16 {
    u16::try_from((needs.height)(pane, width)).unwrap_or(u16::MAX)
}

fn wide(plan: &mut Plan, focus: Pane, needs: &Needs<'_>) {
    let body = plan.body;
    let left = left(body.width, needs.left);
    let [left, right] =
        Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let heights = stack(usize::from(body.height), focus, |pane| {
        (needs.height)(pane, left.width)
    });
    let heights = heights.map(|h| Constraint::Length(u16::try_from(h).unwrap_or(u16::MAX)));
    let [apps, environments, lanes] = Layout::vertical(heights).areas(left);
    // Requests never end: they get what the release leaves, and not less than tells something.
    let least = if focus == Pane::Trace {
        body.height / 2
    } else {
        (body.height * 3 / 10).max(7)
    };
    // In steps, so that not each line more moves what lies beneath.
    let rollout = lines(needs, Pane::Rollout, right.width).saturating_add(3) / 4 * 4;
    let rollout = rollout.clamp(body.height * 2 / 5, body.height - least);
    let [rollout, trace] =
        Layout::vertical([Constraint::Length(rollout), Constraint::Fill(1)]).areas(right);
    plan.panes = vec![
        (Pane::Apps, apps),
        (Pane::Environments, environments),
        (Pane::Lanes, lanes),
        (Pane::Rollout, rollout),
        (Pane::Trace, trace),
    ];
}

/// Lists stand left and need only so much; what stands right lives by width.
fn left(width: u16, need: usize) -> u16 {
    let usual = (width * 5 / 12).clamp(32, 50);
    let most = width * 19 / 40;
    u16::try_from(need)
        .unwrap_or(u16::MAX)
        .clamp(usual, most.max(usual))
}

/// The heights of the lists at the left: by need, the one with the keys first; what nobody needs is shared alike.
fn stack(height: usize, focus: Pane, need: impl Fn(Pane) -> usize) -> [usize; 3] {
    let mut order = [Pane::Apps, Pane::Environments, Pane::Lanes];
    order.sort_by_key(|pane| *pane != focus);
    let least = |pane: Pane| {
        if pane == focus {
            height * 2 / 5
        } else {
            height / 4
        }
    };
    let needs = order.map(|pane| Need::new(least(pane), need(pane)));
    let shares = share(height, &needs);
    let spare = height.saturating_sub(shares.iter().sum());
    let of = |pane: Pane| {
        order
            .iter()
            .position(|p| *p == pane)
            .and_then(|i| shares.get(i))
            .copied()
            .unwrap_or(0)
    };
    let (apps, environments) = (
        of(Pane::Apps) + spare / 3,
        of(Pane::Environments) + spare / 3,
    );
    [
        apps,
        environments,
        height.saturating_sub(apps + environments),
    ]
}

/// Lines of an open text that are seen at that size.
pub fn text_height(size: (u16, u16)) -> usize {
    usize::from(size.1).saturating_sub(5).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_left_gets_what_it_needs_and_never_half() {
        assert_eq!([30, 38, 90].map(|need| left(80, need)), [33, 38, 38]);
        assert_eq!([30, 52, 90].map(|need| left(120, need)), [50, 52, 57]);
        assert_eq!([30, 70, 300].map(|need| left(200, need)), [50, 70, 95]);
    }

    #[test]
    fn lists_share_by_need_and_the_one_with_the_keys_comes_first() {
        let need = |pane: Pane| match pane {
            Pane::Apps => 6,
            Pane::Environments => 8,
            _ => 60,
        };
        assert_eq!(stack(21, Pane::Rollout, need), [6, 8, 7]);
        assert_eq!(stack(21, Pane::Environments, need), [6, 8, 7]);
        assert_eq!(stack(30, Pane::Lanes, |_| 6), [10, 10, 10]);
        for height in 10..60 {
            for focus in Pane::ALL {
                assert_eq!(stack(height, focus, need).iter().sum::<usize>(), height);
            }
        }
    }
}
