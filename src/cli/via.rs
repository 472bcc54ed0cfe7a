//! `--via`: how probes reach the entry.

use std::str::FromStr;

use kube::Client;

use crate::{
    cluster::proxy::{ProxyTarget, ProxyTargetError},
    probe::Via,
};

/// A parsed `--via` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViaArg {
    /// `entry`: directly to its address.
    Entry,
    /// `proxy` or `proxy=NAMESPACE/SERVICE:PORT`: through the API server.
    Proxy(Option<ProxyTarget>),
}

/// An invalid `--via` option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViaError {
    /// An unknown word.
    #[error("{0:?} is not a way: write entry, proxy, or proxy=NAMESPACE/SERVICE:PORT")]
    Unknown(String),
    /// The target is not a Service and port.
    #[error(transparent)]
    Target(#[from] ProxyTargetError),
}

impl FromStr for ViaArg {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Self, ViaError> {
        match text.split_once('=') {
            None if text == "entry" => Ok(Self::Entry),
            None if text == "proxy" => Ok(Self::Proxy(None)),
            Some(("proxy", target)) => Ok(Self::Proxy(Some(target.parse()?))),
            _ => Err(ViaError::Unknown(text.into())),
        }
    }
}

impl ViaArg {
    /// Converts it for the probe, with a client for the API server.
    pub(super) fn into_via(self, client: &Client) -> Via {
        match self {
            Self::Entry => Via::Entry,
            Self::Proxy(target) => Via::Proxy(client.clone(), target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_and_others_are_refused() {
        assert_eq!("entry".parse(), Ok(ViaArg::Entry));
        assert_eq!("proxy".parse(), Ok(ViaArg::Proxy(None)));
        let target = ProxyTarget {
            namespace: "t".into(),
            service: "s".into(),
            port: "web".into(),
        };
        assert_eq!("proxy=t/s:web".parse(), Ok(ViaArg::Proxy(Some(target))));
        assert!(
            "ssh"
                .parse::<ViaArg>()
                .unwrap_err()
                .to_string()
                .contains("is not a way")
        );
        assert!(
            "proxy=s:80"
                .parse::<ViaArg>()
                .unwrap_err()
                .to_string()
                .contains("NAMESPACE/SERVICE:PORT")
        );
    }
}
