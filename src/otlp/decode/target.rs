//! Path and query of a URL.

/// Path and query; the query is empty when there is none. Fragments are never sent.
pub(super) fn path_and_query(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    let rest = match target.find("://") {
        // A query may contain a URL.
        Some(at) if !target[..at].contains(['/', '?']) => {
            let after = &target[at + "://".len()..];
            after.find(['/', '?']).map_or("/", |at| &after[at..])
        }
        _ => target,
    };
    match rest.split_once('?') {
        Some(("", query)) => ("/", query),
        Some((path, query)) => (path, query),
        None => (rest, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        for (target, expected) in [
            (
                "http://127.0.0.7:18080/A/a?group=gray",
                ("/A/a", "group=gray"),
            ),
            ("/A/a?u=http://x/y#f", ("/A/a", "u=http://x/y")),
            ("https://host", ("/", "")),
            ("https://host?x=1", ("/", "x=1")),
            ("http://", ("/", "")),
            ("/A", ("/A", "")),
            ("", ("", "")),
            ("*", ("*", "")),
        ] {
            assert_eq!(path_and_query(target), expected, "{target}");
        }
    }
}
