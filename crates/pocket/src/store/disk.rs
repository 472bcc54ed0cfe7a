//! The store's file: a redb table of objects and one of counters. Each batch is one durable
//! transaction. Space of removed and overwritten objects is returned to the filesystem when it is
//! much more than what is stored.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    TableDefinition,
};
use serde_json::Value;

use super::{Entry, ObjectKey, ObjectVersion, StoreError};
use crate::durable;

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;
/// Cache for the pages of the tree; objects are in memory anyway.
const CACHE_BYTES: usize = 1 << 20;
/// A smaller file is never compacted.
const MIN_COMPACT_BYTES: u64 = 4 << 20;

pub(super) struct Loaded {
    pub(super) rv: u64,
    pub(super) objects: Vec<(ObjectKey, Entry)>,
}

/// An object to store (its text) or to remove.
pub(super) struct Row<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) text: Option<Bytes>,
}

pub(super) struct Disk {
    path: PathBuf,
    /// `None` after a failed write, until the file could be opened again.
    database: Option<Database>,
    /// Size of the file when it was last compacted or opened.
    compacted: u64,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Disk, Loaded), StoreError> {
        if let Some(folder) = path.parent() {
            durable::create_folder(folder).map_err(|e| io_error(folder, e))?;
            create_file(path, folder).map_err(|e| io_error(path, e))?;
        }
        let (database, loaded) = catch_panics(path, || {
            let mut database = open_database(path)?;
            verify_checksums(&mut database, path)?;
            let loaded = load_objects(&database, path)?;
            Ok((database, loaded))
        })?;
        let mut disk = Disk {
            path: path.to_owned(),
            database: Some(database),
            compacted: 0,
        };
        disk.compact();
        Ok((disk, loaded))
    }

    /// Adds missing objects in one transaction.
    pub(super) fn seed(
        &mut self,
        loaded: &mut Loaded,
        seed: Vec<(ObjectKey, Value)>,
    ) -> Result<(), StoreError> {
        let known: HashSet<&ObjectKey> = loaded.objects.iter().map(|(key, _)| key).collect();
        let mut rv = loaded.rv;
        let mut new = Vec::new();
        for (key, mut value) in seed {
            if !known.contains(&key) {
                rv += 1;
                value["metadata"]["resourceVersion"] = rv.to_string().into();
                new.push((
                    key,
                    Entry {
                        rv,
                        version: ObjectVersion::from_value(&Arc::new(value)),
                    },
                ));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row<'_>> = new
            .iter()
            .map(|(key, entry)| Row {
                key,
                text: Some(entry.version.text().clone()),
            })
            .collect();
        self.write_rows(rv, &rows)?;
        loaded.rv = rv;
        loaded.objects.extend(new);
        Ok(())
    }

    /// Writes a batch that brings the store to version `rv`.
    pub(super) fn write_rows(&mut self, rv: u64, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        // After a failed write redb rejects everything until the file is opened again, so the
        // handle is kept only on success.
        match write_batch(&database, rv, rows) {
            Ok(()) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => Err(redb_error(&self.path, error)),
        }
    }

    /// Compacts the file if most of it is unused and it has grown since the last time.
    pub(super) fn compact(&mut self) {
        let size = std::fs::metadata(&self.path).map_or(0, |m| m.len());
        if size < MIN_COMPACT_BYTES.max(self.compacted * 2) {
            return;
        }
        let Some(mut database) = self.database.take() else {
            return;
        };
        let done = stored_bytes(&database).and_then(|used| {
            if used * 3 < size {
                database.compact().map_err(redb::Error::from)
            } else {
                Ok(false)
            }
        });
        match done {
            Ok(_) => self.database = Some(database),
            // As after a failed write, the next one opens the file again.
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the state is not compacted");
            }
        }
        self.compacted = std::fs::metadata(&self.path).map_or(size, |m| m.len());
    }

    /// Version of the file: tells whether a write that reported an error took effect anyway.
    pub(super) fn version(&mut self) -> Result<u64, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        let rv = read_version(&database).map_err(|e| redb_error(&self.path, e))?;
        self.database = Some(database);
        Ok(rv)
    }
}

/// Creates an empty file that only its owner can read if there is none; redb fills it.
fn create_file(path: &Path, folder: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() == 0 => {
            tracing::warn!(path = %path.display(), "the state is an empty file: everything begins anew");
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(_) => {
            durable::create(path)?;
            durable::sync_folder(folder)
        }
    }
}

/// Number of bytes that the objects take, according to redb.
fn stored_bytes(database: &Database) -> Result<u64, redb::Error> {
    Ok(database
        .begin_read()?
        .open_table(OBJECTS)?
        .stats()?
        .stored_bytes())
}

fn write_batch(database: &Database, rv: u64, rows: &[Row<'_>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for row in rows {
            let key = encode_key(row.key);
            match &row.text {
                Some(text) => objects.insert(key.as_str(), &text[..])?,
                None => objects.remove(key.as_str())?,
            };
        }
        transaction.open_table(META)?.insert("rv", rv)?;
    }
    transaction.commit()?;
    Ok(())
}

