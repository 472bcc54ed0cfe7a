//! Objects that were edited as text: checked without being written, and never over somebody else's change.

use std::sync::Arc;

use graylane::{
    cluster::perform::{check_edit, read_editable},
    domain::edit::{EditDraft, EditableKind, editable_text},
};

use super::*;

async fn draft(f: &Fixture, kind: EditableKind, name: &str, change: (&str, &str)) -> EditDraft {
    let before = read_editable(&f.client, NS, kind, name).await.unwrap();
    let text = editable_text(&before);
    assert!(text.contains(change.0), "{text}");
    EditDraft {
        kind,
        namespace: NS.into(),
        name: name.into(),
        text: text.replace(change.0, change.1),
        before: Arc::new(before),
        path: "/tmp/text".into(),
    }
}

async fn write(f: &Fixture, draft: &EditDraft) -> Result<Outcome, PerformError> {
    let checked = check_edit(&f.client, draft).await?;
    let intent = Intent::EditObject {
        kind: draft.kind,
        name: draft.name.clone(),
        before: checked.before,
        after: checked.after,
    };
    f.wish("ann", intent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_checked_first_and_written_as_it_was_shown() {
    let f = fixture().await;
    let apps: Api<App> = Api::namespaced(f.client.clone(), NS);
    let version = || async { apps.get("a").await.unwrap().resource_version() };
    let before = version().await;
    let change = ("repository: a", "repository: other");
    let draft = draft(&f, EditableKind::App, "a", change).await;
    let checked = check_edit(&f.client, &draft).await.unwrap();
    assert_eq!(
        checked.after["spec"]["images"]["backend"]["repository"],
        "other"
    );
    assert_eq!(version().await, before, "nothing was written yet");

    // The engine writes the status meanwhile, which is no change of the object.
    let patch = Patch::Merge(json!({"status": {"environments": {}, "message": "seen"}}));
    apps.patch_status("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let done = write(&f, &draft).await.unwrap();
    assert_eq!(done.message, "app a was saved");
    let app = apps.get("a").await.unwrap();
    assert_eq!(app.spec.images["backend"].repository, "other");
    assert!(app.status.is_some(), "an edit leaves the status alone");

    // The same draft once more: the object is another one now.
    let told = check_edit(&f.client, &draft).await.unwrap_err();
    assert!(matches!(told, PerformError::Stale { .. }), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_text_and_somebody_elses_change_are_refused() {
    let f = fixture().await;
    let apps: Api<App> = Api::namespaced(f.client.clone(), NS);
    let kind = EditableKind::App;
    let typo = draft(&f, kind, "a", ("lane: gray", "lan: gray")).await;
    let told = check_edit(&f.client, &typo).await.unwrap_err().to_string();
    assert!(told.contains("lan"), "{told}");
    let renamed = draft(&f, kind, "a", ("name: a\n", "name: b\n")).await;
    let told = check_edit(&f.client, &renamed)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("cannot be changed"), "{told}");

    let ours = draft(&f, kind, "a", ("repository: a", "repository: ours")).await;
    let checked = check_edit(&f.client, &ours).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"team": "shop"}}}));
    apps.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let intent = Intent::EditObject {
        kind,
        name: "a".into(),
        before: checked.before,
        after: checked.after,
    };
    let told = f.wish("ann", intent).await.unwrap_err();
    assert!(matches!(told, PerformError::Stale { .. }), "{told}");
    let app = apps.get("a").await.unwrap();
    assert_eq!(app.spec.images["backend"].repository, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_its_group_cannot_have_is_refused() {
    let f = fixture().await;
    f.create(
        "Lane",
        "l",
        json!({"group": "g", "tag": "gray", "enabled": true, "match": {"all": [
            {"type": "header", "key": "x", "op": "==", "values": ["a"]}]}}),
    )
    .await;
    let lost = draft(
        &f,
        EditableKind::Lane,
        "l",
        ("group: g\n", "group: nowhere\n"),
    )
    .await;
    let told = check_edit(&f.client, &lost).await.unwrap_err().to_string();
    assert!(told.contains("nowhere"), "{told}");
    let fine = draft(&f, EditableKind::Lane, "l", ("- a\n", "- b\n")).await;
    assert_eq!(write(&f, &fine).await.unwrap().message, "lane l was saved");
}
