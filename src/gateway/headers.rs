//! Headers on their way through: the framing of a response, and forwarding headers.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, request,
    response::Parts,
};

use super::{
    body::{self, ResponseBody},
    table::HeaderChanges,
};
use crate::domain::request::{strip_hop_by_hop, transfer_codings};

/// Why the end of a response cannot be known.
#[derive(Debug, thiserror::Error)]
pub(super) enum FramingError {
    #[error("Transfer-Encoding: {0} cannot be passed on")]
    TransferEncoding(String),
    #[error("Content-Length: {0} is no length")]
    ContentLength(String),
}

/// Makes the head of a response state the length of its content in one way only, and removes
/// hop-by-hop headers of the backend's connection. Returns whether the connection may be kept,
/// which is not safe after a message that could be read in another way (RFC 9112 §6.3). The error
/// says what cannot be forwarded.
pub(super) fn normalize_response_head(parts: &mut Parts) -> Result<bool, FramingError> {
    let headers = &mut parts.headers;
    let length = content_length(headers)?;
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    let mut one_way = true;
    if coded {
        let codings = transfer_codings(headers);
        let chunked = codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked");
        if !chunked || parts.version < Version::HTTP_11 {
            return Err(FramingError::TransferEncoding(codings.join(", ")));
        }
        // Chunked wins; remove the length so that nobody relies on it.
        one_way = length.is_none();
        headers.remove(header::CONTENT_LENGTH);
    }
    // A 204 never has content: what follows would be taken for the next response.
    if parts.status == StatusCode::NO_CONTENT && (coded || length.is_some()) {
        one_way = !coded && length == Some(0);
        headers.remove(header::CONTENT_LENGTH);
    }
    // A 426 needs it to say which protocol it requires (RFC 9110 §15.5.22). In other responses it
    // offers a protocol that only the backend's own connection could switch to (§7.8).
    let required = parts.status == StatusCode::UPGRADE_REQUIRED;
    let asked: Vec<_> = headers
        .get_all(header::UPGRADE)
        .iter()
        .filter(|_| required)
        .cloned()
        .collect();
    strip_hop_by_hop(headers, &[]);
    if !asked.is_empty() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    for line in asked {
        headers.append(header::UPGRADE, line);
    }
    Ok(one_way)
}

/// Adapts headers and body to the protocol version of the caller.
pub(super) fn adapt_to_version(
    version: Version,
    mut answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    if version >= Version::HTTP_2 {
        // RFC 9113 §8.2.2.
        answer.headers_mut().remove(header::CONNECTION);
        answer.headers_mut().remove(header::UPGRADE);
    } else if answer.status() == StatusCode::NOT_MODIFIED
        && answer.headers().contains_key(header::CONTENT_LENGTH)
    {
        *answer.body_mut() = body::not_modified_body();
    }
    answer
}

/// The length that a response states, as one value.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let single = lines.next().is_none();
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    if let Some(length) = first.to_str().ok().and_then(number)
        && single
    {
        return Ok(Some(length));
    }
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let all: Vec<String> = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .map(text)
        .collect();
    let said: Option<Vec<u64>> = all
        .iter()
        .flat_map(|v| v.split(','))
        .map(|n| number(n.trim()))
        .collect();
    match said.as_deref() {
        Some([length, rest @ ..]) if rest.iter().all(|other| other == length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(*length));
            Ok(Some(*length))
        }
        _ => Err(FramingError::ContentLength(all.join(", "))),
    }
}

/// Adds `x-forwarded-*` and `Via`. At an entry, the former start with what the gateway sees itself:
/// those of a client are not trusted. `Via` helps to find loops and protocol changes (RFC 9110
/// §7.6.3) and is kept.
pub(super) fn add_forwarded_headers(
    parts: &mut request::Parts,
    peer: &HeaderValue,
    host: &HeaderValue,
    entry: bool,
) {
    let own = match parts.version {
        Version::HTTP_2 => "2 graylane",
        Version::HTTP_11 => "1.1 graylane",
        _ => "1.0 graylane",
    };
    let headers = &mut parts.headers;
    add_via(headers, own);
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    // At an entry, all claims about earlier hops come from the client, whatever header they are in.
    if entry {
        let said = |name: &&HeaderName| {
            matches!(name.as_str(), "forwarded" | "x-real-ip")
                || name.as_str().starts_with("x-forwarded-")
        };
        let said: Vec<HeaderName> = headers.keys().filter(said).cloned().collect();
        said.iter().for_each(|name| drop(headers.remove(name)));
    }
    if headers.contains_key(FOR) {
        let way = headers
            .get_all(FOR)
            .iter()
            .chain([peer])
            .filter_map(|v| v.to_str().ok())
            .collect::<Vec<_>>();
        if let Ok(way) = HeaderValue::from_str(&way.join(", ")) {
            headers.insert(FOR, way);
        }
    } else {
        headers.insert(FOR, peer.clone());
    }
    headers
        .entry(PROTO)
        .or_insert(HeaderValue::from_static("http"));
    headers.entry(HOST).or_insert_with(|| host.clone());
}

