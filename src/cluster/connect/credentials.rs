//! The credentials of a kubeconfig user, in client-go's order: a token file wins over a token, a
//! login plugin is used only when there is nothing else, and a client certificate is sent in
//! addition.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use kube::config::{AuthInfo, AuthProviderConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    kubeconfig::{Exec, User},
    pem,
};

/// API versions of a login plugin's answer. The older one may omit `interactiveMode`.
const PLUGIN_VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
/// Characters besides letters and digits that a header name may hold (RFC 9110, token); `%`
/// escapes.
const HEADER_NAME_CHARS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Credentials that are ready to be sent, except for those from a login plugin.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) auth: AuthInfo,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) exec: Option<Exec>,
}

/// Reads a user's credentials. Over plain http only impersonation headers are sent. `login` comes
/// from the address.
pub(super) fn read_credentials(
    user: &User,
    secure: bool,
    login: Option<(String, String)>,
) -> Result<Credentials, String> {
    validate_user(user)?;
    let mut found = Credentials {
        headers: impersonation_headers(user)?,
        ..Credentials::default()
    };
    if secure {
        (
            found.auth.client_certificate_data,
            found.auth.client_key_data,
        ) = match read_identity(user)? {
            Some((certificate, key)) => (Some(certificate), Some(key.into())),
            None => (None, None),
        };
    }
    if let Some((name, password)) = login {
        (found.auth.username, found.auth.password) = (Some(name), Some(password.into()));
    } else if !secure {
        // client-go sends no credentials in clear text.
    } else if let Some(token) = read_token(user)? {
        found.auth.token = Some(token.into());
    } else if !user.username.is_empty() {
        (found.auth.username, found.auth.password) = (
            Some(user.username.clone()),
            Some(user.password.clone().into()),
        );
    } else if let Some(provider) = &user.auth_provider {
        let token = provider.config.get("id-token");
        if token
            .and_then(|token| token_expiry(token))
            .is_some_and(|at| at <= Timestamp::now())
        {
            return Err(
                "auth-provider: its id-token has expired, and is not renewed here: kubectl does, and writes the \
                        new one into the file (`kubectl version`), or use kubelogin under exec"
                    .into(),
            );
        }
        let config = provider.config.clone().into_iter().collect();
        found.auth.auth_provider = Some(AuthProviderConfig {
            name: provider.name.clone(),
            config,
            ..AuthProviderConfig::default()
        });
    } else if found.auth.client_certificate_data.is_none() {
        found.exec.clone_from(&user.exec);
    }
    Ok(found)
}

/// Checks that a token can be sent in a header.
pub(in crate::cluster) fn check_token(token: &str) -> Result<(), String> {
    header_value(token)
        .map(|_| ())
        .map_err(|()| "there is a control character in the token, perhaps a line break".into())
}

/// Refuses contradictory settings, as `clientcmd.validateAuthInfo` does.
fn validate_user(user: &User) -> Result<(), String> {
    let has_basic = !user.username.is_empty() || !user.password.is_empty();
    if !user.token.is_empty() && has_basic
        || !user.token_file.is_empty() && !user.username.is_empty()
    {
        return Err("both a token and a user name; one of them".into());
    }
    let acts = !user.impersonate_uid.is_empty()
        || !user.impersonate_groups.is_empty()
        || !user.impersonate_extra.is_empty();
    if acts && user.impersonate.is_empty() {
        return Err("as-uid, as-groups and as-user-extra need `as`".into());
    }
    if let Some(provider) = &user.auth_provider {
        if user.exec.is_some() {
            return Err("both exec and auth-provider; one of them".into());
        }
        if provider.name != "oidc" {
            let name = &provider.name;
            return Err(format!(
                "auth-provider: {name:?} is no more, in kubectl neither: only oidc is left. Put its login plugin under \
                 exec (gke-gcloud-auth-plugin, kubelogin)"
            ));
        }
        let Some(token) = provider.config.get("id-token") else {
            return Err(
                "auth-provider: there is no id-token: log in outside, as for kubectl".into(),
            );
        };
        check_token(token).map_err(|why| format!("auth-provider: {why}"))?;
    }
    user.exec.as_ref().map_or(Ok(()), |exec| {
        check_plugin(exec).map_err(|why| format!("exec: {why}"))
    })
}

