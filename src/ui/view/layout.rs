//! Divides the screen among header, panes and footer.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::ui::{
    pane::{Pane, Place},
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

/// The screen is smaller than [`MIN_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("needs {}x{}, has {columns}x{rows}", MIN_SIZE.0, MIN_SIZE.1)]
pub(super) struct ScreenTooSmall {
    columns: u16,
    rows: u16,
}

/// Divides the screen; the error says that it is too small.
pub(super) fn plan_screen(
    area: Rect,
    focus: Pane,
    zoom: bool,
    needs: &PaneNeeds<'_>,
) -> Result<ScreenPlan, ScreenTooSmall> {
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return Err(ScreenTooSmall {
            columns: area.width,
            rows: area.height,
        });
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

/// Panes with such a place, in the order of their keys.
fn panes_at(place: Place) -> Vec<Pane> {
    let all = Pane::ALL.into_iter();
    all.filter(|pane| pane.behaviour().place() == place)
        .collect()
}

/// Narrow screens: the focused pane, and below it the one at the foot, or where that has the focus,
/// one that stands above it.
fn plan_narrow(plan: &mut ScreenPlan, focus: Pane, needs: &PaneNeeds<'_>) {
    let [tabs, rest] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(plan.body);
    plan.tabs = Some(tabs);
    let others = [Place::Foot, Place::Right].map(panes_at).concat();
    let other = others.into_iter().find(|pane| *pane != focus);
    let top = needed_lines(needs, focus, rest.width)
        .clamp(rest.height / 2, rest.height - (rest.height * 2 / 5).max(6));
    let [top, bottom] =
        Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(rest);
    plan.panes = vec![(focus, top)];
    plan.panes.extend(other.map(|pane| (pane, bottom)));
}

fn needed_lines(needs: &PaneNeeds<'_>, pane: Pane, width: u16) -> u16 {
    u16::try_from((needs.height)(pane, width)).unwrap_or(u16::MAX)
}

fn plan_wide(plan: &mut ScreenPlan, focus: Pane, needs: &PaneNeeds<'_>) {
    let width = left_width(plan.body.width, needs.left);
    let [left, right] =
        Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(plan.body);
    let lists = panes_at(Place::Left);
    let heights = stack_heights(usize::from(left.height), focus, &lists, |pane| {
        (needs.height)(pane, left.width)
    });
    let heights = heights.into_iter();
    let heights = heights.map(|h| Constraint::Length(u16::try_from(h).unwrap_or(u16::MAX)));
    let areas = Layout::vertical(heights).split(left);
    plan.panes = lists.into_iter().zip(areas.iter().copied()).collect();
    plan_right(plan, right, focus, needs);
}

/// The right column: the panes above by need, and the one at the foot gets what they leave, but
/// never too little to be useful.
fn plan_right(plan: &mut ScreenPlan, right: Rect, focus: Pane, needs: &PaneNeeds<'_>) {
    let (above, foot) = (panes_at(Place::Right), panes_at(Place::Foot));
    let least = if foot.contains(&focus) {
        right.height / 2
    } else {
        (right.height * 3 / 10).max(7)
    };
    let count = u16::try_from(above.len()).unwrap_or(1).max(1);
    let height = |pane: &Pane| {
        // Grow in steps of four lines, so that the pane below does not move with every line.
        let wanted = needed_lines(needs, *pane, right.width).saturating_add(3) / 4 * 4;
        let most = (right.height - least) / count;
        Constraint::Length(wanted.clamp(right.height * 2 / 5 / count, most))
    };
    let below = foot.iter().map(|_| Constraint::Fill(1));
    let heights: Vec<Constraint> = above.iter().map(height).chain(below).collect();
    let areas = Layout::vertical(heights).split(right);
    let panes = above.into_iter().chain(foot);
    plan.panes.extend(panes.zip(areas.iter().copied()));
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
fn stack_heights(
    height: usize,
    focus: Pane,
    panes: &[Pane],
    need: impl Fn(Pane) -> usize,
) -> Vec<usize> {
    let mut order = panes.to_vec();
    order.sort_by_key(|pane| *pane != focus);
    let least = |pane: Pane| {
        if pane == focus {
            height * 2 / 5
        } else {
            height / (panes.len() + 1)
        }
    };
    let needs: Vec<Need> = order
        .iter()
        .map(|pane| Need::new(least(*pane), need(*pane)))
        .collect();
    let shares = share_room(height, &needs);
    let spare = height.saturating_sub(shares.iter().sum());
    let share_of = |pane: &Pane| {
        let mut given = order.iter().zip(&shares);
        given
            .find(|(other, _)| *other == pane)
            .map_or(0, |(_, share)| *share)
    };
    let equal = spare / panes.len().max(1);
    let mut heights: Vec<usize> = panes.iter().map(|pane| share_of(pane) + equal).collect();
    // What division leaves over goes to the last one.
    let over = height.saturating_sub(heights.iter().sum());
    if let Some(last) = heights.last_mut() {
        *last += over;
    }
    heights
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
        let lists = panes_at(Place::Left);
        assert_eq!(lists, [Pane::Apps, Pane::Environments, Pane::Lanes]);
        assert_eq!(stack_heights(21, Pane::Rollout, &lists, need), [6, 8, 7]);
        assert_eq!(
            stack_heights(21, Pane::Environments, &lists, need),
            [6, 8, 7]
        );
        assert_eq!(stack_heights(30, Pane::Lanes, &lists, |_| 6), [10, 10, 10]);
        for height in 10..60 {
            for focus in Pane::ALL {
                let heights = stack_heights(height, focus, &lists, need);
                assert_eq!(heights.iter().sum::<usize>(), height);
            }
        }
    }
}
