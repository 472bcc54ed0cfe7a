//! Validity of the API's certificates and token, and their renewal before they expire.
//!
//! The CA keeps its key when it is renewed, so clients that trust the previous CA certificate also
//! trust what the new one signs. The previous token stays valid for a while beside the new one. If
//! the clock is set back, nothing is invalid for longer than until the next check; if it is set
//! forward, credentials in use stay valid for the overlap.

use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const AUTHORITY_DAYS: i32 = 365;
const CERTIFICATE_DAYS: i32 = 90;
const TOKEN_DAYS: i32 = 365;
/// How long a replaced credential stays valid beside its replacement.
const OVERLAP_DAYS: i32 = 60;

/// Identity as stored in the state folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredIdentity {
    pub address: Ipv4Addr,
    pub authority: String,
    pub certificate: String,
    pub key: String,
    pub token: String,
    /// `None` in identities from versions without renewal; those cannot be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewable: Option<RenewalState>,
    /// The previous token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_before: Option<Expiring<String>>,
    /// The certificate of a version without renewal, served until its clients have the new CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_before: Option<Expiring<ServedCertificate>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RenewalState {
    pub authority_key: String,
    pub authority: Validity,
    pub certificate: Validity,
    pub token: Validity,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServedCertificate {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// A value that is valid until a point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Expiring<T> {
    pub what: T,
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// The most significant change of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Renewal {
    /// A previous credential has expired, or the clock changed.
    OverlapEnded,
    Certificate,
    Authority,
    Token,
    /// An identity of a version without renewal was replaced.
    Replaced,
    /// There was no identity.
    Created,
}

impl Renewal {
    pub(super) const fn log_message(self) -> &'static str {
        match self {
            Self::OverlapEnded => "what the API's identity kept of before has ended",
            Self::Certificate => "the API's certificate was renewed",
            Self::Authority => {
                "the API's authority was renewed with the same key: copies of the kubeconfig work until the old one ends"
            }
            Self::Token => {
                "the API's token was renewed: the one before, in copies of the kubeconfig, works for 60 days"
            }
            Self::Replaced => {
                "the API gets an authority that ends and is renewed: copies of the kubeconfig of before work for 60 days"
            }
            Self::Created => "the API has an identity",
        }
    }
}

fn days(n: i32) -> SignedDuration {
    DAY * n
}

impl Validity {
    fn new(now: Timestamp, length: i32) -> Self {
        let at = |by: SignedDuration| now.saturating_add(by).unwrap_or(now);
        // One day of tolerance for clocks that differ.
        Self {
            from: at(-DAY),
            until: at(days(length)),
        }
    }

    /// Whether a third or less of the validity is left, or it has not begun because the clock was
    /// set.
    fn is_due(&self, now: Timestamp) -> bool {
        let left = self.until.duration_since(now);
        now < self.from || left <= self.until.duration_since(self.from) / 3
    }
}

impl StoredIdentity {
    /// Whether the CA key can be used.
    pub(super) fn is_whole(&self) -> bool {
        self.renewable
            .as_ref()
            .is_none_or(|r| KeyPair::from_pem(&r.authority_key).is_ok())
    }

    /// Returns certificate and key to serve, PEM.
    pub(super) fn served_certificate(&self) -> (&str, &str) {
        match &self.shown_before {
            Some(before) => (&before.what.certificate, &before.what.key),
            None => (&self.certificate, &self.key),
        }
    }

    /// Returns the accepted tokens.
    pub(super) fn tokens(&self) -> Vec<String> {
        let before = self.token_before.iter().map(|b| b.what.clone());
        std::iter::once(self.token.clone()).chain(before).collect()
    }

    /// Returns the CA certificates that a client should trust, PEM.
    pub(super) fn authorities(&self) -> String {
        let before = self.shown_before.as_ref().map_or("", |b| &b.what.authority);
        format!("{}{before}", self.authority)
    }
}

