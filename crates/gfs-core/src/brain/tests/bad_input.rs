//! What may come in wrong: each case has a defined answer and changes nothing.

use gfs_proto::v1 as pb;
use gfs_types::ErrorCode::{self, *};

use super::world::{CLUSTER, World};
use crate::brain::{Request, Response};

fn header(world: &World) -> Option<pb::RequestHeader> {
    world.fresh()
}

fn mkdir(header: Option<pb::RequestHeader>, path: &str) -> Request {
    Request::Mkdir(pb::MkdirRequest { header, path: path.into(), ..Default::default() })
}

fn create(header: Option<pb::RequestHeader>, path: &str) -> pb::CreateRequest {
    pb::CreateRequest { header, path: path.into(), empty: true, ..Default::default() }
}

fn rename(header: Option<pb::RequestHeader>, from: &str, to: &str) -> pb::RenameRequest {
    pb::RenameRequest { header, from: from.into(), to: to.into(), ..Default::default() }
}

fn remove(header: Option<pb::RequestHeader>, path: &str) -> pb::RemoveRequest {
    pb::RemoveRequest { header, path: path.into(), ..Default::default() }
}

/// `/dir/file` and `/dir/sub/`.
fn world() -> (World, u64, u64) {
    let mut world = World::new();
    let made = world.ask(mkdir(world.header(1, 1), "/dir"));
    let Ok(Response::Mkdir(made)) = made else { panic!("{made:?}") };
    let dir = made.attributes.unwrap().inode;
    world.ask(mkdir(world.header(1, 2), "/dir/sub")).unwrap();
    let file = world.ask(Request::Create(create(world.header(1, 3), "/dir/file")));
    let Ok(Response::Create(file)) = file else { panic!("{file:?}") };
    (world, dir, file.attributes.unwrap().inode)
}

/// Refused, and nothing was written.
fn refuses(world: &mut World, request: Request, code: ErrorCode) {
    let before = (world.store.clone(), world.groups);
    let text = format!("{request:?}");
    assert_eq!(world.refused(request), code, "{text}");
    assert_eq!(before, (world.store.clone(), world.groups), "{text} changed something");
}

#[test]
fn what_no_request_may_say() {
    let (mut world, ..) = world();
    let good = header(&world);
    let mut other_cluster = good.clone();
    other_cluster.as_mut().unwrap().cluster_id = vec![7; 16].into();
    let mut no_cluster = good.clone();
    no_cluster.as_mut().unwrap().cluster_id = vec![].into();
    let mut later = good.clone();
    later.as_mut().unwrap().epoch = 1 << 60;
    let mut nobody = good.clone();
    nobody.as_mut().unwrap().client_id = 0;
    let mut unnumbered = good.clone();
    unnumbered.as_mut().unwrap().sequence = 0;
    let mut answered = good.clone();
    answered.as_mut().unwrap().answered_through = u64::MAX;
    for (header, code) in [
        (None, WrongCluster),
        (other_cluster, WrongCluster),
        (no_cluster, WrongCluster),
        (later, NotLeader),
        (nobody, InvalidArgument),
        (unnumbered, InvalidArgument),
        (answered, OutcomeUnknown),
    ] {
        refuses(&mut world, mkdir(header, "/new"), code);
    }
    let connect = |cluster_id: Vec<u8>, protocol_version| {
        let header = pb::RequestHeader { cluster_id: cluster_id.into(), ..Default::default() };
        Request::Connect(pb::ConnectRequest { header: Some(header), protocol_version, place: None })
    };
    refuses(&mut world, connect(vec![], 2), WrongProtocol);
    refuses(&mut world, connect(vec![9; 16], 1), WrongCluster);
    let Ok(Response::Connect(hello)) = world.ask(connect(vec![], 1)) else { panic!() };
    assert_eq!(hello.cluster_id, CLUSTER.to_bytes()[..]);
}

#[test]
fn paths_that_are_none() {
    let (mut world, ..) = world();
    let long = format!("/{}", "n".repeat(256));
    let deep = "/d".repeat(98);
    for path in
        ["", "dir", "/dir/../x", "/./x", "//x", "/a\0b", long.as_str(), deep.as_str(), "/", "/dir/"]
    {
        let code = match path {
            "/" | "/dir/" => AlreadyExists,
            _ => InvalidArgument,
        };
        let request = mkdir(header(&world), path);
        refuses(&mut world, request, code);
        let request = Request::Create(create(header(&world), path));
        refuses(&mut world, request, code);
    }
    for (path, code) in [("", InvalidArgument), ("/no", NotFound), ("/dir/file/x", NotADirectory)] {
        let path = path.to_string();
        let below = format!("{path}/x/y");
        for request in [
            Request::Stat(pb::StatRequest { header: header(&world), path: path.clone(), inode: 0 }),
            Request::Remove(remove(header(&world), &path)),
            Request::Rename(rename(header(&world), &path, "/new")),
            mkdir(header(&world), if path.is_empty() { "x/y" } else { &below }),
        ] {
            refuses(&mut world, request, code);
        }
    }
}

