//! Tests of the store alone: order, conflicts, history, restart.

use serde_json::json;

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        resource: "things".into(),
        namespace: "ns".into(),
        name: name.into(),
    }
}

fn thing(name: &str, size: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns"}, "size": size})
}

async fn put(
    store: &Store,
    name: &str,
    expect: Precondition,
    size: u64,
) -> Result<StoredObject, WriteError> {
    store
        .write(key(name), expect, WriteOp::Put(thing(name, size)))
        .await
}

#[tokio::test]
async fn versions_rise_and_a_stale_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Precondition::Absent, 1).await.unwrap();
    let b = put(&store, "b", Precondition::Absent, 1).await.unwrap();
    assert!(b.rv > a.rv);
    assert_eq!(b.value["metadata"]["resourceVersion"], b.rv.to_string());
    let a2 = put(&store, "a", Precondition::Version(a.rv), 2)
        .await
        .unwrap();
    match put(&store, "a", Precondition::Version(a.rv), 3).await {
        Err(WriteError::Conflict(Some(now))) => assert_eq!(now.rv, a2.rv),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        put(&store, "a", Precondition::Absent, 3).await,
        Err(WriteError::Conflict(Some(_)))
    ));
    assert_eq!(store.get(&key("a")).unwrap().value["size"], 2);
}

#[tokio::test]
async fn of_many_writers_with_one_version_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Precondition::Absent, 0).await.unwrap();
    let tries = futures::future::join_all(
        (1..=50).map(|n| put(&store, "a", Precondition::Version(a.rv), n)),
    )
    .await;
    assert_eq!(tries.iter().filter(|t| t.is_ok()).count(), 1);
}

#[tokio::test]
async fn the_past_can_be_listed_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Precondition::Absent, 1).await.unwrap();
    let b = put(&store, "b", Precondition::Absent, 1).await.unwrap();
    put(&store, "a", Precondition::Version(a.rv), 2)
        .await
        .unwrap();
    store
        .write(
            key("b"),
            Precondition::Version(b.rv),
            WriteOp::Remove(thing("b", 1)),
        )
        .await
        .unwrap();
    put(&store, "c", Precondition::Absent, 1).await.unwrap();
    let names = |listing: Listing| -> Vec<(String, u64)> {
        listing
            .items
            .iter()
            .map(|v| {
                let v = v.value();
                let name = v["metadata"]["name"].as_str().unwrap().to_owned();
                (name, v["size"].as_u64().unwrap())
            })
            .collect()
    };
    assert_eq!(
        names(store.list("things", Some("ns"))),
        [("a".into(), 2), ("c".into(), 1)]
    );
    assert_eq!(
        names(store.list_at("things", None, b.rv, None).unwrap()),
        [("a".into(), 1), ("b".into(), 1)]
    );
    let after = Some(("ns", "a"));
    assert_eq!(
        names(store.list_at("things", Some("ns"), b.rv, after).unwrap()),
        [("b".into(), 1)]
    );
    assert_eq!(
        names(
            store
                .list_at("things", None, store.version(), after)
                .unwrap()
        ),
        [("c".into(), 1)]
    );
    let (changes, upto) = store.changes_since("things", b.rv).unwrap();
    let kinds: Vec<_> = changes.iter().map(|c| c.kind).collect();
    assert_eq!(
        kinds,
        [ChangeKind::Modified, ChangeKind::Deleted, ChangeKind::Added]
    );
    assert_eq!(upto, store.version());
}

#[tokio::test]
async fn a_restart_keeps_objects_and_versions_and_forgets_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let a = put(&store, "a", Precondition::Absent, 1).await.unwrap();
    let a = put(&store, "a", Precondition::Version(a.rv), 7)
        .await
        .unwrap();
    let b = put(&store, "b", Precondition::Absent, 1).await.unwrap();
    let gone = store
        .write(
            key("b"),
            Precondition::Version(b.rv),
            WriteOp::Remove(thing("b", 1)),
        )
        .await
        .unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Locked { .. })));
    store.close().await;
    assert!(matches!(
        put(&store, "z", Precondition::Absent, 1).await,
        Err(WriteError::Closed)
    ));

    let store = Store::open(&path).unwrap();
    let found = store.get(&key("a")).unwrap();
    assert_eq!((found.rv, &found.value["size"]), (a.rv, &json!(7)));
    assert!(store.get(&key("b")).is_none());
    assert_eq!(store.version(), gone.rv);
    assert!(store.changes_since("things", gone.rv).is_ok());
    assert!(store.changes_since("things", a.rv).is_err());
    assert!(store.changes_since("others", a.rv).is_err());
}

/// Lost bytes are reported or were irrelevant; there is never a panic or a wrong object.
#[tokio::test]
async fn damage_is_told_with_the_file_and_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    for n in 0..200 {
        put(&store, &format!("thing-{n}"), Precondition::Absent, n)
            .await
            .unwrap();
    }
    let texts = |store: &Store| -> Vec<_> {
        store
            .list("things", None)
            .items
            .iter()
            .map(|version| version.text().clone())
            .collect()
    };
    let before = texts(&store);
    store.close().await;
    let good = std::fs::read(&path).unwrap();
    let mut told = 0;
    for at in (0..good.len()).step_by(4096) {
        let mut bad = good.clone();
        bad[at..(at + 64).min(good.len())].fill(0xa5);
        std::fs::write(&path, &bad).unwrap();
        match Store::open(&path) {
            Ok(store) => {
                assert_eq!(texts(&store), before, "at {at}");
                store.close().await;
            }
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        StoreError::Damaged { .. } | StoreError::Version { .. }
                    ),
                    "at {at}: {error}"
                );
                assert!(error.to_string().contains("store.redb"), "{error}");
                told += 1;
            }
        }
    }
    assert!(told > 0);
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Damaged { .. })
    ));
}

