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
pub(super) struct Kept {
    pub address: Ipv4Addr,
    pub authority: String,
    pub certificate: String,
    pub key: String,
    pub token: String,
    /// `None` in identities from versions without renewal; those cannot be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewable: Option<Renewable>,
    /// The previous token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_before: Option<Ending<String>>,
    /// The certificate of a version without renewal, served until its clients have the new CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_before: Option<Ending<Shown>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewable {
    pub authority_key: String,
    pub authority: Life,
    pub certificate: Life,
    pub token: Life,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// A value that is valid until a point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending<T> {
    pub what: T,
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// The most significant change of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Renewed {
    /// A previous credential has expired, or the clock changed.
    Settled,
    Certificate,
    Authority,
    Token,
    /// An identity of a version without renewal was replaced.
    TakenOver,
    /// There was no identity.
    First,
}

impl Renewed {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Settled => "what the API's identity kept of before has ended",
            Self::Certificate => "the API's certificate was renewed",
            Self::Authority => {
                "the API's authority was renewed with the same key: copies of the kubeconfig work until the old one ends"
            }
            Self::Token => {
                "the API's token was renewed: the one before, in copies of the kubeconfig, works for 60 days"
            }
            Self::TakenOver => {
                "the API gets an authority that ends and is renewed: copies of the kubeconfig of before work for 60 days"
            }
            Self::First => "the API has an identity",
        }
    }
}

fn days(n: i32) -> SignedDuration {
    DAY * n
}

impl Life {
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

impl Kept {
    /// Whether the CA key can be used.
    pub(super) fn is_whole(&self) -> bool {
        self.renewable
            .as_ref()
            .is_none_or(|r| KeyPair::from_pem(&r.authority_key).is_ok())
    }

    /// Returns certificate and key to serve, PEM.
    pub(super) fn shown(&self) -> (&str, &str) {
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
pub(super) fn renewed(
    kept: Option<Kept>,
    address: Ipv4Addr,
    now: Timestamp,
) -> Result<(Kept, Option<Renewed>), rcgen::Error> {
    let Some(mut kept) = kept else {
        return Ok((first(address, new_token(), now)?, Some(Renewed::First)));
    };
    let Some(mut renewable) = kept.renewable.take() else {
        let mut next = first(address, kept.token, now)?;
        if kept.address == address {
            let Kept {
                authority,
                certificate,
                key,
                ..
            } = kept;
            next.shown_before = Some(ending(
                Shown {
                    authority,
                    certificate,
                    key,
                },
                now,
            ));
        }
        return Ok((next, Some(Renewed::TakenOver)));
    };
    let mut news = None;
    let mut tell = |what| news = news.max(Some(what));
    if renewable.authority.is_due(now) {
        renewable.authority = Life::new(now, AUTHORITY_DAYS);
        let key = KeyPair::from_pem(&renewable.authority_key)?;
        kept.authority = authority(renewable.authority)?.self_signed(&key)?.pem();
        tell(Renewed::Authority);
    }
    if kept.address != address || renewable.certificate.is_due(now) {
        kept.address = address;
        renewable.certificate = sign(&mut kept, &renewable, now)?;
        tell(Renewed::Certificate);
    }
    if now < renewable.token.from {
        renewable.token = Life::new(now, TOKEN_DAYS);
        tell(Renewed::Settled);
    } else if renewable.token.is_due(now) {
        let before = std::mem::replace(&mut kept.token, new_token());
        kept.token_before = Some(ending(before, now));
        renewable.token = Life::new(now, TOKEN_DAYS);
        tell(Renewed::Token);
    }
    if settle(&mut kept.token_before, now) | settle(&mut kept.shown_before, now) {
        tell(Renewed::Settled);
    }
    kept.renewable = Some(renewable);
    Ok((kept, news))
}

fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn ending<T>(what: T, now: Timestamp) -> Ending<T> {
    Ending {
        what,
        until: now.saturating_add(days(OVERLAP_DAYS)).unwrap_or(now),
    }
}

/// Drops an expired value, and shortens one that a changed clock made valid for too long. Returns
/// whether it changed.
fn settle<T>(kept: &mut Option<Ending<T>>, now: Timestamp) -> bool {
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

fn first(address: Ipv4Addr, token: String, now: Timestamp) -> Result<Kept, rcgen::Error> {
    let key = KeyPair::generate()?;
    let life = Life::new(now, AUTHORITY_DAYS);
    let mut renewable = Renewable {
        authority_key: key.serialize_pem(),
        authority: life,
        certificate: life,
        token: Life::new(now, TOKEN_DAYS),
    };
    let mut kept = Kept {
        address,
        authority: authority(life)?.self_signed(&key)?.pem(),
        certificate: String::new(),
        key: String::new(),
        token,
        renewable: None,
        token_before: None,
        shown_before: None,
    };
    renewable.certificate = sign(&mut kept, &renewable, now)?;
    kept.renewable = Some(renewable);
    Ok(kept)
}

/// Signs a new certificate for the node's address; it never outlives its CA.
fn sign(kept: &mut Kept, by: &Renewable, now: Timestamp) -> Result<Life, rcgen::Error> {
    let life = Life::new(now, CERTIFICATE_DAYS);
    let life = Life {
        until: life.until.min(by.authority.until),
        ..life
    };
    let issuer = Issuer::new(
        authority(by.authority)?,
        KeyPair::from_pem(&by.authority_key)?,
    );
    let mut leaf = CertificateParams::new(vec![kept.address.to_string(), "localhost".into()])?;
    leaf.distinguished_name.push(DnType::CommonName, "pocket");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut leaf, life);
    let key = KeyPair::generate()?;
    kept.certificate = leaf.signed_by(&key, &issuer)?.pem();
    kept.key = key.serialize_pem();
    Ok(life)
}

fn authority(life: Life) -> Result<CertificateParams, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    authority
        .distinguished_name
        .push(DnType::CommonName, "graylane pocket");
    valid(&mut authority, life);
    Ok(authority)
}

/// Sets the validity, in whole days.
fn valid(certificate: &mut CertificateParams, life: Life) {
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
