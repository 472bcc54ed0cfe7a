//! Tests of every kubeconfig field with valid and invalid values; kubectl 1.36 is the reference.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    config::{self, PreparedConfig},
    kubeconfig::Kubeconfig,
};

/// A kubeconfig with one context `c`, made of a cluster and a user.
fn whole(cluster: &str, user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
          clusters: [{{name: k, cluster: {{{cluster}}}}}],\nusers: [{{name: u, user: {{{user}}}}}]}}"
    )
}

fn read(text: impl AsRef<[u8]>, dir: &Path) -> Result<PreparedConfig, Box<dyn std::error::Error>> {
    let known = Kubeconfig::parse(text.as_ref(), dir)?;
    Ok(config::prepare_config(&known, None, |_| None)?)
}

fn usable(cluster: &str, user: &str) -> PreparedConfig {
    read(whole(cluster, user), Path::new("/nowhere"))
        .unwrap_or_else(|e| panic!("{cluster} {user}: {e}"))
}

fn refused(cluster: &str, user: &str) -> String {
    read(whole(cluster, user), Path::new("/nowhere"))
        .err()
        .unwrap_or_else(|| panic!("taken: {cluster} {user}"))
        .to_string()
}

/// Makes a client: every prepared configuration must allow that without a panic.
pub(super) fn dial(prepared: PreparedConfig) -> Result<(), kube::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    kube::Client::try_from(prepared.config).map(|_| ())
}

const SECURE: &str = "server: 'https://k:6443', insecure-skip-tls-verify: true";

