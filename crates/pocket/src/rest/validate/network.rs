//! IP addresses, ranges and DNS settings.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::super::error::FieldError;
use super::as_list;
use super::rules::{Problems, as_text, check_subdomain, push_messages};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
const RELAXED: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";

/// Parses an address as older Go versions did, with leading zeros.
fn parse_legacy_ip(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let numbers: Option<Vec<u8>> = text
        .split('.')
        .map(|n| {
            n.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| n.parse::<u8>().ok())
                .flatten()
        })
        .collect();
    let four: [u8; 4] = numbers?.try_into().ok()?;
    Some(Ipv4Addr::from(four).into())
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some())
}

/// Checks that every parser reads the address in the same way.
pub(super) fn check_ip(value: &Value, path: &str, problems: &mut Problems) -> Option<IpAddr> {
    let given = as_text(value);
    let shown = Value::from(given);
    let words = match parse_legacy_ip(given) {
        None => NO_ADDRESS,
        Some(_) if given.parse::<IpAddr>().is_err() => "must not have leading 0s",
        Some(address) if is_mapped(address) => "must not be an IPv4-mapped IPv6 address",
        Some(address) => return Some(address),
    };
    problems.push(FieldError::invalid(path, &shown, words));
    None
}

/// Checks an address of something that may run on another machine. Pocket's own pods are on the
/// loopback (`local`).
pub(super) fn check_reachable(
    address: IpAddr,
    value: &Value,
    path: &str,
    local: bool,
    problems: &mut Problems,
) {
    let (unicast, multicast) = match address {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (
            six.segments()[0] & 0xffc0 == 0xfe80,
            six.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    let words = if address.is_unspecified() {
        format!("may not be unspecified ({})", as_text(value))
    } else if address.is_loopback() && !local {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
    } else if unicast {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
    } else if multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
    } else {
        return;
    };
    problems.push(FieldError::invalid(path, value, words));
}

/// Checks an address range in CIDR form.
pub(super) fn check_cidr(value: &Value, path: &str, problems: &mut Problems) {
    let given = as_text(value);
    let parts = given
        .split_once('/')
        .and_then(|(address, bits)| Some((parse_legacy_ip(address)?, address, bits)));
    let most = parts.map_or(0, |(address, ..)| if address.is_ipv4() { 32 } else { 128 });
    let number = |bits: &str| {
        bits.parse::<u32>()
            .ok()
            .filter(|n| *n <= most && !bits.starts_with('+'))
    };
    let read = parts.and_then(|(address, text, bits)| Some((address, text, bits, number(bits)?)));
    let words = match read {
        None => NO_RANGE,
        Some((_, text, bits, n)) if text.parse::<IpAddr>().is_err() || bits != n.to_string() => {
            "must not have leading 0s in IP or prefix length"
        }
        Some((address, ..)) if is_mapped(address) => "must not have an IPv4-mapped IPv6 address",
        Some((address, _, _, n)) if has_host_bits(address, n) => {
            "must not have bits set beyond the prefix length"
        }
        Some(_) => return,
    };
    problems.push(FieldError::invalid(path, &given.into(), words));
}

fn has_host_bits(address: IpAddr, bits: u32) -> bool {
    match address {
        IpAddr::V4(four) => u32::from(four).checked_shl(bits).unwrap_or(0) != 0,
        IpAddr::V6(six) => u128::from(six).checked_shl(bits).unwrap_or(0) != 0,
    }
}

pub(super) fn check_dns(spec: &Value, path: &str, problems: &mut Problems) {
    let (config, path) = (&spec["dnsConfig"], format!("{path}.dnsConfig"));
    let servers = as_list(&config["nameservers"]);
    if spec["dnsPolicy"] == "None" {
        if !config.is_object() {
            return problems.push(FieldError::required(
                path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        }
        if servers.is_empty() {
            let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return problems.push(FieldError::required(format!("{path}.nameservers"), words));
        }
    }
    if servers.len() > 3 {
        let words = "must not have more than 3 nameservers";
        problems.push(FieldError::invalid(
            format!("{path}.nameservers"),
            &config["nameservers"],
            words,
        ));
    }
    for (at, server) in servers.iter().enumerate() {
        check_ip(server, &format!("{path}.nameservers[{at}]"), problems);
    }
    check_searches(&config["searches"], &format!("{path}.searches"), problems);
    for (at, option) in as_list(&config["options"]).iter().enumerate() {
        if as_text(&option["name"]).is_empty() {
            problems.push(FieldError::required(
                format!("{path}.options[{at}]"),
                "must not be empty",
            ));
        }
    }
}

fn check_searches(given: &Value, path: &str, problems: &mut Problems) {
    let searches = as_list(given);
    let length: usize = searches.iter().map(|s| as_text(s).len() + 1).sum();
    let mut too_many = |wrong: bool, words: &str| {
        if wrong {
            problems.push(FieldError::invalid(path, given, words));
        }
    };
    too_many(
        searches.len() > 32,
        "must not have more than 32 search paths",
    );
    too_many(
        length > 2049,
        "must not have more than 2048 characters (including spaces) in the search list",
    );
    for (at, search) in searches.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let given = as_text(search);
        let name = given.strip_suffix('.').unwrap_or(given);
        if given != "." {
            push_messages(
                &path,
                &name.into(),
                relaxed_subdomain_errors(name),
                problems,
            );
        }
    }
}

fn relaxed_subdomain_errors(name: &str) -> Vec<String> {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        ends(part.chars().next())
            && ends(part.chars().next_back())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    };
    let mut words = Vec::new();
    if name.len() > 253 {
        words.push("must be no more than 253 characters".to_owned());
    }
    if !name.split('.').all(part) {
        words.push(RELAXED.to_owned());
    }
    words
}

pub(super) fn check_host_aliases(aliases: &[Value], path: &str, problems: &mut Problems) {
    for (at, alias) in aliases.iter().enumerate() {
        let path = format!("{path}[{at}]");
        check_ip(&alias["ip"], &format!("{path}.ip"), problems);
        for (at, name) in as_list(&alias["hostnames"]).iter().enumerate() {
            check_subdomain(name, &format!("{path}.hostnames[{at}]"), problems);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_networks() {
        for (given, good) in [
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("10.0.0.1/32", true),
            ("2001:db8::/64", true),
            ("::/0", true),
            ("10.0.0.1/8", false),
            ("2001:db8::1/64", false),
            ("10.0.0.0", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/08", false),
            ("010.0.0.0/8", false),
            ("x/8", false),
            ("10.0.0.0/+8", false),
        ] {
            let mut problems = Problems::new();
            check_cidr(&given.into(), "x", &mut problems);
            assert_eq!(problems.is_empty(), good, "{given}: {problems:?}");
        }
    }
}
