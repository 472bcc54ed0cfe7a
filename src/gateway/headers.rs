//! Headers on their way through: hop-by-hop ones end here, the way so far is added.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::table::Headers;

/// Hop-by-hop headers (RFC 9110 §7.6.1), those that `Connection` names, and what the gateway answers itself.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::EXPECT,
    ] {
        headers.remove(name);
    }
}

/// The protocol that a request or response switches to.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants =
        |v: &HeaderValue| v.to_str().is_ok_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")));
    let asked = headers.get_all(header::CONNECTION).iter().any(wants);
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

/// Adds `x-forwarded-*`. At an entry they begin with what the gateway sees itself: a client's own are not
/// believed.
pub(super) fn forwarded(headers: &mut HeaderMap, peer: &HeaderValue, host: &HeaderValue, entry: bool) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    if entry {
        headers.remove(FOR);
        headers.remove(PROTO);
        headers.remove(HOST);
    }
    if headers.contains_key(FOR) {
        let way = headers.get_all(FOR).iter().chain([peer]).filter_map(|v| v.to_str().ok()).collect::<Vec<_>>();
        if let Ok(way) = HeaderValue::from_str(&way.join(", ")) {
            headers.insert(FOR, way);
        }
    } else {
        headers.insert(FOR, peer.clone());
    }
    headers.entry(PROTO).or_insert(HeaderValue::from_static("http"));
    headers.entry(HOST).or_insert_with(|| host.clone());
}

impl Headers {
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
