//! The signs on the screen: narrow and unambiguous, each with an ASCII stand-in of the same width.

use ratatui::symbols::border;

/// One set of signs. Meaning never hangs on colour alone: each state has its own sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glyphs {
    /// Done, as it should be.
    pub ok: &'static str,
    /// Failed, leaking.
    pub bad: &'static str,
    /// A person must act.
    pub wait: &'static str,
    /// Held.
    pub held: &'static str,
    /// Its turn has not come.
    pub idle: &'static str,
    /// Gone past, cleaned.
    pub gone: &'static str,
    /// Attention.
    pub warn: &'static str,
    /// A gray version; enabled; running.
    pub full: &'static str,
    /// The baseline; disabled; nothing there.
    pub empty: &'static str,
    /// Half way.
    pub half: &'static str,
    /// From one hop to the next.
    pub arrow: &'static str,
    /// The selected row.
    pub cursor: &'static str,
    /// A marked row.
    pub mark: &'static str,
    /// A pod of the new version, serving.
    pub new: &'static str,
    /// A pod of the new version, coming up.
    pub coming: &'static str,
    /// A pod of the old version.
    pub old: &'static str,
    /// Between two facts.
    pub dot: &'static str,
    /// Text was cut.
    pub more: &'static str,
    /// A tree's last branch.
    pub branch: &'static str,
    /// Rule line.
    pub rule: &'static str,
    /// Locked.
    pub lock: &'static str,
    /// Columns of a sparkline: nothing, then from low to high.
    pub spark: [&'static str; 9],
    /// Work under way, at 4 Hz.
    pub spin: &'static [&'static str],
    /// Every sign of ours must be ASCII.
    pub ascii: bool,
    /// Frames of panes.
    pub border: border::Set<'static>,
    /// Frames of what lies on top.
    pub strong: border::Set<'static>,
}

/// For UTF-8 terminals.
pub const UNICODE: Glyphs = Glyphs {
    ok: "✓",
    bad: "✗",
    wait: "◆",
    held: "‖",
    idle: "·",
    gone: "–",
    warn: "▲",
    full: "●",
    empty: "○",
    half: "◐",
    arrow: "→",
    cursor: "▌",
    mark: "+",
    new: "■",
    coming: "▣",
    old: "□",
    dot: "·",
    more: "…",
    branch: "└",
    rule: "─",
    lock: "⊘",
    spark: ["·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    spin: &["◐", "◓", "◑", "◒"],
    ascii: false,
    border: border::ROUNDED,
    strong: border::THICK,
};

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// For everything else.
pub const ASCII: Glyphs = Glyphs {
    ok: "v",
    bad: "x",
    wait: "?",
    held: "=",
    idle: ".",
    gone: "-",
    warn: "!",
    full: "@",
    empty: "o",
    half: "%",
    arrow: ">",
    cursor: ">",
    mark: "+",
    new: "#",
    coming: "*",
    old: "_",
    dot: "-",
    more: "~",
    branch: "`",
    rule: "-",
    lock: "L",
    spark: [".", "_", ",", "-", ":", "=", "+", "*", "#"],
    spin: &["|", "/", "-", "\\"],
    ascii: true,
    border: ASCII_BORDER,
    strong: ASCII_BORDER,
};

impl Glyphs {
    /// One column of a sparkline: `value` of at most `most`.
    pub fn column(&self, value: u64, most: u64) -> &'static str {
        let most = u128::from(most.max(1));
        let height = (u128::from(value) * 8).div_ceil(most).min(8);
        self.spark[usize::try_from(height).unwrap_or(8)]
    }

    /// The spinner's sign at a beat.
    pub fn spinner(&self, beat: u64) -> &'static str {
        let n = self.spin.len() as u64;
        self.spin
            .get(usize::try_from(beat % n.max(1)).unwrap_or(0))
            .copied()
            .unwrap_or(self.half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_high_as_its_share_and_one_of_something_is_not_empty() {
        let columns = [0, 1, 400, 500, 1000, 5000].map(|value| UNICODE.column(value, 1000));
        assert_eq!(columns, ["·", "▁", "▄", "▄", "█", "█"]);
        assert_eq!(ASCII.column(0, 0), ".");
        assert!(ASCII.spark.iter().all(|sign| sign.is_ascii()));
    }
}
