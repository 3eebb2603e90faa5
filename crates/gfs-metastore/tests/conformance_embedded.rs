//! The embedded store keeps the contract.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use gfs_metastore::conformance::{Subject, agrees_with_a_map, bounded, steps};
use gfs_metastore::{EmbeddedOptions, EmbeddedStore, MetaStore};
use proptest::prelude::*;
use tempfile::TempDir;

struct Embedded(TempDir);

fn subject() -> Embedded {
    Embedded(tempfile::tempdir().unwrap())
}

#[async_trait]
impl Subject for Embedded {
    async fn open(&self) -> Arc<dyn MetaStore> {
        let options = EmbeddedOptions::default();
        Arc::new(EmbeddedStore::open(self.0.path(), options).await.unwrap())
    }
}

gfs_metastore::conformance_suite!(subject);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_histories_agree_with_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(bounded(agrees_with_a_map(&subject(), steps)));
    }
}
