//! Stores that are not what a brain may lead with, and what a store of a cluster looks like.

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ClusterId, InodeId};
use prost::Message;

use super::world::{CLUSTER, World, config};
use crate::brain::records::{cluster_key, entry_key, page_key};
use crate::brain::{Brain, BrainConfig, LoadError, Loader, Now, Request, Term};

fn load(
    config: BrainConfig,
    counters: &[u8],
    records: &[(Bytes, Bytes)],
) -> Result<Brain, LoadError> {
    let mut loader = Loader::new(config, Term::default(), counters)?;
    for (key, value) in records {
        loader.entry(key, value)?;
    }
    let mut out = Vec::new();
    let brain = loader.finish(Now::default(), &mut out);
    assert!(brain.is_ok() || out.is_empty(), "nothing is changed");
    brain
}

/// The records of a cluster with `/dir/file`.
fn records() -> (Bytes, Vec<(Bytes, Bytes)>) {
    let mut world = World::new();
    let header = world.header(1, 1);
    let request =
        pb::MkdirRequest { header, path: "/dir/sub".into(), parents: true, parent_inode: 0 };
    world.ask(Request::Mkdir(request)).unwrap();
    (world.counters.clone(), world.store.into_iter().collect())
}

#[test]
fn a_store_comes_back_as_it_was() {
    let (counters, records) = records();
    let brain = load(config(), &counters, &records).unwrap();
    assert_eq!(brain.cluster_id(), CLUSTER);
    assert_eq!(brain.namespace.directories(), 2);
}

#[test]
fn a_store_of_another_cluster_is_refused() {
    let (counters, records) = records();
    let other = ClusterId(0xBAD);
    let config = BrainConfig { expected_cluster_id: Some(other), ..config() };
    assert_eq!(
        load(config, &counters, &records).unwrap_err(),
        LoadError::OtherCluster { found: CLUSTER, expected: other }
    );
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let (counters, mut records) = records();
    let record = pb::ClusterRecord { format: 4, ..Default::default() };
    records[0].1 = record.encode_to_vec().into();
    assert_eq!(records[0].0, cluster_key());
    assert_eq!(
        load(config(), &counters, &records).unwrap_err(),
        LoadError::NewerFormat { found: 4 }
    );
}

#[test]
fn damaged_records_are_refused() {
    let entry = |inode: u64, file: Option<pb::FileRecord>| -> Bytes {
        let directory = file.is_none().then(pb::DirectoryRecord::default);
        pb::EntryRecord { inode, file, directory, ..Default::default() }.encode_to_vec().into()
    };
    let file = |extent_count, handles: &[u64]| {
        let extents =
            handles.iter().map(|h| pb::ExtentRecord { handle: *h, ..Default::default() }).collect();
        Some(pb::FileRecord { extents, extent_count, ..Default::default() })
    };
    let trashed = |inode: u64| -> Bytes {
        let directory = Some(pb::DirectoryRecord::default());
        let trash = Some(pb::TrashRecord { path: "/x".into(), ..Default::default() });
        pb::EntryRecord { inode, directory, trash, ..Default::default() }.encode_to_vec().into()
    };
    let spare = Some(pb::ExtentRecord { handle: 1, ..Default::default() });
    let both = Some(pb::FileRecord { writer: 7, appenders: vec![8], ..Default::default() });
    let hole = pb::ExtentRecord { length: 5, ..Default::default() };
    let extents = vec![hole.clone(), hole];
    let holes = Some(pb::FileRecord { extents, extent_count: 2, ..Default::default() });
    let doomed =
        |doomed_first| Some(pb::FileRecord { doomed_first, doomed_count: 1, ..Default::default() });
    let key = |name: &str| entry_key(InodeId(1), name.as_bytes());
    let unknown_parent = entry_key(InodeId(77), b"x");
    let cases: Vec<(&str, Vec<(Bytes, Bytes)>)> = vec![
        ("not a key", vec![(Bytes::from_static(b"zzz"), Bytes::new())]),
        ("not protobuf", vec![(key("x"), Bytes::from_static(b"\xff\xff"))]),
        ("nothing", vec![(key("x"), Bytes::new())]),
        ("name", vec![(key(".."), entry(4, None))]),
        ("slash", vec![(key("a/b"), entry(4, None))]),
        ("never minted", vec![(key("x"), entry(1 << 40, None))]),
        ("system inode", vec![(key("x"), entry(2, None))]),
        ("the root under a name", vec![(key("x"), entry(1, None))]),
        ("twice", vec![(key("x"), entry(4, None)), (key("y"), entry(4, None))]),
        ("no directory above", vec![(unknown_parent.clone(), entry(4, None))]),
        (
            "in a circle",
            vec![
                (entry_key(InodeId(3), b"x"), entry(4, None)),
                (entry_key(InodeId(4), b"y"), entry(3, None)),
            ],
        ),
        ("fewer extents", vec![(key("x"), entry(4, file(2, &[1])))]),
        ("handle never minted", vec![(key("x"), entry(4, file(1, &[99])))]),
        ("handle 0", vec![(key("x"), entry(4, file(1, &[0])))]),
        ("a page is missing", vec![(key("x"), entry(4, file(40, &[1; 32])))]),
        (
            "a page of nobody",
            vec![(page_key(InodeId(4), 1), pb::ExtentPage::default().encode_to_vec().into())],
        ),
        (
            "a spare without an extent",
            vec![(
                key("x"),
                entry(4, Some(pb::FileRecord { spare, writer: 7, ..Default::default() })),
            )],
        ),
        ("a writer and appenders", vec![(key("x"), entry(4, both))]),
        ("a short hole before a hole", vec![(key("x"), entry(4, holes))]),
        ("what was cut off begins within a page", vec![(key("x"), entry(4, doomed(7)))]),
        ("what was cut off is missing", vec![(key("x"), entry(4, doomed(32)))]),
        (
            "in the trash by its name only",
            vec![(entry_key(InodeId(2), b"t0000000000000004"), entry(4, None))],
        ),
        ("in the trash by its record only", vec![(key("x"), trashed(4))]),
        (
            "in the trash under another's name",
            vec![(entry_key(InodeId(2), b"t0000000000000005"), trashed(4))],
        ),
        (
            "too many copies",
            vec![(key("x"), entry(4, Some(pb::FileRecord { copies: 9, ..Default::default() })))],
        ),
    ];
    let counters: Bytes = pb::Counters { inode: 10, handle: 10, server: 1 }.encode_to_vec().into();
    let (_, whole) = records();
    let whole: Vec<_> =
        whole.into_iter().filter(|(key, _)| key[0] == b'c' || key.len() == 9).collect();
    load(config(), &counters, &whole).unwrap();
    for (what, records) in cases {
        let all: Vec<_> = whole.iter().cloned().chain(records).collect();
        let error = load(config(), &counters, &all).err();
        assert!(matches!(error, Some(LoadError::Corrupt { .. })), "{what}: {error:?}");
    }
    assert!(load(config(), &counters, &whole[..1]).is_err(), "no root");
    assert!(load(config(), &counters, &whole[1..]).is_err(), "no cluster");
    assert!(load(config(), b"\xff", &whole).is_err(), "counters");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (copies, least) in [(0, 0), (9, 2), (2, 3), (3, 0)] {
        let config = BrainConfig { default_copies: copies, min_copies: least, ..config() };
        assert!(matches!(load(config, &[], &[]), Err(LoadError::Settings(_))), "{copies} {least}");
    }
}
