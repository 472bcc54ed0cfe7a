//! Identity of the API and of its clients: a certificate authority (CA), a certificate for the
//! node's address, and a token. Each has a validity and is renewed before it expires ([`lives`]).

mod lives;

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::sync::watch;

use crate::pocket::durable;
use lives::{Kept, Renewed, renewed};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{}: {why}", file.display())]
    File {
        /// File that the operation failed on.
        file: PathBuf,
        /// Error of the operating system.
        why: io::Error,
    },
    /// A certificate cannot be created or used.
    #[error("the API's certificate: {0}")]
    Certificate(String),
}

/// Certificates of the API and tokens of its clients; clones share one identity.
#[derive(Clone)]
pub struct Identity {
    kept: Arc<Mutex<Kept>>,
    file: PathBuf,
    address: Ipv4Addr,
    live: watch::Sender<Live>,
    authorities: watch::Sender<String>,
}

/// Current state for serving.
#[derive(Clone)]
pub(super) struct Live {
    /// TLS configuration of the listener.
    pub tls: Arc<ServerConfig>,
    /// Accepted tokens: the current one, and the previous one during the overlap.
    pub tokens: Arc<[String]>,
}

impl Identity {
    /// Loads the identity of a state folder and renews what is no longer valid.
    pub fn of(state: &Path, address: Ipv4Addr) -> Result<Self, IdentityError> {
        Self::at(state, address, Timestamp::now())
    }

    fn at(state: &Path, address: Ipv4Addr, now: Timestamp) -> Result<Self, IdentityError> {
        let file = state.join("identity.json");
        let read = fs::read(&file).ok();
        let kept = read
            .as_ref()
            .and_then(|bytes| serde_json::from_slice::<Kept>(bytes).ok());
        let kept = kept.filter(|kept| kept.is_whole() && live(kept).is_ok());
        if read.is_some() && kept.is_none() {
            tracing::warn!(file = %file.display(), "damaged, and made anew: copies of the kubeconfig are of no use any more");
        }
        let (kept, news) =
            renewed(kept, address, now).map_err(|e| IdentityError::Certificate(e.to_string()))?;
        let identity = Self {
            live: watch::Sender::new(live(&kept)?),
            authorities: watch::Sender::new(kept.authorities()),
            kept: Arc::new(Mutex::new(kept.clone())),
            file: file.clone(),
            address,
        };
        if news.is_some() {
            write(&file, &kept)?;
        }
        tell(news);
        Ok(identity)
    }

    /// Renews what is about to expire; returns whether anything changed.
    pub(super) fn renew(&self, now: Timestamp) -> Result<bool, IdentityError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |e: rcgen::Error| IdentityError::Certificate(e.to_string());
        let (next, news) = renewed(Some(kept.clone()), self.address, now).map_err(wrong)?;
        if news.is_none() {
            return Ok(false);
        }
        write(&self.file, &next)?;
        self.live.send_replace(live(&next)?);
        self.authorities.send_replace(next.authorities());
        *kept = next;
        tell(news);
        Ok(true)
    }

    pub(super) fn live(&self) -> Live {
        self.live.borrow().clone()
    }

    /// Returns the token that clients send.
    pub fn token(&self) -> String {
        self.live
            .borrow()
            .tokens
            .first()
            .cloned()
            .unwrap_or_default()
    }

    /// CA certificates that a client should trust (PEM), including those used next: the current
    /// value and all changes.
    pub fn authorities(&self) -> watch::Receiver<String> {
        self.authorities.subscribe()
    }

    /// Returns the CA certificates in the encoding of kubeconfigs.
    pub(super) fn authority_data(&self) -> String {
        BASE64_STANDARD.encode(&*self.authorities.borrow())
    }
}

fn write(file: &Path, kept: &Kept) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec(kept).unwrap_or_default();
    durable::write(file, &bytes).map_err(|why| IdentityError::File {
        file: file.into(),
        why,
    })
}

fn tell(news: Option<Renewed>) {
    if let Some(what) = news.filter(|n| *n != Renewed::First) {
        tracing::info!("{}", what.words());
    }
}

fn live(kept: &Kept) -> Result<Live, IdentityError> {
    let wrong = |e: &dyn std::fmt::Display| IdentityError::Certificate(e.to_string());
    let (certificate, key) = kept.shown();
    let certificate =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| wrong(&e))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| wrong(&e))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|e| wrong(&e))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Live {
        tls: Arc::new(tls),
        tokens: kept.tokens().into(),
    })
}

#[cfg(test)]
mod tests;
