//! A request in flight, as routes and lanes see it.

use http::{HeaderMap, HeaderName, header, request::Parts};

use super::Look;

/// A request and its trace.
pub struct Seen<'a> {
    /// Head of the request.
    pub parts: &'a Parts,
    /// Trace id, 32 hex digits.
    pub trace: &'a str,
}

/// First value of a header, as text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
}

impl Look for Seen<'_> {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    fn named(&self, name: &HeaderName) -> Option<&str> {
        text(&self.parts.headers, name)
    }

    fn headers<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str)) {
        for (name, value) in &self.parts.headers {
            if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
                each(name.as_str(), value);
            }
        }
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.parts.headers.get_all(header::COOKIE).iter();
        let mut texts = lines.filter_map(|v| std::str::from_utf8(v.as_bytes()).ok());
        texts.find_map(|line| {
            super::cookies(line)
                .find(|(k, _)| *k == name)
                .map(|(_, v)| v)
        })
    }

    fn trace(&self) -> &str {
        self.trace
    }
}
