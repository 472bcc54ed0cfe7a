//! Paths without dot segments: the pod gets the same path that the route was chosen by.

use std::borrow::Cow;

/// Removes dot segments from a path (RFC 3986 §5.2.4), also if a dot is written as `%2e`, which is
/// equivalent (§6.2.2.2). Everything else stays as the client wrote it. Ambiguous paths are errors:
/// those that lead above the root, and those with dots that only some servers take for a segment
/// (next to an encoded slash, a backslash, or parameters).
pub fn remove_dot_segments(path: &str) -> Result<Cow<'_, str>, &'static str> {
    // Almost every path returns here: only others can contain dot segments.
    if !path.contains("/.") && !path.contains(['%', '\\']) {
        return Ok(Cow::Borrowed(path));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Ok(Cow::Borrowed(path));
    };
    let mut kept: Vec<&str> = vec![];
    let mut changed = false;
    let last = rest.split('/').count() - 1;
    for (i, segment) in rest.split('/').enumerate() {
        match count_dots(segment)? {
            0 => kept.push(segment),
            n => {
                changed = true;
                if n == 2 && kept.pop().is_none() {
                    return Err("the path leads above the root");
                }
                if i == last {
                    kept.push("");
                }
            }
        }
    }
    Ok(if changed {
        Cow::Owned(format!("/{}", kept.join("/")))
    } else {
        Cow::Borrowed(path)
    })
}

/// Number of dots of a dot segment; 0 if it is not a dot segment.
fn count_dots(segment: &str) -> Result<usize, &'static str> {
    if !segment.contains(['.', '%']) {
        return Ok(0);
    }
    let lower = segment
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    let lower = lower.replace('\\', "/").replace("%3b", ";");
    let count = |text: &str| match text {
        "." => 1,
        ".." => 2,
        _ => 0,
    };
    if count(&lower) > 0 {
        return Ok(count(&lower));
    }
    let hidden = lower
        .split('/')
        .any(|part| count(part.split(';').next().unwrap_or_default()) > 0);
    if hidden {
        Err("the path has a hidden dot segment (beside an encoded slash, a backslash or a ';')")
    } else {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dot_segments_are_taken_out_or_refused() {
        for (path, want) in [
            ("/", Some("/")),
            ("/A/a", Some("/A/a")),
            ("//A/a", Some("//A/a")),
            ("/%41/a", Some("/%41/a")),
            ("/A/./a", Some("/A/a")),
            ("/A/.", Some("/A/")),
            ("/A/..", Some("/")),
            ("/A/b/../c", Some("/A/c")),
            ("/A/b/../../c", Some("/c")),
            ("/A//../c", Some("/A/c")),
            ("/A/%2e/a", Some("/A/a")),
            ("/A/%2E%2e/C", Some("/C")),
            ("/A/.%2e/C", Some("/C")),
            ("/A/%2e./C", Some("/C")),
            ("/.", Some("/")),
            ("/A/...", Some("/A/...")),
            ("/A/.hidden", Some("/A/.hidden")),
            ("/A/a..b", Some("/A/a..b")),
            ("/A/a%2eb", Some("/A/a%2eb")),
            ("/A/a%2Fb", Some("/A/a%2Fb")),
            ("/A/%252e%252e/b", Some("/A/%252e%252e/b")),
            ("/A/a;x=1/b", Some("/A/a;x=1/b")),
            ("*", Some("*")),
            ("/..", None),
            ("/../A", None),
            ("/A/../../b", None),
            ("/%2e%2e/A", None),
            ("/A/..%2fC", None),
            ("/A/%2e%2e%2FC", None),
            ("/A/a%2f..%2fC", None),
            ("/A/..\\C", None),
            ("/A\\..\\C", None),
            ("/A/..%5cC", None),
            ("/A/..;/C", None),
            ("/A/..;a=b/C", None),
            ("/A/%2e%2e%3bx/C", None),
            ("/A/.;/C", None),
        ] {
            assert_eq!(remove_dot_segments(path).ok().as_deref(), want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_dot_segment_is_left(path in "(/(\\.|%2e|%2E|a|;|%2f|\\\\|){0,4}){0,6}") {
            if let Ok(plain) = remove_dot_segments(&path) {
                let decoded = plain.replace("%2e", ".").replace("%2E", ".");
                prop_assert!(!decoded.split('/').any(|s| s == "." || s == ".."), "{path} {plain}");
                prop_assert_eq!(remove_dot_segments(&plain).ok(), Some(plain.clone()), "{}", path);
            }
        }
    }
}