#[test]
fn a_server_is_a_url_or_a_host_by_http() {
    let table = [
        ("https://k.example:6443", "https://k.example:6443/"),
        ("HTTPS://k.example", "https://k.example/"),
        ("https://k.example/", "https://k.example/"),
        (
            "https://k.example/k8s/c-1?x=1#y",
            "https://k.example/k8s/c-1",
        ),
        ("https://k.example/a b", "https://k.example/a%20b"),
        ("https://k.example:", "https://k.example/"),
        ("https://:6443", "https://localhost:6443/"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443/"),
        ("127.0.0.1:18001", "http://127.0.0.1:18001/"),
        ("localhost:8080", "http://localhost:8080/"),
        ("k.example", "http://k.example/"),
        ("k.example/", "http://k.example/"),
        ("http://k.example", "http://k.example/"),
        ("https://mia:secret@k.example", "https://k.example/"),
    ];
    for (server, want) in table {
        let found = usable(
            &format!("server: '{server}', insecure-skip-tls-verify: true"),
            "",
        );
        assert_eq!(found.config.cluster_url.to_string(), want, "{server}");
        tokio_test(|| dial(found).unwrap());
    }
    let wrong = [
        "''",
        "' '",
        "\"https://k\\n\"",
        "\"https://k\\0\"",
        "'k/path'",
        "'ftp://k'",
        "'https://'",
        "'https:///x'",
        "'https://k k'",
        "'https://k:x'",
        "'https://k:99999'",
        "' https://k'",
        "'https://fd00::1'",
        "'https://[fd00::1'",
        "'://'",
        "'%'",
        "'https://%zz'",
        "'https://ü'",
        "'https://a@'",
    ];
    for server in wrong {
        match read(whole(&format!("server: {server}"), ""), Path::new("/")) {
            Err(told) => assert!(told.to_string().contains("cluster k: "), "{server}: {told}"),
            // A host that cannot be resolved becomes an error when connecting; nothing panics.
            Ok(found) => tokio_test(|| drop(dial(found))),
        }
    }
    for server in [
        "''",
        "\"https://k\\n\"",
        "'k/path'",
        "'ftp://k'",
        "'https://k:x'",
        "'https://k:99999'",
        "' https://k'",
    ] {
        assert!(
            read(whole(&format!("server: {server}"), ""), Path::new("/")).is_err(),
            "{server}"
        );
    }
    let told = refused("server: \"https://mia:secret@k\\n\"", "");
    assert!(!told.contains("secret"), "{told}");
}

pub(super) fn tokio_test(work: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    work();
}

/// The credentials that would be sent, as far as the configuration shows them.
fn sent(prepared: &PreparedConfig) -> Value {
    let auth = serde_json::to_value(&prepared.config.auth_info).unwrap();
    let kept = ["token", "tokenFile", "username", "password"];
    let mut told = json!({});
    for name in kept {
        if !auth[name].is_null() {
            told[name] = auth[name].clone();
        }
    }
    for name in [
        "client-certificate-data",
        "client-key-data",
        "auth-provider",
    ] {
        if !auth[name].is_null() {
            told[name] = json!(true);
        }
    }
    if prepared.login.is_some() {
        told["exec"] = json!(true);
    }
    told
}

#[test]
fn credentials_go_in_kubectls_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("tok", " from-file\n");
    write("empty", "\n");
    let pair = rcgen::generate_simple_self_signed(["k".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    write(
        "me.crt",
        &format!("Bag Attributes\n{}", pair.cert.pem().replace('\n', "\r\n")),
    );
    write(
        "me.key",
        &format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
            pair.signing_key.serialize_pem()
        ),
    );
    write("other.key", &other.serialize_pem());
    write("plain", "no pem");
    let exec =
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}";
    let certificate = "client-certificate: me.crt, client-key: me.key";
    let table = [
        (String::new(), json!({})),
        ("token: t".into(), json!({"token": "t"})),
        ("token: ''".into(), json!({})),
        ("token: null".into(), json!({})),
        ("tokenFile: tok".into(), json!({"token": "from-file"})),
        ("token: t, tokenFile: tok".into(), json!({"token": "from-file"})),
        ("token: '', tokenFile: tok".into(), json!({"token": "from-file"})),
        ("token: t, tokenFile: ''".into(), json!({"token": "t"})),
        ("token: t, tokenFile: empty".into(), json!({"token": "t"})),
        ("token: t, tokenFile: missing".into(), json!({"token": "t"})),
        ("username: u, password: p".into(), json!({"username": "u", "password": "p"})),
        ("username: u".into(), json!({"username": "u", "password": ""})),
        ("password: p".into(), json!({})),
        (exec.into(), json!({"exec": true})),
        (format!("token: t, {exec}"), json!({"token": "t"})),
        (format!("username: u, {exec}"), json!({"username": "u", "password": ""})),
        (format!("{certificate}, {exec}"), json!({"client-certificate-data": true, "client-key-data": true})),
        (
            format!("{certificate}, token: t"),
            json!({"token": "t", "client-certificate-data": true, "client-key-data": true}),
        ),
        ("client-key: me.key".into(), json!({})),
        ("client-certificate-data: '', client-key-data: ''".into(), json!({})),
        (
            "client-certificate-data: '', client-certificate: me.crt, client-key-data: '', client-key: me.key".into(),
            json!({"client-certificate-data": true, "client-key-data": true}),
        ),
        ("auth-provider: {name: oidc, config: {id-token: t}}".into(), json!({"auth-provider": true})),
        // {"exp": 99999999999}
        (
            "auth-provider: {name: oidc, config: {id-token: e30.eyJleHAiOiA5OTk5OTk5OTk5OX0.x}}".into(),
            json!({"auth-provider": true}),
        ),
        ("auth-provider: {name: oidc, config: {id-token: e30.e30.x}}".into(), json!({"auth-provider": true})),
        ("token: t, auth-provider: {name: oidc, config: {id-token: x}}".into(), json!({"token": "t"})),
        (
            "token: t, auth-provider: {name: oidc, config: {id-token: e30.eyJleHAiOiAxfQ.x}}".into(),
            json!({"token": "t"}),
        ),
        ("unknown: {a: 1}, token: t".into(), json!({"token": "t"})),
    ];
    for (user, want) in table {
        let found =
            read(whole(SECURE, &user), dir.path()).unwrap_or_else(|e| panic!("{user}: {e}"));
        assert_eq!(sent(&found), want, "{user}");
        tokio_test(|| dial(found).unwrap_or_else(|e| panic!("{user}: {e}")));
        // Over plain http none of them is sent.
        let clear = read(whole("server: 'k:80'", &user), dir.path()).unwrap();
        assert_eq!(sent(&clear), json!({}), "{user}");
    }
    let wrong = [
        ("token: \"a\\nb\"", "token"),
        ("token: \"a\\n\"", "token"),
        ("tokenFile: missing", "tokenFile"),
        ("tokenFile: .", "tokenFile"),
        ("tokenFile: empty", "tokenFile"),
        ("token: t, username: u", "username"),
        ("tokenFile: tok, username: u", "username"),
        ("client-certificate: me.crt", "client-key"),
        (
            "client-certificate: me.crt, client-key: missing",
            "client-key",
        ),
        (
            "client-certificate: missing, client-key: me.key",
            "client-certificate",
        ),
        (
            "client-certificate: plain, client-key: me.key",
            "no certificate",
        ),
        (
            "client-certificate: me.crt, client-key: plain",
            "no private key",
        ),
        (
            "client-certificate: me.crt, client-key: other.key",
            "does not match",
        ),
        (
            "client-certificate: me.crt, client-certificate-data: YQ==, client-key: me.key",
            "both",
        ),
        (
            "client-certificate: me.crt, client-key-data: YQ==, client-key: me.key",
            "both",
        ),
        (
            "client-certificate-data: YQ==, client-key-data: YQ==",
            "no certificate",
        ),
        ("as-uid: x", "need `as`"),
        ("as-groups: [x]", "need `as`"),
        ("as: \"a\\nb\"", "as contains a control character"),
        ("as: a, as-groups: [\"b\\n\"]", "as-groups"),
        ("as: a, as-user-extra: {k: [\"b\\n\"]}", "as-user-extra"),
        (
            "auth-provider: {name: gcp, config: {cmd-path: /bin/true}}",
            "auth-provider",
        ),
        ("auth-provider: {name: oidc}", "auth-provider"),
        // {"exp": 1}
        (
            "auth-provider: {name: oidc, config: {id-token: e30.eyJleHAiOiAxfQ.x}}",
            "has expired",
        ),
        (
            "auth-provider: {name: oidc, config: {id-token: \"a\\nb\"}}",
            "auth-provider",
        ),
        ("exec: {}", "command"),
        ("exec: {command: x}", "apiVersion"),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v9, interactiveMode: Never}",
            "apiVersion",
        ),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1}",
            "interactiveMode",
        ),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Perhaps}",
            "interactiveMode",
        ),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}",
            "terminal",
        ),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, env: [{value: a}]}",
            "env",
        ),
        (
            "exec: {command: \"x\\0\", apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}",
            "zero",
        ),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}, auth-provider: {name: oidc}",
            "both",
        ),
    ];
    for (user, says) in wrong {
        let told = read(whole(SECURE, user), dir.path())
            .err()
            .unwrap_or_else(|| panic!("taken: {user}"))
            .to_string();
        assert!(
            told.starts_with("user u: ") && told.contains(says),
            "{user}: {told}"
        );
    }
}

