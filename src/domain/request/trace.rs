//! W3C trace context of a request.

/// Trace id, parent id and flags of a valid `traceparent`, also of later versions.
pub fn parse_traceparent(header: &str) -> Option<(&str, &str, &str)> {
    let mut parts = header.trim().split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex =
        |s: &str, n| s.len() == n && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |s: &str| s.bytes().all(|b| b == b'0');
    let good = hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && hex(id, 32)
        && !zero(id)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2);
    good.then_some((id, parent, flags))
}
