//! Finds the line of a field such as `spec.match.all[0].op` in a YAML text.

/// The line of `path` in the document that begins at line `start`. If the field is missing or in
/// flow style, the line of its nearest parent.
pub(super) fn line_of_path(text: &str, start: usize, path: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let mut at = start.saturating_sub(1);
    let mut found = start;
    let end = lines
        .iter()
        .skip(at + 1)
        .position(|l| l.starts_with("---"))
        .map_or(lines.len(), |n| at + 1 + n);
    // Top-level fields are not indented.
    let mut parent: Option<usize> = None;
    for step in parse_path(path) {
        let hit = match step {
            PathStep::Key(key) => find_key(&lines[..end], at, parent, &key),
            PathStep::Item(n) => find_item(&lines[..end], at, parent, n),
        };
        let Some((line, indent)) = hit else { break };
        (at, parent, found) = (line, Some(indent), line + 1);
    }
    found
}

enum PathStep {
    Key(String),
    Item(usize),
}

fn parse_path(path: &str) -> Vec<PathStep> {
    let mut steps = vec![];
    for part in path.split('.') {
        let (key, rest) = part.split_once('[').map_or((part, ""), |(k, r)| (k, r));
        if !key.is_empty() {
            steps.push(PathStep::Key(key.to_owned()));
        }
        steps.extend(
            rest.split('[')
                .filter_map(|n| n.trim_end_matches(']').parse().ok())
                .map(PathStep::Item),
        );
    }
    steps
}

/// Indentation of a line; `None` for blank lines and comments.
fn line_indent(line: &str) -> Option<usize> {
    let text = line.trim_start();
    (!text.is_empty() && !text.starts_with('#')).then(|| line.len() - text.len())
}

/// Finds a key below its parent; stops at the first line that is not below it.
fn find_key(
    lines: &[&str],
    from: usize,
    parent: Option<usize>,
    key: &str,
) -> Option<(usize, usize)> {
    let mut depth = None;
    // The first key of a list item is on the line of its dash.
    let first = if parent.is_some_and(|_| {
        lines
            .get(from)
            .is_some_and(|l| l.trim_start().starts_with("- "))
    }) {
        from
    } else {
        from + usize::from(parent.is_some())
    };
    for (n, line) in lines.iter().enumerate().skip(first) {
        let Some(spaces) = line_indent(line) else {
            continue;
        };
        let text = line.trim_start();
        let (spaces, text) = match text.strip_prefix("- ") {
            Some(rest) if n == from => (
                spaces + 2 + rest.len() - rest.trim_start().len(),
                rest.trim_start(),
            ),
            _ => (spaces, text),
        };
        if parent.is_some_and(|p| n != from && spaces <= p) {
            return None;
        }
        if spaces > *depth.get_or_insert(spaces) {
            continue;
        }
        let name = text.trim_start_matches(['"', '\'']);
        if name
            .strip_prefix(key)
            .is_some_and(|r| r.trim_start_matches(['"', '\'']).starts_with(':'))
        {
            return Some((n, spaces));
        }
    }
    None
}

fn find_item(
    lines: &[&str],
    from: usize,
    parent: Option<usize>,
    wanted: usize,
) -> Option<(usize, usize)> {
    let mut depth = None;
    let mut count = 0;
    for (n, line) in lines.iter().enumerate().skip(from + 1) {
        let Some(spaces) = line_indent(line) else {
            continue;
        };
        let dash = line.trim_start().starts_with('-');
        // A list may have the indentation of its own key.
        if parent.is_some_and(|p| spaces < p || (spaces == p && !dash)) {
            return None;
        }
        if dash && spaces == *depth.get_or_insert(spaces) {
            if count == wanted {
                return Some((n, spaces));
            }
            count += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a lane
kind: Lane
metadata:
  name: gray
spec:
  group: g

  match:
    all:
    - type: header
      key: k
      op: x
    - key: z
      op: '=='
    any:
      - {type: cookie, op: exists}
---
kind: Other
spec:
  op: z
";

    #[test]
    fn fields_are_found_in_their_own_document() {
        assert_eq!(line_of_path(TEXT, 2, "spec.match.all[0].op"), 12);
        assert_eq!(line_of_path(TEXT, 2, "spec.match.all[1].op"), 14);
        assert_eq!(line_of_path(TEXT, 2, "spec.match.all[1].key"), 13);
        assert_eq!(line_of_path(TEXT, 2, "metadata.name"), 4);
        assert_eq!(line_of_path(TEXT, 18, "spec.op"), 20);
        assert_eq!(line_of_path(TEXT, 18, ""), 18);
    }

    #[test]
    fn what_is_not_there_is_told_at_its_parent() {
        assert_eq!(line_of_path(TEXT, 2, "spec.tag"), 5);
        assert_eq!(line_of_path(TEXT, 2, "spec.match.any[0].op"), 16);
        assert_eq!(line_of_path(TEXT, 2, "spec.match.all[7].op"), 9);
        assert_eq!(line_of_path(TEXT, 2, "nil.nil"), 2);
        assert_eq!(line_of_path("", 1, "a.b"), 1);
        assert_eq!(line_of_path(TEXT, 99, "a.b"), 99);
    }
}
