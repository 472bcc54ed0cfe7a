//! A request as a person writes it: `GET /A/a?group=gray`, headers `k: v`, cookies `k=v`. The
//! target may have any form that HTTP allows (RFC 9112 §3.2); the gateway validates it.

use super::RequestParts;

/// Error for a text that is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The line has no valid path.
    #[error(
        "{0:?} is not a request: write a path, or a method and a path, as in 'GET /A/a?group=gray'"
    )]
    Line(String),
    /// The text is not a header.
    #[error("{0:?} is not a header: write 'name: value'")]
    Header(String),
    /// The text is not a cookie.
    #[error("{0:?} is not a cookie: write 'name=value'")]
    Cookie(String),
}

/// Parses a request. The default method is GET.
pub fn parse_request(
    line: &str,
    headers: &[String],
    cookies: &[String],
) -> Result<RequestParts, RequestError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (method, target) = match words[..] {
        [target] => ("GET", target),
        [method, target] if is_method(method) => (method, target),
        _ => return Err(RequestError::Line(line.into())),
    };
    let method = method.to_ascii_uppercase();
    let (origin, rest) = target.split_at(origin_length(target));
    // Whatever follows an asterisk belongs to it: there is no query.
    let asterisk = origin.is_empty() && rest.starts_with('*');
    let (path, query) = if asterisk {
        (rest, "")
    } else {
        rest.split_once('?').unwrap_or((rest, ""))
    };
    let path = if asterisk {
        path
    } else {
        path.split('#').next().unwrap_or_default()
    };
    if origin.is_empty() && !asterisk && !path.starts_with('/') && method != "CONNECT" {
        return Err(RequestError::Line(line.into()));
    }
    let mut parts = RequestParts {
        method,
        origin: origin.into(),
        path: if path.is_empty() {
            "/".into()
        } else {
            path.into()
        },
        query: query.split('#').next().unwrap_or_default().into(),
        ..RequestParts::default()
    };
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| RequestError::Header(header.clone()))?;
        if name.trim().is_empty() {
            return Err(RequestError::Header(header.clone()));
        }
        parts
            .headers
            .push((name.trim().to_ascii_lowercase(), value.trim().into()));
    }
    for cookie in cookies {
        if cookie
            .split_once('=')
            .is_none_or(|(k, _)| k.trim().is_empty())
        {
            return Err(RequestError::Cookie(cookie.clone()));
        }
        parts.headers.push(("cookie".into(), cookie.trim().into()));
    }
    Ok(parts)
}

fn is_method(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
}

/// Length of scheme and authority in a target.
fn origin_length(target: &str) -> usize {
    let Some((scheme, rest)) = target.split_once("://") else {
        return 0;
    };
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if named {
        scheme.len() + "://".len() + rest.find(['/', '?', '#']).unwrap_or(rest.len())
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn reads_what_people_write() {
        let parts = parse_request(
            "post /A/a?group=a+b%21&x",
            &["X-User: 7".into()],
            &["uid=1; b=2".into()],
        )
        .unwrap();
        assert_eq!((parts.method(), parts.path()), ("POST", "/A/a"));
        assert_eq!(parts.parameter("group").as_deref(), Some("a b!"));
        assert_eq!(parts.parameter("x").as_deref(), Some(""));
        assert_eq!(parts.parameter("y"), None);
        assert_eq!(parts.header("x-USER"), Some("7"));
        assert_eq!(
            (parts.cookie("uid"), parts.cookie("b"), parts.cookie("c")),
            (Some("1"), Some("2"), None)
        );
        assert_eq!(parse_request("/", &[], &[]).unwrap().method, "GET");
    }

    #[test]
    fn a_target_has_any_form_that_a_request_may_have() {
        for (line, method, origin, path, query) in [
            ("/A", "GET", "", "/A", ""),
            ("GET /A?u=http://x/y", "GET", "", "/A", "u=http://x/y"),
            (
                "GET http://shop.example:81/A/a?x=1#f",
                "GET",
                "http://shop.example:81",
                "/A/a",
                "x=1",
            ),
            ("http://shop.example", "GET", "http://shop.example", "/", ""),
            (
                "http://shop.example?x",
                "GET",
                "http://shop.example",
                "/",
                "x",
            ),
            ("ftp://h/A#f", "GET", "ftp://h", "/A", ""),
            ("options *", "OPTIONS", "", "*", ""),
            ("GET *", "GET", "", "*", ""),
            ("OPTIONS *?", "OPTIONS", "", "*?", ""),
            ("CONNECT h:1", "CONNECT", "", "h:1", ""),
            ("M-SEARCH /A", "M-SEARCH", "", "/A", ""),
        ] {
            let parts = parse_request(line, &[], &[]).unwrap();
            let got = (
                parts.method.as_str(),
                parts.origin.as_str(),
                parts.path.as_str(),
                parts.query.as_str(),
            );
            assert_eq!(got, (method, origin, path, query), "{line}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for wrong in [
            "",
            "GET",
            "GET a",
            "GET a://b /c",
            "GET 1://b",
            "://b",
            "A B /c",
            "1 /x",
            "- /x",
        ] {
            assert_eq!(
                parse_request(wrong, &[], &[]),
                Err(RequestError::Line(wrong.into()))
            );
        }
        assert_eq!(
            parse_request("/", &["x".into()], &[]),
            Err(RequestError::Header("x".into()))
        );
        assert_eq!(
            parse_request("/", &[], &["=x".into()]),
            Err(RequestError::Cookie("=x".into()))
        );
    }

    #[test]
    fn prefixes_are_whole_segments() {
        for (path, prefix, is) in [
            ("/A", "/A", true),
            ("/A/", "/A", true),
            ("/A/x", "/A/", true),
            ("/A", "/A/", true),
            ("/Ab", "/A", false),
            ("/", "/A", false),
            ("/x", "/", true),
            ("/", "/", true),
        ] {
            assert_eq!(is_under_prefix(path, prefix), is, "{path} under {prefix}");
        }
    }
}
