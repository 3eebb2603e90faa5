//! Files and directories that cannot be opened as a store: a clear error, and nothing touched.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use gfs_metastore::{
    Batch, CommitError, EmbeddedOptions, EmbeddedStore, FILE_NAME, FORMAT_VERSION, MetaStore,
    SequenceRecord, StoreError,
};
use gfs_types::{CommitSequence, Crc, Epoch};
use tempfile::TempDir;

async fn open(directory: &Path) -> Result<EmbeddedStore, StoreError> {
    let opening = EmbeddedStore::open(directory, EmbeddedOptions::default());
    tokio::time::timeout(Duration::from_secs(20), opening).await.expect("opening hangs")
}

/// A closed store with a few hundred records; its file.
async fn store_in(directory: &Path) -> PathBuf {
    let store = open(directory).await.unwrap();
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    for at in 0..10 {
        let puts: BTreeMap<_, _> = (0..100)
            .map(|n| (Bytes::from(format!("{at}/{n}")), Some(Bytes::from(vec![n as u8; 100]))))
            .collect();
        let sequence = CommitSequence(at + 1);
        let next = SequenceRecord { sequence, counters: Bytes::new() };
        store.commit(&term, Batch { expected: CommitSequence(at), next, puts }).await.unwrap();
    }
    store.close().await;
    directory.join(FILE_NAME)
}

/// Opening must fail, and leave the directory byte for byte as it was.
async fn refused_untouched(directory: &TempDir) -> StoreError {
    let before = listing(directory.path());
    let error = open(directory.path()).await.expect_err("opened");
    assert_eq!(listing(directory.path()), before, "opening changed something");
    error
}

fn listing(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    for contents in [&b""[..], b"hello", &[0; 100_000], &[0xaa; 100_000]] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), contents).unwrap();
        let error = refused_untouched(&directory).await;
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }
}

#[tokio::test]
async fn a_garbled_header_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let good = fs::read(&path).unwrap();
    for position in 0..16 {
        let mut garbled = good.clone();
        garbled[position] ^= 0x10;
        fs::write(&path, &garbled).unwrap();
        let error = refused_untouched(&directory).await;
        assert!(matches!(error, StoreError::NotAStore { .. }), "byte {position}: {error}");
    }
    fs::write(&path, &good).unwrap();
    open(directory.path()).await.expect("as it was");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let mut newer = fs::read(&path).unwrap();
    newer[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_be_bytes());
    let checksum = Crc::of(&newer[..12]).0;
    newer[12..16].copy_from_slice(&checksum.to_be_bytes());
    fs::write(&path, &newer).unwrap();
    let error = refused_untouched(&directory).await;
    let StoreError::NewerFormat { found, supported, .. } = &error else { panic!("{error}") };
    assert_eq!((*found, *supported), (FORMAT_VERSION + 1, FORMAT_VERSION));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let good = fs::read(&path).unwrap();
    let lengths = [1, 15, 16, 4095, 4096, 4097, 4096 + 100, 8192, 20_000, good.len() / 2];
    for length in lengths.into_iter().chain([good.len() - 4096, good.len() - 1]) {
        fs::write(&path, &good[..length]).unwrap();
        match open(directory.path()).await {
            Err(StoreError::NotAStore { .. } | StoreError::Corrupt(_)) => {}
            Err(other) => panic!("cut to {length}: {other}"),
            // The end of the file may be unused.
            Ok(store) => assert_eq!(records(&store).await, 1000, "cut to {length}"),
        }
    }
}

/// Bits flipped anywhere: opening fails, or everything that was stored is there.
#[tokio::test]
async fn flipped_bits_are_noticed_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let good = fs::read(&path).unwrap();
    let expected = contents(&open(directory.path()).await.unwrap()).await;
    let mut noticed = 0;
    for round in 0..60 {
        let mut garbled = good.clone();
        for byte in 0..64 {
            // Spread over the file, sector-sized runs.
            let at = 4096 + (round * 7919 * 512 + byte) % (good.len() - 4096);
            garbled[at] ^= 0xff;
        }
        fs::write(&path, &garbled).unwrap();
        match open(directory.path()).await {
            Err(StoreError::Corrupt(_)) => noticed += 1,
            Err(other) => panic!("{other}"),
            Ok(store) => assert_eq!(contents(&store).await, expected, "round {round}"),
        }
    }
    assert!(noticed > 10, "only {noticed} of 60 noticed");
}

