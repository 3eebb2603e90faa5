//! The store in memory keeps the contract.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gfs_metastore::conformance::{Subject, agrees_with_a_map, bounded, steps};
use gfs_metastore::{MemoryStore, MetaStore};
use proptest::prelude::*;

struct InMemory(Mutex<MemoryStore>);

fn subject() -> InMemory {
    InMemory(Mutex::new(MemoryStore::new()))
}

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn MetaStore> {
        let mut store = self.0.lock().unwrap();
        *store = store.reopen();
        Arc::new(store.clone())
    }
}

gfs_metastore::conformance_suite!(subject);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_histories_agree_with_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(bounded(agrees_with_a_map(&subject(), steps)));
    }
}