/// Renews what is due; returns the current identity and what changed.
pub(super) fn renew_identity(
    kept: Option<StoredIdentity>,
    address: Ipv4Addr,
    now: Timestamp,
) -> Result<(StoredIdentity, Option<Renewal>), rcgen::Error> {
    let Some(mut kept) = kept else {
        return Ok((
            create_identity(address, new_token(), now)?,
            Some(Renewal::Created),
        ));
    };
    let Some(mut renewable) = kept.renewable.take() else {
        let mut next = create_identity(address, kept.token, now)?;
        if kept.address == address {
            let StoredIdentity {
                authority,
                certificate,
                key,
                ..
            } = kept;
            next.shown_before = Some(until_overlap_ends(
                ServedCertificate {
                    authority,
                    certificate,
                    key,
                },
                now,
            ));
        }
        return Ok((next, Some(Renewal::Replaced)));
    };
    let mut news = None;
    let mut tell = |what| news = news.max(Some(what));
    if renewable.authority.is_due(now) {
        renewable.authority = Validity::new(now, AUTHORITY_DAYS);
        let key = KeyPair::from_pem(&renewable.authority_key)?;
        kept.authority = authority_params(renewable.authority)?
            .self_signed(&key)?
            .pem();
        tell(Renewal::Authority);
    }
    if kept.address != address || renewable.certificate.is_due(now) {
        kept.address = address;
        renewable.certificate = sign_certificate(&mut kept, &renewable, now)?;
        tell(Renewal::Certificate);
    }
    if let Some(what) = renew_token(&mut kept, &mut renewable, now) {
        tell(what);
    }
    if settle_overlap(&mut kept.token_before, now) | settle_overlap(&mut kept.shown_before, now) {
        tell(Renewal::OverlapEnded);
    }
    kept.renewable = Some(renewable);
    Ok((kept, news))
}

fn renew_token(
    kept: &mut StoredIdentity,
    renewable: &mut RenewalState,
    now: Timestamp,
) -> Option<Renewal> {
    if now < renewable.token.from {
        renewable.token = Validity::new(now, TOKEN_DAYS);
        return Some(Renewal::OverlapEnded);
    }
    if !renewable.token.is_due(now) {
        return None;
    }
    let before = std::mem::replace(&mut kept.token, new_token());
    kept.token_before = Some(until_overlap_ends(before, now));
    renewable.token = Validity::new(now, TOKEN_DAYS);
    Some(Renewal::Token)
}

fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn until_overlap_ends<T>(what: T, now: Timestamp) -> Expiring<T> {
    Expiring {
        what,
        until: now.saturating_add(days(OVERLAP_DAYS)).unwrap_or(now),
    }
}

/// Drops an expired value, and shortens one that a changed clock made valid for too long. Returns
/// whether it changed.
fn settle_overlap<T>(kept: &mut Option<Expiring<T>>, now: Timestamp) -> bool {
    let most = now.saturating_add(days(OVERLAP_DAYS)).unwrap_or(now);
    match kept {
        Some(before) if before.until <= now => {
            *kept = None;
            true
        }
        Some(before) if before.until > most => {
            before.until = most;
            true
        }
        _ => false,
    }
}

fn create_identity(
    address: Ipv4Addr,
    token: String,
    now: Timestamp,
) -> Result<StoredIdentity, rcgen::Error> {
    let key = KeyPair::generate()?;
    let life = Validity::new(now, AUTHORITY_DAYS);
    let mut renewable = RenewalState {
        authority_key: key.serialize_pem(),
        authority: life,
        certificate: life,
        token: Validity::new(now, TOKEN_DAYS),
    };
    let mut kept = StoredIdentity {
        address,
        authority: authority_params(life)?.self_signed(&key)?.pem(),
        certificate: String::new(),
        key: String::new(),
        token,
        renewable: None,
        token_before: None,
        shown_before: None,
    };
    renewable.certificate = sign_certificate(&mut kept, &renewable, now)?;
    kept.renewable = Some(renewable);
    Ok(kept)
}

/// Signs a new certificate for the node's address; it never outlives its CA.
fn sign_certificate(
    kept: &mut StoredIdentity,
    by: &RenewalState,
    now: Timestamp,
) -> Result<Validity, rcgen::Error> {
    let life = Validity::new(now, CERTIFICATE_DAYS);
    let life = Validity {
        until: life.until.min(by.authority.until),
        ..life
    };
    let issuer = Issuer::new(
        authority_params(by.authority)?,
        KeyPair::from_pem(&by.authority_key)?,
    );
    let mut leaf = CertificateParams::new(vec![kept.address.to_string(), "localhost".into()])?;
    leaf.distinguished_name.push(DnType::CommonName, "pocket");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut leaf, life);
    let key = KeyPair::generate()?;
    kept.certificate = leaf.signed_by(&key, &issuer)?.pem();
    kept.key = key.serialize_pem();
    Ok(life)
}

/// Name of every state folder's authority. Certificates name their issuer, so another one would not
/// match the authorities that state folders keep.
const AUTHORITY_NAME: &str = "graylane pocket";

fn authority_params(life: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    authority
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY_NAME);
    set_validity(&mut authority, life);
    Ok(authority)
}

/// Sets the validity, in whole days.
fn set_validity(certificate: &mut CertificateParams, life: Validity) {
    let [from, until] = [life.from, life.until].map(|at| {
        let day = at.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(
            day.year().into(),
            day.month().unsigned_abs(),
            day.day().unsigned_abs(),
        )
    });
    (certificate.not_before, certificate.not_after) = (from, until);
}
