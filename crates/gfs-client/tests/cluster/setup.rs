//! A cluster of child processes, and a client of it.

use std::sync::atomic::AtomicU16;
use std::time::Duration;

use bytes::Bytes;
use gfs_client::{Client, ClientOptions};
use gfs_local::{LocalCluster, Options};
use tempfile::TempDir;

/// Bytes of a chunk: small, so that files have many.
pub(crate) const CHUNK: usize = 1 << 20;

static CLUSTERS: AtomicU16 = AtomicU16::new(0);

pub(crate) struct Setup {
    pub(crate) cluster: LocalCluster,
    pub(crate) client: Client,
    // Removed after the cluster is gone.
    _data: TempDir,
}

impl Setup {
    /// A cluster with so many chunkservers.
    pub(crate) async fn new(servers: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::isolated(data.path(), &CLUSTERS).unwrap();
        options.servers = servers;
        options.chunk_size = Some(CHUNK as u64);
        let cluster =
            tokio::task::spawn_blocking(|| LocalCluster::start(options)).await.unwrap().unwrap();
        let client = connect(&cluster, Duration::from_secs(30)).await;
        Self { cluster, client, _data: data }
    }
}

pub(crate) async fn connect(cluster: &LocalCluster, deadline: Duration) -> Client {
    let options = ClientOptions { deadline, ..ClientOptions::default() };
    Client::connect([cluster.endpoint()], options).await.unwrap()
}

/// Bytes `from..to` of an endless text, the same for everybody.
pub(crate) fn text(seed: u64, from: u64, to: u64) -> Bytes {
    (from..to)
        .map(|at| {
            let x = (at ^ (seed << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (x >> 29) as u8
        })
        .collect::<Vec<u8>>()
        .into()
}

/// Fails with where the first difference is, instead of with megabytes.
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    assert_eq!(got.len(), expected.len(), "length");
    if let Some(at) = got.iter().zip(expected).position(|(a, b)| a != b) {
        panic!("byte {at} of {} is {:#x}, not {:#x}", got.len(), got[at], expected[at]);
    }
}