fn read_version(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    Ok(meta.get("rv")?.map_or(0, |v| v.value()))
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                StoreError::Locked {
                    path: path.to_owned(),
                }
            }
            DatabaseError::UpgradeRequired(format) => StoreError::Version {
                path: path.to_owned(),
                detail: format!("file format {format}"),
            },
            DatabaseError::RepairAborted => StoreError::ReadOnly {
                path: path.to_owned(),
            },
            other => redb_error(path, other.into()),
        })
}

thread_local! {
    /// The file that this thread is opening.
    static OPENING: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// The error behind a panic of the thread that opens a store: redb panics on some kinds of damage.
/// `None` if the panic has another cause.
///
/// A panic hook need not report such a panic where panics unwind: opening returns this error. Where
/// they abort, the hook is the last that can tell of it.
pub fn damage_behind_panic(panic: &PanicHookInfo<'_>) -> Option<StoreError> {
    let path = OPENING.with_borrow(Clone::clone)?;
    Some(damage_error(&path, panic.payload_as_str()))
}

fn damage_error(path: &Path, detail: Option<&str>) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        detail: detail.unwrap_or("unreadable").to_owned(),
    }
}

/// Turns a panic into an error, because redb panics on some kinds of damage.
fn catch_panics<T>(
    path: &Path,
    open: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    OPENING.set(Some(path.to_owned()));
    let opened = catch_unwind(AssertUnwindSafe(open));
    OPENING.set(None);
    opened.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(damage_error(path, words))
    })
}

/// Verifies the checksums of all pages before the data is used.
fn verify_checksums(database: &mut Database, path: &Path) -> Result<(), StoreError> {
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => {
            tracing::warn!(path = %path.display(), "the state was damaged, and has been repaired");
            Ok(())
        }
        Err(error) => Err(redb_error(path, error.into())),
    }
}

fn load_objects(database: &Database, path: &Path) -> Result<Loaded, StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let format = make_tables(database).map_err(|e| redb_error(path, e))?;
    if format != FORMAT {
        return Err(StoreError::Version {
            path: path.to_owned(),
            detail: format!("layout {format}"),
        });
    }
    let mut objects = Vec::new();
    let rows = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(OBJECTS)?;
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (key, bytes) = row?;
            rows.push((key.value().to_owned(), bytes.value().to_vec()));
        }
        Ok(rows)
    };
    let mut names: HashSet<Arc<str>> = HashSet::new();
    for (row, bytes) in rows().map_err(|e| redb_error(path, e))? {
        let mut key = decode_key(&row).ok_or_else(|| damaged(format!("key {row:?}")))?;
        match names.get(&key.resource) {
            Some(known) => key.resource = known.clone(),
            None => {
                names.insert(key.resource.clone());
            }
        }
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|e| damaged(format!("{row:?}: {e}")))?;
        let rv = value["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|rv| rv.parse().ok())
            .ok_or_else(|| damaged(format!("{row:?}: no resourceVersion")))?;
        objects.push((
            key,
            Entry {
                rv,
                version: Arc::new(ObjectVersion::from_text(bytes)),
            },
        ));
    }
    let rv = read_version(database).map_err(|e| redb_error(path, e))?;
    Ok(Loaded { rv, objects })
}

/// Creates both tables if missing; returns the layout number of the file.
fn make_tables(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    if let Ok(meta) = transaction.open_table(META)
        && let Some(format) = meta.get("format")?
    {
        return Ok(format.value());
    }
    drop(transaction);
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        // Not 0: to a client "0" means "any version".
        meta.insert("rv", 1)?;
    }
    transaction.commit()?;
    Ok(FORMAT)
}

fn encode_key(key: &ObjectKey) -> String {
    format!("{}\0{}\0{}", key.resource, key.namespace, key.name)
}

fn decode_key(row: &str) -> Option<ObjectKey> {
    let mut parts = row.splitn(3, '\0');
    Some(ObjectKey {
        resource: parts.next()?.into(),
        namespace: parts.next()?.to_owned(),
        name: parts.next()?.to_owned(),
    })
}

fn redb_error(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) => io_error(path, source),
        redb::Error::Corrupted(detail) => StoreError::Damaged {
            path: path.to_owned(),
            detail,
        },
        other => match StorageCause::find_io_error(&other) {
            Some(source) => io_error(path, source),
            None => StoreError::Damaged {
                path: path.to_owned(),
                detail: other.to_string(),
            },
        },
    }
}

struct StorageCause;

impl StorageCause {
    /// Returns the operating system's error inside a wrapped one.
    fn find_io_error(error: &redb::Error) -> Option<std::io::Error> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(StorageError::Io(io)) = inner.downcast_ref::<StorageError>() {
                return Some(std::io::Error::new(io.kind(), io.to_string()));
            }
            cause = inner.source();
        }
        None
    }
}

fn io_error(path: &Path, source: std::io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full { path }
        }
        ErrorKind::InvalidData => StoreError::Damaged {
            path,
            detail: source.to_string(),
        },
        _ => StoreError::Io { path, source },
    }
}
