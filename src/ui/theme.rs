//! Colours by role: a theme defines a palette and a few roles in TOML; the code derives the rest.
//!
//! The colour depth is resolved here, once: true colour, the nearest of 256, one of 16, or none.
//! Without colour only modifiers are used (crossterm's own `NO_COLOR` drops bold and reverse).

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

mod depth;
pub use depth::{Depth, UnknownDepth};

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Background of the screen.
    Ground,
    /// Normal text.
    Text,
    /// Less important text.
    Muted,
    /// Current location.
    Accent,
    /// Success.
    Ok,
    /// In progress.
    Busy,
    /// Somebody should look or act.
    Warn,
    /// Failure.
    Bad,
    /// A gray version or a lane.
    Lane,
    /// Background of the selected row.
    Selected,
    /// Frame of a pane.
    Border,
    /// Frame of the focused pane.
    Focus,
    /// Title of a pane.
    Title,
    /// A key binding.
    Key,
    /// Prominent label on its own background.
    Alarm,
    /// Quiet label on its own background.
    Badge,
    /// A word that was searched.
    Match,
    /// One of several things of the same kind, such as pods in a log.
    Series1,
    /// The next one.
    Series2,
    /// The next one.
    Series3,
    /// The next one.
    Series4,
    /// The next one.
    Series5,
}

impl Role {
    /// All roles, in order.
    pub const ALL: [Self; 22] = [
        Self::Ground,
        Self::Text,
        Self::Muted,
        Self::Accent,
        Self::Ok,
        Self::Busy,
        Self::Warn,
        Self::Bad,
        Self::Lane,
        Self::Selected,
        Self::Border,
        Self::Focus,
        Self::Title,
        Self::Key,
        Self::Alarm,
        Self::Badge,
        Self::Match,
        Self::Series1,
        Self::Series2,
        Self::Series3,
        Self::Series4,
        Self::Series5,
    ];

    /// Roles for things of the same kind; without colour they look the same.
    pub const SERIES: [Self; 5] = [
        Self::Series1,
        Self::Series2,
        Self::Series3,
        Self::Series4,
        Self::Series5,
    ];

    /// Name in theme files and snapshots.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ground => "ground",
            Self::Text => "text",
            Self::Muted => "muted",
            Self::Accent => "accent",
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Lane => "lane",
            Self::Selected => "selected",
            Self::Border => "border",
            Self::Focus => "focus",
            Self::Title => "title",
            Self::Key => "key",
            Self::Alarm => "alarm",
            Self::Badge => "badge",
            Self::Match => "match",
            Self::Series1 => "series1",
            Self::Series2 => "series2",
            Self::Series3 => "series3",
            Self::Series4 => "series4",
            Self::Series5 => "series5",
        }
    }
}

/// A style for every role.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// Name of the theme.
    pub name: String,
    styles: [Style; Role::ALL.len()],
}

/// Why a theme cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// The file is not TOML or does not have a theme's structure.
    #[error("theme {0}: {1}")]
    Form(String, String),
    /// A colour that is neither `#rrggbb`, nor an ANSI name, nor in the palette.
    #[error(
        "theme {theme}: role {role}: {colour:?} is not a colour: write #rrggbb, an ANSI name, or a name of [palette]"
    )]
    Colour {
        /// Name of the theme.
        theme: String,
        /// Name of the role.
        role: String,
        /// Colour as written.
        colour: String,
    },
    /// There is no built-in theme of this name.
    #[error("no theme {0:?}: there are {names}, or give a path to a .toml file", names = Theme::names().join(", "))]
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThemeFile {
    name: String,
    #[serde(default)]
    palette: BTreeMap<String, Swatch>,
    role: BTreeMap<Role, Paint>,
}

