//! Symbols on the screen: narrow and unambiguous, each with an ASCII replacement of the same width.

use ratatui::symbols::border;

/// A set of symbols. Each state has its own symbol, so no meaning depends on colour alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glyphs {
    /// Done, correct.
    pub ok: &'static str,
    /// Failed, leaking.
    pub bad: &'static str,
    /// A person must act.
    pub wait: &'static str,
    /// Paused.
    pub held: &'static str,
    /// Not started.
    pub idle: &'static str,
    /// Skipped, cleaned.
    pub gone: &'static str,
    /// Warning.
    pub warn: &'static str,
    /// A gray version; enabled; running.
    pub full: &'static str,
    /// The baseline; disabled; no workload.
    pub empty: &'static str,
    /// In progress.
    pub half: &'static str,
    /// From one hop to the next.
    pub arrow: &'static str,
    /// The selected row.
    pub cursor: &'static str,
    /// A marked row.
    pub mark: &'static str,
    /// A ready pod of the new version.
    pub new: &'static str,
    /// A starting pod of the new version.
    pub coming: &'static str,
    /// A pod of the old version.
    pub old: &'static str,
    /// Separator between two facts.
    pub dot: &'static str,
    /// Truncated text.
    pub more: &'static str,
    /// Last branch of a tree.
    pub branch: &'static str,
    /// Horizontal rule.
    pub rule: &'static str,
    /// Locked.
    pub lock: &'static str,
    /// Sparkline columns: zero, then from low to high.
    pub spark: [&'static str; 9],
    /// Spinner frames, at 4 Hz.
    pub spin: &'static [&'static str],
    /// Every symbol must be ASCII.
    pub ascii: bool,
    /// Frame of a pane.
    pub border: border::Set<'static>,
    /// Frame of an overlay.
    pub strong: border::Set<'static>,
}

/// Symbols for UTF-8 terminals.
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

/// Symbols for all other terminals.
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
    /// One sparkline column for `value`, scaled so that `most` is full height.
    pub fn spark_column(&self, value: u64, most: u64) -> &'static str {
        let most = u128::from(most.max(1));
        let height = (u128::from(value) * 8).div_ceil(most).min(8);
        self.spark[usize::try_from(height).unwrap_or(8)]
    }

    /// Spinner frame at this beat.
    pub fn spinner_frame(&self, beat: u64) -> &'static str {
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
        let columns = [0, 1, 400, 500, 1000, 5000].map(|value| UNICODE.spark_column(value, 1000));
        assert_eq!(columns, ["·", "▁", "▄", "▄", "█", "█"]);
        assert_eq!(ASCII.spark_column(0, 0), ".");
        assert!(ASCII.spark.iter().all(|sign| sign.is_ascii()));
    }
}