#[test]
fn create_over_an_existing_name_is_refused() {
    let (mut world, ..) = world();
    for path in ["/dir/file", "/dir"] {
        let request = Request::Create(create(header(&world), path));
        refuses(&mut world, request, AlreadyExists);
        let request = mkdir(header(&world), path);
        refuses(&mut world, request, AlreadyExists);
    }
}

#[test]
fn what_create_cannot_do() {
    let (mut world, dir, file) = world();
    let goal = |copies| Some(pb::Goal { kind: Some(pb::goal::Kind::Copies(copies)) });
    let base = || create(header(&world), "/dir/new");
    for (request, code) in [
        (pb::CreateRequest { replace: true, ..base() }, Unsupported),
        (pb::CreateRequest { replaced_inode: file, ..base() }, Unsupported),
        (pb::CreateRequest { goal: goal(0), ..base() }, InvalidArgument),
        (pb::CreateRequest { goal: goal(9), ..base() }, InvalidArgument),
        (pb::CreateRequest { goal: Some(pb::Goal { kind: None }), ..base() }, Unsupported),
        (pb::CreateRequest { durability: 3, ..base() }, InvalidArgument),
        (pb::CreateRequest { durability: 77, ..base() }, InvalidArgument),
        (pb::CreateRequest { parent_inode: dir + 100, ..base() }, Conflict),
        (pb::CreateRequest { empty: false, ..base() }, TooFewServers),
    ] {
        refuses(&mut world, Request::Create(request), code);
    }
    let good = pb::CreateRequest { parent_inode: dir, ..create(header(&world), "/dir/new") };
    world.ask(Request::Create(good)).unwrap();
}

#[test]
fn removing_a_directory_with_entries_is_refused() {
    let (mut world, dir, _) = world();
    let plain = remove(header(&world), "/dir");
    refuses(&mut world, Request::Remove(plain), NotEmpty);
    let root = pb::RemoveRequest { recursive: true, ..remove(header(&world), "/") };
    refuses(&mut world, Request::Remove(root), InvalidArgument);
    let other =
        pb::RemoveRequest { recursive: true, inode: dir + 1, ..remove(header(&world), "/dir") };
    refuses(&mut world, Request::Remove(other), Conflict);
    let right = pb::RemoveRequest { recursive: true, inode: dir, ..remove(header(&world), "/dir") };
    let Ok(Response::Remove(done)) = world.ask(Request::Remove(right)) else { panic!() };
    assert_eq!(done.removed, 3);
}

#[test]
fn renaming_into_the_own_subtree_is_refused() {
    let (mut world, dir, file) = world();
    let base = |from: &str, to: &str| rename(header(&world), from, to);
    let cases = [
        (base("/dir", "/dir/sub/x"), InvalidArgument),
        (base("/dir", "/dir/sub"), InvalidArgument),
        (base("/", "/x"), InvalidArgument),
        (base("/dir", "/"), InvalidArgument),
        (base("/dir/file", "/dir/sub"), AlreadyExists),
        (pb::RenameRequest { replace: true, ..base("/dir/file", "/dir/sub") }, IsADirectory),
        (pb::RenameRequest { replace: true, ..base("/dir/sub", "/dir/file") }, NotADirectory),
        (pb::RenameRequest { inode: dir, ..base("/dir/file", "/x") }, Conflict),
        (pb::RenameRequest { replaced_inode: dir, ..base("/dir/sub", "/dir/file") }, Conflict),
        (base("/dir/file", "/no/x"), NotFound),
        (base("/dir/file", "/dir/file/x"), NotADirectory),
    ];
    for (request, code) in cases {
        refuses(&mut world, Request::Rename(request), code);
    }
    let good = pb::RenameRequest { inode: file, ..rename(header(&world), "/dir/file", "/x") };
    world.ask(Request::Rename(good)).unwrap();
}

