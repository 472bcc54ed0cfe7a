//! Identity of the API and of its clients: a certificate authority (CA), a certificate for the
//! node's address, and a token. Each has a validity and is renewed before it expires ([`renewal`]).

mod renewal;

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

use crate::durable;
use renewal::{Renewal, StoredIdentity, renew_identity};

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
    kept: Arc<Mutex<StoredIdentity>>,
    file: PathBuf,
    address: Ipv4Addr,
    live: watch::Sender<ServingState>,
    authorities: watch::Sender<String>,
}

/// Current state for serving.
#[derive(Clone)]
pub(super) struct ServingState {
    /// TLS configuration of the listener.
    pub tls: Arc<ServerConfig>,
    /// Accepted tokens: the current one, and the previous one during the overlap.
    pub tokens: Arc<[String]>,
}

impl Identity {
    /// Loads the identity of a state folder and renews what is no longer valid.
    pub fn open_or_create(state: &Path, address: Ipv4Addr) -> Result<Self, IdentityError> {
        Self::open_at(state, address, Timestamp::now())
    }

    fn open_at(state: &Path, address: Ipv4Addr, now: Timestamp) -> Result<Self, IdentityError> {
        let file = state.join("identity.json");
        let read = fs::read(&file).ok();
        let kept = read
            .as_ref()
            .and_then(|bytes| serde_json::from_slice::<StoredIdentity>(bytes).ok());
        let kept = kept.filter(|kept| kept.is_whole() && build_serving_state(kept).is_ok());
        if read.is_some() && kept.is_none() {
            tracing::warn!(file = %file.display(), "damaged, and made anew: copies of the kubeconfig are of no use any more");
        }
        let (kept, news) = renew_identity(kept, address, now)
            .map_err(|e| IdentityError::Certificate(e.to_string()))?;
        let identity = Self {
            live: watch::Sender::new(build_serving_state(&kept)?),
            authorities: watch::Sender::new(kept.authorities()),
            kept: Arc::new(Mutex::new(kept.clone())),
            file: file.clone(),
            address,
        };
        if news.is_some() {
            write_identity(&file, &kept)?;
        }
        log_renewal(news);
        Ok(identity)
    }

    /// Renews what is about to expire; returns whether anything changed.
    pub(super) fn renew(&self, now: Timestamp) -> Result<bool, IdentityError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |e: rcgen::Error| IdentityError::Certificate(e.to_string());
        let (next, news) = renew_identity(Some(kept.clone()), self.address, now).map_err(wrong)?;
        if news.is_none() {
            return Ok(false);
        }
        write_identity(&self.file, &next)?;
        self.live.send_replace(build_serving_state(&next)?);
        self.authorities.send_replace(next.authorities());
        *kept = next;
        log_renewal(news);
        Ok(true)
    }

    pub(super) fn serving_state(&self) -> ServingState {
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

fn write_identity(file: &Path, kept: &StoredIdentity) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec(kept).unwrap_or_default();
    durable::write_atomically(file, &bytes).map_err(|why| IdentityError::File {
        file: file.into(),
        why,
    })
}

fn log_renewal(news: Option<Renewal>) {
    if let Some(what) = news.filter(|n| *n != Renewal::Created) {
        tracing::info!("{}", what.log_message());
    }
}

fn build_serving_state(kept: &StoredIdentity) -> Result<ServingState, IdentityError> {
    let wrong = |e: &dyn std::fmt::Display| IdentityError::Certificate(e.to_string());
    let (certificate, key) = kept.served_certificate();
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
    Ok(ServingState {
        tls: Arc::new(tls),
        tokens: kept.tokens().into(),
    })
}

#[cfg(test)]
mod tests;
