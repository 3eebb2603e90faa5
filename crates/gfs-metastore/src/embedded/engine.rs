//! The embedded store as plain synchronous code: one caller, no threads.

use std::path::Path;
use std::sync::Arc;

use gfs_types::{CommitSequence, Epoch};
use redb::{ReadableDatabase, StorageError};

use super::EmbeddedOptions;
use super::file::{StoreFile, failed};
use super::format::{
    Database, EPOCH_KEY, FORMAT_VERSION, RECORDS, SEQUENCE_KEY, STATE, check_header, header,
};
use super::pages::TablePages;
use crate::follow::History;
use crate::{
    Batch, Change, CommitError, GuardFailure, LeaderRecord, LeaderToken, Leadership, Revision,
    SequenceRecord, Snapshot, StoreError, Usage,
};

/// The open store. After any error of the database it must be dropped: see [`Failure`].
pub(crate) struct Engine {
    database: redb::Database,
    file: Arc<dyn StoreFile>,
    options: EmbeddedOptions,
    history: History,
    /// As of the last durable commit.
    sequence: SequenceRecord,
    /// As of the last durable acquisition.
    epoch: Epoch,
    leader: Option<LeaderRecord>,
}

/// An error of the database or the disk below it. What the disk holds is unknown until the store is
/// opened again, so nothing may be asked of this engine any more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(redb::Error);

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Failure {
    /// As the error of a read, or of making a new store. (After a failed commit the handle answers
    /// `Poisoned` instead.)
    pub(crate) fn into_store_error(self) -> StoreError {
        match self.0 {
            redb::Error::DatabaseClosed => StoreError::Closed,
            redb::Error::Io(source) => {
                StoreError::Io { context: "the metadata store's file".to_owned(), source }
            }
            other => StoreError::Corrupt(other.to_string()),
        }
    }
}

/// Makes an empty file an empty store, durably. `path` is for messages.
pub(crate) fn format(file: Arc<dyn StoreFile>, path: &Path) -> Result<(), StoreError> {
    let written = file.write_at(0, &header(FORMAT_VERSION));
    written.map_err(|e| failed("writing", path, e))?;
    let database = redb::Builder::new()
        .create_with_backend(Database(Arc::clone(&file)))
        .map_err(|error| open_error(error, path))?;
    create_tables(&database).map_err(Failure::into_store_error)?;
    database.close().map_err(|error| open_error(error, path))?;
    file.sync().map_err(|e| failed("syncing", path, e))
}

impl Engine {
    /// Opens the store in `file`. `path` is for messages.
    pub(crate) fn open(
        file: Arc<dyn StoreFile>,
        path: &Path,
        options: EmbeddedOptions,
        history: History,
    ) -> Result<Self, StoreError> {
        check_header(file.as_ref(), path)?;
        let database = redb::Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(true)
            .create_with_backend(Database(Arc::clone(&file)))
            .map_err(|error| open_error(error, path))?;
        let (sequence, epoch) = read_state(&database)?;
        history.begin_after(revision_of(&sequence));
        Ok(Self { database, file, options, history, sequence, epoch, leader: None })
    }

    /// Begins a term.
    pub(crate) fn acquire(&mut self, who: String, above: Epoch) -> Result<Leadership, Failure> {
        // Whatever happens now, the old term is over.
        self.leader = None;
        let epoch = self.epoch.max(above).next();
        let transaction = self.database.begin_write()?;
        transaction.open_table(STATE)?.insert(EPOCH_KEY, epoch.0.to_be_bytes().as_slice())?;
        transaction.commit()?;
        self.epoch = epoch;
        self.leader = Some(LeaderRecord { who, epoch });
        Ok(Leadership { epoch, token: LeaderToken(epoch.0) })
    }

    /// Ends `term` if it is the current one.
    pub(crate) fn resign(&mut self, term: &Leadership) {
        if self.leads(term) {
            self.leader = None;
        }
    }