#[test]
fn whom_to_act_as_goes_in_headers() {
    let user = "as: 'mia ü', as-uid: '7', as-groups: [a, b], as-user-extra: {'acme.com/Project': [x, 'y']}";
    for cluster in [SECURE, "server: 'k:80'"] {
        let found = usable(cluster, user);
        let headers: Vec<String> = found
            .config
            .headers
            .iter()
            .map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v.as_bytes())))
            .collect();
        let want = [
            "impersonate-user=mia ü",
            "impersonate-uid=7",
            "impersonate-group=a",
            "impersonate-group=b",
            "impersonate-extra-acme.com%2fproject=x",
            "impersonate-extra-acme.com%2fproject=y",
        ];
        assert_eq!(headers, want);
        tokio_test(|| dial(found).unwrap());
    }
}

#[test]
fn an_authority_is_data_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["k".to_owned()]).unwrap();
    let pem = pair.cert.pem();
    let noisy = format!(
        "hello\n{pem}-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n{}",
        pair.signing_key.serialize_pem()
    );
    std::fs::write(dir.path().join("ca.crt"), &noisy).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pem);
    let wrapped: String = data
        .as_bytes()
        .chunks(64)
        .map(|l| format!("{}\\r\\n", String::from_utf8_lossy(l)))
        .collect();
    let table = [
        (String::new(), None),
        ("certificate-authority-data: ''".into(), None),
        ("certificate-authority-data: null".into(), None),
        ("certificate-authority: ''".into(), None),
        ("certificate-authority: empty".into(), None),
        (
            "certificate-authority-data: '', certificate-authority: ca.crt".into(),
            Some(1),
        ),
        ("certificate-authority: ca.crt".into(), Some(1)),
        (
            format!("certificate-authority: '{}/ca.crt'", dir.path().display()),
            Some(1),
        ),
        (format!("certificate-authority-data: '{data}'"), Some(1)),
        (
            format!("certificate-authority-data: \"{wrapped}\""),
            Some(1),
        ),
        (
            format!("certificate-authority-data: '{data}', tls-server-name: other.example"),
            Some(1),
        ),
        (
            format!("certificate-authority-data: '{data}', tls-server-name: ''"),
            Some(1),
        ),
    ];
    for (cluster, want) in table {
        let text = whole(&format!("server: 'https://k', {cluster}"), "");
        let found = read(text, dir.path()).unwrap_or_else(|e| panic!("{cluster}: {e}"));
        assert_eq!(
            found.config.root_cert.as_ref().map(Vec::len),
            want,
            "{cluster}"
        );
        if want.is_some() {
            tokio_test(|| dial(found).unwrap());
        }
    }
    let wrong = [
        "certificate-authority: missing".to_owned(),
        "certificate-authority: .".into(),
        "certificate-authority-data: 'YQ=='".into(),
        "certificate-authority-data: '!'".into(),
        "certificate-authority-data: 'Y Q=='".into(),
        "certificate-authority-data: YQ".into(),
        format!("certificate-authority: ca.crt, certificate-authority-data: '{data}'"),
        "certificate-authority: ca.crt, insecure-skip-tls-verify: true".into(),
        "insecure-skip-tls-verify: 'true'".into(),
        "tls-server-name: 'a b'".into(),
        "proxy-url: 'p:1'".into(),
        "proxy-url: 'socks5h://p:1'".into(),
        "proxy-url: 'ftp://p:1'".into(),
        "proxy-url: 'socks5://:p@p:1'".into(),
        "proxy-url: \"http://p\\n\"".into(),
        "disable-compression: 1".into(),
    ];
    for cluster in wrong {
        let text = whole(&format!("server: 'https://k', {cluster}"), "");
        assert!(read(text, dir.path()).is_err(), "{cluster}");
    }
}

