//! Filters, and what is selected among the rows of a pane.

use super::Model;
use crate::{api::ObjectRef, ui::pane::Pane};

/// Whether a text passes a filter: case-insensitive containment; a leading `!` inverts the filter.
pub fn matches_filter(filter: &str, text: &str) -> bool {
    let (wanted, part) = match filter.strip_prefix('!') {
        Some(part) => (false, part),
        None => (true, filter),
    };
    part.is_empty() || text.to_lowercase().contains(&part.to_lowercase()) == wanted
}

impl Model {
    /// Filter of a pane; empty when there is none.
    pub fn pane_filter(&self, pane: Pane) -> &str {
        self.filters.get(&pane).map_or("", String::as_str)
    }

    /// Number of rows of a pane, and the index of the selected one.
    pub fn row_position(&self, pane: Pane) -> (usize, Option<usize>) {
        pane.behaviour().row_position(self)
    }

    /// Selects a row of the focused pane.
    pub fn select_row(&mut self, row: usize) {
        self.pane.behaviour().select_row(self, row);
    }

    /// The selected object.
    pub fn selected_object(&self) -> Option<ObjectRef> {
        self.pane.behaviour().selected_object(self)
    }

    /// One of graylane's own objects in the current namespace.
    pub(in crate::ui) fn own_object(&self, kind: &str, name: &str) -> ObjectRef {
        ObjectRef::own_resource(kind, &self.world.namespace, name)
    }

    /// Replaces selections that the new world no longer contains by a neighbour; `row` is where the
    /// selected App was.
    pub fn repair_selection(&mut self, row: Option<usize>) {
        let gone = self
            .app
            .as_ref()
            .is_none_or(|name| !self.world.apps.contains_key(name));
        if gone {
            let (here, mut rows) = (self.world.namespace.clone(), self.visible_apps());
            // What is open is about this namespace: nothing may lead it to another one.
            if !self.overlays.is_empty() {
                rows.retain(|row| row.scope.name() == here);
            }
            let row = row.unwrap_or(0).min(rows.len().saturating_sub(1));
            let next = rows.get(row).map(|row| row.scope.key_of(row.name));
            // A filter may hide every App that is left.
            let hidden = || self.world.apps.keys().next();
            let next = next.or_else(|| hidden().map(|name| self.current_scope().key_of(name)));
            if let Some(key) = &next {
                self.enter_namespace(&key.namespace.name);
            }
            self.select_app(next.map(|key| key.name));
        }
        let mut marked = std::mem::take(&mut self.marked);
        marked.retain(|key| {
            let scope = self.scope_of(&key.namespace.name);
            scope.is_some_and(|s| s.world.apps.contains_key(&key.name))
        });
        self.marked = marked;
        if self.drilled
            && self
                .pod
                .as_ref()
                .is_some_and(|key| !self.world.pods.contains_key(key))
        {
            self.pod = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches_filter;

    #[test]
    fn a_filter_finds_in_any_case_and_turns_round() {
        assert!(matches_filter("", "anything") && matches_filter("!", "anything"));
        assert!(
            matches_filter("CLOUD-a", "spring-cloud-A") && !matches_filter("b", "spring-cloud-a")
        );
        assert!(
            !matches_filter("!cloud", "spring-cloud-a") && matches_filter("!x", "spring-cloud-a")
        );
    }
}