async fn contents(store: &EmbeddedStore) -> BTreeMap<Bytes, Bytes> {
    let mut all = BTreeMap::new();
    let mut snapshot = store.load().await.unwrap();
    while let Some(page) = snapshot.next_page().await.unwrap() {
        all.extend(page);
    }
    store.close().await;
    all
}

async fn records(store: &EmbeddedStore) -> usize {
    contents(store).await.len()
}

#[tokio::test]
async fn a_second_opener_is_told_that_it_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).await.unwrap();
    let error = open(directory.path()).await.expect_err("opened twice");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    // The first is not disturbed, and once it is closed the way is free.
    first.acquire("first", Epoch(0)).await.unwrap();
    first.close().await;
    open(directory.path()).await.expect("free");
}

#[tokio::test]
async fn a_crash_while_the_store_was_made_leaves_no_half_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(format!("{FILE_NAME}.new")), b"abandoned").unwrap();
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.read_sequence().await.unwrap().sequence, CommitSequence(0));
    assert_eq!(listing(directory.path()).len(), 1);
}

#[tokio::test]
async fn missing_directories_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("several/levels/deep");
    let file = store_in(&path).await;
    assert_eq!(records(&open(&path).await.unwrap()).await, 1000);
    assert_eq!(file, path.join(FILE_NAME));
}

/// A handle that was dropped instead of closed lets go of the store soon after.
#[tokio::test]
async fn dropping_the_handle_releases_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let snapshot = store.load().await.unwrap();
    drop(store);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match open(directory.path()).await {
            Ok(_) => break,
            Err(StoreError::InUse { .. }) if std::time::Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    drop(snapshot);
}

#[tokio::test]
async fn a_directory_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"contents").unwrap();
    let error = open(&path).await.expect_err("opened");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"contents");
}

#[tokio::test]
async fn an_oversized_batch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    let huge = Bytes::from(vec![0; store.limits().max_value_bytes + 1]);
    let batch = Batch {
        expected: CommitSequence(0),
        next: SequenceRecord { sequence: CommitSequence(1), counters: Bytes::new() },
        puts: BTreeMap::from([(Bytes::from_static(b"key"), Some(huge))]),
    };
    let refused = store.commit(&term, batch).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(_))), "{refused:?}");
    assert_eq!(store.read_sequence().await.unwrap().sequence, CommitSequence(0));
}

/// Permissions do not bind root, so a copy of this test runs as somebody else if need be.
#[test]
fn a_read_only_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    open_to_all(directory.path()).unwrap();
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open_to_all(&program).unwrap();
    for (name, store) in [("empty", false), ("with a store", true)] {
        let data = directory.path().join(name);
        fs::create_dir(&data).unwrap();
        if store {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(store_in(&data));
        }
        let mode = |mode| fs::Permissions::from_mode(mode);
        for file in fs::read_dir(&data).unwrap() {
            fs::set_permissions(file.unwrap().path(), mode(0o444)).unwrap();
        }
        fs::set_permissions(&data, mode(0o555)).unwrap();
        let before = listing(&data);
        let mut child = Command::new(&program);
        child.args(["--exact", "helper_opens_what_it_is_told", "--ignored", "--nocapture"]);
        child.env("STORE", &data).env("RUST_BACKTRACE", "0").current_dir("/");
        if rustix::process::geteuid().is_root() {
            child.uid(65534).gid(65534);
        }
        let output = child.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.contains("Permission denied"), "{printed}");
        assert_eq!(listing(&data), before);
    }
}

/// Not a test of its own: run by the one above in a child process.
#[tokio::test]
#[ignore = "a helper of a_read_only_directory_is_refused"]
async fn helper_opens_what_it_is_told() {
    let Some(directory) = std::env::var_os("STORE") else { return };
    let error = open(Path::new(&directory)).await.expect_err("opened");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    println!("{error}");
}
