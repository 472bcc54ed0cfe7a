//! kubectl's files, as kubectl reads them: a list in `$KUBECONFIG` is merged, files of it that are not there are
//! passed over, the first that says something wins.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use kube::config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig};

use super::ConnectError;
use crate::cluster::{plugin, wire};

/// A context, for those who choose one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The cluster's address.
    pub server: String,
    /// Its own namespace.
    pub namespace: Option<String>,
    /// kubectl uses it.
    pub current: bool,
}

/// Reads `file`, or what `$KUBECONFIG` lists, or `~/.kube/config`.
pub fn read(file: Option<&Path>) -> Result<Kubeconfig, ConnectError> {
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
    let list = std::env::var_os("KUBECONFIG");
    read_list(&paths(file, list.as_deref(), home.as_deref())?)
}

/// Whether kubectl would find any file.
pub fn is_there() -> bool {
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
    let list = std::env::var_os("KUBECONFIG");
    paths(None, list.as_deref(), home.as_deref()).is_ok_and(|all| all.iter().any(|f| f.exists()))
}

fn paths(file: Option<&Path>, list: Option<&OsStr>, home: Option<&Path>) -> Result<Vec<PathBuf>, ConnectError> {
    if let Some(file) = file {
        return Ok(vec![file.to_owned()]);
    }
    let listed: Vec<PathBuf> =
        list.map(std::env::split_paths).into_iter().flatten().filter(|p| !p.as_os_str().is_empty()).collect();
    match (listed.is_empty(), home) {
        (false, _) => Ok(listed),
        (true, Some(home)) => Ok(vec![home.join(".kube/config")]),
        (true, None) => Err(ConnectError::Kubeconfig {
            place: "kubeconfig".into(),
            why: "no home folder to look in; name a file with --kubeconfig or $KUBECONFIG".into(),
        }),
    }
}

fn read_list(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let named = |path: &Path, why: &dyn std::fmt::Display| ConnectError::Kubeconfig {
        place: path.display().to_string(),
        why: why.to_string(),
    };
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        let one = Kubeconfig::read_from(path).map_err(|e| named(path, &e))?;
        merged = Some(match merged {
            None => one,
            Some(merged) => merged.merge(one).map_err(|e| named(path, &e))?,
        });
    }
    let all = || paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    merged.ok_or_else(|| ConnectError::Kubeconfig { place: all(), why: "none of these files is there".into() })
}

