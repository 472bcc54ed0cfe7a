//! IP addresses of called pods and of callers.

use std::net::{IpAddr, SocketAddr};

/// The IP address in `IP`, `IP:port` or `[IP]:port`; `None` for anything else.
pub(super) fn parse_ip(text: &str) -> Option<String> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()));
    let address = address.or_else(|_| text.trim_matches(['[', ']']).parse());
    address.ok().map(|ip| ip.to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_addresses() {
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:8080", "10.0.0.1"),
            ("[fd00::1]:80", "fd00::1"),
            ("[fd00::1]", "fd00::1"),
            ("fd00:0::1", "fd00::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(parse_ip(text).as_deref(), Some(expected));
        }
        for none in [
            "",
            "-",
            "b",
            "b:80",
            "a.demo.svc",
            "10.0.0.1:99999",
            "unix:/a",
        ] {
            assert_eq!(parse_ip(none), None, "{none}");
        }
    }
}
