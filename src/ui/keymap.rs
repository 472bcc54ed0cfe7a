//! The key bindings. Dispatch, footer, help, palette, `docs/keys.md` and user overrides all use this table.

use std::collections::HashMap;

use crokey::{KeyCombination, KeyCombinationFormat, OneToThree};
use crossterm::event::{KeyCode, KeyModifiers};

mod patch;

pub use super::action::{Action, Danger};
pub use patch::{KeyFault, KeyFaults};

macro_rules! contexts {
    ($($name:ident $word:literal $title:literal;)*) => {
        /// Where a key binding applies. Several contexts are active at once, the most specific first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum KeyContext { $(#[doc = $title] $name,)* }

        impl KeyContext {
            /// All contexts, in help order.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$name,)*];

            /// Name in the user's keys file.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Title in the help text.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

// name, name in the user's keys file, title in the help text
contexts! {
    Global "global" "Everywhere";
    Move "move" "Lists and texts";
    Apps "apps" "Apps";
    Release "release" "Releases (in Apps, Environments and Rollout)";
    Environments "environments" "Environments and pods";
    Lanes "lanes" "Lanes";
    Trace "trace" "Trace";
    Text "text" "Logs, YAML and other texts";
    Form "form" "Forms";
    Confirm "confirm" "Confirmations";
    Line "line" "Palette and filter line";
}

impl KeyContext {
    /// Active only in overlays.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Text | Self::Form | Self::Confirm | Self::Line)
    }

    /// Active in some panes only.
    pub const fn is_of_panes(self) -> bool {
        !self.is_over() && !matches!(self, Self::Global | Self::Move)
    }
}

/// One key binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Where the binding applies.
    pub context: KeyContext,
    /// Keys; when empty, the action is reachable through the palette only.
    pub keys: Vec<KeyCombination>,
    /// What the keys do.
    pub action: Action,
}

/// The active key bindings.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
    index: HashMap<(KeyContext, KeyCombination), Action>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self::from_bindings(built_in_bindings())
    }
}

/// The order of contexts in help, and in which the key of an action is looked for: those of panes,
/// everywhere, those of overlays.
fn binding_order(context: KeyContext) -> (bool, bool, KeyContext) {
    (context.is_over(), !context.is_of_panes(), context)
}

/// The built-in bindings, by context and place. Keys that do not parse are skipped; a test ensures
/// that there are none.
fn built_in_bindings() -> Vec<Binding> {
    let mut placed: Vec<(u8, Binding)> = Action::ALL
        .iter()
        .flat_map(|action| {
            let keys = action.row().keys.iter();
            keys.map(|(context, place, keys)| {
                let binding = Binding {
                    context: *context,
                    keys: keys.split(' ').filter_map(parse_key).collect(),
                    action: *action,
                };
                (*place, binding)
            })
        })
        .collect();
    placed.sort_by_key(|(place, binding)| (binding_order(binding.context), *place));
    placed.into_iter().map(|(_, binding)| binding).collect()
}

impl Keymap {
    fn from_bindings(bindings: Vec<Binding>) -> Self {
        let index = bindings
            .iter()
            .flat_map(|b| b.keys.iter().map(move |key| ((b.context, *key), b.action)))
            .collect();
        Self { bindings, index }
    }

    /// The built-in bindings with a user's overrides applied.
    pub fn with_overrides(text: &str) -> Result<Self, KeyFaults> {
        patch::apply_overrides(built_in_bindings(), text).map(Self::from_bindings)
    }

    /// All bindings, in help order.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The action of a key in the first of these contexts that binds it.
    pub fn find_action(&self, contexts: &[KeyContext], key: KeyCombination) -> Option<Action> {
        let key = normalize_key(key);
        contexts
            .iter()
            .find_map(|context| self.index.get(&(*context, key)).copied())
    }

    /// The first key of an action in these contexts.
    pub fn first_key(&self, contexts: &[KeyContext], action: Action) -> Option<String> {
        self.bindings
            .iter()
            .find(|b| b.action == action && contexts.contains(&b.context))
            .and_then(|b| b.keys.first())
            .map(|key| format_key(*key))
    }

    /// The first key of an action in this context, else its palette command; for use in sentences.
    pub fn key_within(&self, context: KeyContext, action: Action) -> String {
        self.first_key(&[context], action)
            .unwrap_or_else(|| format!(":{}", action.word()))
    }

    /// The first key of an action in any context, else its palette command.
    pub fn key_anywhere(&self, action: Action) -> String {
        self.first_key(&KeyContext::ALL, action)
            .unwrap_or_else(|| format!(":{}", action.word()))
    }
}

/// Parses one key: `q`, `R`, `ctrl-l`, `tab`, `?`.
pub fn parse_key(text: &str) -> Option<KeyCombination> {
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return Some(normalize_key(KeyCombination::one_key(
            KeyCode::Char(c),
            KeyModifiers::NONE,
        )));
    }
    crokey::parse(text).ok().map(normalize_key)
}

/// Normalizes a key: capital letters keep Shift, symbols drop it, because terminals differ.
pub(super) fn normalize_key(key: KeyCombination) -> KeyCombination {
    let mut key = key.normalized();
    if let OneToThree::One(KeyCode::Char(c)) = key.codes
        && !c.is_alphabetic()
    {
        key.modifiers.remove(KeyModifiers::SHIFT);
    }
    key
}

/// Formats a key for the screen.
pub fn format_key(key: KeyCombination) -> String {
    match key.codes {
        OneToThree::One(KeyCode::Up) => return "↑".into(),
        OneToThree::One(KeyCode::Down) => return "↓".into(),
        OneToThree::One(KeyCode::Left) => return "←".into(),
        OneToThree::One(KeyCode::Right) => return "→".into(),
        OneToThree::One(KeyCode::BackTab) => return "S-Tab".into(),
        _ => {}
    }
    KeyCombinationFormat::default()
        .with_implicit_shift()
        .with_control("Ctrl-")
        .to_string(key)
}

/// Formats a key for a keys file; [`parse_key`] reads it back.
pub fn format_config_key(key: KeyCombination) -> String {
    match key.codes {
        OneToThree::One(KeyCode::Char(c))
            if c != ' ' && (key.modifiers - KeyModifiers::SHIFT).is_empty() =>
        {
            c.into()
        }
        _ => KeyCombinationFormat::default()
            .with_lowercase_modifiers()
            .to_string(key)
            .to_lowercase(),
    }
}
