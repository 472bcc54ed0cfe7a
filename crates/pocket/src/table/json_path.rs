//! JSONPath of printer columns: fields, indices, `[*]` and `[?(@.field=="value")]`.

use serde_json::Value;

enum Step {
    Field(String),
    Index(i64),
    All,
    Where(Vec<String>, Value),
}

/// Returns the values that a path finds; none if the path is not supported.
pub(super) fn find_path<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let Some(steps) = parse_path(path) else {
        return Vec::new();
    };
    let mut found = vec![object];
    for step in &steps {
        found = found
            .into_iter()
            .flat_map(|at| apply_step(at, step))
            .collect();
    }
    found.retain(|v| !v.is_null());
    found
}

fn apply_step<'a>(at: &'a Value, step: &Step) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => at.get(name).into_iter().collect(),
        Step::Index(n) => {
            let Some(list) = at.as_array() else {
                return Vec::new();
            };
            let n = if *n < 0 { list.len() as i64 + n } else { *n };
            usize::try_from(n)
                .ok()
                .and_then(|n| list.get(n))
                .into_iter()
                .collect()
        }
        Step::All => match at {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Step::Where(fields, wanted) => {
            let at_field =
                |item: &&Value| fields.iter().try_fold(*item, |at, f| at.get(f)) == Some(wanted);
            at.as_array()
                .into_iter()
                .flatten()
                .filter(at_field)
                .collect()
        }
    }
}

fn parse_path(path: &str) -> Option<Vec<Step>> {
    let path = path
        .strip_prefix('{')
        .and_then(|p| p.strip_suffix('}'))
        .unwrap_or(path);
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = find_closing_bracket(inside)?;
            steps.push(parse_bracket(&inside[..end])?);
            rest = &inside[end + 1..];
        } else {
            let (name, left) = parse_field(rest.strip_prefix('.').unwrap_or(rest));
            match name.as_str() {
                "" => return None,
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
            rest = left;
        }
    }
    Some(steps)
}

/// Parses a field name; a backslash escapes the next character.
fn parse_field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Finds the closing bracket, skipping quotes and nested brackets.
fn find_closing_bracket(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn parse_bracket(inside: &str) -> Option<Step> {
    if inside == "*" {
        return Some(Step::All);
    }
    if let Some(name) = parse_quoted(inside) {
        return Some(Step::Field(name));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        let (left, right) = filter.split_once("==")?;
        let mut fields = Vec::new();
        let mut rest = left.trim().strip_prefix('@')?;
        while !rest.is_empty() {
            let (name, left) = parse_field(rest.strip_prefix('.')?);
            fields.push(name);
            rest = left;
        }
        let right = right.trim();
        let wanted = parse_quoted(right)
            .map(Value::from)
            .or_else(|| serde_json::from_str(right).ok())?;
        return Some(Step::Where(fields, wanted));
    }
    inside.parse().ok().map(Step::Index)
}

fn parse_quoted(text: &str) -> Option<String> {
    let unquote = |q: char| text.strip_prefix(q)?.strip_suffix(q);
    unquote('\'').or_else(|| unquote('"')).map(str::to_owned)
}
