//! Parses `Host`, `:authority` and the authority of an absolute target: a host and an optional port
//! (RFC 3986 §3.2).

use std::net::Ipv6Addr;

/// Host without its port; `None` if the text is not `host [":" port]`, if the host is empty, which
/// `http` does not allow (RFC 9110 §4.2.1), or if there is user information before an `@` (§4.2.4).
pub fn parse_host(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (
            &authority[..address.len() + 2],
            after.strip_prefix(':').or(after.is_empty().then_some(""))?,
        )
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        (is_reg_name(host) && !host.is_empty()).then_some((host, port))?
    };
    let number =
        port.is_empty() || port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    number.then_some(host)
}

/// Whether the text is a `reg-name`: letters, digits, `-._~`, the sub-delimiters, and percent signs
/// with two hex digits.
fn is_reg_name(host: &str) -> bool {
    let bytes = host.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        at += match b {
            b'%' => match bytes.get(at + 1..at + 3) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => 3,
                _ => return false,
            },
            _ if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b) => 1,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_grammar() {
        for (authority, host) in [
            ("shop.example", Some("shop.example")),
            ("shop.example:8080", Some("shop.example")),
            ("shop.example:", Some("shop.example")),
            ("1.2.3.4:80", Some("1.2.3.4")),
            ("[::1]", Some("[::1]")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]")),
            ("a_b-c~d", Some("a_b-c~d")),
            ("%E7%81%B0", Some("%E7%81%B0")),
            ("a!$&'()*+,;=b", Some("a!$&'()*+,;=b")),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a b<>@", None),
            ("user@shop", None),
            ("user:secret@shop", None),
            ("a/b", None),
            ("a?b", None),
            ("a#b", None),
            ("a\\b", None),
            ("a:b", None),
            ("a:80:90", None),
            ("a:65536", None),
            ("a:+80", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]80", None),
            ("[fe80::1%eth0]", None),
            ("[shop]", None),
            ("%zz", None),
            ("%e", None),
            ("http://shop", None),
            ("灰度", None),
        ] {
            assert_eq!(parse_host(authority), host, "{authority:?}");
        }
    }
}
