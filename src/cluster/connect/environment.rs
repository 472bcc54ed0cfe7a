//! The proxy from the environment, by the rules of Go's `httpproxy`: `HTTPS_PROXY` or `HTTP_PROXY`
//! by the server's scheme, except for hosts in `NO_PROXY` and for this machine.

use std::net::IpAddr;

use http::Uri;

use super::{address, kubeconfig_error::ProxyVariableError};

const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The proxy for a server; errors name the variable.
pub(super) fn proxy_for(
    server: &Uri,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, ProxyVariableError> {
    let get = |name: &'static str| {
        [name.to_owned(), name.to_lowercase()]
            .into_iter()
            .find_map(|n| env(&n).filter(|v| !v.is_empty()))
    };
    let name = if server.scheme_str() == Some("http") {
        "HTTP_PROXY"
    } else {
        "HTTPS_PROXY"
    };
    let Some(named) = get(name) else {
        return Ok(None);
    };
    if !uses_proxy(server, &get("NO_PROXY").unwrap_or_default()) {
        return Ok(None);
    }
    let whole = if named.contains("://") {
        named
    } else {
        format!("http://{named}")
    };
    address::parse_proxy(&whole, &SCHEMES)
        .map(Some)
        .map_err(|source| ProxyVariableError {
            variable: name,
            source,
        })
}

fn uses_proxy(server: &Uri, exceptions: &str) -> bool {
    let host = server
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_lowercase();
    let port = server
        .port_u16()
        .unwrap_or(if server.scheme_str() == Some("http") {
            80
        } else {
            443
        });
    let ip: Option<IpAddr> = host.parse().ok().map(|ip: IpAddr| ip.to_canonical());
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return false;
    }
    let mut entries = exceptions
        .split(',')
        .map(|e| e.trim().to_lowercase())
        .filter(|e| !e.is_empty());
    !entries.any(|entry| matches_no_proxy(&entry, &host, ip, port))
}

/// Whether one entry of `NO_PROXY` matches the server.
fn matches_no_proxy(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((net, bits)) = parse_cidr(entry) {
        return ip.is_some_and(|ip| is_within(ip, net, bits));
    }
    let (name, only) = host_and_port(entry);
    if only.is_some_and(|only| only != port.to_string()) || name.is_empty() {
        return false;
    }
    if let Ok(named) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return ip == Some(named.to_canonical());
    }
    // `x.y` also matches the domain itself; `.x.y` and `*.x.y` match only names below it.
    let below = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    match below.strip_prefix('.') {
        Some(_) => host.ends_with(below),
        None => {
            host == below
                || host
                    .strip_suffix(below)
                    .is_some_and(|rest| rest.ends_with('.'))
        }
    }
}

/// Splits `HOST:PORT`. An IPv6 address without brackets is a host only.
fn host_and_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => {
            (host, Some(port).filter(|p| !p.is_empty()))
        }
        _ => (entry, None),
    }
}

