//! The head of a pane: its key and name, what filters it, and how it is sorted.

use crate::ui::{
    keymap::KeyContext,
    model::Model,
    pane::Pane,
    theme::Role,
    widget::{RichText, fits_frame},
};

/// The key that focuses a pane.
pub(in crate::ui) fn pane_key(model: &Model, pane: Pane) -> String {
    model
        .options
        .keymap
        .first_key(&[KeyContext::Global], pane.behaviour().focus_action())
        .unwrap_or_default()
}

/// Title of a pane: key, name, filter.
pub(in crate::ui) fn pane_title(model: &Model, pane: Pane) -> RichText {
    let mut line = RichText::styled(Role::Key, pane_key(model, pane))
        .add(Role::Title, format!(" {}", pane.title()));
    // The lists show the rows of all namespaces, the others those of the current one.
    let namespace = &model.world.namespace;
    if model.shows_all && !namespace.is_empty() && !pane.behaviour().lists_all_namespaces() {
        line.push(Role::Muted, format!(" {namespace}"));
    }
    match model.pane_filter(pane) {
        "" => line,
        filter => line.add(Role::Warn, format!(" /{filter}")),
    }
}

/// Title of a pane with the order of its list. The default order is told where there is room and it
/// is not that of the objects themselves.
pub(in crate::ui) fn add_sort_order(
    model: &Model,
    pane: Pane,
    title: RichText,
    facts: &RichText,
    width: u16,
) -> RichText {
    let Some(list) = model.sortable_list(pane) else {
        return title;
    };
    let order = model.sort_order(list);
    let chosen = order != list.default_order();
    let role = if chosen { Role::Accent } else { Role::Muted };
    // In ASCII the arrow is a letter, which must not become part of the word.
    let way = match (order.descends(), model.options.glyphs.ascii) {
        (true, false) => "↓",
        (false, false) => "↑",
        (true, true) => "↓ ",
        (false, true) => "↑ ",
    };
    let told = title
        .clone()
        .add(role, format!(" {way}{}", order.column.word()));
    let worth = model.zoom || list.tells_default;
    if chosen || worth && fits_frame(&told, facts, width) {
        told
    } else {
        title
    }
}
