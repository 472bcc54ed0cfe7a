//! Admission of requests before anything is decided, and refusal of invalid ones (RFC 9110, 9112,
//! 9113).
//!
//! `lane explain` and the gateway use this same function, so that they see the same request: with
//! one valid host, without the headers of the client's own connection, and with an unambiguous
//! path.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts,
    uri::PathAndQuery,
};

use super::{authority::parse_host, hop_by_hop::strip_hop_by_hop, path::remove_dot_segments};

/// A refusal; the client gets all of it as the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRefusal {
    /// Status of the answer.
    pub status: StatusCode,
    /// Why the request is refused.
    pub words: String,
}

/// What is known about an admitted request beside its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
}

/// Checks a request and normalizes its head for routes and lanes. `local` is the host for an
/// HTTP/1.0 request, which may leave it out; `tags` are the headers that carry lane tags.
pub fn admit_request(
    parts: &mut Parts,
    local: &str,
    tags: &[HeaderName],
) -> Result<Admitted, RequestRefusal> {
    let refused = |status, words: &str| {
        Err(RequestRefusal {
            status,
            words: words.to_owned(),
        })
    };
    if parts.method == Method::CONNECT {
        return refused(
            StatusCode::NOT_IMPLEMENTED,
            "CONNECT is not served: this gateway is no forward proxy",
        );
    }
    check_transfer_coding(&parts.headers)?;
    let host = determine_host(parts, local)?;
    normalize_target(parts)?;
    parts.headers.insert(header::HOST, host);
    // RFC 9110 §10.1.1: an unknown expectation may be refused; if forwarded, it would not be met.
    if parts
        .headers
        .get_all(header::EXPECT)
        .iter()
        .any(|v| !v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return refused(
            StatusCode::EXPECTATION_FAILED,
            "the only expectation that is served is 100-continue",
        );
    }
    count_forwards(parts)?;
    let websocket = wants_websocket(parts);
    strip_hop_by_hop(&mut parts.headers, tags);
    join_cookies(&mut parts.headers);
    Ok(Admitted { websocket })
}

/// Accepts chunked once, or nothing: a coding that is not undone would reach the pod as if it were
/// the content (RFC 9112 §6.1).
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), RequestRefusal> {
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    let codings = transfer_codings(headers);
    match codings.iter().find(|c| !c.eq_ignore_ascii_case("chunked")) {
        Some(other) => Err(RequestRefusal {
            status: StatusCode::NOT_IMPLEMENTED,
            words: format!("the transfer coding {other:?} is not served, only chunked"),
        }),
        None if codings.len() != 1 => {
            let words = "Transfer-Encoding must name chunked once".to_owned();
            Err(RequestRefusal {
                status: StatusCode::BAD_REQUEST,
                words,
            })
        }
        None => Ok(()),
    }
}

/// Transfer codings of a message, in order.
pub fn transfer_codings(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let all = lines.map(text).flat_map(|v| {
        v.split(',')
            .map(|c| c.trim().to_owned())
            .collect::<Vec<_>>()
    });
    all.filter(|c| !c.is_empty()).collect()
}

/// Host that is asked for: that of an absolute target or `:authority` comes before `Host` (RFC 9112
/// §3.2.2).
fn determine_host(parts: &Parts, local: &str) -> Result<HeaderValue, RequestRefusal> {
    let wrong = |words: &str| RequestRefusal {
        status: StatusCode::BAD_REQUEST,
        words: words.to_owned(),
    };
    let mut lines = parts.headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(wrong("there is more than one Host"));
    }
    if line.is_some_and(|line| line.to_str().ok().and_then(parse_host).is_none()) {
        return Err(wrong("Host is no name or address with an optional port"));
    }
    let authority = parts.uri.authority().map(|a| a.as_str());
    let Some(authority) = authority else {
        return match line {
            Some(line) => Ok(line.clone()),
            None if parts.version <= Version::HTTP_10 => {
                HeaderValue::from_str(local).map_err(|_| wrong("there is no Host"))
            }
            None => Err(wrong("there is no Host")),
        };
    };
    if parse_host(authority).is_none() {
        return Err(wrong(
            "the target's authority is no name or address with an optional port",
        ));
    }
    if parts.version < Version::HTTP_2 {
        match parts.uri.scheme_str() {
            Some("http") => {}
            // RFC 9110 §7.4: a request for a secured connection is not answered on another one.
            Some("https") => {
                let words =
                    "an https target was asked for over a connection without TLS".to_owned();
                return Err(RequestRefusal {
                    status: StatusCode::MISDIRECTED_REQUEST,
                    words,
                });
            }
            _ => return Err(wrong("the target's scheme is not http")),
        }
        if line.is_none() && parts.version == Version::HTTP_11 {
            return Err(wrong("there is no Host"));
        }
    } else if line.is_some_and(|line| !line.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
        // RFC 9113 §8.3.1.
        return Err(wrong("Host and :authority differ"));
    }
    HeaderValue::from_str(authority)
        .map_err(|_| wrong("the target's authority cannot stand in Host"))
}

