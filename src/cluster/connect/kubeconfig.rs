//! Decodes a kubeconfig as client-go does: only the first document counts; unknown fields and
//! duplicate keys are accepted; null means absent; a value of the wrong type or invalid base64 is
//! an error in any entry.
//!
//! When several files define an entry of the same name, the first definition wins as a whole; see
//! client-go's `clientcmd.ClientConfigLoadingRules`.

use std::{collections::BTreeMap, path::Path};

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::kubeconfig_error::KubeconfigError;

/// Name of the cluster extension whose content is passed to the login plugin.
const PLUGIN_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// The content of one or several files.
#[derive(Clone, Default)]
pub struct Kubeconfig {
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) users: BTreeMap<String, User>,
    pub(super) contexts: BTreeMap<String, ContextEntry>,
    /// Empty when no current context is set.
    pub(super) current: String,
}

/// A cluster's address, and how its certificate is verified.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Cluster {
    pub(super) server: String,
    pub(super) tls_server_name: String,
    pub(super) insecure_skip_tls_verify: bool,
    pub(super) certificate_authority: String,
    #[serde(deserialize_with = "base64_bytes")]
    pub(super) certificate_authority_data: Vec<u8>,
    pub(super) proxy_url: String,
    pub(super) disable_compression: bool,
    #[serde(deserialize_with = "list")]
    pub(super) extensions: Vec<Extension>,
}

impl Cluster {
    /// Additional configuration for the login plugin.
    pub(super) fn plugin_config(&self) -> Option<&Value> {
        self.extensions
            .iter()
            .find(|e| e.name == PLUGIN_EXTENSION)
            .map(|e| &e.extension)
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extension {
    name: String,
    extension: Value,
}

/// A user's credentials.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct User {
    pub(super) client_certificate: String,
    #[serde(deserialize_with = "base64_bytes")]
    pub(super) client_certificate_data: Vec<u8>,
    pub(super) client_key: String,
    #[serde(deserialize_with = "base64_bytes")]
    pub(super) client_key_data: Vec<u8>,
    pub(super) token: String,
    #[serde(rename = "tokenFile")]
    pub(super) token_file: String,
    #[serde(rename = "as")]
    pub(super) impersonate: String,
    #[serde(rename = "as-uid")]
    pub(super) impersonate_uid: String,
    #[serde(rename = "as-groups", deserialize_with = "list")]
    pub(super) impersonate_groups: Vec<String>,
    #[serde(rename = "as-user-extra")]
    pub(super) impersonate_extra: BTreeMap<String, Vec<String>>,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) auth_provider: Option<AuthProvider>,
    pub(super) exec: Option<Exec>,
}

/// A login method that is built into client-go.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthProvider {
    pub(super) name: String,
    pub(super) config: BTreeMap<String, String>,
}

/// A login plugin (`exec`).
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cluster) struct Exec {
    pub(in crate::cluster) api_version: String,
    pub(in crate::cluster) command: String,
    #[serde(deserialize_with = "list")]
    pub(in crate::cluster) args: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(in crate::cluster) env: Vec<Variable>,
    pub(in crate::cluster) install_hint: String,
    pub(in crate::cluster) provide_cluster_info: bool,
    pub(in crate::cluster) interactive_mode: String,
}

/// An environment variable of a login plugin.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cluster) struct Variable {
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) value: String,
}

/// Combines a cluster, a user and a namespace.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContextEntry {
    pub(super) cluster: String,
    pub(super) user: String,
    pub(super) namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(rename = "current-context")]
    current: String,
    #[serde(deserialize_with = "list")]
    clusters: Vec<NamedCluster>,
    #[serde(deserialize_with = "list")]
    users: Vec<NamedUser>,
    #[serde(deserialize_with = "list")]
    contexts: Vec<NamedContext>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

