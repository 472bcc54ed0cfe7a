//! The authority of a control plane, and what it signs.

use std::{path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::private;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Also writes what the servers read: `ca.crt`, `server.crt`, `server.key`, `accounts.key`, `accounts.pub`.
    pub fn new(dir: &Path, address: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, "conformance");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = Self {
            issuer: Issuer::new(params, key),
            pem,
        };

        let names =
            [address, "localhost", "kubernetes", "kubernetes.default.svc"].map(str::to_owned);
        let mut server = CertificateParams::new(names).unwrap();
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = authority.sign(&server);
        let accounts = KeyPair::generate().unwrap();
        for (name, text) in [
            ("ca.crt", &authority.pem),
            ("server.crt", &certificate),
            ("server.key", &key),
            ("accounts.key", &accounts.serialize_pem()),
            ("accounts.pub", &accounts.public_key_pem()),
        ] {
            private(&dir.join(name), text.as_bytes());
        }
        authority
    }

    /// As kubeconfigs hold it.
    pub fn data(&self) -> String {
        BASE64_STANDARD.encode(&self.pem)
    }

    /// Certificate and key of a user that is good until `life` from now.
    pub fn client(&self, name: &str, group: &str, life: Duration) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = Duration::from_secs(jiff::Timestamp::now().as_second().try_into().unwrap());
        params.not_after = date_time_ymd(1970, 1, 1) + now + life;
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }
}
