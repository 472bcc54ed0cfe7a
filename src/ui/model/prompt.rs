//! A line in place of the footer in which a word to search or the name of a file is typed.

use tui_input::Input;

/// What the line is for.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptKind {
    /// A word to search in the text below; what was searched before, and where the text stood.
    Search {
        /// The word before.
        before: String,
        /// First visible row before.
        top: usize,
        /// Whether the newest line was kept in view.
        follow: bool,
    },
    /// The file that the text below is saved to.
    Save,
}

/// An open line.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What it is for.
    pub kind: PromptKind,
    /// What was typed.
    pub input: Input,
}