/// Appends this gateway to the way that a request came.
fn add_via(headers: &mut HeaderMap, own: &'static str) {
    let way = headers
        .get_all(header::VIA)
        .iter()
        .map(HeaderValue::as_bytes);
    let mut way: Vec<&[u8]> = way.filter(|v| !v.is_empty()).collect();
    let value = if way.is_empty() {
        Ok(HeaderValue::from_static(own))
    } else {
        way.push(own.as_bytes());
        HeaderValue::from_bytes(&way.join(&b", "[..]))
    };
    if let Ok(value) = value {
        headers.insert(header::VIA, value);
    }
}

impl HeaderChanges {
    /// Set, add, remove.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_tells_its_length_in_one_way() {
        const OK: u16 = 200;
        for (status, version, fields, want) in [
            (
                OK,
                11,
                &[("content-length", "5")][..],
                Ok((Some("5"), true)),
            ),
            (OK, 11, &[], Ok((None, true))),
            (
                OK,
                11,
                &[("transfer-encoding", "chunked")],
                Ok((None, true)),
            ),
            (
                OK,
                11,
                &[("transfer-encoding", "Chunked")],
                Ok((None, true)),
            ),
            (
                OK,
                11,
                &[("transfer-encoding", "chunked"), ("content-length", "3")],
                Ok((None, false)),
            ),
            (
                OK,
                11,
                &[("content-length", "10"), ("transfer-encoding", "chunked")],
                Ok((None, false)),
            ),
            (
                OK,
                11,
                &[("content-length", "5"), ("content-length", "5")],
                Ok((Some("5"), true)),
            ),
            (OK, 11, &[("content-length", "5, 5")], Ok((Some("5"), true))),
            (
                OK,
                11,
                &[("content-length", "5"), ("content-length", "6")],
                Err(()),
            ),
            (OK, 11, &[("content-length", "5,6")], Err(())),
            (OK, 11, &[("content-length", "+5")], Err(())),
            (OK, 11, &[("content-length", "-1")], Err(())),
            (OK, 11, &[("content-length", "")], Err(())),
            (OK, 11, &[("content-length", "5x")], Err(())),
            (
                OK,
                11,
                &[("content-length", "99999999999999999999")],
                Err(()),
            ),
            (
                OK,
                11,
                &[("content-length", "x"), ("transfer-encoding", "chunked")],
                Err(()),
            ),
            (OK, 11, &[("transfer-encoding", "gzip, chunked")], Err(())),
            (OK, 11, &[("transfer-encoding", "gzip")], Err(())),
            (OK, 11, &[("transfer-encoding", "identity")], Err(())),
            (
                OK,
                11,
                &[("transfer-encoding", "chunked, chunked")],
                Err(()),
            ),
            (
                OK,
                11,
                &[
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                Err(()),
            ),
            (OK, 11, &[("transfer-encoding", "xchunked")], Err(())),
            (OK, 10, &[("transfer-encoding", "chunked")], Err(())),
            (OK, 10, &[("content-length", "5")], Ok((Some("5"), true))),
            (204, 11, &[("content-length", "0")], Ok((None, true))),
            (204, 11, &[("content-length", "5")], Ok((None, false))),
            (
                204,
                11,
                &[("transfer-encoding", "chunked")],
                Ok((None, false)),
            ),
            (
                304,
                11,
                &[("content-length", "1234")],
                Ok((Some("1234"), true)),
            ),
        ] {
            let version = if version == 11 {
                Version::HTTP_11
            } else {
                Version::HTTP_10
            };
            let mut response = Response::builder().status(status).version(version);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut parts = response.body(()).unwrap().into_parts().0;
            let got = normalize_response_head(&mut parts).map_err(drop);
            let left = parts
                .headers
                .get("content-length")
                .map(|v| v.to_str().unwrap());
            assert_eq!(
                got.map(|kept| (left, kept)),
                want,
                "{status} {version:?} {fields:?}"
            );
            assert!(
                want.is_err() || !parts.headers.contains_key("transfer-encoding"),
                "{fields:?}"
            );
        }
    }
}
