//! Who gets which part of the screen.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::ui::model::Pane;

/// The least that anything is shown in.
const LEAST: (u16, u16) = (60, 20);

/// The parts of one screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Two lines.
    pub header: Rect,
    /// Names of panes, where not all are seen.
    pub tabs: Option<Rect>,
    /// Everything between.
    pub body: Rect,
    /// The panes that are seen.
    pub panes: Vec<(Pane, Rect)>,
    /// One line.
    pub footer: Rect,
}

/// Cuts the screen up; the error is what to say when it is too small.
pub fn plan(area: Rect, focus: Pane, zoom: bool) -> Result<Plan, String> {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return Err(format!("needs {}x{}, has {}x{}", LEAST.0, LEAST.1, area.width, area.height));
    }
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let mut plan = Plan { header, tabs: None, body, panes: vec![], footer };
    if zoom {
        let [tabs, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(body);
        plan.tabs = Some(tabs);
        plan.panes = vec![(focus, rest)];
    } else if area.width < 80 {
        narrow(&mut plan, focus);
    } else {
        wide(&mut plan, focus);
    }
    Ok(plan)
}

/// One pane at a time, and beneath it the one that on-call must not lose sight of.
fn narrow(plan: &mut Plan, focus: Pane) {
    let [tabs, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(plan.body);
    plan.tabs = Some(tabs);
    let other = if focus == Pane::Trace { Pane::Rollout } else { Pane::Trace };
    let low = (rest.height * 2 / 5).max(6);
    let [top, bottom] = Layout::vertical([Constraint::Fill(1), Constraint::Length(low)]).areas(rest);
    plan.panes = vec![(focus, top), (other, bottom)];
}

fn wide(plan: &mut Plan, focus: Pane) {
    let body = plan.body;
    // What stands left needs no more than this; what stands right lives by width.
    let left = (u32::from(body.width) * 5 / 12).clamp(32, 64) as u16;
    let [left, right] = Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas(body);
    let height = body.height;
    let heights = if height >= 30 {
        let third = height * 3 / 10;
        [third, third, height - 2 * third]
    } else {
        // Little room: the pane with the keys gets two lines of each other one.
        let third = height / 3;
        let mut heights = [third, third, height - 2 * third];
        let at = match focus {
            Pane::Apps => Some(0),
            Pane::Environments => Some(1),
            Pane::Lanes => Some(2),
            Pane::Rollout | Pane::Trace => None,
        };
        if let Some(at) = at {
            for (i, h) in heights.iter_mut().enumerate() {
                *h = if i == at { *h + 2 } else { *h - 1 };
            }
        }
        heights
    };
    let [apps, environments, lanes] = Layout::vertical(heights.map(Constraint::Length)).areas(left);
    let trace = if focus == Pane::Trace { height / 2 } else { height * 2 / 5 };
    let [rollout, trace] = Layout::vertical([Constraint::Fill(1), Constraint::Length(trace)]).areas(right);
    plan.panes = vec![
        (Pane::Apps, apps),
        (Pane::Environments, environments),
        (Pane::Lanes, lanes),
        (Pane::Rollout, rollout),
        (Pane::Trace, trace),
    ];
}

/// Lines of an open text that are seen at that size.
pub fn text_height(size: (u16, u16)) -> usize {
    usize::from(size.1).saturating_sub(5).max(1)
}
