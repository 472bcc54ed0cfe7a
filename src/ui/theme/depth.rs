//! Colour depth of the terminal, and conversion of colours to it.

use std::str::FromStr;

use ratatui::style::Color;

/// Colour depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 24-bit true colour.
    True,
    /// The 256 colours of xterm.
    Indexed,
    /// The 16 colours of the terminal's palette.
    Sixteen,
    /// No colours, only modifiers.
    Mono,
}

/// A word that names no depth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of true, 256, 16, mono")]
pub struct UnknownDepth(String);

impl FromStr for Depth {
    type Err = UnknownDepth;

    fn from_str(text: &str) -> Result<Self, UnknownDepth> {
        match text {
            "true" | "truecolor" | "truecolour" => Ok(Self::True),
            "256" => Ok(Self::Indexed),
            "16" => Ok(Self::Sixteen),
            "mono" | "none" | "never" => Ok(Self::Mono),
            _ => Err(UnknownDepth(text.to_owned())),
        }
    }
}

impl Depth {
    /// Detects the depth: the flag wins over `NO_COLOR`, that over `COLORTERM`, that over `TERM`.
    pub fn detect(flag: Option<Self>, env: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(depth) = flag {
            return depth;
        }
        if env("NO_COLOR").is_some_and(|v| !v.is_empty()) {
            return Self::Mono;
        }
        if env("COLORTERM").is_some_and(|v| v == "truecolor" || v == "24bit") {
            return Self::True;
        }
        let term = env("TERM").unwrap_or_default();
        match term.as_str() {
            "" | "dumb" => Self::Mono,
            t if t.ends_with("-direct") => Self::True,
            t if t.contains("256") || t.contains("kitty") || t.contains("alacritty") => {
                Self::Indexed
            }
            t if t.starts_with("vt1") || t.starts_with("vt2") => Self::Mono,
            _ => Self::Sixteen,
        }
    }
}

/// Converts a colour to this depth; `ansi` is used with 16 colours.
pub(super) fn resolve_colour(written: &str, ansi: Option<&str>, depth: Depth) -> Option<Color> {
    let exact = Color::from_str(written).ok()?;
    let Color::Rgb(r, g, b) = exact else {
        return Some(exact);
    };
    let named = ansi.map(|word| {
        if word == "none" {
            Some(Color::Reset)
        } else {
            Color::from_str(word).ok()
        }
    });
    match depth {
        Depth::True => Some(exact),
        Depth::Indexed => Some(Color::Indexed(nearest_indexed(r, g, b))),
        Depth::Sixteen | Depth::Mono => named.unwrap_or_else(|| Some(nearest_named(r, g, b))),
    }
}

fn colour_distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let d = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    2 * d(a.0, b.0) + 4 * d(a.1, b.1) + 3 * d(a.2, b.2)
}

/// The nearest colour of xterm's 6x6x6 cube and grey ramp.
fn nearest_indexed(r: u8, g: u8, b: u8) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let cube = (0..216u8).map(|i| {
        let level = |n: u8| LEVELS.get(usize::from(n % 6)).copied().unwrap_or(0);
        (16 + i, (level(i / 36), level(i / 6), level(i)))
    });
    let ramp = (0..24u8).map(|i| (232 + i, (8 + 10 * i, 8 + 10 * i, 8 + 10 * i)));
    cube.chain(ramp)
        .min_by_key(|(_, c)| colour_distance(*c, (r, g, b)))
        .map_or(15, |(i, _)| i)
}

fn nearest_named(r: u8, g: u8, b: u8) -> Color {
    let all = [
        (Color::Black, (0, 0, 0)),
        (Color::Red, (205, 49, 49)),
        (Color::Green, (13, 188, 121)),
        (Color::Yellow, (229, 229, 16)),
        (Color::Blue, (36, 114, 200)),
        (Color::Magenta, (188, 63, 188)),
        (Color::Cyan, (17, 168, 205)),
        (Color::Gray, (200, 200, 200)),
        (Color::DarkGray, (102, 102, 102)),
        (Color::White, (255, 255, 255)),
    ];
    all.into_iter()
        .min_by_key(|(_, c)| colour_distance(*c, (r, g, b)))
        .map_or(Color::Reset, |(c, _)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_then_no_color_then_colorterm_then_term() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |k: &str| {
                pairs
                    .iter()
                    .find(|(name, _)| *name == k)
                    .map(|(_, v)| (*v).to_owned())
            }
        };
        let all = &env(&[
            ("NO_COLOR", "1"),
            ("COLORTERM", "truecolor"),
            ("TERM", "xterm-256color"),
        ]);
        assert_eq!(Depth::detect(Some(Depth::Sixteen), all), Depth::Sixteen);
        assert_eq!(Depth::detect(None, all), Depth::Mono);
        assert_eq!(
            Depth::detect(None, env(&[("NO_COLOR", ""), ("COLORTERM", "24bit")])),
            Depth::True
        );
        assert_eq!(
            Depth::detect(None, env(&[("TERM", "xterm-256color")])),
            Depth::Indexed
        );
        assert_eq!(
            Depth::detect(None, env(&[("TERM", "xterm")])),
            Depth::Sixteen
        );
        assert_eq!(Depth::detect(None, env(&[])), Depth::Mono);
    }

    #[test]
    fn a_colour_finds_its_nearest() {
        assert_eq!(
            resolve_colour("#ff0000", None, Depth::Indexed),
            Some(Color::Indexed(196))
        );
        assert_eq!(
            resolve_colour("#080808", None, Depth::Indexed),
            Some(Color::Indexed(232))
        );
        assert_eq!(
            resolve_colour("#cd3131", None, Depth::Sixteen),
            Some(Color::Red)
        );
        assert_eq!(
            resolve_colour("#cd3131", Some("none"), Depth::Sixteen),
            Some(Color::Reset)
        );
        assert_eq!(resolve_colour("nonsense", None, Depth::True), None);
    }
}
