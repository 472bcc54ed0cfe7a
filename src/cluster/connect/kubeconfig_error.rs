//! What is wrong with a kubeconfig, field by field. No message repeats a value that may be a secret.

use std::io;

use super::credentials::PLUGIN_VERSIONS;

/// An address cannot be used. The address is not repeated, because it may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("the address contains a control character, perhaps a line break")]
    ControlCharacter,
    #[error("the scheme {0}:// is not supported: use http:// or https://")]
    Scheme(String),
    #[error("it is neither a URL nor host:port")]
    NoUrl,
    #[error("a proxy's address must begin with one of {}", .0.join(", "))]
    ProxyScheme(&'static [&'static str]),
    #[error("the user name for a SOCKS5 proxy must have 1 to 255 bytes, the password at most 255")]
    SocksLogin,
    #[error("the port is above 65535")]
    PortRange,
    #[error("the port is not a number")]
    Port,
    #[error("the host contains white space")]
    WhiteSpace,
    #[error("an IPv6 address must be in brackets, as in [::1]:6443")]
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
    #[error("{0} and {0}-data are both set; only one is allowed")]
    Twice(&'static str),
    #[error(transparent)]
    File(#[from] NamedFileError),
    #[error("certificate-authority: it contains no certificate")]
    NoAuthority,
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A client's certificate and key cannot be used together.
#[derive(Debug, thiserror::Error)]
pub(in crate::cluster) enum IdentityError {
    #[error("client-certificate: it contains no certificate")]
    NoCertificate,
    #[error("client-key: it contains no private key")]
    NoKey,
    #[error("client-key: this kind of key is not supported")]
    KeyKind,
    #[error("client-key does not match client-certificate")]
    Mismatch,
}

/// A kubeconfig's cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("server is missing: it is the address of the API server, as in https://HOST:6443")]
    NoServer,
    #[error("server: {0}")]
    Address(#[source] AddressError),
    #[error("proxy-url: {0}")]
    Proxy(#[source] AddressError),
    #[error(transparent)]
    ProxyVariable(#[from] ProxyVariableError),
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("insecure-skip-tls-verify and certificate-authority are both set; only one is allowed")]
    InsecureAuthority,
    #[error("tls-server-name is not a host name")]
    ServerName,
}

/// A token cannot be sent in a header.
#[derive(Debug, thiserror::Error)]
#[error("the token contains a control character, perhaps a line break")]
pub(in crate::cluster) struct TokenError;

/// A kubeconfig's user cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("token and username are both set; only one is allowed")]
    TokenAndUser,
    #[error("as-uid, as-groups and as-user-extra need `as`")]
    ImpersonatesNobody,
    #[error("exec and auth-provider are both set; only one is allowed")]
    PluginAndProvider,
    #[error(
        "auth-provider: {0:?} is no longer supported, nor is it by kubectl; only oidc is. Configure the login plugin \
         under exec (gke-gcloud-auth-plugin, kubelogin)"
    )]
    Provider(String),
    #[error("auth-provider: id-token is missing: log in as for kubectl")]
    NoIdToken,
    #[error("auth-provider: {0}")]
    IdToken(#[source] TokenError),
    #[error(
        "auth-provider: the id-token has expired, and graylane does not renew it. kubectl does, and writes the new one into \
         the file (`kubectl version`); or use kubelogin under exec"
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
    #[error("client-certificate is set, but client-key is missing")]
    NoKey,
    #[error("{0} contains a control character")]
    HeaderValue(&'static str),
    #[error("as-user-extra: {0}")]
    ExtraName(#[from] http::header::InvalidHeaderName),
}

/// A login plugin's settings are wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginConfigError {
    #[error("command is missing")]
    NoCommand,
    #[error("apiVersion must be one of {}", PLUGIN_VERSIONS.join(", "))]
    ApiVersion,
    #[error("the command contains a zero byte")]
    ZeroByte,
    #[error("an entry of env has no name, or an invalid one")]
    Variable,
    #[error("interactiveMode is missing")]
    NoInteractiveMode,
    #[error(
        "the plugin needs a terminal (interactiveMode: Always) and gets none from graylane; log in as for kubectl"
    )]
    WantsTerminal,
    #[error("interactiveMode must be Never, IfAvailable or Always")]
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
    #[error("this is not a kubeconfig: it must be a map with clusters, users and contexts")]
    NoMap,
    #[error("this is not a kubeconfig: kind must be Config, and apiVersion v1")]
    Kind,
    #[error("this is not valid UTF-16")]
    Utf16,
    #[error("line {line}: this is not valid UTF-8")]
    Utf8 { line: usize },
    #[error("{list}: the name {name:?} is used twice")]
    Duplicate { list: &'static str, name: String },
}
