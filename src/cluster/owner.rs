//! Reads from the cluster who owns the objects that an App would write, before a release is started
//! or a change is saved. What cannot be read here is left to the engine, which checks again before
//! it writes.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, PartialObjectMeta},
};
use serde_json::json;
use tokio::time::timeout;

use super::error;
use crate::{
    api::{App, ClusterName, FIELD_MANAGER, ObjectRef, Uid, label},
    domain::{
        owner::{self, Owner, Ownership, OwnershipMarks},
        variables::GroupLookup,
        workflow::object_names,
    },
};

/// Timeout of a read; without an answer the owner stays unknown, and the engine checks again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects that are read at once.
const AT_ONCE: usize = 8;
/// How often to retry when an object is written between our read and our write.
pub const MAX_ATTEMPTS: u32 = 16;

/// Looks up the client of a context (`None`: home); returns `None` when there is no such client.
pub type ClientLookup<'a> = &'a (dyn Fn(&ClusterName) -> Option<Client> + Sync);

/// An object that an App must not write as things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipProblem {
    /// The object.
    pub object: ObjectRef,
    /// The environment that would write it.
    pub owner: Owner,
    /// Nobody owns it, or only an environment that the App no longer has: it can be adopted.
    pub is_free: bool,
    /// The former environment that owns it, if any.
    pub former: Option<Owner>,
    /// The reason in words.
    pub why: String,
}

/// The ownership marks of an object; `None` when it does not exist.
#[tracing::instrument(level = "debug", skip_all, fields(kind = object.kind, name = object.key.name))]
pub async fn read_marks(
    client: Client,
    object: &ObjectRef,
) -> kube::Result<Option<(OwnershipMarks, PartialObjectMeta)>> {
    let found = object_api(client, object)
        .get_metadata_opt(&object.key.name)
        .await?;
    Ok(found.map(|meta| (OwnershipMarks::from_metadata(&meta.metadata), meta)))
}

/// The objects that these environments of an App would write but do not own. `apps` are all known
/// Apps.
#[tracing::instrument(level = "debug", skip_all, fields(app = app.metadata.name))]
pub async fn find_problems(
    client_of: ClientLookup<'_>,
    group_of: GroupLookup<'_>,
    app: &App,
    environments: impl Fn(&str) -> bool,
    apps: &[App],
) -> Vec<OwnershipProblem> {
    let mut asked = vec![];
    for environment in app
        .spec
        .environments
        .iter()
        .filter(|e| environments(&e.name))
    {
        let status = app
            .status
            .as_ref()
            .and_then(|s| s.environments.get(&environment.name));
        let noted = status.map(|s| s.inventory.as_slice()).unwrap_or_default();
        for object in object_names(app, environment, group_of) {
            // The engine has already checked the object with this uid.
            if noted
                .iter()
                .any(|i| !i.uid.is_empty() && owner::is_same(&i.object, &object))
            {
                continue;
            }
            let Some(client) = client_of(&object.key.namespace.cluster) else {
                continue;
            };
            asked.push((
                client,
                object,
                Owner::for_environment(app, &environment.name),
            ));
        }
    }
    let answers = asked
        .into_iter()
        .map(|(client, object, me)| find_problem(client, object, me, app, apps));
    let mut found: Vec<OwnershipProblem> = stream::iter(answers)
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    found.dedup();
    found
}

async fn find_problem(
    client: Client,
    object: ObjectRef,
    me: Owner,
    app: &App,
    apps: &[App],
) -> Option<OwnershipProblem> {
    let (marks, found) = timeout(ANSWER_TIMEOUT, read_marks(client, &object))
        .await
        .ok()?
        .ok()
        .flatten()?;
    let noted = owner::find_in_inventories(apps, &object, &Uid::from_meta(&found.metadata));
    let whose = owner::determine_ownership(&marks, &me, noted.as_ref());
    let why = owner::explain_refusal(&object, &whose, &marks, &me)
        .filter(|_| found.metadata.deletion_timestamp.is_none())?;
    let former = match &whose {
        Ownership::Theirs(owner) if owner.is_former(&me, app) => Some(owner.clone()),
        _ => None,
    };
    Some(OwnershipProblem {
        object,
        owner: me,
        is_free: former.is_some() || whose == Ownership::Unowned,
        former,
        why,
    })
}

/// Why an object could not be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Someone else owns it.
    #[error("{0}")]
    Owned(String),
    /// It was deleted.
    #[error("{0} is not there any more")]
    Gone(String),
    /// Others keep writing it.
    #[error("{0} is being written too often; try again")]
    Busy(String),
    /// The cluster refused.
    #[error("{0}: {1}")]
    Api(String, String),
}

/// Makes an object that nobody or only `former` owns belong to this environment by setting its
/// marks; returns its uid. An object with another owner keeps it, even if it got that owner only a
/// moment ago. `former` is an environment that the App no longer has ([`Owner::is_former`]).
#[tracing::instrument(level = "debug", skip_all, fields(kind = object.kind, name = object.key.name))]
pub async fn adopt_object(
    client: Client,
    object: &ObjectRef,
    me: &Owner,
    former: Option<&Owner>,
) -> Result<Uid, AdoptError> {
    let what = owner::describe_object(object);
    let failed = |e: kube::Error| AdoptError::Api(what.clone(), error::describe_error(&e));
    for _ in 0..MAX_ATTEMPTS {
        let found = read_marks(client.clone(), object).await.map_err(failed)?;
        let (marks, found) = found.ok_or_else(|| AdoptError::Gone(what.clone()))?;
        match owner::determine_ownership(&marks, me, None) {
            Ownership::Ours | Ownership::Unowned => {}
            Ownership::Theirs(owner) if Some(&owner) == former => {}
            whose => {
                return Err(AdoptError::Owned(
                    owner::explain_refusal(object, &whose, &marks, me).unwrap_or_default(),
                ));
            }
        }
        let labels = json!({label::APP: me.app, label::ENVIRONMENT: me.environment});
        let patch = json!({"metadata": {
            "resourceVersion": found.resource_version(),
            "uid": found.uid(),
            "labels": labels,
            "annotations": {label::HOME: me.home},
        }});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match object_api(client.clone(), object)
            .patch_metadata(&object.key.name, &params, &Patch::Merge(patch))
            .await
        {
            // A controller wrote the status, or someone took the object: the next read shows which.
            Err(why) if error::is_conflict(&why) => {}
            done => return Ok(Uid::from_meta(&done.map_err(failed)?.metadata)),
        }
    }
    Err(AdoptError::Busy(what))
}

fn object_api(client: Client, object: &ObjectRef) -> Api<kube::core::DynamicObject> {
    let resource: ApiResource = object.api_resource();
    match &*object.key.namespace.name {
        "" => Api::all_with(client, &resource),
        namespace => Api::namespaced_with(client, namespace, &resource),
    }
}
