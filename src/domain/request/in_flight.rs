//! A request in flight, as routes and lanes see it.

use http::{HeaderMap, HeaderName, header, request::Parts};

use super::RequestView;

/// A request and its trace.
pub struct InFlightRequest<'a> {
    /// Head of the request.
    pub parts: &'a Parts,
    /// Trace id, 32 hex digits.
    pub trace: &'a str,
}

/// First value of a header, as text.
fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
}

impl RequestView for InFlightRequest<'_> {
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

    fn header_by_name(&self, name: &HeaderName) -> Option<&str> {
        header_text(&self.parts.headers, name)
    }

    fn for_each_header<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str)) {
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
            super::cookie_pairs(line)
                .find(|(k, _)| *k == name)
                .map(|(_, v)| v)
        })
    }

    fn trace_id(&self) -> &str {
        self.trace
    }
}
