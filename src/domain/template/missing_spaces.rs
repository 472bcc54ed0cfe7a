//! Suggests a fix for actions whose spaces were lost, for example `ifeq.AppStack.envName"gray"`.

use super::functions;
use super::lex::KEYWORDS;
use super::parse::BLOCKS;

/// The keyword that the action starts with ("" when it starts with a function), and the corrected
/// action.
pub(super) fn suggest_spaced(action: &str) -> Option<(&'static str, String)> {
    let word = &action[..action
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(action.len())];
    let rest = &action[word.len()..];
    let known = |w: &str| functions::find_function(w).is_some();
    let (keyword, function) = if KEYWORDS.contains(&word) || known(word) {
        // `if.x` is valid in Go; a function needs a space after it.
        if KEYWORDS.contains(&word) || !rest.starts_with(['.', '"', '`', '$']) {
            return None;
        }
        ("", word)
    } else {
        let mut keywords = ["elseif", "template"].into_iter().chain(BLOCKS);
        let keyword = keywords.find(|k| {
            word.strip_prefix(k)
                .is_some_and(|f| known(f) || (f.is_empty() && *k == "elseif"))
        })?;
        (keyword, &word[keyword.len()..])
    };
    let spaced = space_quotes(rest);
    let meant = [
        if keyword == "elseif" {
            "else if"
        } else {
            keyword
        },
        function,
        &spaced,
    ];
    let meant = meant
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    Some((keyword, meant))
}

/// Adds missing spaces around quoted texts and before variables.
fn space_quotes(rest: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut closed = false;
    for c in rest.chars() {
        let wants_space = closed && !matches!(c, ' ' | ')' | '|');
        let opens = quote.is_none() && matches!(c, '"' | '`' | '$') && !out.is_empty();
        if (wants_space || opens) && !out.ends_with([' ', '(']) {
            out.push(' ');
        }
        closed = false;
        match quote {
            None if matches!(c, '"' | '`') => quote = Some(c),
            Some(open) if open == c => {
                quote = None;
                closed = true;
            }
            _ => {}
        }
        out.push(c);
    }
    out.trim().to_owned()
}
