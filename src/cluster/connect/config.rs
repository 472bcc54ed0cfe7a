//! Turns one context of the files into a client configuration by client-go's rules
//! (`clientcmd.ClientConfig`, `transport.TLSConfigFor`). Whatever would make the client panic, or
//! fail without naming a place, is found here.
//!
//! Deliberate differences from kubectl: a file without a server or a context is refused (kubectl
//! tries `localhost:8080`), nobody is asked for a password, and a login plugin that insists on a
//! terminal is refused, because it would draw over the screen.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    ConnectError, address, credentials, environment,
    kubeconfig::{Cluster, Exec, Kubeconfig, User},
    kubeconfig_error::ServerError,
    pem,
};

/// Proxy schemes that the file may use; the environment may use more.
const PROXY_SCHEMES: [&str; 3] = ["http", "https", "socks5"];

/// A configuration, and the login plugin to run before it is used.
pub(in crate::cluster) struct PreparedConfig {
    pub(in crate::cluster) config: kube::Config,
    pub(in crate::cluster) login: Option<LoginPlugin>,
}

/// A login plugin, and the cluster information to pass to it.
pub(in crate::cluster) struct LoginPlugin {
    pub(in crate::cluster) exec: Exec,
    pub(in crate::cluster) cluster: Option<Value>,
}

/// The configuration of one context; `None` is the current one.
pub(super) fn prepare_config(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<PreparedConfig, ConnectError> {
    let name = context.unwrap_or(&kubeconfig.current);
    let wrong = |place: String, why: &dyn ToString| ConnectError::Kubeconfig {
        place,
        why: why.to_string(),
    };
    let entry = kubeconfig.contexts.get(name).ok_or_else(|| {
        let why = match name {
            "" => "current-context is not set; name a context with --context".to_owned(),
            name => format!("context {name:?} does not exist"),
        };
        wrong("kubeconfig".into(), &why)
    })?;
    let missing = || {
        let why = format!("cluster {:?} does not exist", entry.cluster);
        wrong(format!("context {name}"), &why)
    };
    let cluster = kubeconfig
        .clusters
        .get(&entry.cluster)
        .ok_or_else(missing)?;
    // A user that the file does not define is anonymous, as for kubectl.
    let nobody = User::default();
    let user = kubeconfig.users.get(&entry.user).unwrap_or(&nobody);
    let ServerConfig {
        mut config,
        authority,
        login,
    } = configure_server(cluster, env)
        .map_err(|why| wrong(format!("cluster {}", entry.cluster), &why))?;
    let secure = config.cluster_url.scheme_str() == Some("https");
    let found = credentials::read_credentials(user, secure, login)
        .map_err(|why| wrong(format!("user {}", entry.user), &why))?;
    (config.auth_info, config.headers) = (found.auth, found.headers);
    if !entry.namespace.is_empty() {
        config.default_namespace.clone_from(&entry.namespace);
    }
    let login = found.exec.map(|exec: Exec| LoginPlugin {
        cluster: exec
            .provide_cluster_info
            .then(|| exec_cluster_info(cluster, authority.as_deref())),
        exec,
    });
    Ok(PreparedConfig { config, login })
}

struct ServerConfig {
    config: kube::Config,
    /// PEM.
    authority: Option<Vec<u8>>,
    /// User name and password from the address.
    login: Option<(String, String)>,
}

fn configure_server(
    cluster: &Cluster,
    env: impl Fn(&str) -> Option<String>,
) -> Result<ServerConfig, ServerError> {
    if cluster.server.is_empty() {
        return Err(ServerError::NoServer);
    }
    let address = address::parse_address(&cluster.server).map_err(ServerError::Address)?;
    let secure = address.is_secure();
    let mut config = kube::Config::new(address.uri);
    config.disable_compression = cluster.disable_compression;
    config.proxy_url = if cluster.proxy_url.is_empty() {
        environment::proxy_for(&config.cluster_url, env)?
    } else {
        Some(address::parse_proxy(&cluster.proxy_url, &PROXY_SCHEMES).map_err(ServerError::Proxy)?)
    };
    let given = pem::load_pem(
        "certificate-authority",
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    )?;
    // An empty file means the system's authorities, as if no file were named.
    let authority = given.filter(|pem| !pem.is_empty());
    if secure {
        let named = !cluster.certificate_authority.is_empty() || authority.is_some();
        if cluster.insecure_skip_tls_verify && named {
            return Err(ServerError::InsecureAuthority);
        }
        config.root_cert = authority
            .as_deref()
            .map(pem::parse_authorities)
            .transpose()?;
        config.accept_invalid_certs = cluster.insecure_skip_tls_verify;
        if !cluster.tls_server_name.is_empty() {
            rustls::pki_types::ServerName::try_from(cluster.tls_server_name.as_str())
                .map_err(|_| ServerError::ServerName)?;
            config.tls_server_name = Some(cluster.tls_server_name.clone());
        }
    }
    if !secure || cluster.insecure_skip_tls_verify {
        // Nothing is verified, so the system's authorities need not exist.
        config.root_cert = Some(vec![]);
    }
    Ok(ServerConfig {
        config,
        authority,
        login: address.login,
    })
}

/// `clientauthentication.Cluster`, which the login plugin reads.
fn exec_cluster_info(cluster: &Cluster, authority: Option<&[u8]>) -> Value {
    let mut told = json!({"server": cluster.server});
    if !cluster.tls_server_name.is_empty() {
        told["tls-server-name"] = json!(cluster.tls_server_name);
    }
    if cluster.insecure_skip_tls_verify {
        told["insecure-skip-tls-verify"] = json!(true);
    }
    if let Some(pem) = authority {
        told["certificate-authority-data"] = json!(STANDARD.encode(pem));
    }
    if !cluster.proxy_url.is_empty() {
        told["proxy-url"] = json!(cluster.proxy_url);
    }
    if cluster.disable_compression {
        told["disable-compression"] = json!(true);
    }
    if let Some(config) = cluster.plugin_config() {
        told["config"] = config.clone();
    }
    told
}