/// Expiry of a token that is a JWT.
fn token_expiry(token: &str) -> Option<Timestamp> {
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?.trim_end_matches('='))
        .ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims["exp"].as_f64()? as i64).ok()
}

fn check_plugin(exec: &Exec) -> Result<(), String> {
    if exec.command.is_empty() {
        return Err("there is no command".into());
    }
    if !PLUGIN_VERSIONS.contains(&exec.api_version.as_str()) {
        return Err(format!(
            "apiVersion is one of {}",
            PLUGIN_VERSIONS.join(", ")
        ));
    }
    let nul = |text: &str| text.contains('\0');
    if nul(&exec.command) || exec.args.iter().any(|a| nul(a)) {
        return Err("there is a zero byte in the command".into());
    }
    let wrong = |v: &super::kubeconfig::Variable| {
        v.name.is_empty() || v.name.contains(['=', '\0']) || nul(&v.value)
    };
    if exec.env.iter().any(wrong) {
        return Err("an entry of env has no name, or one that no variable can have".into());
    }
    match exec.interactive_mode.as_str() {
        "" if exec.api_version == PLUGIN_VERSIONS[0] => Err("interactiveMode is missing".into()),
        "" | "Never" | "IfAvailable" => Ok(()),
        "Always" => {
            Err("the plugin wants a terminal (interactiveMode: Always), and gets none here; log in outside".into())
        }
        _ => Err("interactiveMode is one of Never, IfAvailable, Always".into()),
    }
}

/// The token; a token file wins if it is not empty.
fn read_token(user: &User) -> Result<Option<String>, String> {
    let mut token = user.token.clone();
    if !user.token_file.is_empty() {
        match std::fs::read_to_string(&user.token_file) {
            Ok(text) if !text.trim().is_empty() => text.trim().clone_into(&mut token),
            Err(why) if token.is_empty() => {
                return Err(format!("tokenFile {}: {why}", user.token_file));
            }
            Ok(_) if token.is_empty() => {
                return Err(format!("tokenFile {} is empty", user.token_file));
            }
            // client-go then uses the inline token.
            _ => {}
        }
    }
    if token.is_empty() {
        return Ok(None);
    }
    check_token(&token)?;
    Ok(Some(token))
}

/// Certificate and key as base64 of PEM, or `None`.
fn read_identity(user: &User) -> Result<Option<(String, String)>, String> {
    let certificate = pem::load_pem(
        "client-certificate",
        &user.client_certificate_data,
        &user.client_certificate,
    )?;
    // As for kubectl, a key without a certificate is ignored.
    let Some(certificate) = certificate else {
        return Ok(None);
    };
    if !user.client_key.is_empty() && !user.client_key_data.is_empty() {
        return Err("both client-key and client-key-data; one of them".into());
    }
    let key = pem::load_pem("client-key", &user.client_key_data, &user.client_key)?;
    let key = key.ok_or("client-certificate without client-key")?;
    pem::encode_identity(&certificate, &key).map(Some)
}

fn impersonation_headers(user: &User) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if user.impersonate.is_empty() {
        return Ok(vec![]);
    }
    let value = |field: &str, text: &str| {
        header_value(text).map_err(|()| format!("{field}: there is a control character in it"))
    };
    let mut all = vec![(
        HeaderName::from_static("impersonate-user"),
        value("as", &user.impersonate)?,
    )];
    if !user.impersonate_uid.is_empty() {
        all.push((
            HeaderName::from_static("impersonate-uid"),
            value("as-uid", &user.impersonate_uid)?,
        ));
    }
    for group in &user.impersonate_groups {
        all.push((
            HeaderName::from_static("impersonate-group"),
            value("as-groups", group)?,
        ));
    }
    for (key, values) in &user.impersonate_extra {
        let name = format!(
            "impersonate-extra-{}",
            utf8_percent_encode(key, HEADER_NAME_CHARS)
        )
        .to_lowercase();
        let name = HeaderName::try_from(name).map_err(|e| format!("as-user-extra: {e}"))?;
        for text in values {
            all.push((name.clone(), value("as-user-extra", text)?));
        }
    }
    Ok(all)
}

fn header_value(text: &str) -> Result<HeaderValue, ()> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ())
}

/// Reads a file that a kubeconfig names; errors name the field and the path.
pub(super) fn read_file(field: &str, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(path)).map_err(|why| format!("{field} {path}: {why}"))
}
