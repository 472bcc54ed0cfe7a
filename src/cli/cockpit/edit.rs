//! Reads objects to be edited, and lets the server check what became of them.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::cluster_session::ActiveCluster;
use crate::{
    api::ObjectRef,
    cluster::perform,
    domain::{
        edit::{EditDraft, EditableKind},
        text::Clean,
    },
    ui::{Answer, Fault},
};

/// The object as it is now.
pub(super) async fn read_object(object: ObjectRef, here: ActiveCluster) -> Answer {
    let Some(kind) = EditableKind::from_resource(&object.resource_word()) else {
        return Answer::Failed(Fault::new(&format!("{} is not edited", object.title())));
    };
    let client = here.clusters.home_client();
    match perform::read_editable(client, &object.key.namespace.name, kind, &object.key.name).await {
        Ok(value) => Answer::Editable(Arc::new(value)),
        Err(why) => Answer::Failed(super::to_fault(&why)),
    }
}

/// What the server says of an edited text; where it refuses, the text stays in its file.
pub(super) async fn check_draft(draft: EditDraft, here: ActiveCluster) -> Answer {
    let checked = perform::check_edit(here.clusters.home_client(), &draft).await;
    match checked {
        Ok(checked) => Answer::EditChecked(checked),
        Err(why) => {
            let text = why.to_string();
            let mut lines = text.lines();
            let mut fault = super::to_fault(&why);
            fault.text = Clean::from_untrusted(lines.next().unwrap_or_default());
            fault.detail = lines.map(Clean::from_untrusted).collect();
            let kept = format!("nothing was written; the text is kept in {}", draft.path);
            fault.detail.push(Clean::from_untrusted(&kept));
            Answer::Failed(fault)
        }
    }
}

/// Removes the file of a text that was written, or that nobody changed.
pub(super) fn discard_draft(path: String) -> BoxStream<'static, Answer> {
    let removed = async move {
        // A file that is gone already is as wanted.
        let _ = tokio::fs::remove_file(&path).await;
    };
    stream::once(removed)
        .filter_map(|()| async { None })
        .boxed()
}
