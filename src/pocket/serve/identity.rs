//! Who the API is, and who may speak to it: an authority, a certificate of the node's address, one token.

use std::{
    fs, io,
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk says no.
    #[error("{}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// In words.
        why: io::Error,
    },
    /// No certificate can be made or used.
    #[error("the API's certificate: {0}")]
    Certificate(String),
}

/// What the API shows, and what it asks for.
pub struct Identity {
    /// For the listener.
    pub tls: Arc<ServerConfig>,
    /// What clients bear.
    pub token: String,
    authority: String,
}

/// As kept in the state folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    address: Ipv4Addr,
    authority: String,
    certificate: String,
    key: String,
    token: String,
}

impl Identity {
    /// The identity kept in a state folder, or a new one when there is none of that address.
    pub fn of(state: &Path, address: Ipv4Addr) -> Result<Self, IdentityError> {
        let file = state.join("identity.json");
        let kept = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        // The token outlives a change of address: it is the user's.
        let token = kept.as_ref().map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), |k| k.token.clone());
        if let Some(kept) = kept.filter(|k| k.address == address)
            && let Ok(identity) = Self::used(&kept)
        {
            return Ok(identity);
        }
        let kept = made(address, token).map_err(|e| IdentityError::Certificate(e.to_string()))?;
        write_private(&file, &serde_json::to_vec(&kept).unwrap_or_default())?;
        Self::used(&kept)
    }

    fn used(kept: &Kept) -> Result<Self, IdentityError> {
        let wrong = |e: &dyn std::fmt::Display| IdentityError::Certificate(e.to_string());
        let certificate = CertificateDer::from_pem_slice(kept.certificate.as_bytes()).map_err(|e| wrong(&e))?;
        let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes()).map_err(|e| wrong(&e))?;
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(&e))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(|e| wrong(&e))?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls), token: kept.token.clone(), authority: kept.authority.clone() })
    }

    /// The authority as kubeconfigs hold it.
    pub(super) fn authority_data(&self) -> String {
        BASE64_STANDARD.encode(&self.authority)
    }
}

fn made(address: Ipv4Addr, token: String) -> Result<Kept, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.distinguished_name.push(DnType::CommonName, "graylane pocket");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    // Only this one certificate is ever signed: the authority's key is not kept.
    let issuer = Issuer::new(authority, authority_key);
    let mut leaf = CertificateParams::new(vec![address.to_string(), "localhost".into()])?;
    leaf.distinguished_name.push(DnType::CommonName, "pocket");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?.pem();
    Ok(Kept { address, authority: authority_pem, certificate, key: key.serialize_pem(), token })
}

/// Writes a file for its owner only; whoever reads it meanwhile sees the old one or the new one.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let told = |why| IdentityError::File { file: file.into(), why };
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(told)?;
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(told)?;
    fs::rename(&fresh, file).map_err(told)
}
