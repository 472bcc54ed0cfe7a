//! What lanes can test in a request: method, path, query, headers, cookies, and the trace id for
//! shares.
//!
//! The first value of a repeated key counts. Query parameters are compared decoded as in forms
//! (`%41` and `+`), cookies as they are.

mod admit;
mod authority;
mod hop_by_hop;
mod in_flight;
mod path;
mod text;
mod trace;

use std::borrow::Cow;

use http::HeaderName;
use percent_encoding::percent_decode_str;

pub use admit::{Admitted, RequestRefusal, admit_request, transfer_codings};
pub use authority::parse_host;
pub use hop_by_hop::{is_hop_by_hop, named_by_connection, strip_hop_by_hop, strip_look_alikes};
pub use in_flight::InFlightRequest;
pub use path::remove_dot_segments;
pub use text::{RequestError, parse_request};
pub use trace::parse_traceparent;

/// View of a request for lanes. The gateway uses it for a request in flight without a copy.
pub trait RequestView {
    /// Method, such as `GET`.
    fn method(&self) -> &str;
    /// Path without the query.
    fn path(&self) -> &str;
    /// Query without the `?`; empty if there is none.
    fn query(&self) -> &str;
    /// First value of a header, with its name in any case; `None` if it is not text.
    fn header(&self, name: &str) -> Option<&str>;
    /// The same for a name that is parsed already.
    fn header_by_name(&self, name: &HeaderName) -> Option<&str> {
        self.header(name.as_str())
    }
    /// Calls `each` with every header, names in lower case.
    fn for_each_header<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str));
    /// Trace id that decides about shares: equal for all requests of one trace.
    fn trace_id(&self) -> &str;
    /// Position within the shares of all requests, in basis points.
    fn share_position(&self) -> u32 {
        super::lanes::hash_to_basis_points(self.trace_id())
    }

    /// First value of a query parameter.
    fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        query_pairs(self.query())
            .find(|(k, _)| decode_query_part(k) == name)
            .map(|(_, v)| decode_query_part(v))
    }

    /// First value of a cookie.
    fn cookie(&self, name: &str) -> Option<&str> {
        let mut found = None;
        self.for_each_header(&mut |header, value| {
            if found.is_none() && header == "cookie" {
                found = cookie_pairs(value)
                    .find(|(k, _)| *k == name)
                    .map(|(_, v)| v);
            }
        });
        found
    }
}

/// A request as owned values, for explanations, previews and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    /// Method, such as `GET`.
    pub method: String,
    /// Scheme and authority of a target in absolute form, as for a forward proxy
    /// (`http://shop.example:81`).
    pub origin: String,
    /// Path without the query.
    pub path: String,
    /// Query without the `?`.
    pub query: String,
    /// Headers with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Trace id, 32 hex digits; empty when there is none.
    pub trace: String,
}

impl RequestParts {
    /// Host, perhaps with a port, that the target itself names.
    pub fn authority(&self) -> Option<&str> {
        self.origin
            .split_once("://")
            .map(|(_, authority)| authority)
    }

    /// Target as in the request line.
    pub fn request_target(&self) -> String {
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("?{}", self.query)
        };
        format!("{}{}{query}", self.origin, self.path)
    }
}

impl RequestView for RequestParts {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    fn for_each_header<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str)) {
        self.headers.iter().for_each(|(k, v)| each(k, v));
    }

    fn trace_id(&self) -> &str {
        &self.trace
    }
}

/// Pairs of a query, still encoded.
pub(super) fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
}

/// Pairs of one Cookie header. Quotes around a whole value are not part of it (RFC 6265 §4.1.1);
/// other quotes are.
pub(super) fn cookie_pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header
        .split(';')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (trim_blanks(k), strip_quotes(trim_blanks(v))))
}

fn trim_blanks(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn strip_quotes(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.filter(|v| !v.contains('"')).unwrap_or(value)
}

/// Decodes a part of a query.
pub(super) fn decode_query_part(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Whether a path lies under a prefix of whole segments: `/A` covers `/A`, `/A/` and `/A/x`, but
/// not `/Ab`.
pub fn is_under_prefix(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
