//! Blocks and spaces: what a scan of the actions alone finds, before the parser. The parser accepts unbalanced blocks and
//! drops what follows a stray `end`; and it cannot know that `ifeq.AppStack.envName"gray"` lost its spaces on the way.

use super::{Problem, functions};

/// `{{ … }}`: where it starts, and what stands inside without trim markers; comments are left out.
struct Action<'a> {
    offset: usize,
    inside: &'a str,
}

/// Blocks within blocks, an `else if` counted as one, and parentheses within parentheses: the engine goes down the stack for
/// each and knows no limit for some.
const MAX_DEPTH: usize = 40;

struct Block<'a> {
    keyword: &'a str,
    offset: usize,
    has_else: bool,
    /// Blocks around it and itself, with its `else if`s.
    depth: usize,
}

const BLOCKS: [&str; 5] = ["if", "with", "range", "define", "block"];
const KEYWORDS: [&str; 13] =
    ["if", "with", "range", "define", "block", "else", "end", "template", "break", "continue", "nil", "true", "false"];

pub(super) fn check(source: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut open: Vec<Block<'_>> = Vec::new();
    for action in actions(source, &mut problems) {
        let at = action.offset;
        let depth = open.last().map_or(0, |b| b.depth) + 1;
        let word = first_word(action.inside);
        let deeper = BLOCKS.contains(&word) || (word == "else" && action.inside != "else");
        if (deeper && depth > MAX_DEPTH) || parentheses(action.inside) > MAX_DEPTH {
            return vec![
                Problem::new(at, format!("this nests in a depth of more than {MAX_DEPTH}"))
                    .help("say it flatter, or with a named template"),
            ];
        }
        if let Some((keyword, problem)) = squeezed(&action, word) {
            problems.push(problem);
            if let Some(keyword) = BLOCKS.into_iter().find(|b| *b == keyword) {
                open.push(Block { keyword, offset: at, has_else: false, depth });
            }
            continue;
        }
        if word == "define" && !open.is_empty() {
            problems.push(Problem::new(at, "a `define` inside another block").help("move it to the top level"));
        }
        match word {
            "if" | "with" | "range" | "define" | "block" => {
                open.push(Block { keyword: word, offset: at, has_else: false, depth });
            }
            "endif" | "endrange" | "endwith" => {
                open.pop();
                problems
                    .push(Problem::new(at, format!("there is no `{word}`")).help("every block ends with `{{ end }}`"));
            }
            "end" if open.pop().is_none() => {
                problems.push(Problem::new(at, "this `end` closes nothing").help("remove it, or open its block"));
            }
            "else" => match open.last_mut() {
                Some(block) if !matches!(block.keyword, "define" | "block") => {
                    if block.has_else {
                        problems.push(Problem::new(at, format!("this `{}` has an `else` already", block.keyword)));
                    }
                    block.depth += 1;
                    block.has_else = action.inside["else".len()..].trim().is_empty();
                }
                _ => problems.push(Problem::new(at, "this `else` belongs to no `if`, `with` or `range`")),
            },
            "break" | "continue" if !open.iter().any(|b| b.keyword == "range") => {
                problems.push(Problem::new(at, format!("`{word}` outside a `range`")));
            }
            _ => {}
        }
    }
    problems.extend(open.into_iter().map(|block| {
        Problem::new(block.offset, format!("this `{}` is never closed", block.keyword))
            .help("add `{{ end }}` where it should end")
    }));
    problems
}

/// How deep parentheses go, quotes left out.
fn parentheses(inside: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for c in unquoted(inside) {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn first_word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())]
}

fn actions<'a>(source: &'a str, problems: &mut Vec<Problem>) -> Vec<Action<'a>> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(found) = source[from..].find("{{") {
        let offset = from + found;
        let body = &source[offset + 2..];
        let trimmed = body.strip_prefix('-').filter(|b| b.starts_with([' ', '\t', '\r', '\n']));
        let body = trimmed.unwrap_or(body).trim_start_matches([' ', '\t', '\r', '\n']);
        let start = source.len() - body.len();
        let length = match body.starts_with("/*") {
            true => body.find("*/").and_then(|end| Some(end + body[end..].find("}}")?)),
            false => end_of_action(body),
        };
        let Some(length) = length else {
            problems.push(Problem::new(offset, "this `{{` is never closed").help("add `}}`"));
            return out;
        };
        if !body.starts_with("/*") {
            let inside = body[..length].trim_end();
            let inside = inside.strip_suffix('-').filter(|i| i.ends_with([' ', '\t', '\r', '\n'])).unwrap_or(inside);
            out.push(Action { offset, inside: inside.trim_end() });
        }
        from = start + length + 2;
    }
    out
}

/// Where `}}` is, outside quotes.
fn end_of_action(body: &str) -> Option<usize> {
    plain(body).find(|(at, _)| body[*at..].starts_with("}}")).map(|(at, _)| at)
}

fn unquoted(text: &str) -> impl Iterator<Item = char> {
    plain(text).map(|(_, c)| c)
}

/// The characters outside quotes, with their places.
fn plain(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter(move |(_, c)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match (quote, *c) {
            (None, '"' | '\'' | '`') => quote = Some(*c),
            (None, _) => return true,
            // A quote that its line does not close is the parser's to tell; here it ends.
            (Some('"' | '\''), '\n') => quote = None,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        false
    })
}

/// An action whose words have run together: the keyword it starts with ("" for a mere function), and what it should be.
fn squeezed<'a>(action: &Action<'a>, word: &'a str) -> Option<(&'a str, Problem)> {
    let rest = &action.inside[word.len()..];
    let known = |w: &str| functions::is_known(w);
    let glued = rest.starts_with(['.', '"', '`', '$']);
    let (keyword, function) = if KEYWORDS.contains(&word) || known(word) {
        // `if.x` is Go; a function needs its space.
        if KEYWORDS.contains(&word) || !glued {
            return None;
        }
        ("", word)
    } else {
        let keyword = ["elseif", "if", "with", "range", "template", "define", "block"]
            .into_iter()
            .find(|k| word.starts_with(k) && (word.len() > k.len() && known(&word[k.len()..]) || word == *k))?;
        word.split_at(keyword.len())
    };
    let mut meant: Vec<&str> = Vec::new();
    match keyword {
        "" => {}
        "elseif" => meant.push("else if"),
        keyword => meant.push(keyword),
    }
    if !function.is_empty() {
        meant.push(function);
    }
    let spaced = spaced(rest);
    if !spaced.is_empty() {
        meant.push(&spaced);
    }
    let problem = Problem::new(action.offset, format!("`{}` has lost its spaces", action.inside))
        .help(format!("did you mean `{}`?", meant.join(" ")));
    Some((keyword, problem))
}

/// Spaces around texts in quotes, as far as they are missing.
fn spaced(rest: &str) -> String {
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
