//! kubectl's files, found by kubectl's rules: a list in `$KUBECONFIG` is merged, and its missing
//! files are skipped.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{ConnectError, address, kubeconfig::Kubeconfig};

/// A context that a person can choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeContext {
    /// Name of the context.
    pub name: String,
    /// Address of the cluster.
    pub server: String,
    /// Default namespace of the context.
    pub namespace: Option<String>,
    /// Whether it is the current context.
    pub current: bool,
}

/// Reads `file`, or the files in `$KUBECONFIG`, or `~/.kube/config`.
pub fn read_kubeconfig(file: Option<&Path>) -> Result<Kubeconfig, ConnectError> {
    let home = std::env::var_os("HOME")
        .filter(|h| !h.is_empty())
        .map(PathBuf::from);
    let list = std::env::var_os("KUBECONFIG");
    read_and_merge(&kubeconfig_paths(file, list.as_deref(), home.as_deref())?)
}

/// Whether kubectl would find any kubeconfig.
pub fn has_kubeconfig() -> bool {
    let home = std::env::var_os("HOME")
        .filter(|h| !h.is_empty())
        .map(PathBuf::from);
    let list = std::env::var_os("KUBECONFIG");
    kubeconfig_paths(None, list.as_deref(), home.as_deref())
        .is_ok_and(|all| all.iter().any(|f| f.exists()))
}

fn kubeconfig_paths(
    file: Option<&Path>,
    list: Option<&OsStr>,
    home: Option<&Path>,
) -> Result<Vec<PathBuf>, ConnectError> {
    if let Some(file) = file {
        return Ok(vec![file.to_owned()]);
    }
    let listed: Vec<PathBuf> = list
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    match (listed.is_empty(), home) {
        (false, _) => Ok(listed),
        (true, Some(home)) => Ok(vec![home.join(".kube/config")]),
        (true, None) => Err(ConnectError::Kubeconfig {
            place: "kubeconfig".into(),
            why: "no home folder to look in; name a file with --kubeconfig or $KUBECONFIG".into(),
        }),
    }
}

fn read_and_merge(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        let named = |why: &dyn ToString| ConnectError::Kubeconfig {
            place: path.display().to_string(),
            why: why.to_string(),
        };
        let bytes = std::fs::read(path).map_err(|why| named(&why))?;
        let one = Kubeconfig::parse(&bytes, path.parent().unwrap_or(Path::new("")))
            .map_err(|why| named(&why))?;
        match &mut merged {
            None => merged = Some(one),
            Some(merged) => merged.merge(one),
        }
    }
    let all = || {
        paths
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    merged.ok_or_else(|| ConnectError::Kubeconfig {
        place: all(),
        why: "none of these files is there".into(),
    })
}

/// The contexts, sorted by name.
pub fn list_contexts(kubeconfig: &Kubeconfig) -> Vec<KubeContext> {
    let context = |(name, entry): (&String, &super::kubeconfig::ContextEntry)| KubeContext {
        name: name.clone(),
        server: kubeconfig
            .clusters
            .get(&entry.cluster)
            .map(|c| address::display_address(&c.server))
            .unwrap_or_default(),
        namespace: Some(entry.namespace.clone()).filter(|n| !n.is_empty()),
        current: kubeconfig.current == *name,
    };
    kubeconfig.contexts.iter().map(context).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_list_is_merged_the_first_wins_and_what_is_not_there_is_passed_over() {
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
        let merged = read_and_merge(&kubeconfig_paths(None, Some(&list), None).unwrap()).unwrap();
        let all = list_contexts(&merged);
        let of = |n: usize| {
            (
                all[n].name.as_str(),
                all[n].server.as_str(),
                all[n].namespace.as_deref(),
                all[n].current,
            )
        };
        assert_eq!(of(0), ("a", "https://one:1", Some("first"), false));
        assert_eq!(of(1), ("b", "https://two:2", None, true));
        let at = |context| super::super::config::prepare_config(&merged, context, |_| None);
        let b = at(None).unwrap().config;
        assert_eq!(b.cluster_url.host(), Some("two"));
        assert_eq!(
            b.proxy_url.unwrap().to_string(),
            "socks5://p:1/",
            "its own proxy, whatever the environment says"
        );
        let refused = at(Some("c")).err().unwrap().to_string();
        assert!(refused.contains("context \"c\""), "{refused}");
    }

    #[test]
    fn no_file_at_all_is_told_by_the_names_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let told = read_and_merge(&[a, b]).err().unwrap().to_string();
        assert!(
            told.contains("/a, ") && told.contains("none of these files"),
            "{told}"
        );
        assert!(kubeconfig_paths(None, Some(OsStr::new("")), None).is_err());
        let usual = kubeconfig_paths(None, Some(OsStr::new("")), Some(Path::new("/h"))).unwrap();
        assert_eq!(usual, [PathBuf::from("/h/.kube/config")]);
    }
}