#[test]
fn absurd_numbers() {
    let (mut world, dir, file) = world();
    let h = || header(&world);
    let finished = |length| Some(pb::FinishedChunk { handle: 99, version: u64::MAX, length });
    let cases = [
        (
            Request::Locate(pb::LocateRequest {
                header: h(),
                inode: file,
                offset: u64::MAX,
                ..Default::default()
            }),
            OutOfRange,
        ),
        (Request::Locate(pb::LocateRequest { header: h(), ..Default::default() }), InvalidArgument),
        (
            Request::Locate(pb::LocateRequest { header: h(), inode: dir, ..Default::default() }),
            IsADirectory,
        ),
        (
            Request::Locate(pb::LocateRequest {
                header: h(),
                inode: u64::MAX,
                ..Default::default()
            }),
            NotFound,
        ),
        (
            Request::Locate(pb::LocateRequest { header: h(), inode: 2, ..Default::default() }),
            NotFound,
        ),
        (
            Request::Allocate(pb::AllocateRequest {
                header: h(),
                inode: file,
                index: u32::MAX,
                ..Default::default()
            }),
            Conflict,
        ),
        (Request::Sync(pb::SyncRequest { header: h(), inode: file, last: finished(1) }), Conflict),
        (
            Request::Close(pb::CloseRequest { header: h(), inode: file, ..Default::default() }),
            Conflict,
        ),
        (
            Request::Recover(pb::RecoverRequest {
                header: h(),
                inode: file,
                handle: u64::MAX,
                ..Default::default()
            }),
            UnknownChunk,
        ),
        (
            Request::ReportDamage(pb::ReportDamageRequest {
                header: h(),
                handle: 99,
                ..Default::default()
            }),
            UnknownChunk,
        ),
        (
            Request::List(pb::ListRequest {
                header: h(),
                path: "/dir/file".into(),
                limit: u32::MAX,
                ..Default::default()
            }),
            NotADirectory,
        ),
        (
            Request::Open(pb::OpenRequest {
                header: h(),
                path: "/dir".into(),
                ..Default::default()
            }),
            IsADirectory,
        ),
        (
            Request::SetMaintenance(pb::SetMaintenanceRequest {
                header: h(),
                server: 77,
                maintenance: true,
            }),
            NotFound,
        ),
    ];
    for (request, code) in cases {
        refuses(&mut world, request, code);
    }
}

#[test]
fn drains_that_cannot_be_are_refused() {
    let (mut world, ..) = world();
    for (server, force, code) in [(77, false, NotFound), (77, true, NotFound), (0, true, NotFound)]
    {
        let header = header(&world);
        let request = pb::SetDrainRequest { header, server, drain: true, force };
        refuses(&mut world, Request::SetDrain(request), code);
    }
}

#[test]
fn goals_that_cannot_be_are_refused() {
    let (mut world, _, file) = world();
    let goal = |copies| Some(pb::Goal { kind: Some(pb::goal::Kind::Copies(copies)) });
    let good = pb::SetAttributesRequest {
        header: header(&world),
        path: "/dir/file".into(),
        goal: goal(1),
        ..Default::default()
    };
    let with = |change: &dyn Fn(&mut pb::SetAttributesRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    // Above the number of servers, of which there is none; and what no cluster can do.
    for (request, code) in [
        (good.clone(), InvalidArgument),
        (with(&|r| r.inode = file), InvalidArgument),
        (with(&|r| r.path = "/dir".into()), InvalidArgument),
        (with(&|r| r.goal = goal(0)), InvalidArgument),
        (with(&|r| r.goal = goal(9)), InvalidArgument),
        (with(&|r| r.goal = None), InvalidArgument),
        (with(&|r| r.goal = Some(pb::Goal::default())), Unsupported),
        (with(&|r| r.recursive = true), Unsupported),
        (with(&|r| r.durability = 1), Unsupported),
        (with(&|r| r.path = "/none".into()), NotFound),
        (with(&|r| r.inode = 1 << 40), NotFound),
    ] {
        let header = header(&world);
        let request = Request::SetAttributes(pb::SetAttributesRequest { header, ..request });
        refuses(&mut world, request, code);
    }
}

#[test]
fn a_store_that_is_behind_refuses_calls() {
    let mut config = super::world::config();
    config.limits.uncommitted = 10;
    let mut world = World::with(config);
    for sequence in 1..=5 {
        world.call(mkdir(world.header(1, sequence), &format!("/{sequence}")));
    }
    let token = world.call(mkdir(world.header(1, 6), "/6"));
    let Some(Err(detail)) = world.replies.remove(&token) else { panic!("taken") };
    assert_eq!(detail.error_code(), ResourceExhausted);
    assert!(detail.retry_after_ms > 0);
    world.commit_all();
    assert_eq!(world.replies.len(), 5);
    world.ask(mkdir(world.header(1, 6), "/6")).unwrap();
}
