//! What the daemon knows, on the disk: an embedded transactional store with one writer.
//!
//! Changes are made in a [`Batch`], all of it or nothing; a thread of its own commits what has come together, so that one
//! flush of the disk serves all that wait for one. What was committed survives a killed daemon and a power cut.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use vdocker::EngineError;

/// The most batches of one commit.
const GROUP: usize = 256;

/// Bytes of the store that are kept in memory: what is asked for is in the daemon's own lists.
const CACHE: usize = 1 << 20;

const EVENTS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("events");

/// A kind of objects, each with a key and JSON of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Containers by id.
    Containers,
    /// Volumes by name.
    Volumes,
    /// Networks by id.
    Networks,
    /// Single values: the daemon's own id, the layout's version.
    Meta,
}

impl Table {
    const fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Self::Containers => "containers",
            Self::Volumes => "volumes",
            Self::Networks => "networks",
            Self::Meta => "meta",
        })
    }
}

/// Why the store could not be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// It could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Arc<redb::Error>,
    },
    /// It could not be read.
    #[error("cannot read the daemon's state")]
    Read(#[source] Arc<redb::Error>),
    /// A change was not committed: nothing of it was.
    #[error("cannot write the daemon's state")]
    Commit(#[source] Arc<redb::Error>),
    /// A value is not JSON of its kind: another version wrote it.
    #[error("{table} {key} is damaged, or of another version")]
    Value {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The thread that writes has gone.
    #[error("the daemon's state is closed")]
    Closed,
}

impl From<DbError> for EngineError {
    fn from(error: DbError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Failed(format!("{error}{cause}"))
    }
}

enum Change {
    Put(Table, String, Vec<u8>),
    Delete(Table, String),
    PutEvent(u64, Vec<u8>),
    /// Those with a lower number go.
    DropEvent(u64),
}

/// What is done once a batch is on the disk.
type Then = Box<dyn FnOnce() + Send>;

/// Changes that are committed together.
#[derive(Default)]
pub(crate) struct Batch {
    changes: Vec<Change>,
    then: Vec<Then>,
}

impl Batch {
    /// Sets a value.
    pub(crate) fn put<T: Serialize>(&mut self, table: Table, key: &str, value: &T) -> Result<(), DbError> {
        let bytes = to_json(table, key, value)?;
        self.changes.push(Change::Put(table, key.to_owned(), bytes));
        Ok(())
    }

    /// Takes a value away, if it is there.
    pub(crate) fn delete(&mut self, table: Table, key: &str) {
        self.changes.push(Change::Delete(table, key.to_owned()));
    }

    /// Appends an event.
    pub(crate) fn put_event(&mut self, number: u64, json: Vec<u8>) {
        self.changes.push(Change::PutEvent(number, json));
    }

    /// Forgets an event.
    pub(crate) fn drop_event(&mut self, number: u64) {
        self.changes.push(Change::DropEvent(number));
    }

    /// Does something once all of it is on the disk, in the order of the commits and before whoever waits for this one
    /// learns of it; never, where it is not committed. The store's own thread does it.
    pub(crate) fn then(&mut self, work: impl FnOnce() + Send + 'static) {
        self.then.push(Box::new(work));
    }
}

type Done = oneshot::Sender<Result<(), DbError>>;

/// The store, open.
pub(crate) struct Db {
    database: Arc<Database>,
    /// `None` while the store is closed.
    writer: Option<mpsc::Sender<(Batch, Done)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Db {
    /// Opens the store, making it where it is missing. Only one process can have it open.
    pub(crate) fn open(path: &Path) -> Result<Self, DbError> {
        let wrong = |source: redb::Error| DbError::Open {
            path: path.display().to_string(),
            source: Arc::new(source),
        };
        let database = Database::builder().set_cache_size(CACHE).create(path);
        let database = database.map_err(|error| wrong(error.into()))?;
        // Readers find every table.
        let begin = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            for table in [Table::Containers, Table::Volumes, Table::Networks, Table::Meta] {
                write.open_table(table.definition())?;
            }
            write.open_table(EVENTS)?;
            Ok(write.commit()?)
        };
        begin().map_err(wrong)?;
        let database = Arc::new(database);
        let (writer, batches) = mpsc::channel();
        let of_thread = Arc::clone(&database);
        let spawned = thread::Builder::new().name("db".into()).spawn(move || run(&of_thread, &batches));
        let thread = spawned.map_err(|error| wrong(redb::Error::Io(error)))?;
        Ok(Self { database, writer: Some(writer), thread: Some(thread) })
    }

    /// Commits a batch: when this returns well, all of it is on the disk. Batches are committed in the order in which this is
    /// called, also where the future is dropped.
    pub(crate) fn commit(&self, batch: Batch) -> impl Future<Output = Result<(), DbError>> + 'static {
        let (done, committed) = oneshot::channel();
        // A writer that has gone drops `done`.
        let _sent = self.writer.as_ref().map(|writer| writer.send((batch, done)));
        async move { committed.await.unwrap_or(Err(DbError::Closed)) }
    }

    /// A value.
    pub(crate) fn get<T: DeserializeOwned>(&self, table: Table, key: &str) -> Result<Option<T>, DbError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let values = self.database.begin_read()?.open_table(table.definition())?;
            Ok(values.get(key)?.map(|value| value.value().to_vec()))
        };
        let found = read().map_err(|error| DbError::Read(Arc::new(error)))?;
        found.map(|bytes| from_json(table, key, &bytes)).transpose()
    }

    /// All values of a table, in the order of their keys.
    pub(crate) fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, DbError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let values = self.database.begin_read()?.open_table(table.definition())?;
            let owned = |entry: Result<(redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &[u8]>), _>| {
                let (key, value) = entry?;
                Ok((key.value().to_owned(), value.value().to_vec()))
            };
            values.iter()?.map(owned).collect()
        };
        let found = read().map_err(|error| DbError::Read(Arc::new(error)))?;
        found.into_iter().map(|(key, bytes)| from_json(table, &key, &bytes)).collect()
    }

    /// All events that are kept, with their numbers, oldest first.
    pub(crate) fn events<T: DeserializeOwned>(&self) -> Result<Vec<(u64, T)>, DbError> {
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let events = self.database.begin_read()?.open_table(EVENTS)?;
            let owned = |entry: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), _>| {
                let (number, event) = entry?;
                Ok((number.value(), event.value().to_vec()))
            };
            events.iter()?.map(owned).collect()
        };
        let found = read().map_err(|error| DbError::Read(Arc::new(error)))?;
        let event = |(number, bytes): (u64, Vec<u8>)| {
            let event =
                serde_json::from_slice(&bytes).map_err(|source| damaged("events", &number, source))?;
            Ok((number, event))
        };
        found.into_iter().map(event).collect()
    }
}