/// The contexts, by name.
pub fn contexts(kubeconfig: &Kubeconfig) -> Vec<Context> {
    let mut all: Vec<Context> = kubeconfig
        .contexts
        .iter()
        .map(|named| {
            let cluster = named.context.as_ref().map(|c| c.cluster.as_str()).unwrap_or_default();
            let found = kubeconfig.clusters.iter().find(|c| c.name == cluster);
            let server = found.and_then(|c| c.cluster.as_ref()?.server.clone());
            Context {
                name: named.name.clone(),
                server: server.unwrap_or_default(),
                namespace: named.context.as_ref().and_then(|c| c.namespace.clone()).filter(|n| !n.is_empty()),
                current: kubeconfig.current_context.as_deref() == Some(&named.name),
            }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The configuration of one context (none: the current one), with login plugins kept off the terminal.
pub(super) async fn config(mut kubeconfig: Kubeconfig, context: Option<&str>) -> Result<kube::Config, ConnectError> {
    for auth in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        let Some(exec) = &mut auth.exec else { continue };
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
        if let (Some(program), Some(command)) = (wire::detached(), exec.command.take()) {
            let args = exec.args.take().unwrap_or_default();
            exec.args = Some([vec![plugin::NAME.to_owned(), command], args].concat());
            exec.command = Some(program.display().to_string());
        }
    }
    let name = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
    let own_proxy = proxy_of(&kubeconfig, name.as_deref());
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let place = name.map_or_else(|| "kubeconfig".to_owned(), |n| format!("context {n}"));
    let wrong = |e: kube::config::KubeconfigError| ConnectError::Kubeconfig { place, why: e.to_string() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)?;
    if !own_proxy {
        config.proxy_url = from_environment(&config.cluster_url, |name| std::env::var(name).ok());
    }
    Ok(config)
}

/// The context's cluster names a proxy of its own.
fn proxy_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let context = kubeconfig.contexts.iter().find(|c| Some(c.name.as_str()) == context);
    let Some(cluster) = context.and_then(|c| c.context.as_ref()).map(|c| &c.cluster) else { return false };
    let found = kubeconfig.clusters.iter().find(|c| c.name == *cluster).and_then(|c| c.cluster.as_ref());
    found.is_some_and(|c| c.proxy_url.as_ref().is_some_and(|p| !p.is_empty()))
}

/// As Go's `ProxyFromEnvironment`: by the server's scheme, but for what `NO_PROXY` names and for this machine.
fn from_environment(server: &http::Uri, env: impl Fn(&str) -> Option<String>) -> Option<http::Uri> {
    let get = |name: &str| env(name).or_else(|| env(&name.to_lowercase())).filter(|v| !v.is_empty());
    let named = if server.scheme_str() == Some("http") { get("HTTP_PROXY") } else { get("HTTPS_PROXY") }?;
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if host == "localhost" || here {
        return None;
    }
    let matcher = hyper_util::client::proxy::matcher::Matcher::builder()
        .all(named.as_str())
        .no(get("NO_PROXY").unwrap_or_default().as_str())
        .build();
    matcher.intercept(server)?;
    let whole = if named.contains("://") { named } else { format!("http://{named}") };
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[tokio::test]
    async fn a_list_is_merged_the_first_wins_and_what_is_not_there_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let one = "{apiVersion: v1, kind: Config, current-context: b,
            contexts: [{name: a, context: {cluster: one, user: u, namespace: first}}],
            clusters: [{name: one, cluster: {server: 'https://one:1'}}]}";
        let two = "{apiVersion: v1, kind: Config, current-context: a,
            contexts: [{name: a, context: {cluster: two}}, {name: b, context: {cluster: two, user: u}}],
            clusters: [{name: two, cluster: {server: 'https://two:2', proxy-url: 'socks5://p:1'}}], users: [{name: u, user: {token: t}}]}";
        let list = std::env::join_paths([
            dir.path().join("missing"),
            file(dir.path(), "1", one),
            PathBuf::new(),
            file(dir.path(), "2", two),
        ])
        .unwrap();
        let merged = read_list(&paths(None, Some(&list), None).unwrap()).unwrap();
        let all = contexts(&merged);
        let of = |n: usize| (all[n].name.as_str(), all[n].server.as_str(), all[n].namespace.as_deref(), all[n].current);
        assert_eq!(of(0), ("a", "https://one:1", Some("first"), false));
        assert_eq!(of(1), ("b", "https://two:2", None, true));
        let b = config(merged.clone(), None).await.unwrap();
        assert_eq!(b.cluster_url.host(), Some("two"));
        assert_eq!(b.proxy_url.unwrap().to_string(), "socks5://p:1/", "its own proxy, whatever the environment says");
        let refused = config(merged, Some("c")).await.err().unwrap().to_string();
        assert!(refused.contains("context c"), "{refused}");
    }

    #[test]
    fn no_file_at_all_is_told_by_the_names_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let told = read_list(&[a, b]).err().unwrap().to_string();
        assert!(told.contains("/a, ") && told.contains("none of these files"), "{told}");
        assert!(paths(None, Some(OsStr::new("")), None).is_err());
        let usual = paths(None, Some(OsStr::new("")), Some(Path::new("/h"))).unwrap();
        assert_eq!(usual, [PathBuf::from("/h/.kube/config")]);
    }

    #[test]
    fn the_environments_proxy_is_for_others_than_those_it_leaves_out() {
        let env = |name: &str| match name {
            "https_proxy" => Some("proxy.example:3128".to_owned()),
            "NO_PROXY" => Some("10.0.0.0/8,.internal,exact.example".to_owned()),
            _ => None,
        };
        let by = |server: &str| from_environment(&server.parse().unwrap(), env).map(|u| u.to_string());
        assert_eq!(by("https://k8s.example:6443").as_deref(), Some("http://proxy.example:3128/"));
        for direct in [
            "https://10.1.2.3:6443",
            "https://api.internal",
            "https://exact.example",
            "https://127.64.0.1:6443",
            "https://[::1]",
            "http://k8s.example",
        ] {
            assert_eq!(by(direct), None, "{direct}");
        }
    }
}
