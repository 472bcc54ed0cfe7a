//! A cluster's address as client-go reads it: a URL, or `host:port`, which means http.

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::kubeconfig_error::AddressError;

/// What Go's `url.URL` escapes in a path.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Address of an API server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) uri: Uri,
    /// User name and password from the URL; they take precedence over all other credentials.
    pub(super) login: Option<(String, String)>,
}

impl Address {
    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

/// Parses the value of `server`. Errors do not repeat it, because it may hold a password.
pub(super) fn parse_address(text: &str) -> Result<Address, AddressError> {
    let url = split_scheme(text)?;
    let (scheme, rest) = match url {
        Some(found) => found,
        // Anything else is taken as a host.
        None => ("http".to_owned(), text),
    };
    if scheme != "http" && scheme != "https" {
        return Err(AddressError::Scheme(scheme));
    }
    let (authority, path) = split_authority(rest);
    if has_no_scheme(text) && !matches!(path, "" | "/") {
        return Err(AddressError::NoUrl);
    }
    let (login, host) = split_login(authority);
    let host = validate_host(host, None)?;
    let path = utf8_percent_encode(path, PATH);
    let uri = format!("{scheme}://{host}{path}").parse()?;
    Ok(Address { uri, login })
}

/// The address as shown to people, without credentials.
pub(super) fn display_address(text: &str) -> String {
    match parse_address(text) {
        Ok(address) => address.uri.to_string().trim_end_matches('/').to_owned(),
        Err(_) => text
            .rsplit_once('@')
            .map_or(text, |(_, host)| host)
            .to_owned(),
    }
}

/// Parses a proxy's address, whose scheme must be one of `schemes`. Credentials stay in the URI,
/// where kube reads them.
pub(super) fn parse_proxy(
    text: &str,
    schemes: &'static [&'static str],
) -> Result<Uri, AddressError> {
    let (scheme, rest) = split_scheme(text)?.ok_or(AddressError::ProxyScheme(schemes))?;
    if !schemes.contains(&scheme.as_str()) {
        return Err(AddressError::ProxyScheme(schemes));
    }
    let (authority, _) = split_authority(rest);
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    // In Go both leave name resolution to the proxy.
    let scheme = scheme.replace("socks5h", "socks5");
    if scheme == "socks5" && login.is_some() {
        let (user, password) = split_login(authority).0.unwrap_or_default();
        // RFC 1929 has one byte for each length.
        if user.is_empty() || user.len() > 255 || password.len() > 255 {
            return Err(AddressError::SocksLogin);
        }
    }
    let host = validate_host(host, (scheme == "socks5").then_some(1080))?;
    let login = login.map(|l| format!("{l}@")).unwrap_or_default();
    Ok(format!("{scheme}://{login}{host}").parse()?)
}

/// The scheme in lower case and what follows `://`; `None` without a scheme or a host.
fn split_scheme(text: &str) -> Result<Option<(String, &str)>, AddressError> {
    if text.chars().any(char::is_control) {
        return Err(AddressError::ControlCharacter);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    let mut letters = scheme.chars();
    let plain = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    Ok((plain && !split_authority(rest).0.is_empty()).then(|| (scheme.to_ascii_lowercase(), rest)))
}

fn has_no_scheme(text: &str) -> bool {
    matches!(split_scheme(text), Ok(None))
}

/// Authority and path; query and fragment are dropped.
fn split_authority(rest: &str) -> (&str, &str) {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').map_or((rest, ""), |at| rest.split_at(at))
}

fn split_login(authority: &str) -> (Option<(String, String)>, &str) {
    let Some((login, host)) = authority.rsplit_once('@') else {
        return (None, authority);
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let plain = |t: &str| percent_decode_str(t).decode_utf8_lossy().into_owned();
    (Some((plain(user), plain(password))), host)
}

/// User name and password in a proxy's address.
pub(super) fn proxy_login(proxy: &Uri) -> Option<(String, String)> {
    split_login(proxy.authority()?.as_str()).0
}

/// Checks a host and its optional port.
fn validate_host(text: &str, default: Option<u16>) -> Result<String, AddressError> {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], &text[at + 1..]),
        _ => (text, ""),
    };
    let number: Option<u16> = match port {
        "" => default,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| AddressError::PortRange)?)
        }
        _ => return Err(AddressError::Port),
    };
    // Go reads an empty host as this machine.
    let host = if host.is_empty() { "localhost" } else { host };
    if host.contains(char::is_whitespace) {
        return Err(AddressError::WhiteSpace);
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(AddressError::Ipv6);
    }
    Ok(number.map_or_else(|| host.to_owned(), |n| format!("{host}:{n}")))
}
