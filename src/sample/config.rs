//! Configuration of a sample service from the environment.

use std::{net::SocketAddr, time::Duration};

use color_eyre::eyre::{Result, WrapErr, bail};

/// Configuration of a service.
#[derive(Clone, Debug)]
pub struct Config {
    /// `A`, `B` or `C`.
    pub letter: char,
    /// `POD_IP:PORT`.
    pub address: SocketAddr,
    /// `SERVICE_TAG`: lane tag of the pod; empty for the baseline.
    pub tag: String,
    /// `CUSTOM_CONFIG_VALUE`, returned by A.
    pub config: String,
    /// `APP_VERSION`, returned in the header `x-app-version`.
    pub version: Option<String>,
    /// `TAG_HEADER`: header that carries the lane tag.
    pub tag_header: String,
    /// `DROP_TAG`: do not pass the tag on, to cause a leak.
    pub drop_tag: bool,
    /// `HEALTH=down`: never become ready.
    pub down: bool,
    /// `LAMEDUCK_MS`: accept connections this long after SIGTERM, for callers that do not know of
    /// it yet.
    pub lameduck: Duration,
    /// `NEXT_VIA`: `host:port` of the gateway between the services. It is called instead of the
    /// next Service, with that Service's name as Host.
    pub via: Option<String>,
    /// Address of B, from `SPRING_CLOUD_B_SERVICE_HOST` and `_PORT`.
    pub b: NextService,
    /// Address of C, from `SPRING_CLOUD_C_SERVICE_HOST` and `_PORT`.
    pub c: NextService,
}

/// A service to call.
#[derive(Clone, Debug, Default)]
pub struct NextService {
    /// Name of the Service, as `spring-cloud-b`.
    pub service: String,
    /// `host:port`; `None` if the variables are not set.
    pub authority: Option<String>,
}

impl Config {
    /// Reads the configuration; `which` is `a`, `b` or `c`.
    pub fn from_env(which: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let letter = which.chars().next().unwrap_or('a').to_ascii_uppercase();
        let default = 20_001 + u16::from(letter as u8 - b'A');
        let ip = env("POD_IP").unwrap_or_else(|| "127.0.0.1".into());
        let ip = ip
            .parse()
            .wrap_err_with(|| format!("POD_IP: {ip:?} is no IP address"))?;
        let port = parse_number(env, "PORT", u64::from(default))?;
        let port = u16::try_from(port).wrap_err_with(|| format!("PORT: {port} is no port"))?;
        let via = env("NEXT_VIA")
            .filter(|v| !v.is_empty())
            .map(|v| parse_authority(&v))
            .transpose()?;
        let lameduck = Duration::from_millis(parse_number(env, "LAMEDUCK_MS", 500)?);
        Ok(Self {
            letter,
            address: SocketAddr::new(ip, port),
            tag: env("SERVICE_TAG")
                .filter(|t| t != "null")
                .unwrap_or_default(),
            config: env("CUSTOM_CONFIG_VALUE").unwrap_or_else(|| "base".into()),
            version: env("APP_VERSION"),
            tag_header: env("TAG_HEADER").unwrap_or_else(|| "x-mse-tag".into()),
            drop_tag: env("DROP_TAG").is_some_and(|v| v != "0"),
            down: env("HEALTH").is_some_and(|v| v == "down"),
            lameduck,
            via,
            b: next_service("spring-cloud-b", "SPRING_CLOUD_B", env),
            c: next_service("spring-cloud-c", "SPRING_CLOUD_C", env),
        })
    }

    /// This service's link of the chain, as `Agray[ip][config=base]`.
    pub fn link(&self) -> String {
        let config = if self.letter == 'A' {
            format!("[config={}]", self.config)
        } else {
            String::new()
        };
        format!("{}{}[{}]{config}", self.letter, self.tag, self.address.ip())
    }
}

/// Converts `http://host:port` to `host:port`.
fn parse_authority(url: &str) -> Result<String> {
    let uri: http::Uri = url
        .parse()
        .wrap_err_with(|| format!("NEXT_VIA: {url:?} is no URL"))?;
    match (uri.scheme_str(), uri.authority(), uri.path()) {
        (Some("http"), Some(authority), "/") => Ok(authority.to_string()),
        _ => bail!("NEXT_VIA: {url:?} is not of the form http://host:port"),
    }
}

fn next_service(service: &str, prefix: &str, env: &dyn Fn(&str) -> Option<String>) -> NextService {
    let host = env(&format!("{prefix}_SERVICE_HOST"));
    let port = env(&format!("{prefix}_SERVICE_PORT"));
    let authority = host.zip(port).map(|(host, port)| {
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    });
    NextService {
        service: service.into(),
        authority,
    }
}

pub(super) fn parse_number(
    env: &dyn Fn(&str) -> Option<String>,
    name: &str,
    default: u64,
) -> Result<u64> {
    env(name).map_or(Ok(default), |v| {
        v.parse()
            .wrap_err_with(|| format!("{name}: {v:?} is no whole number"))
    })
}