impl Kubeconfig {
    /// Parses a file in the folder `dir`. Errors name the place in the file and show no values.
    pub(super) fn parse(bytes: &[u8], dir: &Path) -> Result<Self, KubeconfigError> {
        let text = decode_text(bytes)?;
        let mut value = kube_yaml::first_document(&text).map_err(|(line, column, why)| {
            KubeconfigError::Yaml {
                line,
                column,
                reason: redact_values(&why),
            }
        })?;
        drop_nulls(&mut value);
        let written: Written = match value {
            Value::Null => Written::default(),
            Value::Object(_) => {
                serde_path_to_error::deserialize(value).map_err(|e| KubeconfigError::Field {
                    path: e.path().to_string(),
                    reason: redact_values(&e.inner().to_string()),
                })?
            }
            _ => return Err(KubeconfigError::NoMap),
        };
        let unlike = |is: &str, want: &str| !is.is_empty() && is != want;
        if unlike(&written.kind, "Config") || unlike(&written.api_version, "v1") {
            return Err(KubeconfigError::Kind);
        }
        let mut known = Self {
            current: written.current,
            ..Self::default()
        };
        insert_unique(
            &mut known.clusters,
            "clusters",
            written.clusters.into_iter().map(|n| (n.name, n.cluster)),
        )?;
        insert_unique(
            &mut known.users,
            "users",
            written.users.into_iter().map(|n| (n.name, n.user)),
        )?;
        insert_unique(
            &mut known.contexts,
            "contexts",
            written.contexts.into_iter().map(|n| (n.name, n.context)),
        )?;
        known.resolve_paths(dir);
        Ok(known)
    }

    /// Adds the entries of another file; existing entries stay.
    pub(super) fn merge(&mut self, next: Self) {
        fn insert_missing<T>(to: &mut BTreeMap<String, T>, from: BTreeMap<String, T>) {
            for (name, entry) in from {
                to.entry(name).or_insert(entry);
            }
        }
        insert_missing(&mut self.clusters, next.clusters);
        insert_missing(&mut self.users, next.users);
        insert_missing(&mut self.contexts, next.contexts);
        if self.current.is_empty() {
            self.current = next.current;
        }
    }

    fn resolve_paths(&mut self, dir: &Path) {
        let resolve = |path: &mut String| {
            if !path.is_empty() && Path::new(path.as_str()).is_relative() {
                *path = dir.join(path.as_str()).display().to_string();
            }
        };
        for cluster in self.clusters.values_mut() {
            resolve(&mut cluster.certificate_authority);
        }
        for user in self.users.values_mut() {
            resolve(&mut user.client_certificate);
            resolve(&mut user.client_key);
            resolve(&mut user.token_file);
            // A bare name is looked up in `$PATH`.
            if let Some(exec) = user.exec.as_mut().filter(|e| e.command.contains('/')) {
                resolve(&mut exec.command);
            }
        }
    }
}

/// Decodes UTF-8, or UTF-16 with a byte order mark.
fn decode_text(bytes: &[u8]) -> Result<String, KubeconfigError> {
    let wide = |of: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|c| of([c[0], c[1]])).collect();
        String::from_utf16(&units).map_err(|_| KubeconfigError::Utf16)
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => wide(u16::from_be_bytes, rest),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(why) => {
                let line = bytes[..why.valid_up_to()].split(|b| *b == b'\n').count();
                Err(KubeconfigError::Utf8 { line })
            }
        },
    }
}

fn insert_unique<T>(
    to: &mut BTreeMap<String, T>,
    list: &'static str,
    entries: impl Iterator<Item = (String, T)>,
) -> Result<(), KubeconfigError> {
    for (name, entry) in entries {
        if to.contains_key(&name) {
            return Err(KubeconfigError::Duplicate { list, name });
        }
        to.insert(name, entry);
    }
    Ok(())
}

/// Go treats a null field as absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(all) => all.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A list in which a null entry is an empty entry.
fn list<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Option<T>>::deserialize(from)?;
    Ok(all.into_iter().map(Option::unwrap_or_default).collect())
}

/// As Go's `base64.StdEncoding`: line breaks are ignored, white space and missing padding are
/// errors.
fn base64_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    const GO: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let text = String::deserialize(from)?;
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    GO.decode(text)
        .map_err(|_| D::Error::custom("this is no base64"))
}

/// A decoder's message without the values that it quotes, which may be secrets.
fn redact_values(words: &str) -> String {
    let Some(quote) = words.find(['"', '`', '\'']) else {
        return words.to_owned();
    };
    let kept = words[..quote].trim_end();
    match words.rfind(", expected ") {
        Some(at) if at >= quote => format!("{kept}{}", &words[at..]),
        _ => kept.to_owned(),
    }
}
