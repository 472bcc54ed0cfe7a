//! Namespaces to look at: those that one may see, and the one that was last chosen for each cluster.

use std::{collections::BTreeMap, io, path::PathBuf};

use kube::Client;

use crate::{
    cluster::{
        error,
        namespaces::{NamespaceContents, list_namespaces},
    },
    domain::{facts::release_state, text::Clean},
    ui::{
        Answer, Fault,
        effect::{NamespaceChoice, ShownNamespace},
    },
};

/// The namespaces, those where a release waits first, then those with Apps.
pub(super) async fn list_choices(client: Client) -> Answer {
    match list_namespaces(&client).await {
        Ok(found) => {
            let mut choices: Vec<NamespaceChoice> = found
                .iter()
                .map(|(name, all)| to_choice(name, all))
                .collect();
            choices.sort_by_key(|c| (c.waiting.is_empty(), c.apps == 0));
            Answer::Namespaces(choices)
        }
        Err(why) => {
            let why = error::describe_error(&why);
            let words = format!("namespaces cannot be listed: {why}; `ns NAME` goes to one");
            Answer::Failed(Fault::new(&words))
        }
    }
}

fn to_choice(name: &str, contents: &NamespaceContents) -> NamespaceChoice {
    let mut waiting: Vec<(u8, String)> = contents
        .releases
        .iter()
        .map(|release| (release_state(release), release))
        .filter(|(state, _)| state.waits_for_person())
        .map(|(state, release)| {
            let name = release.metadata.name.as_deref().unwrap_or_default();
            let words = format!("{name} {}", state.state_label());
            (state.urgency(), words)
        })
        .collect();
    waiting.sort();
    NamespaceChoice {
        name: Clean::from_untrusted(name),
        apps: contents.apps,
        waiting: waiting
            .into_iter()
            .map(|(_, words)| Clean::from_untrusted(&words))
            .collect(),
    }
}

/// Written instead of a namespace for all of them; it is no name of one.
const ALL: &str = "*";

/// The namespace that was last chosen for each cluster, in a file of the state folder.
#[derive(Clone, Debug, Default)]
pub(super) struct RememberedNamespaces {
    file: Option<PathBuf>,
}

impl RememberedNamespaces {
    /// Those of this file; without one nothing is remembered.
    pub(super) const fn in_file(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// The namespace last chosen for a cluster, by its name on the screen.
    pub(super) fn find(&self, place: &str) -> Option<ShownNamespace> {
        let known = self.read().remove(place)?;
        Some(if known == ALL {
            ShownNamespace::All
        } else {
            ShownNamespace::One(known)
        })
    }

    /// Remembers a choice. A failure is logged: the choice holds all the same.
    pub(super) fn remember(&self, place: &str, namespace: &ShownNamespace) {
        let mut all = self.read();
        let written = match namespace {
            ShownNamespace::One(name) => name,
            ShownNamespace::All => ALL,
        };
        all.insert(place.into(), written.into());
        if let Err(why) = self.write(&all) {
            tracing::warn!(%why, "the namespace is not remembered");
        }
    }

    fn read(&self) -> BTreeMap<String, String> {
        let text = self.file.as_ref().map(std::fs::read_to_string);
        let text = text.and_then(Result::ok).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write(&self, all: &BTreeMap<String, String>) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Whole or not at all: another cockpit may write at the same time.
        let fresh = file.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&fresh, serde_json::to_vec_pretty(all)?)?;
        std::fs::rename(fresh, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_has_its_own_namespace_and_a_broken_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("graylane/namespaces.json");
        let remembered = || RememberedNamespaces::in_file(Some(file.clone()));
        assert_eq!(remembered().find("context eu"), None);
        let one = |name: &str| ShownNamespace::One(name.into());
        remembered().remember("context eu", &one("shop"));
        remembered().remember("context us", &one("pay"));
        remembered().remember("context eu", &one("cart"));
        assert_eq!(remembered().find("context eu"), Some(one("cart")));
        assert_eq!(remembered().find("context us"), Some(one("pay")));
        remembered().remember("context us", &ShownNamespace::All);
        assert_eq!(remembered().find("context us"), Some(ShownNamespace::All));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(remembered().find("context eu"), None);
        remembered().remember("context eu", &one("shop"));
        assert_eq!(remembered().find("context eu"), Some(one("shop")));
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1
        );
        RememberedNamespaces::default().remember("context eu", &one("shop"));
    }
}