impl Drop for Db {
    /// What was given to the writer is committed, and the file is free when this returns.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            // Where it panicked, whoever waited for it has been told.
            let _ended = thread.join();
        }
    }
}

/// Commits batches until the store is closed.
fn run(database: &Database, batches: &mpsc::Receiver<(Batch, Done)>) {
    while let Ok(first) = batches.recv() {
        let group: Vec<_> = std::iter::once(first).chain(batches.try_iter().take(GROUP - 1)).collect();
        let written = write(database, group.iter().map(|(batch, _)| batch));
        let result = written.map_err(|error| DbError::Commit(Arc::new(error)));
        for (batch, done) in group {
            if result.is_ok() {
                batch.then.into_iter().for_each(|work| work());
            }
            // Nobody may wait for it.
            let _told = done.send(result.clone());
        }
    }
}

fn write<'b>(database: &Database, group: impl Iterator<Item = &'b Batch>) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    for change in group.flat_map(|batch| &batch.changes) {
        match change {
            Change::Put(table, key, value) => {
                write.open_table(table.definition())?.insert(key.as_str(), value.as_slice())?;
            }
            Change::Delete(table, key) => {
                write.open_table(table.definition())?.remove(key.as_str())?;
            }
            Change::PutEvent(number, event) => {
                write.open_table(EVENTS)?.insert(number, event.as_slice())?;
            }
            Change::DropEvent(number) => {
                write.open_table(EVENTS)?.remove(*number)?;
            }
        }
    }
    Ok(write.commit()?)
}

fn to_json<T: Serialize>(table: Table, key: &str, value: &T) -> Result<Vec<u8>, DbError> {
    serde_json::to_vec(value).map_err(|source| damaged(&format!("{table:?}"), &key, source))
}

fn from_json<T: DeserializeOwned>(table: Table, key: &str, bytes: &[u8]) -> Result<T, DbError> {
    serde_json::from_slice(bytes).map_err(|source| damaged(&format!("{table:?}"), &key, source))
}

fn damaged(table: &str, key: &dyn std::fmt::Display, source: serde_json::Error) -> DbError {
    DbError::Value { table: table.to_owned(), key: key.to_string(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_committed_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let db = Db::open(&path).unwrap();
        let mut batch = Batch::default();
        batch.put(Table::Volumes, "b", &2).unwrap();
        batch.put(Table::Volumes, "a", &1).unwrap();
        batch.put(Table::Containers, "a", &"web").unwrap();
        batch.put_event(7, b"\"start\"".to_vec());
        batch.put_event(8, b"\"die\"".to_vec());
        db.commit(batch).await.unwrap();
        drop(db);

        let db = Db::open(&path).unwrap();
        assert_eq!(db.all::<i32>(Table::Volumes).unwrap(), [1, 2]);
        assert_eq!(db.get::<String>(Table::Containers, "a").unwrap().as_deref(), Some("web"));
        assert_eq!(db.get::<String>(Table::Containers, "b").unwrap(), None);
        let mut batch = Batch::default();
        batch.delete(Table::Volumes, "a");
        batch.delete(Table::Volumes, "absent");
        batch.drop_event(7);
        db.commit(batch).await.unwrap();
        assert_eq!(db.all::<i32>(Table::Volumes).unwrap(), [2]);
        assert_eq!(db.events::<String>().unwrap(), [(8, "die".to_owned())]);
        assert!(matches!(db.all::<Vec<i32>>(Table::Volumes), Err(DbError::Value { .. })));
    }

    #[tokio::test]
    async fn batches_are_committed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.redb")).unwrap();
        let commit = |number: u32| {
            let mut batch = Batch::default();
            batch.put(Table::Meta, "last", &number).unwrap();
            db.commit(batch)
        };
        let all: Vec<_> = (0..1000).map(commit).collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(db.get::<u32>(Table::Meta, "last").unwrap(), Some(999));
    }

    #[test]
    fn it_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let _db = Db::open(&path).unwrap();
        assert!(matches!(Db::open(&path), Err(DbError::Open { .. })));
    }
}
