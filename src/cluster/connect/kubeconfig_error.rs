//! What is wrong with a kubeconfig, field by field. No message repeats a value that may be a secret.

use std::io;

use super::credentials::PLUGIN_VERSIONS;

/// An address cannot be used. The address is not repeated, because it may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("there is a control character in the address, perhaps a line break")]
    ControlCharacter,
    #[error("the scheme {0}:// is neither http:// nor https://")]
    Scheme(String),
    #[error("this is neither a URL nor host:port")]
    NoUrl,
    #[error("a proxy's address begins with one of {}", .0.join(", "))]
    ProxyScheme(&'static [&'static str]),
    #[error("a user name for a socks5 proxy has 1 to 255 bytes, its password at most 255")]
    SocksLogin,
    #[error("its port is above 65535")]
    PortRange,
    #[error("its port is no number")]
    Port,
    #[error("there is white space in its host")]
    WhiteSpace,
    #[error("an IPv6 address stands in brackets")]
    Ipv6,
    #[error(transparent)]
    Uri(#[from] http::uri::InvalidUri),
}

/// The proxy that an environment variable names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("${variable}: {source}")]
pub(super) struct ProxyVariableError {
    pub(super) variable: &'static str,
    pub(super) source: AddressError,
}

/// A file that a kubeconfig names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{field} {path}: {source}")]
pub(super) struct NamedFileError {
    pub(super) field: &'static str,
    pub(super) path: String,
    pub(super) source: io::Error,
}

/// A certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    #[error("both {0} and {0}-data; one of them")]
    Twice(&'static str),
    #[error(transparent)]
    File(#[from] NamedFileError),
    #[error("certificate-authority: there is no certificate in it")]
    NoAuthority,
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A client's certificate and key cannot be used together.
#[derive(Debug, thiserror::Error)]
pub(in crate::cluster) enum IdentityError {
    #[error("client-certificate: there is no certificate in it")]
    NoCertificate,
    #[error("client-key: there is no private key in it")]
    NoKey,
    #[error("client-key: a key of this kind cannot be used")]
    KeyKind,
    #[error("client-key is not the key of client-certificate")]
    Mismatch,
}

/// A kubeconfig's cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("there is no server: `server` is the address of its API, as in https://HOST:6443")]
    NoServer,
    #[error("server: {0}")]
    Address(#[source] AddressError),
    #[error("proxy-url: {0}")]
    Proxy(#[source] AddressError),
    #[error(transparent)]
    ProxyVariable(#[from] ProxyVariableError),
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("insecure-skip-tls-verify and a certificate-authority exclude each other")]
    InsecureAuthority,
    #[error("tls-server-name: this is no host name")]
    ServerName,
}

/// A token cannot be sent in a header.
#[derive(Debug, thiserror::Error)]
#[error("there is a control character in the token, perhaps a line break")]
pub(in crate::cluster) struct TokenError;

/// A kubeconfig's user cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("both a token and a user name; one of them")]
    TokenAndUser,
    #[error("as-uid, as-groups and as-user-extra need `as`")]
    ImpersonatesNobody,
    #[error("both exec and auth-provider; one of them")]
    PluginAndProvider,
    #[error(
        "auth-provider: {0:?} is no more, in kubectl neither: only oidc is left. Put its login plugin under exec \
         (gke-gcloud-auth-plugin, kubelogin)"
    )]
    Provider(String),
    #[error("auth-provider: there is no id-token: log in outside, as for kubectl")]
    NoIdToken,
    #[error("auth-provider: {0}")]
    IdToken(#[source] TokenError),
    #[error(
        "auth-provider: its id-token has expired, and is not renewed here: kubectl does, and writes the new one into the \
         file (`kubectl version`), or use kubelogin under exec"
    )]
    ExpiredIdToken,
    #[error("exec: {0}")]
    Plugin(#[from] PluginConfigError),
    #[error("tokenFile {path}: {source}")]
    TokenFile { path: String, source: io::Error },
    #[error("tokenFile {0} is empty")]
    EmptyTokenFile(String),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("client-certificate without client-key")]
    NoKey,
    #[error("{0}: there is a control character in it")]
    HeaderValue(&'static str),
    #[error("as-user-extra: {0}")]
    ExtraName(#[from] http::header::InvalidHeaderName),
}

/// A login plugin's settings are wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginConfigError {
    #[error("there is no command")]
    NoCommand,
    #[error("apiVersion is one of {}", PLUGIN_VERSIONS.join(", "))]
    ApiVersion,
    #[error("there is a zero byte in the command")]
    ZeroByte,
    #[error("an entry of env has no name, or one that no variable can have")]
    Variable,
    #[error("interactiveMode is missing")]
    NoInteractiveMode,
    #[error(
        "the plugin wants a terminal (interactiveMode: Always), and gets none here; log in outside"
    )]
    WantsTerminal,
    #[error("interactiveMode is one of Never, IfAvailable, Always")]
    InteractiveMode,
}

/// A kubeconfig file cannot be read. Names the place and shows no values.
#[derive(Debug, thiserror::Error)]
pub(super) enum KubeconfigError {
    #[error("line {line}, column {column}: {reason}")]
    Yaml {
        line: usize,
        column: usize,
        /// The YAML parser's message, without values.
        reason: String,
    },
    #[error("{path}: {reason}")]
    Field {
        path: String,
        /// The decoder's message, without values.
        reason: String,
    },
    #[error("this is no kubeconfig: a map with clusters, users and contexts")]
    NoMap,
    #[error("this is no kubeconfig: its kind is Config of apiVersion v1")]
    Kind,
    #[error("this is no UTF-16 text")]
    Utf16,
    #[error("line {line}: this is no UTF-8 text")]
    Utf8 { line: usize },
    #[error("{list}: there are two of the name {name:?}")]
    Duplicate { list: &'static str, name: String },
}
