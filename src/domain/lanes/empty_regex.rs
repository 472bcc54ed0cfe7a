//! Whether a regex can match any value at all. All states of its automaton are visited, over the
//! bytes that a value can have, which finds `[^\s\S]`, `a^`, `$a` and any other pattern that
//! matches nothing.

use std::collections::{BTreeMap, HashSet};

use regex_automata::{Anchored, Input, hybrid::dfa::DFA, nfa::thompson};

/// Memory limit for the states; if it is exceeded, the answer is unknown.
const MEMORY_LIMIT: usize = 1 << 20;

/// Whether a regex that must match a whole value matches none. `can_hold` says which bytes a value
/// can have, `trimmed` that it neither begins nor ends with a blank. False also if the answer is
/// unknown.
pub(super) fn matches_nothing(pattern: &str, can_hold: impl Fn(u8) -> bool, trimmed: bool) -> bool {
    can_match(pattern, can_hold, trimmed) == Some(false)
}

fn can_match(pattern: &str, can_hold: impl Fn(u8) -> bool, trimmed: bool) -> Option<bool> {
    let config = DFA::config()
        .unicode_word_boundary(true)
        .cache_capacity(MEMORY_LIMIT)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(0));
    let limit = thompson::Config::new().nfa_size_limit(Some(MEMORY_LIMIT));
    let dfa = DFA::builder()
        .configure(config)
        .thompson(limit)
        .build(&format!("^(?:{pattern})$"))
        .ok()?;
    let mut cache = dfa.create_cache();
    let blank = |byte: u8| trimmed && matches!(byte, b' ' | b'\t');
    // One byte of each class that the automaton distinguishes.
    let bytes: BTreeMap<(u8, bool), u8> = (0..=u8::MAX)
        .filter(|b| can_hold(*b))
        .map(|b| ((dfa.byte_classes().get(b), blank(b)), b))
        .collect();
    let first = dfa
        .start_state_forward(&mut cache, &Input::new("").anchored(Anchored::Yes))
        .ok()?;
    let (mut known, mut open) = (
        HashSet::from([(first, LastByte::Nothing)]),
        vec![(first, LastByte::Nothing)],
    );
    while let Some((state, after)) = open.pop() {
        if after != LastByte::Blank && dfa.next_eoi_state(&mut cache, state).ok()?.is_match() {
            return Some(true);
        }
        for ((_, blank), byte) in &bytes {
            if after == LastByte::Nothing && *blank {
                continue;
            }
            let next = dfa.next_state(&mut cache, state, *byte).ok()?;
            // The automaton would need to know more than bytes.
            if next.is_quit() {
                return None;
            }
            let next = (
                next,
                if *blank {
                    LastByte::Blank
                } else {
                    LastByte::Other
                },
            );
            if !next.0.is_dead() && known.insert(next) {
                open.push(next);
            }
        }
    }
    Some(false)
}

/// Last byte of the value so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum LastByte {
    Nothing,
    /// A trimmed value does not end here.
    Blank,
    Other,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_matches_no_text_is_found() {
        for (pattern, none) in [
            ("", false),
            ("a", false),
            (".*", false),
            ("a|b^", false),
            ("(?m)a\n^b", false),
            ("^a$", false),
            ("a$$", false),
            (r"\bab\b", false),
            (r"\Ba?\B", false),
            (r"\w+é", false),
            ("(a^)*", false),
            (r"[^\s\S]", true),
            (r"[^\d\D]x", true),
            ("[a&&b]", true),
            ("a^", true),
            ("$a", true),
            ("a^b", true),
            ("a$b", true),
            ("(?:a^)+", true),
            ("a^|$b", true),
            // Word boundaries are known for ASCII only.
            (r"a\bb", false),
            (r"a(?-u:\b)b", true),
            (r"\Aa\Ab", true),
            (r"a\z.", true),
            (r"x[^\x00-\x{10FFFF}]?y^", true),
        ] {
            assert_eq!(matches_nothing(pattern, |_| true, false), none, "{pattern}");
        }
    }

    #[test]
    fn what_matches_only_what_is_never_there_is_found() {
        let printable = |b: u8| b == b'\t' || b >= b' ' && b != 0x7f;
        for (pattern, none) in [
            ("a\n", true),
            ("a\x01?b", false),
            (" a", true),
            ("a ", true),
            ("a b", false),
            ("[ab ]* b", false),
            (" ?a ?", false),
            ("[ \t]+", true),
            ("[ \t]*", false),
            ("(?m)a$.^b", true),
        ] {
            assert_eq!(
                matches_nothing(pattern, printable, true),
                none,
                "{pattern:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_said_to_match_nothing_matches_nothing(
            pattern in "([ab.^$ ]|\\[ab\\]|\\\\b|\\\\B|\\(\\?:a\\^?\\)|\\||[ab][*+?]){0,8}",
            values in prop::collection::vec("[ab é\n]{0,5}", 8),
        ) {
            if let Ok(regex) = regex::Regex::new(&format!("^(?:{pattern})$")) {
                let nothing = matches_nothing(&pattern, |_| true, false);
                for value in values {
                    prop_assert!(!(nothing && regex.is_match(&value)), "{pattern:?} {value:?}");
                }
            }
        }
    }
}