/// Normalizes the target to an unambiguous path and an optional query.
fn normalize_target(parts: &mut Parts) -> Result<(), RequestRefusal> {
    let wrong = |words: &str| RequestRefusal {
        status: StatusCode::BAD_REQUEST,
        words: words.to_owned(),
    };
    let target = parts.uri.path_and_query();
    // A target is ASCII (RFC 3986 §2): anything else would be interpreted differently by each
    // server on the way.
    if target.is_some_and(|t| !t.as_str().is_ascii()) {
        return Err(wrong(
            "the target has characters that are not ASCII: they are written %XX",
        ));
    }
    let path = parts.uri.path();
    if path == "*" && parts.method != Method::OPTIONS {
        return Err(wrong("the target * is for OPTIONS only"));
    }
    if path != "*" && !path.starts_with('/') {
        return Err(wrong("the target is not a path"));
    }
    let plain = remove_dot_segments(path).map_err(wrong)?;
    match plain {
        std::borrow::Cow::Owned(plain) => {
            let query = parts
                .uri
                .query()
                .map(|q| format!("?{q}"))
                .unwrap_or_default();
            parts.uri = format!("{plain}{query}")
                .parse()
                .map_err(|_| wrong("the target is not a path"))?;
        }
        std::borrow::Cow::Borrowed(_) if parts.uri.authority().is_some() || target.is_none() => {
            parts.uri = Uri::from(target.cloned().unwrap_or(PathAndQuery::from_static("/")));
        }
        std::borrow::Cow::Borrowed(_) => {}
    }
    Ok(())
}

/// Decrements `Max-Forwards` of TRACE and OPTIONS, and refuses to forward them at 0 (RFC 9110
/// §7.6.2). The field has no meaning for other methods.
fn count_forwards(parts: &mut Parts) -> Result<(), RequestRefusal> {
    const NAME: HeaderName = header::MAX_FORWARDS;
    if !matches!(parts.method, Method::TRACE | Method::OPTIONS) || !parts.headers.contains_key(NAME)
    {
        return Ok(());
    }
    let lines: Vec<&[u8]> = parts
        .headers
        .get_all(NAME)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let refused = |status, words: &str| {
        Err(RequestRefusal {
            status,
            words: words.to_owned(),
        })
    };
    let [digits @ [_, ..]] = lines[..] else {
        return refused(StatusCode::BAD_REQUEST, "Max-Forwards is not a number");
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return refused(StatusCode::BAD_REQUEST, "Max-Forwards is not a number");
    }
    // A larger number is as good as no limit.
    let left = std::str::from_utf8(digits)
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(u32::MAX);
    match (left.checked_sub(1), &parts.method) {
        (Some(left), _) => {
            parts.headers.insert(NAME, HeaderValue::from(left));
            Ok(())
        }
        // Do not echo the request: its sender may not have written all of it.
        (None, &Method::TRACE) => refused(
            StatusCode::NOT_IMPLEMENTED,
            "TRACE ends here, and the gateway tells nothing back",
        ),
        (None, _) => refused(
            StatusCode::OK,
            "OPTIONS ends here: this is the gateway itself",
        ),
    }
}

/// Whether to upgrade to WebSocket, the only supported upgrade: any other (above all h2c) would
/// carry requests past routes and lanes. Requests for others are answered without an upgrade (RFC
/// 9110 §7.8).
fn wants_websocket(parts: &Parts) -> bool {
    let has = |name, token: &str| {
        let lines = parts
            .headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok());
        lines
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && parts.headers.contains_key(header::UPGRADE)
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
}

/// Joins cookies: HTTP/2 may send one header per cookie, HTTP/1.1 has only one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
