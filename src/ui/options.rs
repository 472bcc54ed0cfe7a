//! Appearance and behaviour of the cockpit, resolved from flags, environment variables and config.

use super::{
    glyph::{ASCII, Glyphs, UNICODE},
    keymap::Keymap,
    own_commands::OwnCommands,
    theme::{Depth, Theme},
};

/// Options as the user wrote them.
#[derive(Clone, Debug, Default)]
pub struct RequestedOptions {
    /// A built-in theme's name, or a name for `theme_file`.
    pub theme: Option<String>,
    /// Content of the user's theme file.
    pub theme_file: Option<String>,
    /// `--color`.
    pub depth: Option<Depth>,
    /// `--ascii`.
    pub ascii: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--mouse`.
    pub mouse: bool,
    /// Content of the user's keys file.
    pub keys: Option<String>,
    /// The file of the user's own commands: its name and its content.
    pub commands: Option<(String, String)>,
    /// What the header shows as the target: `pocket ~/.local/state/graylane`, `context prod-eu`.
    pub place: String,
}

/// Resolved options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Colour theme.
    pub theme: Theme,
    /// Colours that the terminal has.
    pub depth: Depth,
    /// Symbols.
    pub glyphs: Glyphs,
    /// Key bindings.
    pub keymap: Keymap,
    /// The user's own commands.
    pub own_commands: OwnCommands,
    /// Disable actions that change something.
    pub read_only: bool,
    /// Ask the terminal for clicks and the wheel.
    pub mouse: bool,
    /// What the header shows as the target.
    pub place: String,
    /// Options that could not be used; defaults replace them.
    pub faults: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self::resolve(
            &RequestedOptions {
                depth: Some(Depth::True),
                ..RequestedOptions::default()
            },
            |_| None,
        )
    }
}

impl Options {
    /// Resolves the options. Every error becomes a notice; none prevents the start.
    pub fn resolve(wanted: &RequestedOptions, env: impl Fn(&str) -> Option<String>) -> Self {
        let mut faults = vec![];
        let depth = Depth::detect(wanted.depth, &env);
        let name = wanted.theme.as_deref().unwrap_or("default");
        let theme = match &wanted.theme_file {
            Some(text) => Theme::from_user(text, name, depth),
            None => Theme::built_in(name, depth),
        };
        let theme = theme.unwrap_or_else(|e| {
            faults.push(e.to_string());
            Theme::built_in("default", depth).unwrap_or_else(|_| Theme::for_tests())
        });
        let keymap = match wanted.keys.as_deref().map(Keymap::with_overrides) {
            None => Keymap::default(),
            Some(Ok(keymap)) => keymap,
            Some(Err(all)) => {
                faults.extend(all.0.iter().map(ToString::to_string));
                Keymap::default()
            }
        };
        let own_commands = match &wanted.commands {
            None => OwnCommands::default(),
            Some((file, text)) => OwnCommands::parse(file, text, &keymap).unwrap_or_else(|all| {
                faults.extend(all.0.iter().map(ToString::to_string));
                OwnCommands::default()
            }),
        };
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|k| env(k).filter(|v| !v.is_empty()));
        let utf8 = utf8.is_none_or(|v| v.to_lowercase().replace('-', "").contains("utf8"));
        // The Linux console's font lacks most of our symbols.
        let console = env("TERM").is_some_and(|term| term == "linux");
        let glyphs = if wanted.ascii || console || !utf8 {
            ASCII
        } else {
            UNICODE
        };
        Self {
            theme,
            depth,
            glyphs,
            keymap,
            own_commands,
            read_only: wanted.read_only,
            mouse: wanted.mouse,
            place: wanted.place.clone(),
            faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_told_and_replaced() {
        let wanted = RequestedOptions {
            theme: Some("mine".into()),
            theme_file: Some("nonsense".into()),
            keys: Some("[apps]\nfly = [\"f\"]\n[global]\nquit = [\"nokey\"]".into()),
            ..RequestedOptions::default()
        };
        let options = Options::resolve(&wanted, |_| None);
        assert!(options.faults.len() >= 3, "{:?}", options.faults);
        assert_eq!(
            options.theme,
            Theme::built_in("default", Depth::Mono).unwrap()
        );
    }

    #[test]
    fn a_locale_without_utf8_gets_ascii() {
        let latin = Options::resolve(&RequestedOptions::default(), |k| {
            (k == "LANG").then(|| "de_DE.ISO-8859-1".into())
        });
        assert_eq!(latin.glyphs, ASCII);
        let utf8 = Options::resolve(&RequestedOptions::default(), |k| {
            (k == "LANG").then(|| "C.UTF-8".into())
        });
        assert_eq!(utf8.glyphs, UNICODE);
        let console = |k: &str| match k {
            "LANG" => Some("C.UTF-8".into()),
            "TERM" => Some("linux".into()),
            _ => None,
        };
        assert_eq!(
            Options::resolve(&RequestedOptions::default(), console).glyphs,
            ASCII,
            "the console's font"
        );
    }
}
