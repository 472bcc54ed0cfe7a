//! A request as a person writes it: `GET /A/a?group=gray`, headers `k: v`, cookies `k=v`.

use super::RequestParts;

/// A text that is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No path.
    #[error("{0:?} is no request: write a path, or a method and a path, as in 'GET /A/a?group=gray'")]
    Line(String),
    /// No header.
    #[error("{0:?} is no header: write 'name: value'")]
    Header(String),
    /// No cookie.
    #[error("{0:?} is no cookie: write 'name=value'")]
    Cookie(String),
}

/// Reads a request. A missing method is GET.
pub fn parse(line: &str, headers: &[String], cookies: &[String]) -> Result<RequestParts, RequestError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (method, target) = match words[..] {
        [target] => ("GET", target),
        [method, target] if method.bytes().all(|b| b.is_ascii_alphabetic()) => (method, target),
        _ => return Err(RequestError::Line(line.into())),
    };
    if !target.starts_with('/') {
        return Err(RequestError::Line(line.into()));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parts = RequestParts {
        method: method.to_ascii_uppercase(),
        path: path.into(),
        query: query.split('#').next().unwrap_or_default().into(),
        ..RequestParts::default()
    };
    for header in headers {
        let (name, value) = header.split_once(':').ok_or_else(|| RequestError::Header(header.clone()))?;
        if name.trim().is_empty() {
            return Err(RequestError::Header(header.clone()));
        }
        parts.headers.push((name.trim().to_ascii_lowercase(), value.trim().into()));
    }
    for cookie in cookies {
        if cookie.split_once('=').is_none_or(|(k, _)| k.trim().is_empty()) {
            return Err(RequestError::Cookie(cookie.clone()));
        }
        parts.headers.push(("cookie".into(), cookie.trim().into()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn reads_what_people_write() {
        let parts = parse("post /A/a?group=a+b%21&x", &["X-User: 7".into()], &["uid=1; b=2".into()]).unwrap();
        assert_eq!((parts.method(), parts.path()), ("POST", "/A/a"));
        assert_eq!(parts.parameter("group").as_deref(), Some("a b!"));
        assert_eq!(parts.parameter("x").as_deref(), Some(""));
        assert_eq!(parts.parameter("y"), None);
        assert_eq!(parts.header("x-USER"), Some("7"));
        assert_eq!((parts.cookie("uid"), parts.cookie("b"), parts.cookie("c")), (Some("1"), Some("2"), None));
        assert_eq!(parse("/", &[], &[]).unwrap().method, "GET");
    }

    #[test]
    fn says_what_is_wrong() {
        for wrong in ["", "GET", "GET a", "A B /c", "1 /x"] {
            assert_eq!(parse(wrong, &[], &[]), Err(RequestError::Line(wrong.into())));
        }
        assert_eq!(parse("/", &["x".into()], &[]), Err(RequestError::Header("x".into())));
        assert_eq!(parse("/", &[], &["=x".into()]), Err(RequestError::Cookie("=x".into())));
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
            assert_eq!(under(path, prefix), is, "{path} under {prefix}");
        }
    }
}
