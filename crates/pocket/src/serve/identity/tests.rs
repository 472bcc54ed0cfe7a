use std::time::Duration;

use jiff::SignedDuration;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};

use super::*;

const NODE: Ipv4Addr = Ipv4Addr::new(127, 65, 0, 1);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn later(now: Timestamp, days: i64) -> Timestamp {
    now + SignedDuration::from_hours(24 * days)
}

/// Whether a client that trusts these CA certificates accepts the served certificate at that time.
fn trusts(authorities: &str, kept: &StoredIdentity, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    CertificateDer::pem_slice_iter(authorities.as_bytes())
        .for_each(|c| roots.add(c.unwrap()).unwrap());
    let verifier = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(ring::default_provider()),
    )
    .build()
    .unwrap();
    let shown = CertificateDer::from_pem_slice(kept.served_certificate().0.as_bytes()).unwrap();
    let name = ServerName::IpAddress(std::net::IpAddr::from(kept.address).into());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().cast_unsigned()));
    verifier
        .verify_server_cert(&shown, &[], &name, &[], now)
        .is_ok()
}

fn kept(identity: &Identity) -> StoredIdentity {
    identity.kept.lock().unwrap().clone()
}

#[test]
fn all_of_it_ends_and_is_renewed_before() {
    let dir = tempfile::tempdir().unwrap();
    let begin = at("2026-01-01T00:00:00Z");
    let identity = Identity::open_at(dir.path(), NODE, begin).unwrap();
    let first = kept(&identity);
    let copied = (identity.authorities().borrow().clone(), identity.token());
    assert!(
        trusts(&copied.0, &first, begin) && !trusts(&copied.0, &first, later(begin, 91)),
        "it ends"
    );
    let (mut shown, mut tokens) = (vec![], vec![]);
    for day in 0..800 {
        let now = later(begin, day);
        identity.renew(now).unwrap();
        let (kept, live) = (kept(&identity), identity.serving_state());
        assert!(
            trusts(&identity.authorities().borrow(), &kept, now),
            "day {day}"
        );
        shown.push(kept.certificate.clone());
        tokens.push(kept.token.clone());
        // A copy of the kubeconfig works until well after the CA and its token were renewed.
        if day < 300 {
            assert!(
                trusts(&copied.0, &kept, now) && live.tokens.contains(&copied.1),
                "day {day}"
            );
        } else if day > 305 {
            assert!(
                !live.tokens.contains(&copied.1),
                "day {day}: no token is without an end"
            );
        }
        assert!(live.tokens.len() <= 2 && live.tokens[0] == kept.token);
        assert!(
            Identity::open_at(dir.path(), NODE, now).unwrap().token() == kept.token,
            "as the file has it"
        );
    }
    shown.dedup();
    tokens.dedup();
    assert!(
        (12..16).contains(&shown.len()) && (3..5).contains(&tokens.len()),
        "{} {}",
        shown.len(),
        tokens.len()
    );
}

#[test]
fn no_step_of_the_clock_locks_anybody_out() {
    let dir = tempfile::tempdir().unwrap();
    let begin = at("2026-01-01T00:00:00Z");
    let identity = Identity::open_at(dir.path(), NODE, begin).unwrap();
    let copied = (identity.authorities().borrow().clone(), identity.token());
    for (step, bears) in [
        ("2026-01-02T00:00:00Z", true),
        ("1975-01-01T00:00:00Z", true),
        ("2099-01-01T00:00:00Z", true),
        ("2026-01-03T00:00:00Z", true),
        // The token that the forward step replaced stays valid for the overlap, and no longer.
        ("2026-03-01T00:00:00Z", true),
        ("2026-03-10T00:00:00Z", false),
    ] {
        let now = at(step);
        identity.renew(now).unwrap();
        assert!(
            trusts(&identity.authorities().borrow(), &kept(&identity), now),
            "{step}"
        );
        assert!(
            trusts(&copied.0, &kept(&identity), now),
            "{step}: the key is the same"
        );
        assert_eq!(
            identity.serving_state().tokens.contains(&copied.1),
            bears,
            "{step}"
        );
        assert!(!identity.renew(now).unwrap(), "{step}: once is enough");
    }
}

/// Identity of a version without renewal: valid from 1975 to 4096, and without the CA's key.
fn old(address: Ipv4Addr) -> StoredIdentity {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![address.to_string(), "localhost".into()]).unwrap();
    let certificate = leaf
        .signed_by(&key, &Issuer::new(authority, authority_key))
        .unwrap()
        .pem();
    let json = serde_json::json!({"address": address, "authority": authority_pem, "certificate": certificate,
        "key": key.serialize_pem(), "token": "of-before"});
    serde_json::from_value(json).unwrap()
}

#[test]
fn an_identity_of_before_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let before = old(NODE);
    std::fs::write(
        dir.path().join("identity.json"),
        serde_json::to_vec(&before).unwrap(),
    )
    .unwrap();
    let begin = at("2026-01-01T00:00:00Z");
    let identity = Identity::open_at(dir.path(), NODE, begin).unwrap();
    let taken = identity.authorities().borrow().clone();
    assert_eq!(identity.token(), "of-before");
    for day in [0, 1, 59] {
        let now = later(begin, day);
        identity.renew(now).unwrap();
        assert!(
            trusts(&before.authority, &kept(&identity), now)
                && trusts(&taken, &kept(&identity), now),
            "day {day}"
        );
    }
    let now = later(begin, 61);
    identity.renew(now).unwrap();
    assert!(
        trusts(&taken, &kept(&identity), now),
        "who has read the kubeconfig since goes on"
    );
    assert!(!trusts(&before.authority, &kept(&identity), now));
    for day in 62..400 {
        identity.renew(later(begin, day)).unwrap();
    }
    assert!(
        !identity
            .serving_state()
            .tokens
            .contains(&"of-before".to_owned()),
        "its token ends too"
    );
}

#[test]
fn another_address_keeps_the_authority_and_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let begin = at("2026-01-01T00:00:00Z");
    let identity = Identity::open_at(dir.path(), NODE, begin).unwrap();
    let moved = Identity::open_at(dir.path(), Ipv4Addr::new(127, 66, 0, 1), begin).unwrap();
    assert!(trusts(
        &identity.authorities().borrow(),
        &kept(&moved),
        begin
    ));
    assert_eq!(moved.token(), identity.token());
}

#[test]
fn what_is_damaged_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity.json");
    let now = at("2026-01-01T00:00:00Z");
    let whole = kept(&Identity::open_at(dir.path(), NODE, now).unwrap());
    let no_key = StoredIdentity {
        key: "x".into(),
        ..whole.clone()
    };
    let mut no_authority = whole.clone();
    no_authority.renewable.as_mut().unwrap().authority_key = "x".into();
    for text in [
        b"{".to_vec(),
        serde_json::to_vec(&no_key).unwrap(),
        serde_json::to_vec(&no_authority).unwrap(),
    ] {
        std::fs::write(&file, &text).unwrap();
        let identity = Identity::open_at(dir.path(), NODE, later(now, 80)).unwrap();
        assert!(trusts(
            &identity.authorities().borrow(),
            &kept(&identity),
            later(now, 80)
        ));
    }
}
