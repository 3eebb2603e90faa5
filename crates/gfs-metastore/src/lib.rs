//! The metadata store: guarded atomic batches, load, follow; in memory and embedded.
//!
//! The leading master keeps the whole namespace in memory; this is where it is kept *safe*. What a
//! store offers is deliberately little, so that etcd, one file and a map can all offer it:
//!
//! * [`MetaStore::acquire`]: become the leader, with an [`Epoch`](gfs_types::Epoch) no other term
//!   ever had;
//! * [`MetaStore::commit`]: apply a [`Batch`] atomically and durably, if the caller still leads and
//!   the [commit sequence](SequenceRecord) is where it believes it is;
//! * [`MetaStore::load`] and [`MetaStore::follow`]: all entries at one [`Revision`], then every
//!   later change in order.
//!
//! Keys and values are bytes: no store knows what a record means. The contract is written at
//! [`MetaStore`]; the `conformance` module (feature of the same name) checks it, for every
//! implementation alike.
//!
//! | implementation | for | keeps |
//! |---|---|---|
//! | [`EmbeddedStore`] | one master on one machine | one file, fsynced at every commit |
//! | [`MemoryStore`] | simulation and tests | nothing beyond the process; fails when told to |
//!
//! [`GroupBatch`] merges what many operations want to change into one batch within a store's
//! [`Limits`].
//!
//! ```
//! use bytes::Bytes;
//! use gfs_metastore::{Batch, GroupBatch, MemoryStore, MetaStore, SequenceRecord};
//! use gfs_types::Epoch;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let term = store.acquire("master-0:7000", Epoch(0)).await?;
//! let expected = store.read_sequence().await?.sequence;
//!
//! let mut group = GroupBatch::new(store.limits());
//! group.add(vec![(Bytes::from("inode/7"), Some(Bytes::from("a file")))]).expect("an empty group");
//! let next = SequenceRecord { sequence: expected.next(), counters: Bytes::from("next inode: 8") };
//! let batch = Batch { expected, next, puts: group.into_puts() };
//! let revision = store.commit(&term, batch).await?;
//!
//! let mut snapshot = store.load().await?;
//! assert_eq!(snapshot.revision, revision);
//! while let Some(page) = snapshot.next_page().await? {
//!     for (key, value) in page {
//!         println!("{key:?} = {value:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod error;
mod follow;
mod group;
mod leader;
mod memory;
mod snapshot;
mod store;

pub use batch::{
    Batch, ENTRY_OVERHEAD_BYTES, Key, Limits, MAX_COUNTERS_BYTES, Mutation, SequenceRecord, Value,
};
pub use embedded::{EmbeddedOptions, EmbeddedStore, FILE_NAME, FORMAT_VERSION};
pub use error::{CommitError, GuardFailure, StoreError, TooLarge};
pub use follow::{Change, ChangeSource, Follower};
pub use group::{GroupBatch, Refused};
pub use leader::{LeaderRecord, LeaderToken, Leadership, Tenure};
pub use memory::{Fault, MemoryImage, MemoryStore};
pub use snapshot::{Entry, PageSource, Snapshot};
pub use store::{MetaStore, Revision, Usage};
