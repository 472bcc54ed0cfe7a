//! Hop-by-hop headers. They end at the gateway, before anything is decided or set, so that the
//! sender of a message cannot remove what the gateway or a route sets.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that are hop-by-hop whether or not `Connection` names them (RFC 9110 §7.6.1; `Proxy-*`
/// is for the next proxy, §11.7; the gateway answers `Expect`, §10.1.1). `Trailer` no longer is.
static HOP_BY_HOP_HEADERS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
];

/// Whether a header never goes further than one connection, so that nothing behind the gateway sees
/// it.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP_HEADERS.contains(name) || *name == header::TRANSFER_ENCODING
}

/// Whether `Connection` must not name a header because it is for all recipients of the message
/// (§7.6.1): headers about routing, content and caching, the trace, and the lane tag (`tags`),
/// which belongs to the whole chain. Without it the message would mean something else or go
/// elsewhere.
fn is_for_all(name: &HeaderName, tags: &[HeaderName]) -> bool {
    let text = name.as_str();
    tags.contains(name)
        || text.starts_with("content-")
        || matches!(
            text,
            "host"
                | "cache-control"
                | "date"
                | "trailer"
                | "transfer-encoding"
                | "traceparent"
                | "tracestate"
                | "baggage"
        )
}

/// Headers that `Connection` names and may name.
pub fn named_by_connection(headers: &HeaderMap, tags: &[HeaderName]) -> Vec<HeaderName> {
    let lines = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let names = lines
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok());
    names.filter(|name| !is_for_all(name, tags)).collect()
}

/// Removes the headers of the connection that a message came by.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, tags: &[HeaderName]) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers, tags) {
            headers.remove(name);
        }
    }
    // Most messages have none left, and comparing their names is cheaper than ten look-ups.
    if headers.keys().any(is_hop_by_hop) {
        for name in &HOP_BY_HOP_HEADERS {
            headers.remove(name);
        }
        headers.remove(header::TRANSFER_ENCODING);
    }
}

/// Removes look-alikes of headers that the gateway controls: servers that turn headers into
/// variables (CGI, WSGI, PHP and others) read `x_mse_tag` as `x-mse-tag`. `Trailer` keeps neither
/// such names nor those of headers that are present, because a trailer would set them again past
/// the gateway (RFC 9110 §6.5.1).
pub fn strip_look_alikes(headers: &mut HeaderMap, governed: &dyn Fn(&str) -> bool) {
    let odd = |name: &HeaderName| {
        name.as_str()
            .bytes()
            .any(|b| !b.is_ascii_alphanumeric() && b != b'-')
    };
    let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    if headers.keys().any(odd) {
        let wrong = |name: &&HeaderName| odd(name) && governed(&plain(name.as_str()));
        let wrong: Vec<HeaderName> = headers.keys().filter(wrong).cloned().collect();
        wrong.iter().for_each(|name| drop(headers.remove(name)));
    }
    if headers.contains_key(header::TRAILER) {
        let lines = headers
            .get_all(header::TRAILER)
            .iter()
            .filter_map(|v| v.to_str().ok());
        let names = lines
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse::<HeaderName>().ok());
        let own = |n: &HeaderName| {
            !is_hop_by_hop(n)
                && !is_for_all(n, &[])
                && !headers.contains_key(n)
                && !governed(&plain(n.as_str()))
        };
        let kept: Vec<String> = names.filter(own).map(|n| n.as_str().to_owned()).collect();
        headers.remove(header::TRAILER);
        if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_str(&kept.join(", "))) {
            headers.insert(header::TRAILER, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: HeaderName = HeaderName::from_static("x-mse-tag");

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn left(mut headers: HeaderMap) -> Vec<String> {
        strip_hop_by_hop(&mut headers, &[TAG]);
        let mut names: Vec<String> = headers.keys().map(|n| n.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_of_the_connection_goes() {
        for (connection, fields, want) in [
            (
                "close",
                &[
                    "accept",
                    "te",
                    "keep-alive",
                    "upgrade",
                    "proxy-authorization",
                    "expect",
                ][..],
                &["accept"][..],
            ),
            ("close, X-Hop", &["x-hop", "x-other"], &["x-other"]),
            ("x-a,,  X-B ,close", &["x-a", "x-b", "x-c"], &["x-c"]),
            ("authorization, cookie", &["authorization", "cookie"], &[]),
            ("x hop", &["x-hop"], &["x-hop"]),
            // These are for all recipients, even if `Connection` names them.
            ("Host", &["host"], &["host"]),
            (
                "Content-Length, content-type, Content-Encoding",
                &["content-length", "content-type", "content-encoding"],
                &["content-encoding", "content-length", "content-type"],
            ),
            (
                "cache-control, date",
                &["cache-control", "date"],
                &["cache-control", "date"],
            ),
            (
                "traceparent, tracestate, baggage",
                &["baggage", "traceparent", "tracestate"],
                &["baggage", "traceparent", "tracestate"],
            ),
            ("close, X-MSE-Tag", &["x-mse-tag"], &["x-mse-tag"]),
            ("trailer", &["trailer"], &["trailer"]),
        ] {
            let mut all: HeaderMap = fields
                .iter()
                .map(|f| (f.parse().unwrap(), HeaderValue::from_static("1")))
                .collect();
            all.insert(header::CONNECTION, HeaderValue::from_static(connection));
            assert_eq!(left(all), want, "{connection}");
        }
        let two = headers(&[
            ("connection", "close"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        assert_eq!(left(two), [""; 0], "every line of Connection counts");
    }

    #[test]
    fn look_alikes_and_trailers_of_what_is_governed_go() {
        let mut all = headers(&[
            ("x-mse-tag", "gray"),
            ("x_mse_tag", "spoofed"),
            ("x.mse-tag", "spoofed"),
            ("x_mine", "1"),
            ("x-set", "1"),
            (
                "trailer",
                "X-Sum, x-set, x-mse-tag, x_mse_tag, content-length, te, x-other",
            ),
        ]);
        strip_look_alikes(&mut all, &|name| name == "x-mse-tag");
        let mut names: Vec<&str> = all.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["trailer", "x-mse-tag", "x-set", "x_mine"]);
        assert_eq!(all["trailer"], "x-sum, x-other");
        let mut none = headers(&[("trailer", "host")]);
        strip_look_alikes(&mut none, &|_| false);
        assert!(none.is_empty());
    }
}