/// `"#rrggbb"`, optionally with the ANSI name to use with 16 colours.
#[derive(Deserialize)]
#[serde(untagged)]
enum Swatch {
    Plain(String),
    Both { hex: String, ansi: String },
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Paint {
    fg: Option<String>,
    bg: Option<String>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underlined: bool,
    #[serde(default)]
    reversed: bool,
}

const BUILT_IN: [(&str, &str); 5] = [
    ("default", include_str!("../../themes/default.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("contrast", include_str!("../../themes/contrast.toml")),
    ("colorblind", include_str!("../../themes/colorblind.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

impl Theme {
    /// Names of the built-in themes.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// A built-in theme. Without colour it is always the mono theme.
    pub fn built_in(name: &str, depth: Depth) -> Result<Self, ThemeError> {
        let name = if depth == Depth::Mono { "mono" } else { name };
        let text = BUILT_IN
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, text)| *text);
        Self::parse_theme(
            text.ok_or_else(|| ThemeError::Unknown(name.into()))?,
            name,
            depth,
        )
    }

    /// A user's theme; missing roles come from the default theme.
    pub fn from_user(text: &str, place: &str, depth: Depth) -> Result<Self, ThemeError> {
        let own = Self::parse_theme(text, place, depth)?;
        if depth == Depth::Mono {
            Self::built_in("mono", depth)
        } else {
            Ok(own)
        }
    }

    fn parse_theme(text: &str, place: &str, depth: Depth) -> Result<Self, ThemeError> {
        let form = |e: toml::de::Error| {
            ThemeError::Form(place.into(), e.to_string().trim().replace('\n', " "))
        };
        let file: ThemeFile = toml::from_str(text).map_err(form)?;
        // The fallback theme has no fallback itself.
        let base = if depth == Depth::Mono {
            "mono"
        } else {
            "default"
        };
        let fallback = (place != base)
            .then(|| Self::built_in(base, depth))
            .transpose()?;
        let mut styles = fallback.map_or([Style::new(); Role::ALL.len()], |theme| theme.styles);
        for (role, paint) in &file.role {
            let colour =
                |written: &Option<String>| file.resolve_colour(written, *role, place, depth);
            let mut style = Style::new();
            style.fg = colour(&paint.fg)?;
            style.bg = colour(&paint.bg)?;
            let modifiers = [
                (paint.bold, Modifier::BOLD),
                (paint.dim, Modifier::DIM),
                (paint.italic, Modifier::ITALIC),
                (paint.underlined, Modifier::UNDERLINED),
                (paint.reversed, Modifier::REVERSED),
            ];
            style = dim_if_grey(style, *role, depth);
            for (_, modifier) in modifiers.iter().filter(|(on, _)| *on) {
                style = style.add_modifier(*modifier);
            }
            if let Some(slot) = styles.get_mut(*role as usize) {
                *slot = style;
            }
        }
        derive_styles(&mut styles, |role| !file.role.contains_key(&role));
        Ok(Self {
            name: file.name,
            styles,
        })
    }

    /// A theme for tests in which the foreground (or the background, for roles that paint it)
    /// encodes the role, so that a new palette changes no snapshot.
    pub fn for_tests() -> Self {
        let mut styles = [Style::new(); Role::ALL.len()];
        for (role, slot) in Role::ALL.iter().zip(&mut styles) {
            let colour = Color::Indexed(*role as u8);
            *slot = match role {
                Role::Ground | Role::Selected => Style::new().bg(colour),
                _ => Style::new().fg(colour),
            };
        }
        Self {
            name: "telling".into(),
            styles,
        }
    }

    /// Style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }
}

impl ThemeFile {
    /// The colour that a role is written with: one of the palette or itself.
    fn resolve_colour(
        &self,
        written: &Option<String>,
        role: Role,
        place: &str,
        depth: Depth,
    ) -> Result<Option<Color>, ThemeError> {
        let Some(written) = written else {
            return Ok(None);
        };
        let swatch = self.palette.get(written);
        let found = match swatch {
            Some(Swatch::Plain(hex)) => depth::resolve_colour(hex, None, depth),
            Some(Swatch::Both { hex, ansi }) => depth::resolve_colour(hex, Some(ansi), depth),
            None => depth::resolve_colour(written, None, depth),
        };
        found.map(Some).ok_or_else(|| ThemeError::Colour {
            theme: place.into(),
            role: role.word().into(),
            colour: written.clone(),
        })
    }
}

/// Derives the roles that a theme need not have from those that it has: a match is a warning in
/// reverse, and a series takes the colours of others without their weight.
fn derive_styles(styles: &mut [Style; Role::ALL.len()], is_missing: impl Fn(Role) -> bool) {
    let style =
        |styles: &[Style], role: Role| styles.get(role as usize).copied().unwrap_or_default();
    let matched = Style {
        fg: style(styles, Role::Warn).fg,
        ..Style::new()
    };
    let matched = matched.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let origins = [Role::Accent, Role::Lane, Role::Busy, Role::Ok, Role::Warn];
    let series = Role::SERIES.into_iter().zip(origins).map(|(role, origin)| {
        let plain = Style {
            fg: style(styles, origin).fg,
            ..Style::new()
        };
        (role, plain)
    });
    let derived: Vec<(Role, Style)> = series.chain([(Role::Match, matched)]).collect();
    for (role, style) in derived.into_iter().filter(|(role, _)| is_missing(*role)) {
        if let Some(slot) = styles.get_mut(role as usize) {
            *slot = style;
        }
    }
}

/// In many palettes the terminal's greys equal the text or the background colour, so muted text is
/// dimmed instead.
fn dim_if_grey(style: Style, role: Role, depth: Depth) -> Style {
    let grey = matches!(style.fg, Some(Color::Gray | Color::DarkGray));
    if depth != Depth::Sixteen || role != Role::Muted || !grey {
        return style;
    }
    Style {
        fg: Some(Color::Reset),
        ..style
    }
    .add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_theme_has_every_role_at_every_depth() {
        for name in Theme::names() {
            for depth in [Depth::True, Depth::Indexed, Depth::Sixteen, Depth::Mono] {
                let theme = Theme::built_in(name, depth).unwrap();
                for role in [Role::Bad, Role::Selected, Role::Focus, Role::Alarm] {
                    assert_ne!(theme.style(role), Style::new(), "{name} {depth:?} {role:?}");
                }
                if depth == Depth::Mono {
                    for role in Role::ALL {
                        let style = theme.style(role);
                        assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn with_sixteen_colours_what_is_quiet_is_dim() {
        for name in Theme::names() {
            let theme = Theme::built_in(name, Depth::Sixteen).unwrap();
            let (muted, text) = (theme.style(Role::Muted), theme.style(Role::Text));
            assert!(
                muted.add_modifier.contains(Modifier::DIM),
                "{name}: {muted:?}"
            );
            assert!(
                !text.add_modifier.contains(Modifier::DIM),
                "{name}: {text:?}"
            );
        }
    }

    #[test]
    fn a_user_theme_patches_the_default_and_names_its_faults() {
        let theme = Theme::from_user(
            "name = \"mine\"\n[role]\nok = { fg = \"#00ff00\" }",
            "mine.toml",
            Depth::True,
        )
        .unwrap();
        assert_eq!(theme.style(Role::Ok).fg, Some(Color::Rgb(0, 255, 0)));
        assert_eq!(
            theme.style(Role::Bad),
            Theme::built_in("default", Depth::True)
                .unwrap()
                .style(Role::Bad)
        );
        let wrong = Theme::from_user(
            "name = \"x\"\n[role]\nok = { fg = \"grün\" }",
            "x.toml",
            Depth::True,
        )
        .unwrap_err();
        assert!(
            wrong.to_string().contains("role ok") && wrong.to_string().contains("grün"),
            "{wrong}"
        );
        let wrong = Theme::from_user(
            "name = \"x\"\n[role]\nokay = { fg = \"red\" }",
            "x.toml",
            Depth::True,
        )
        .unwrap_err();
        assert!(wrong.to_string().contains("okay"), "{wrong}");
    }
}
