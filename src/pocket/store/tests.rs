//! The store alone: order, conflicts, the past, and a restart.

use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key { resource: "things".into(), namespace: "ns".into(), name: name.into() }
}

fn thing(name: &str, size: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns"}, "size": size})
}

async fn put(store: &Store, name: &str, expect: Expect, size: u64) -> Result<Stored, WriteError> {
    store.write(key(name), expect, Write::Put(thing(name, size))).await
}

#[tokio::test]
async fn versions_rise_and_a_stale_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Expect::Absent, 1).await.unwrap();
    let b = put(&store, "b", Expect::Absent, 1).await.unwrap();
    assert!(b.rv > a.rv);
    assert_eq!(b.value["metadata"]["resourceVersion"], b.rv.to_string());
    let a2 = put(&store, "a", Expect::Version(a.rv), 2).await.unwrap();
    match put(&store, "a", Expect::Version(a.rv), 3).await {
        Err(WriteError::Conflict(Some(now))) => assert_eq!(now.rv, a2.rv),
        other => panic!("{other:?}"),
    }
    assert!(matches!(put(&store, "a", Expect::Absent, 3).await, Err(WriteError::Conflict(Some(_)))));
    assert_eq!(store.get(&key("a")).unwrap().value["size"], 2);
}

#[tokio::test]
async fn of_many_writers_with_one_version_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Expect::Absent, 0).await.unwrap();
    let tries = futures::future::join_all((1..=50).map(|n| put(&store, "a", Expect::Version(a.rv), n))).await;
    assert_eq!(tries.iter().filter(|t| t.is_ok()).count(), 1);
}

#[tokio::test]
async fn the_past_can_be_listed_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.redb")).unwrap();
    let a = put(&store, "a", Expect::Absent, 1).await.unwrap();
    let b = put(&store, "b", Expect::Absent, 1).await.unwrap();
    put(&store, "a", Expect::Version(a.rv), 2).await.unwrap();
    store.write(key("b"), Expect::Version(b.rv), Write::Remove(thing("b", 1))).await.unwrap();
    put(&store, "c", Expect::Absent, 1).await.unwrap();
    let names = |listing: Listing| -> Vec<(String, u64)> {
        listing
            .items
            .iter()
            .map(|v| {
                let name = v["metadata"]["name"].as_str().unwrap().to_owned();
                (name, v["size"].as_u64().unwrap())
            })
            .collect()
    };
    assert_eq!(names(store.list("things", Some("ns"))), [("a".into(), 2), ("c".into(), 1)]);
    assert_eq!(names(store.list_at("things", None, b.rv).unwrap()), [("a".into(), 1), ("b".into(), 1)]);
    let (changes, upto) = store.changes("things", b.rv).unwrap();
    let kinds: Vec<_> = changes.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeKind::Modified, ChangeKind::Deleted, ChangeKind::Added]);
    assert_eq!(upto, store.version());
}

#[tokio::test]
async fn a_restart_keeps_objects_and_versions_and_forgets_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    let a = put(&store, "a", Expect::Absent, 1).await.unwrap();
    let a = put(&store, "a", Expect::Version(a.rv), 7).await.unwrap();
    let b = put(&store, "b", Expect::Absent, 1).await.unwrap();
    let gone = store.write(key("b"), Expect::Version(b.rv), Write::Remove(thing("b", 1))).await.unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Locked { .. })));
    store.close().await;
    assert!(matches!(put(&store, "z", Expect::Absent, 1).await, Err(WriteError::Closed)));

    let store = Store::open(&path).unwrap();
    let found = store.get(&key("a")).unwrap();
    assert_eq!((found.rv, &found.value["size"]), (a.rv, &json!(7)));
    assert!(store.get(&key("b")).is_none());
    assert_eq!(store.version(), gone.rv);
    assert!(store.changes("things", gone.rv).is_ok());
    assert!(store.changes("things", a.rv).is_err());
    assert!(store.changes("others", a.rv).is_err());
}

/// Wherever bytes are lost, it is told, or nothing that counts was there; never a panic, never a wrong object.
#[tokio::test]
async fn damage_is_told_with_the_file_and_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    for n in 0..200 {
        put(&store, &format!("thing-{n}"), Expect::Absent, n).await.unwrap();
    }
    let before = store.list("things", None).items;
    store.close().await;
    let good = std::fs::read(&path).unwrap();
    let mut told = 0;
    for at in (0..good.len()).step_by(4096) {
        let mut bad = good.clone();
        bad[at..(at + 64).min(good.len())].fill(0xa5);
        std::fs::write(&path, &bad).unwrap();
        match Store::open(&path) {
            Ok(store) => {
                assert_eq!(store.list("things", None).items, before, "at {at}");
                store.close().await;
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Version { .. }), "at {at}: {error}");
                assert!(error.to_string().contains("store.redb"), "{error}");
                told += 1;
            }
        }
    }
    assert!(told > 0);
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_newer_layout_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let told = Store::open(&path).err().unwrap();
    assert!(matches!(told, StoreError::Version { .. }) && told.to_string().contains("layout 2"), "{told}");
    assert_eq!(std::fs::read(&path).unwrap().len(), before.len());
}

#[test]
fn a_folder_nobody_may_write_to_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere: then there is nothing to see.
    if std::fs::write(folder.join("probe"), "").is_err() {
        assert!(matches!(Store::open(&folder.join("store.redb")), Err(StoreError::ReadOnly { .. })));
    }
    std::fs::write(dir.path().join("file"), "not a database, and longer than a header").unwrap();
    assert!(matches!(Store::open(&dir.path().join("file")), Err(StoreError::Damaged { .. })));
}
