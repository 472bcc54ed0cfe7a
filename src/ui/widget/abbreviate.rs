//! Shortens text: the longest form that fits, and names that stay distinct when cut.

use std::borrow::Cow;

use super::RichText;
use crate::domain::text::{display_width as columns, truncate, truncate_middle};

/// The first form that fits, else the last one cut; forms are ordered from longest to shortest.
pub(crate) fn longest_fitting<T: AsRef<str>>(forms: &[T], width: usize) -> Cow<'_, str> {
    let fits = forms
        .iter()
        .find(|form| columns(form.as_ref()) <= width)
        .or(forms.last());
    fits.map_or(Cow::Borrowed(""), |form| truncate(form.as_ref(), width))
}

/// Shortens names to a width and keeps them distinct as long as possible.
pub(crate) fn shorten_distinct(names: &[&str], width: usize) -> Vec<String> {
    let mut drawn: Vec<String> = vec![];
    for name in names {
        let end = || {
            let skip = name.chars().count().saturating_sub(width.saturating_sub(1));
            format!("…{}", name.chars().skip(skip).collect::<String>())
        };
        let forms = [
            truncate(name, width).into_owned(),
            truncate_middle(name, width).into_owned(),
            end(),
        ];
        let free = |form: &&String| columns(form) <= width && !drawn.contains(form);
        drawn.push(forms.iter().find(free).unwrap_or(&forms[0]).clone());
    }
    drawn
}

/// Joins the parts of a line that fit. Each has a rank: the highest rank is dropped first; parts of
/// rank 0 stay and are cut.
pub(crate) fn join_by_rank(mut parts: Vec<(u8, RichText)>, width: usize) -> RichText {
    while parts.iter().map(|(_, part)| part.width()).sum::<usize>() > width {
        let Some(last) = parts
            .iter()
            .map(|(rank, _)| *rank)
            .max()
            .filter(|rank| *rank > 0)
        else {
            break;
        };
        parts.retain(|(rank, _)| *rank != last);
    }
    parts
        .into_iter()
        .fold(RichText::new(), |line, (_, part)| line.join(part))
        .cut_to_width(width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ui::theme::Role;

    #[test]
    fn the_longest_form_that_fits_is_taken() {
        let forms = ["1 of 3 batches", "1 of 3", "1/3"];
        assert_eq!(
            ["1 of 3 batches", "1 of 3", "1/3", "1…"],
            [20, 8, 3, 2]
                .map(|w| longest_fitting(&forms, w))
                .map(|f| f.into_owned())[..]
        );
    }

    #[test]
    fn names_stay_different() {
        let names = ["test", "pre", "gray", "prod", "production"];
        assert_eq!(
            shorten_distinct(&names, 4),
            ["test", "pre", "gray", "prod", "pro…"]
        );
        assert_eq!(
            shorten_distinct(&names, 3),
            ["te…", "pre", "gr…", "pr…", "p…n"]
        );
    }

    #[test]
    fn what_matters_least_goes_first() {
        let line = |width| {
            let part = |rank, text: &str| (rank, RichText::styled(Role::Text, text));
            join_by_rank(
                vec![
                    part(0, "gray"),
                    part(2, " #10"),
                    part(1, " off"),
                    part(0, " x == y"),
                ],
                width,
            )
            .plain_text()
        };
        assert_eq!(
            [19, 18, 14, 10].map(line),
            [
                "gray #10 off x == y",
                "gray off x == y",
                "gray x == y",
                "gray x ==…"
            ]
        );
    }

    proptest! {
        #[test]
        fn a_cut_is_seen(names in prop::collection::btree_set("[a-z灰]{1,9}", 1..6), width in 1usize..10) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for (name, drawn) in names.iter().zip(shorten_distinct(&names, width)) {
                prop_assert!(columns(&drawn) <= width);
                prop_assert!(drawn == **name || drawn.contains('…'), "{} became {}", name, drawn);
            }
        }
    }
}
