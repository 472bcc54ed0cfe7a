//! Sorting the rows of a list, and scrolling them sideways.

use crate::ui::{
    effect::Effect,
    model::{Level, Model},
    view,
};

/// Columns that one key press scrolls by.
const SCROLL_STEP: usize = 8;

/// Sorts the focused list by its next column, or turns its order round.
pub(in crate::ui) fn sort_rows(model: &mut Model, reverse: bool) -> Vec<Effect> {
    match model.sortable_list(model.pane) {
        Some(list) if reverse => model.reverse_sort_order(list),
        Some(list) => model.sort_by_next_column(list),
        None => {
            let words = format!("{} has an order of its own", model.pane.title());
            model.add_notice(Level::Info, words, vec![]);
        }
    }
    vec![]
}

/// Scrolls the rows of the focused list.
pub(in crate::ui) fn scroll_rows(model: &mut Model, right: bool) -> Vec<Effect> {
    let now = model.scrolled.get(&model.pane).copied().unwrap_or(0);
    let limit = view::scroll_limit(model);
    let next = if right {
        now + SCROLL_STEP
    } else {
        now.min(limit).saturating_sub(SCROLL_STEP)
    };
    let next = next.min(limit);
    if next > 0 {
        model.scrolled.insert(model.pane, next);
    } else {
        model.scrolled.remove(&model.pane);
        if right {
            let words = "nothing is cut in this list";
            model.add_notice(Level::Info, words, vec![]);
        }
    }
    vec![]
}
