//! Revisions of Apps that releases use. Each is read once, because revisions are immutable; created
//! before a release names it, and deleted when no release names it any more.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};

use super::Options;
use crate::{
    api::{FIELD_MANAGER, Release, label},
    cluster::{error, revision},
    domain::revision::{FrozenApp, Revision, RevisionError, unused_revisions},
};

/// Maximum number of cached revisions. Then all are dropped, and read again.
const MAX_REMEMBERED: usize = 256;

/// Cached revisions by name.
#[derive(Default)]
pub(super) struct Revisions(Mutex<HashMap<String, Arc<Revision>>>);

impl Revisions {
    /// Revision with this name; or why there is none.
    pub(super) async fn get(
        &self,
        options: &Options,
        name: &str,
    ) -> kube::Result<Result<Arc<Revision>, RevisionError>> {
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        let found = revision::read_revision(&options.client, &options.namespace, name).await?;
        Ok(found.map(|found| {
            let found = Arc::new(found);
            self.remember_revision(&found);
            found
        }))
    }

    fn remember_revision(&self, revision: &Arc<Revision>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(revision.name().to_owned(), Arc::clone(revision));
    }

    /// Creates the revision of an App, and deletes the revisions of the App that none of these
    /// releases uses. Only one job at a time does this for an App.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn ensure_revision(
        &self,
        options: &Options,
        app: &FrozenApp,
        releases: &[Arc<Release>],
    ) -> kube::Result<()> {
        let revision = app.revision();
        self.create_revision(options, app, &revision.to_object(app))
            .await?;
        self.remember_revision(revision);
        let mut named: BTreeSet<String> = releases
            .iter()
            .filter_map(|r| r.status.as_ref()?.revision.clone())
            .collect();
        named.insert(revision.name().to_owned());
        // A revision that is left does no harm and is found the next time.
        if let Err(why) = delete_unused_revisions(options, app, &named).await {
            tracing::warn!(
                app = app.name_any(),
                "old revisions: {}",
                error::describe_error(&why)
            );
        }
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip_all, fields(revision = object.metadata.name))]
    async fn create_revision(
        &self,
        options: &Options,
        app: &FrozenApp,
        object: &ControllerRevision,
    ) -> kube::Result<()> {
        let api = revisions_api(options);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        match api.create(&params, object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            done => return done.map(drop),
        }
        let Some(there) = api.get_opt(&object.name_any()).await? else {
            return api.create(&params, object).await.map(drop);
        };
        let is_its = there
            .owner_references()
            .iter()
            .any(|o| Some(&o.uid) == app.metadata.uid.as_ref());
        if is_its && Revision::from_object(&there).is_ok() {
            return Ok(());
        }
        // It belongs to a deleted App of the same name, or somebody else created it.
        delete_revision(&api, &there).await?;
        api.create(&params, object).await.map(drop)
    }
}

#[tracing::instrument(level = "debug", skip_all)]
async fn delete_unused_revisions(
    options: &Options,
    app: &FrozenApp,
    named: &BTreeSet<String>,
) -> kube::Result<()> {
    let api = revisions_api(options);
    let own = ListParams::default().labels(&format!("{}={}", label::REVISION_OF, app.name_any()));
    let there = api.list(&own).await?.items;
    for old in unused_revisions(&there, named) {
        delete_revision(&api, old).await?;
    }
    Ok(())
}

#[tracing::instrument(level = "debug", skip_all, fields(revision = object.metadata.name))]
async fn delete_revision(
    api: &Api<ControllerRevision>,
    object: &ControllerRevision,
) -> kube::Result<()> {
    let preconditions = Some(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    let params = DeleteParams {
        preconditions,
        ..DeleteParams::background()
    };
    match api.delete(&object.name_any(), &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done.map(drop),
    }
}

fn revisions_api(options: &Options) -> Api<ControllerRevision> {
    Api::namespaced(options.client.clone(), &options.namespace)
}
