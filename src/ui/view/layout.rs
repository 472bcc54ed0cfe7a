//! Divides the screen among header, panes and footer.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::ui::{
    model::Pane,
    widget::{Need, share_room},
};

/// Minimum screen size in columns and rows.
const MIN_SIZE: (u16, u16) = (60, 20);

/// Areas of one screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScreenPlan {
    /// Header, two lines.
    pub(super) header: Rect,
    /// Names of the panes, when not all are visible.
    pub(super) tabs: Option<Rect>,
    /// Everything between header and footer.
    pub(super) body: Rect,
    /// Visible panes with their areas.
    pub(super) panes: Vec<(Pane, Rect)>,
    /// Footer, one line.
    pub(super) footer: Rect,
}

/// Sizes that the panes need.
pub(super) struct PaneNeeds<'a> {
    /// Width at which nothing in the left column is cut.
    pub(super) left: usize,
    /// Number of lines that a pane needs at a width, with its frame.
    pub(super) height: &'a dyn Fn(Pane, u16) -> usize,
}

/// Divides the screen; the error says that it is too small.
pub(super) fn plan_screen(
    area: Rect,
    focus: Pane,
    zoom: bool,
    needs: &PaneNeeds<'_>,
) -> Result<ScreenPlan, String> {
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return Err(format!(
            "needs {}x{}, has {}x{}",
            MIN_SIZE.0, MIN_SIZE.1, area.width, area.height
        ));
    }
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let mut plan = ScreenPlan {
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
        plan_narrow(&mut plan, focus, needs);
    } else {
        plan_wide(&mut plan, focus, needs);
    }
    Ok(plan)
}

/// Narrow screens: the focused pane, and below it the one that on-call engineers must keep in
/// sight.
fn plan_narrow(plan: &mut ScreenPlan, focus: Pane, needs: &PaneNeeds<'_>) {
    let [tabs, rest] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(plan.body);
    plan.tabs = Some(tabs);
    let other = if focus == Pane::Trace {
        Pane::Rollout
    } else {
        Pane::Trace
    };
    let top = needed_lines(needs, focus, rest.width)
        .clamp(rest.height / 2, rest.height - (rest.height * 2 / 5).max(6));
    let [top, bottom] =
        Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(rest);
    plan.panes = vec![(focus, top), (other, bottom)];
}

fn needed_lines(needs: &PaneNeeds<'_>, pane: Pane, width: u16) -> u16 {
    u16::try_from((needs.height)(pane, width)).unwrap_or(u16::MAX)
}

fn plan_wide(plan: &mut ScreenPlan, focus: Pane, needs: &PaneNeeds<'_>) {
    let body = plan.body;
    let left = left_width(body.width, needs.left);
    let [left, right] =
        Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let heights = stack_heights(usize::from(body.height), focus, |pane| {
        (needs.height)(pane, left.width)
    });
    let heights = heights.map(|h| Constraint::Length(u16::try_from(h).unwrap_or(u16::MAX)));
    let [apps, environments, lanes] = Layout::vertical(heights).areas(left);
    // Requests never end: the Trace pane gets what the Rollout pane leaves, but never too little to
    // be useful.
    let least = if focus == Pane::Trace {
        body.height / 2
    } else {
        (body.height * 3 / 10).max(7)
    };
    // Grow in steps of four lines, so that the pane below does not move with every line.
    let rollout = needed_lines(needs, Pane::Rollout, right.width).saturating_add(3) / 4 * 4;
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

/// Width of the left column: lists need only a limited width, and the right column uses the rest.
fn left_width(width: u16, need: usize) -> u16 {
    let usual = (width * 5 / 12).clamp(32, 50);
    let most = width * 19 / 40;
    u16::try_from(need)
        .unwrap_or(u16::MAX)
        .clamp(usual, most.max(usual))
}

/// Heights of the left panes: by need, the focused one first; spare lines are shared equally.
fn stack_heights(height: usize, focus: Pane, need: impl Fn(Pane) -> usize) -> [usize; 3] {
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
    let shares = share_room(height, &needs);
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

/// Number of text lines visible at this screen size.
pub fn text_height(size: (u16, u16)) -> usize {
    usize::from(size.1).saturating_sub(5).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_left_gets_what_it_needs_and_never_half() {
        assert_eq!([30, 38, 90].map(|need| left_width(80, need)), [33, 38, 38]);
        assert_eq!([30, 52, 90].map(|need| left_width(120, need)), [50, 52, 57]);
        assert_eq!(
            [30, 70, 300].map(|need| left_width(200, need)),
            [50, 70, 95]
        );
    }

    #[test]
    fn lists_share_by_need_and_the_one_with_the_keys_comes_first() {
        let need = |pane: Pane| match pane {
            Pane::Apps => 6,
            Pane::Environments => 8,
            _ => 60,
        };
        assert_eq!(stack_heights(21, Pane::Rollout, need), [6, 8, 7]);
        assert_eq!(stack_heights(21, Pane::Environments, need), [6, 8, 7]);
        assert_eq!(stack_heights(30, Pane::Lanes, |_| 6), [10, 10, 10]);
        for height in 10..60 {
            for focus in Pane::ALL {
                assert_eq!(
                    stack_heights(height, focus, need).iter().sum::<usize>(),
                    height
                );
            }
        }
    }
}
