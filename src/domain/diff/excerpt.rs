//! Shortens two differing texts so that the first difference stays visible.

use crate::domain::text::Clean;

/// Limit on a displayed text, in characters.
const MAX_CHARS: usize = 200;
/// Characters of common text kept before the first difference.
const CHARS_BEFORE: usize = 40;

/// Sanitises both sides to one line and shortens them.
pub(super) fn shorten_pair(
    base: Option<&str>,
    gray: Option<&str>,
) -> (Option<Clean>, Option<Clean>) {
    let (Some(base), Some(gray)) = (base, gray) else {
        let short = |text: &str| Clean::bounded(text, MAX_CHARS);
        return (base.map(short), gray.map(short));
    };
    let mut sides = [base, gray].map(Clean::from_untrusted);
    if sides[0] == sides[1] {
        // They differ only in invisible characters.
        sides = [base, gray].map(|t| Clean::from_untrusted(&t.escape_debug().to_string()));
    }
    let common = sides[0]
        .chars()
        .zip(sides[1].chars())
        .take_while(|(a, b)| a == b)
        .count();
    let is_long = sides.iter().any(|s| s.chars().count() > MAX_CHARS);
    let skipped = if is_long {
        common.saturating_sub(CHARS_BEFORE)
    } else {
        0
    };
    let [base, gray] = sides.map(|text| {
        let mark = if skipped > 0 { "…" } else { "" };
        Clean::bounded(
            &format!("{mark}{}", text.chars().skip(skipped).collect::<String>()),
            MAX_CHARS,
        )
    });
    (Some(base), Some(gray))
}
