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
    kubeconfig_error::{NamedFileError, PemError, PluginConfigError, TokenError, UserError},
    pem,
};

/// API versions of a login plugin's answer. The older one may omit `interactiveMode`.
pub(super) const PLUGIN_VERSIONS: [&str; 2] = [
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
) -> Result<Credentials, UserError> {
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
            return Err(UserError::ExpiredIdToken);
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
pub(in crate::cluster) fn check_token(token: &str) -> Result<(), TokenError> {
    header_value(token).map(drop).map_err(|()| TokenError)
}

/// Refuses contradictory settings, as `clientcmd.validateAuthInfo` does.
fn validate_user(user: &User) -> Result<(), UserError> {
    let has_basic = !user.username.is_empty() || !user.password.is_empty();
    if !user.token.is_empty() && has_basic
        || !user.token_file.is_empty() && !user.username.is_empty()
    {
        return Err(UserError::TokenAndUser);
    }
    let acts = !user.impersonate_uid.is_empty()
        || !user.impersonate_groups.is_empty()
        || !user.impersonate_extra.is_empty();
    if acts && user.impersonate.is_empty() {
        return Err(UserError::ImpersonatesNobody);
    }
    if let Some(provider) = &user.auth_provider {
        if user.exec.is_some() {
            return Err(UserError::PluginAndProvider);
        }
        if provider.name != "oidc" {
            return Err(UserError::Provider(provider.name.clone()));
        }
        let Some(token) = provider.config.get("id-token") else {
            return Err(UserError::NoIdToken);
        };
        check_token(token).map_err(UserError::IdToken)?;
    }
    if let Some(exec) = &user.exec {
        check_plugin(exec)?;
    }
    Ok(())
}

/// Expiry of a token that is a JWT.
fn token_expiry(token: &str) -> Option<Timestamp> {
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?.trim_end_matches('='))
        .ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims["exp"].as_f64()? as i64).ok()
}

fn check_plugin(exec: &Exec) -> Result<(), PluginConfigError> {
    if exec.command.is_empty() {
        return Err(PluginConfigError::NoCommand);
    }
    if !PLUGIN_VERSIONS.contains(&exec.api_version.as_str()) {
        return Err(PluginConfigError::ApiVersion);
    }
    let nul = |text: &str| text.contains('\0');
    if nul(&exec.command) || exec.args.iter().any(|a| nul(a)) {
        return Err(PluginConfigError::ZeroByte);
    }
    let wrong = |v: &super::kubeconfig::Variable| {
        v.name.is_empty() || v.name.contains(['=', '\0']) || nul(&v.value)
    };
    if exec.env.iter().any(wrong) {
        return Err(PluginConfigError::Variable);
    }
    match exec.interactive_mode.as_str() {
        "" if exec.api_version == PLUGIN_VERSIONS[0] => Err(PluginConfigError::NoInteractiveMode),
        "" | "Never" | "IfAvailable" => Ok(()),
        "Always" => Err(PluginConfigError::WantsTerminal),
        _ => Err(PluginConfigError::InteractiveMode),
    }
}

/// The token; a token file wins if it is not empty.
fn read_token(user: &User) -> Result<Option<String>, UserError> {
    let mut token = user.token.clone();
    if !user.token_file.is_empty() {
        match std::fs::read_to_string(&user.token_file) {
            Ok(text) if !text.trim().is_empty() => text.trim().clone_into(&mut token),
            Err(source) if token.is_empty() => {
                let path = user.token_file.clone();
                return Err(UserError::TokenFile { path, source });
            }
            Ok(_) if token.is_empty() => {
                return Err(UserError::EmptyTokenFile(user.token_file.clone()));
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
fn read_identity(user: &User) -> Result<Option<(String, String)>, UserError> {
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
        return Err(PemError::Twice("client-key").into());
    }
    let key = pem::load_pem("client-key", &user.client_key_data, &user.client_key)?;
    let key = key.ok_or(UserError::NoKey)?;
    let identity = pem::encode_identity(&certificate, &key).map_err(PemError::from)?;
    Ok(Some(identity))
}

fn impersonation_headers(user: &User) -> Result<Vec<(HeaderName, HeaderValue)>, UserError> {
    if user.impersonate.is_empty() {
        return Ok(vec![]);
    }
    let value = |field, text: &str| header_value(text).map_err(|()| UserError::HeaderValue(field));
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
        let name = HeaderName::try_from(name)?;
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
pub(super) fn read_file(field: &'static str, path: &str) -> Result<Vec<u8>, NamedFileError> {
    std::fs::read(Path::new(path)).map_err(|source| NamedFileError {
        field,
        path: path.to_owned(),
        source,
    })
}