    /// Applies a batch that passed [`Batch::check`].
    pub(crate) fn commit(
        &mut self,
        term: &Leadership,
        batch: Batch,
    ) -> Result<Result<Revision, CommitError>, Failure> {
        if let Err(refused) = self.admit(term, &batch) {
            return Ok(Err(refused));
        }
        let Batch { expected: _, next, puts } = batch;
        let transaction = self.database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for (key, value) in &puts {
                match value {
                    Some(value) => drop(records.insert(key.as_ref(), value.as_ref())?),
                    None => drop(records.remove(key.as_ref())?),
                }
            }
            transaction.open_table(STATE)?.insert(SEQUENCE_KEY, next.encode().as_slice())?;
        }
        transaction.commit()?;
        self.sequence = next.clone();
        let revision = revision_of(&next);
        self.history.push(Change { revision, sequence: next, puts });
        Ok(Ok(revision))
    }

    /// What refuses a batch before anything is written.
    fn admit(&self, term: &Leadership, batch: &Batch) -> Result<(), CommitError> {
        let found = self.sequence.sequence;
        if !self.leads(term) {
            return Err(GuardFailure::NotLeader.into());
        }
        if found != batch.expected {
            return Err(GuardFailure::Sequence { found }.into());
        }
        if batch.grows() { self.check_space() } else { Ok(()) }
    }

    fn check_space(&self) -> Result<(), CommitError> {
        let unknown = |e| CommitError::Unavailable(format!("asking for free space: {e}"));
        let available = self.file.available().map_err(unknown)?;
        let reserve = self.options.reserve_bytes;
        if available < reserve {
            return Err(CommitError::NoSpace(format!(
                "{available} bytes are free on the device, {reserve} are kept for deletions"
            )));
        }
        if let Some(quota) = self.options.quota_bytes {
            let used = self.file.allocated().map_err(unknown)?;
            if used >= quota {
                return Err(CommitError::NoSpace(format!("{used} bytes of {quota} are used")));
            }
        }
        Ok(())
    }

    /// The sequence record as of the last durable commit.
    pub(crate) fn sequence(&self) -> &SequenceRecord {
        &self.sequence
    }

    /// The current term as others see it.
    pub(crate) fn leader(&self) -> Option<&LeaderRecord> {
        self.leader.as_ref()
    }

    /// All records as of now.
    pub(crate) fn load(&self) -> Result<Snapshot, Failure> {
        let pages = TablePages::new(self.database.begin_read()?);
        let sequence = self.sequence.clone();
        Ok(Snapshot::new(revision_of(&sequence), sequence, Box::new(pages)))
    }

    /// What the file occupies.
    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        let bytes = self.file.allocated().map_err(|source| StoreError::Io {
            context: "asking for the size of the metadata store".to_owned(),
            source,
        })?;
        Ok(Usage { bytes, quota: self.options.quota_bytes })
    }

    /// Closes the database and lets others open the store, also while snapshots of it are left
    /// (which read nothing more then).
    pub(crate) fn close(self) {
        let Self { database, file, .. } = self;
        // Writes what makes the next opening fast; nothing depends on it, so that errors do not
        // matter.
        drop(database);
        file.release();
    }

    fn leads(&self, term: &Leadership) -> bool {
        self.leader.is_some() && self.epoch == term.epoch && self.epoch.0 == term.token.0
    }
}

/// The revision of a commit is its sequence: both only grow, and nothing else is written.
fn revision_of(sequence: &SequenceRecord) -> Revision {
    Revision(sequence.sequence.0)
}

/// Makes a new database a store: both tables exist in every valid one.
fn create_tables(database: &redb::Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(RECORDS)?;
        let mut state = transaction.open_table(STATE)?;
        state.insert(SEQUENCE_KEY, SequenceRecord::default().encode().as_slice())?;
        state.insert(EPOCH_KEY, 0u64.to_be_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

fn read_state(database: &redb::Database) -> Result<(SequenceRecord, Epoch), StoreError> {
    let (sequence, epoch) = read_state_values(database).map_err(Failure::into_store_error)?;
    let damaged = |what: &str| StoreError::Corrupt(format!("its {what} is missing or garbled"));
    let sequence = sequence
        .and_then(|value| SequenceRecord::decode(&value))
        .ok_or_else(|| damaged("commit sequence"))?;
    let epoch = epoch
        .and_then(|value| <[u8; 8]>::try_from(value.as_slice()).ok())
        .ok_or_else(|| damaged("epoch"))?;
    Ok((sequence, Epoch(u64::from_be_bytes(epoch))))
}

type StateValue = Option<Vec<u8>>;

fn read_state_values(database: &redb::Database) -> Result<(StateValue, StateValue), Failure> {
    let transaction = database.begin_read()?;
    let state = transaction.open_table(STATE)?;
    let read = |key| -> Result<StateValue, StorageError> {
        Ok(state.get(key)?.map(|value| value.value().to_vec()))
    };
    // Opened for its error: a store without records table is damaged.
    transaction.open_table(RECORDS)?;
    Ok((read(SEQUENCE_KEY)?, read(EPOCH_KEY)?))
}

fn open_error(error: redb::DatabaseError, path: &Path) -> StoreError {
    use redb::DatabaseError as E;
    match error {
        E::Storage(StorageError::Io(source)) if source.raw_os_error().is_some() => {
            failed("opening the database in", path, source)
        }
        other => StoreError::Corrupt(format!("{}: {other}", path.display())),
    }
}

/// For messages only.
impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CommitSequence(sequence) = self.sequence.sequence;
        f.debug_struct("Engine").field("sequence", &sequence).finish_non_exhaustive()
    }
}