#[test]
fn a_newer_layout_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction
        .open_table(meta)
        .unwrap()
        .insert("format", 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let told = Store::open(&path).err().unwrap();
    assert!(
        matches!(told, StoreError::Version { .. }) && told.to_string().contains("layout 2"),
        "{told}"
    );
    assert_eq!(std::fs::read(&path).unwrap().len(), before.len());
}

#[test]
fn a_folder_nobody_may_write_to_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere, so there is nothing to test.
    if std::fs::write(folder.join("probe"), "").is_err() {
        assert!(matches!(
            Store::open(&folder.join("store.redb")),
            Err(StoreError::ReadOnly { .. })
        ));
    }
    std::fs::write(
        dir.path().join("file"),
        "not a database, and longer than a header",
    )
    .unwrap();
    assert!(matches!(
        Store::open(&dir.path().join("file")),
        Err(StoreError::Damaged { .. })
    ));
}

#[tokio::test]
async fn the_past_is_bounded_and_who_has_most_forgets_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    write_state(&store.inner.state).history = 20_000;
    let quiet = ObjectKey {
        resource: "quiet".into(),
        namespace: "ns".into(),
        name: "q".into(),
    };
    let start = store.version();
    store
        .write(quiet, Precondition::Absent, WriteOp::Put(thing("q", 0)))
        .await
        .unwrap();
    let bytes = || {
        read_state(&store.inner.state)
            .collections
            .values()
            .map(|s| s.history.bytes())
            .sum::<usize>()
    };
    let mut last = put(&store, "a", Precondition::Absent, 0).await.unwrap();
    let first = last.rv;
    let large = "x".repeat(1000);
    for n in 0..200 {
        let value =
            json!({"metadata": {"name": "a", "namespace": "ns"}, "size": n, "large": large});
        last = store
            .write(
                key("a"),
                Precondition::Version(last.rv),
                WriteOp::Put(value),
            )
            .await
            .unwrap();
        assert!(bytes() <= 20_000, "after {n}");
    }
    assert!(
        store.changes_since("things", first).is_err()
            && store.list_at("things", None, first, None).is_err()
    );
    let (changes, _) = store.changes_since("things", last.rv - 3).unwrap();
    let sizes: Vec<_> = changes
        .iter()
        .map(|c| {
            (
                c.before().unwrap().value()["size"].clone(),
                c.after().value()["size"].clone(),
            )
        })
        .collect();
    assert_eq!(
        sizes,
        [
            (196.into(), 197.into()),
            (197.into(), 198.into()),
            (198.into(), 199.into())
        ]
    );
    assert_eq!(
        store
            .list_at("things", None, last.rv - 1, None)
            .unwrap()
            .items[0]
            .value()["size"],
        198
    );
    assert_eq!(
        store.changes_since("quiet", start).unwrap().0.len(),
        1,
        "who has little keeps it"
    );
}

#[tokio::test]
async fn a_file_of_which_most_is_of_no_use_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let large = |n: u64| json!({"metadata": {"name": n.to_string(), "namespace": "ns"}, "d": "x".repeat(100_000)});
    let kept = futures::future::join_all((0..200).map(|n| {
        store.write(
            key(&n.to_string()),
            Precondition::Absent,
            WriteOp::Put(large(n)),
        )
    }));
    let kept: Vec<StoredObject> = kept.await.into_iter().map(Result::unwrap).collect();
    let full = std::fs::metadata(&path).unwrap().len();
    assert!(full > 20_000_000, "{full}");
    for (n, stored) in (0..195).zip(&kept) {
        let gone = store.write(
            key(&n.to_string()),
            Precondition::Version(stored.rv),
            WriteOp::Remove(large(n)),
        );
        gone.await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.list("things", None).items.len(), 5);
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < full / 4, "{after} of {full}");
    put(&store, "new", Precondition::Absent, 1).await.unwrap();
}

/// Unused objects are held only as text, which is what limits a pocket's memory.
#[tokio::test]
async fn an_object_is_held_as_its_text_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let a = put(&store, "a", Precondition::Absent, 1).await.unwrap();
    let held = |store: &Store| {
        store
            .list("things", None)
            .items
            .iter()
            .filter(|v| v.is_held())
            .count()
    };
    assert_eq!(held(&store), 1, "who wrote it has it");
    drop(a);
    put(&store, "b", Precondition::Absent, 1).await.unwrap();
    assert_eq!(held(&store), 0);
    let read = store.get(&key("a")).unwrap();
    assert_eq!((read.value["size"].as_u64(), held(&store)), (Some(1), 1));
    drop(read);
    let (changes, _) = store.changes_since("things", 1).unwrap();
    let listed = store.list("things", None).items;
    let shared = changes
        .iter()
        .zip(&listed)
        .all(|(change, version)| Arc::ptr_eq(change.after(), version));
    assert!(
        shared && changes.len() == 2,
        "the past holds no text of its own of what is"
    );
    drop((changes, listed));
    store.close().await;
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(
        (held(&store), store.list("things", None).items.len()),
        (0, 2)
    );
}