fn parse_cidr(entry: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = entry.split_once('/')?;
    let (ip, bits): (IpAddr, u8) = (ip.parse().ok()?, bits.parse().ok()?);
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

fn is_within(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(ip) & mask == u32::from(net) & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(ip) & mask == u128::from(net) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(vars: &[(&str, &str)], server: &str) -> Result<Option<String>, String> {
        let env = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        proxy_for(&server.parse().unwrap(), env)
            .map(|found| found.map(|u| u.to_string()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_variable_goes_by_the_servers_scheme_and_every_scheme_of_a_proxy_is_taken() {
        let table = [
            (
                "https_proxy",
                "proxy.example:3128",
                "https://k.example:6443",
                Some("http://proxy.example:3128/"),
            ),
            (
                "HTTPS_PROXY",
                "http://u:p@proxy.example",
                "https://k.example",
                Some("http://u:p@proxy.example/"),
            ),
            (
                "HTTPS_PROXY",
                "https://proxy.example/",
                "https://k.example",
                Some("https://proxy.example/"),
            ),
            (
                "HTTPS_PROXY",
                "HTTP://proxy.example:1",
                "https://k.example",
                Some("http://proxy.example:1/"),
            ),
            (
                "https_proxy",
                "socks5h://proxy.example:1",
                "https://k.example",
                Some("socks5://proxy.example:1/"),
            ),
            (
                "https_proxy",
                "socks5://proxy.example",
                "https://k.example",
                Some("socks5://proxy.example:1080/"),
            ),
            (
                "https_proxy",
                "socks5://[::1]",
                "https://k.example",
                Some("socks5://[::1]:1080/"),
            ),
            (
                "https_proxy",
                "socks5h://u:p%40x@proxy.example",
                "https://k.example",
                Some("socks5://u:p%40x@proxy.example:1080/"),
            ),
            ("https_proxy", "", "https://k.example", None),
            // A proxy that is not used is not validated, as in Go.
            ("https_proxy", "ftp://p", "http://k.example", None),
            ("https_proxy", "ftp://p", "https://localhost", None),
            ("https_proxy", "proxy.example", "http://k.example", None),
            (
                "http_proxy",
                "proxy.example",
                "http://k.example",
                Some("http://proxy.example/"),
            ),
            ("http_proxy", "proxy.example", "https://k.example", None),
        ];
        for (name, value, server, want) in table {
            assert_eq!(
                proxy(&[(name, value)], server),
                Ok(want.map(str::to_owned)),
                "{name}={value} {server}"
            );
        }
        // Go reads these as `http://ftp://p`, whose host is `ftp`, and fails at the first request.
        for wrong in [
            "ftp://p",
            "http://",
            "http://p:x",
            "http://a b",
            "socks4://p",
            "http://p\n",
            "socks5://:p@p",
        ] {
            let told = proxy(&[("https_proxy", wrong)], "https://k.example").unwrap_err();
            assert!(told.starts_with("$HTTPS_PROXY: "), "{wrong}: {told}");
        }
    }

    /// Go's own rules, case by case.
    #[test]
    fn no_proxy_leaves_out_what_go_leaves_out() {
        let table = [
            ("*", "https://k.example", true),
            ("a, *", "https://k.example", true),
            ("k.example", "https://k.example", true),
            ("k.example", "https://sub.k.example", true),
            ("k.example", "https://ask.example", false),
            (".example", "https://k.example", true),
            (".k.example", "https://k.example", false),
            ("*.example", "https://k.example", true),
            ("*.k.example", "https://k.example", false),
            ("*.k.example", "https://a.b.k.example", true),
            ("*example", "https://k.example", false),
            ("K.Example", "https://k.EXAMPLE", true),
            ("k.example:443", "https://k.example", true),
            ("k.example:6443", "https://k.example:6443", true),
            ("k.example:6443", "https://k.example", false),
            ("*.example:443", "https://k.example", true),
            (".example:80", "https://k.example", false),
            (":443", "https://k.example", false),
            (" , k.example ", "https://k.example", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.0.0.0/33", "https://10.0.0.0", false),
            ("0.0.0.0/0", "https://10.1.2.3", true),
            ("10.1.2.3", "https://10.1.2.3:6443", true),
            ("10.1.2.3:6443", "https://10.1.2.3:6443", true),
            ("10.1.2.3:1", "https://10.1.2.3:6443", false),
            ("10.1.2", "https://10.1.2.3", false),
            ("fd00::/8", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00:0::1]", true),
            ("[fd00::1]", "https://[fd00::1]", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("[fd00::1]:1", "https://[fd00::1]:6443", false),
            ("", "https://127.64.0.1:6443", true),
            ("", "https://[::1]", true),
            ("", "https://localhost", true),
            ("", "https://k.example", false),
        ];
        for (exceptions, server, direct) in table {
            let found = proxy(
                &[("HTTPS_PROXY", "p.example"), ("no_proxy", exceptions)],
                server,
            )
            .unwrap();
            assert_eq!(found.is_none(), direct, "NO_PROXY={exceptions:?} {server}");
        }
    }
}
