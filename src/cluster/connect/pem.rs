//! Certificates and keys in PEM, read as Go reads them: sections that are no certificates are
//! skipped, and so are unreadable authorities as long as one remains.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{PemObject, SectionKind},
    },
};

use super::{
    credentials::read_file,
    kubeconfig_error::{IdentityError, PemError},
};

/// The inline data, or the content of the named file. Both at once is an error, as for kubectl.
pub(super) fn load_pem(
    field: &'static str,
    data: &[u8],
    path: &str,
) -> Result<Option<Vec<u8>>, PemError> {
    match (data.is_empty(), path.is_empty()) {
        (false, false) => Err(PemError::Twice(field)),
        (false, true) => Ok(Some(data.to_owned())),
        (true, false) => Ok(Some(read_file(field, path)?)),
        (true, true) => Ok(None),
    }
}

/// The certificate authorities, each in DER.
pub(super) fn parse_authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let usable = |der: &CertificateDer<'static>| RootCertStore::empty().add(der.clone()).is_ok();
    let found: Vec<Vec<u8>> = parse_certificates(pem)
        .filter(usable)
        .map(|der| der.to_vec())
        .collect();
    if found.is_empty() {
        Err(PemError::NoAuthority)
    } else {
        Ok(found)
    }
}

/// A client's certificates and key, each as base64 of PEM; fails when they do not match.
pub(in crate::cluster) fn encode_identity(
    certificate: &[u8],
    key: &[u8],
) -> Result<(String, String), IdentityError> {
    let chain: Vec<CertificateDer<'static>> = parse_certificates(certificate).collect();
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::NoKey)?;
    let kind = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let signing =
        rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| IdentityError::KeyKind)?;
    rustls::sign::CertifiedKey::new(chain.clone(), signing)
        .keys_match()
        .map_err(|_| IdentityError::Mismatch)?;
    let certificates: String = chain
        .iter()
        .map(|der| pem_block("CERTIFICATE", der))
        .collect();
    Ok((
        STANDARD.encode(certificates),
        STANDARD.encode(pem_block(kind, key.secret_der())),
    ))
}

fn parse_certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
    sections.filter_map(|section| match section {
        Ok((SectionKind::Certificate, der)) => Some(CertificateDer::from(der)),
        _ => None,
    })
}

fn pem_block(kind: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        STANDARD.encode(der)
    )
}