#[test]
fn texts_are_read_as_kubectl_reads_them() {
    let base = whole(SECURE, "token: t");
    let wide = |bom: [u8; 2], order: fn(u16) -> [u8; 2]| {
        bom.into_iter()
            .chain(base.encode_utf16().flat_map(order))
            .collect::<Vec<u8>>()
    };
    let anchors = "clusters: [{name: k, cluster: &k {server: 'https://k', insecure-skip-tls-verify: yes}}]\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: l}}, null]\nusers: null\npreferences: null\nother: 1";
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("as it is", base.clone().into_bytes()),
        (
            "with a byte order mark",
            format!("\u{FEFF}{base}").into_bytes(),
        ),
        ("in UTF-16", wide([0xFF, 0xFE], u16::to_le_bytes)),
        (
            "in UTF-16, the other way",
            wide([0xFE, 0xFF], u16::to_be_bytes),
        ),
        ("with CRLF", base.replace('\n', "\r\n").into_bytes()),
        ("as JSON", {
            let value: Value = kube_yaml::first_document(&base).unwrap();
            serde_json::to_vec_pretty(&value).unwrap()
        }),
        (
            "with a second document",
            format!("{base}\n---\n{{clusters: 3}}").into_bytes(),
        ),
        (
            "with a doubled key",
            format!(
                "current-context: x\n{}",
                anchors.replace("cluster: l", "cluster: k")
            )
            .into_bytes(),
        ),
        (
            "with anchors",
            anchors
                .replace("}}]\nc", "}}, {name: l, cluster: *k}]\nc")
                .into_bytes(),
        ),
    ];
    for (what, text) in table {
        read(&text, Path::new("/")).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    let wrong: &[(&str, &str)] = &[
        ("[]", "not a kubeconfig"),
        ("hello", "not a kubeconfig"),
        ("{kind: Pod}", "kind must be Config"),
        ("{apiVersion: v2}", "kind must be Config"),
        ("contexts: [", "line "),
        ("a: 1\nb: 'x\n", "line "),
        (
            "{users: [{name: u, user: {token: 12}}]}",
            "users[0].user.token: ",
        ),
        (
            "{users: [{name: u, user: {token: [sesame]}}]}",
            "users[0].user.token: ",
        ),
        ("{users: [{name: u, user: sesame}]}", "users[0].user: "),
        (
            "{users: [{name: u, user: {client-key-data: sesame}}]}",
            "users[0].user.client-key-data: ",
        ),
        (
            "{users: [{name: u, user: {exec: {args: [{}]}}}]}",
            "users[0].user.exec.args",
        ),
        ("{clusters: {k: {}}}", "clusters: "),
        (
            "{clusters: [{name: k}, {name: k}]}",
            "the name \"k\" is used twice",
        ),
        ("{contexts: [{name: 1}]}", "contexts[0].name: "),
        (
            "{current-context: d}",
            "kubeconfig: context \"d\" does not exist",
        ),
        ("", "kubeconfig: current-context is not set"),
        (
            "{current-context: c, contexts: [{name: c, context: {cluster: k}}]}",
            "context c: cluster \"k\" does not exist",
        ),
        (
            "{current-context: c, contexts: [{name: c}]}",
            "context c: cluster \"\" does not exist",
        ),
    ];
    for (text, says) in wrong {
        let told = read(text, Path::new("/"))
            .err()
            .unwrap_or_else(|| panic!("taken: {text}"))
            .to_string();
        assert!(
            told.contains(says) && !told.contains("sesame"),
            "{text}: {told}"
        );
    }
    assert!(
        read([0xC3, 0x28], Path::new("/"))
            .err()
            .unwrap()
            .to_string()
            .contains("UTF-8")
    );
}

#[test]
fn of_several_files_the_first_with_an_entry_wins_whole() {
    let one = "{contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, cluster: {server: one}}]}";
    let two =
        "{current-context: c, contexts: [{name: c, context: {cluster: other, namespace: there}}],
        clusters: [{name: k, cluster: {server: two, tls-server-name: x}}]}";
    let mut merged = Kubeconfig::parse(one.as_bytes(), Path::new("/")).unwrap();
    merged.merge(Kubeconfig::parse(two.as_bytes(), Path::new("/")).unwrap());
    let found = config::prepare_config(&merged, None, |_| None)
        .unwrap()
        .config;
    assert_eq!(
        (found.cluster_url.host(), found.default_namespace.as_str()),
        (Some("one"), "default")
    );
}
