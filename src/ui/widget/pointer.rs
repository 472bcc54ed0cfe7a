//! What a pointer reaches on the screen. It is noted while it is drawn, so that a click never goes
//! to another place than the one that is seen there.

use ratatui::layout::{Position, Rect};

use super::Canvas;
use crate::ui::{model::SortColumn, pane::Pane, question::Focus};

/// A text that a person types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypedField {
    /// A field of a form.
    Form(usize),
    /// The name or the comment of a question.
    Question(Focus),
    /// The only text of an overlay: of the palette, a filter, a prompt.
    Line,
}

/// Something on the screen that a pointer can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointerTarget {
    /// A pane, or its name among the tabs.
    Pane(Pane),
    /// A row of the list around it.
    Row(usize),
    /// The title of a column that the pane's list can be sorted by.
    Heading(Pane, SortColumn),
    /// A field of a form.
    Field(usize),
    /// An option of a field.
    Choice {
        /// Index of the field.
        field: usize,
        /// Index of the option.
        option: usize,
    },
    /// A text that is typed.
    Typed {
        /// Which one.
        field: TypedField,
        /// Screen column of its first visible letter.
        start: u16,
        /// Columns of it that are hidden on the left.
        hidden: usize,
    },
    /// A text to read.
    Text,
    /// A question, with the first line that it shows when scrolled to its end.
    Question {
        /// Index of that line.
        last: usize,
    },
    /// A button of a question.
    Button(Focus),
    /// The palette.
    Palette,
    /// What takes no clicks and hides what is below it.
    Cover,
}

/// Everything that a pointer reaches on one screen; what covers others comes after them.
#[derive(Debug, Default)]
pub(crate) struct PointerMap {
    targets: Vec<(Rect, PointerTarget)>,
}

impl PointerMap {
    /// What is at a position, with the row of its list.
    pub(crate) fn find_target(
        &self,
        column: u16,
        row: u16,
    ) -> Option<(PointerTarget, Option<usize>)> {
        let here = Position::new(column, row);
        let mut index = None;
        for (area, target) in self.targets.iter().rev() {
            match target {
                _ if !area.contains(here) => {}
                PointerTarget::Row(i) => index = index.or(Some(*i)),
                target => return Some((*target, index)),
            }
        }
        None
    }
}

impl Canvas<'_> {
    /// Notes what a pointer reaches in an area.
    pub(crate) fn add_target(&mut self, area: Rect, target: PointerTarget) {
        let area = area.intersection(self.buf.area);
        if !area.is_empty() {
            self.pointer.targets.push((area, target));
        }
    }
}
