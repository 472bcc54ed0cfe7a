//! Property tests: no kubeconfig causes a panic, and every error names a place.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    ConnectError, config,
    kubeconfig::Kubeconfig,
    table::{dial, tokio_test},
};

/// A kubeconfig in which any field may hold any value.
fn any_file() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        4 => "[ -~\\n\\t\u{0}üé灰]{0,12}".prop_map(Value::from),
        2 => prop::sample::select(vec![
            "https://k", "http://", "k:1", "https://a@b:c", "https://[::1]:1/x", "socks5://p", "socks5h://p", "YQ==", "Y\nQ=\n=", "t\n", "c", "k", "u",
            "client.authentication.k8s.io/v1", "Never", "Always", "/dev/null", ".", "oidc", "-----BEGIN CERTIFICATE-----", "%", "://", "\u{FEFF}",
        ]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(json!(["x", null])),
    ];
    let paths = prop::sample::select(vec![
        "/apiVersion",
        "/kind",
        "/current-context",
        "/clusters",
        "/clusters/0",
        "/clusters/0/name",
        "/clusters/0/cluster",
        "/clusters/0/cluster/server",
        "/clusters/0/cluster/tls-server-name",
        "/clusters/0/cluster/insecure-skip-tls-verify",
        "/clusters/0/cluster/certificate-authority",
        "/clusters/0/cluster/certificate-authority-data",
        "/clusters/0/cluster/proxy-url",
        "/clusters/0/cluster/disable-compression",
        "/clusters/0/cluster/extensions",
        "/users",
        "/users/0/user",
        "/users/0/user/client-certificate",
        "/users/0/user/client-certificate-data",
        "/users/0/user/client-key",
        "/users/0/user/client-key-data",
        "/users/0/user/token",
        "/users/0/user/tokenFile",
        "/users/0/user/as",
        "/users/0/user/as-uid",
        "/users/0/user/as-groups",
        "/users/0/user/as-user-extra",
        "/users/0/user/username",
        "/users/0/user/password",
        "/users/0/user/auth-provider",
        "/users/0/user/exec",
        "/contexts",
        "/contexts/0/context",
        "/contexts/0/context/cluster",
        "/contexts/0/context/user",
        "/contexts/0/context/namespace",
    ]);
    let edits = prop::collection::vec((paths, value), 0..5);
    let cut = prop::option::weighted(0.3, (any::<prop::sample::Index>(), "[ -~\\n]{0,3}"));
    (edits, cut).prop_map(|(edits, cut)| {
        let mut file = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://k", "insecure-skip-tls-verify": true}}],
            "users": [{"name": "u", "user": {}}]});
        for (path, value) in edits {
            let (parent, field) = path.rsplit_once('/').unwrap();
            match file.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.insert(field.into(), value)),
                Some(Value::Array(all)) => all.push(value),
                _ => {}
            }
        }
        let mut text = serde_saphyr::to_string(&file).unwrap();
        if let Some((at, junk)) = cut {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            text.insert_str(at, &junk);
        }
        text
    })
}

/// Every file is either refused with a place, or makes a client.
#[test]
fn any_file_is_refused_in_words_or_makes_a_client() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    crate::fuzz::any("kubeconfigs", 256, 1, &any_file(), |texts| {
        for text in texts {
            match Kubeconfig::parse(text.as_bytes(), Path::new("/nowhere")) {
                Err(why) => prop_assert!(!why.to_string().is_empty()),
                Ok(known) => {
                    super::list_contexts(&known);
                    match config::prepare_config(&known, None, |_| None) {
                        Err(ConnectError::Kubeconfig { place, why }) => {
                            prop_assert!(!place.is_empty() && !why.is_empty());
                        }
                        Err(other) => prop_assert!(false, "{other}"),
                        Ok(prepared) => tokio_test(|| drop(dial(prepared))),
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn any_bytes_are_refused_in_words_or_read() {
    crate::fuzz::any(
        "bytes as kubeconfigs",
        256,
        1,
        &prop::collection::vec(any::<u8>(), 0..200),
        |all| {
            for bytes in all {
                if let Err(why) = Kubeconfig::parse(&bytes, Path::new("/nowhere")) {
                    prop_assert!(!why.to_string().is_empty());
                }
            }
            Ok(())
        },
    );
}
