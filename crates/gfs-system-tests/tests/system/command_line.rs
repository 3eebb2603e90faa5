//! `kubectl-gfs` from end to end: what it prints, and its exit codes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Shape, bounded};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs it and expects an exit code.
fn run(bench: &Bench, arguments: &[&str], code: i32) -> anyhow::Result<Output> {
    let output = bench.kubectl().args(arguments).output().context("kubectl-gfs")?;
    ensure!(
        output.status.code() == Some(code),
        "{arguments:?} ended with {:?}, not {code}: {}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if code != 0 {
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(code == 3 || words.starts_with("error: "), "{arguments:?}: {words}");
    }
    Ok(output)
}

fn json(bench: &Bench, arguments: &[&str], code: i32) -> anyhow::Result<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
    Ok(serde_json::from_slice(&run(bench, &arguments, code)?.stdout)?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_does_what_it_says() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        tokio::task::block_in_place(|| verbs(&bench))
    })
    .await
}

fn verbs(bench: &Bench) -> anyhow::Result<()> {
    let local = tempfile::tempdir()?;
    let path = |name: &str| local.path().join(name).display().to_string();
    let large = Content(1).bytes(0, 3_000_000);
    std::fs::create_dir_all(local.path().join("tree/sub"))?;
    std::fs::write(path("tree/large"), &large)?;
    std::fs::write(path("tree/sub/small"), "hello")?;
    std::fs::write(path("tree/sub/empty"), "")?;

    run(bench, &["mkdir", "/a"], 0)?;
    run(bench, &["mkdir", "/a"], 1)?;
    run(bench, &["mkdir", "/x/y/z"], 4)?;
    run(bench, &["mkdir", "-p", "/x/y/z"], 0)?;

    run(bench, &["put", "-r", &path("tree"), "/a/"], 0)?;
    let listed = text(&run(bench, &["ls", "-R", "/a"], 0)?);
    for name in ["large", "small", "empty", "sub"] {
        assert!(listed.contains(name), "{listed}");
    }
    let put = ["put", &path("tree/large"), "/a/tree/large"];
    run(bench, &put, 1)?;
    run(bench, &["put", "-f", &path("tree/large"), "/a/tree/large"], 0)?;

    let stat = json(bench, &["stat", "/a/tree/large"], 0)?;
    let item = stat.get(0).unwrap_or(&stat);
    assert_eq!(item.get("length").and_then(Value::as_u64), Some(3_000_000), "{stat}");
    assert_eq!(item.get("chunks").and_then(Value::as_u64), Some(3), "{stat}");
    run(bench, &["stat", "/a/none"], 4)?;

    run(bench, &["get", "-r", "/a/tree", &path("back")], 0)?;
    assert_eq!(std::fs::read(path("back/large"))?, large);
    assert_eq!(std::fs::read_to_string(path("back/sub/small"))?, "hello");
    assert_eq!(std::fs::read(path("back/sub/empty"))?, b"");
    run(bench, &["get", "/a/tree/large", &path("back/large")], 1)?;
    run(bench, &["get", "/a/tree/none", &path("none")], 4)?;
    assert!(!std::path::Path::new(&path("none")).exists(), "a failed get leaves nothing");

    assert_eq!(text(&run(bench, &["cat", "/a/tree/sub/small"], 0)?), "hello");
    let part = ["cat", "--offset", "1", "--length", "3", "/a/tree/sub/small"];
    assert_eq!(text(&run(bench, &part, 0)?), "ell");
    run(bench, &["cat", "/a/none"], 4)?;

    let mut put = bench
        .kubectl()
        .args(["put", "-", "/a/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    put.stdin.take().context("a pipe")?.write_all(b"from a pipe")?;
    assert!(put.wait()?.success());
    assert_eq!(text(&run(bench, &["get", "/a/stdin", "-"], 0)?), "from a pipe");

    run(bench, &["mv", "/a/stdin", "/a/moved"], 0)?;
    run(bench, &["mv", "/a/stdin", "/a/again"], 4)?;
    run(bench, &["mv", "/a/moved", "/x"], 0)?;
    assert_eq!(text(&run(bench, &["cat", "/x/moved"], 0)?), "from a pipe");

    let chunks = json(bench, &["locate", "/a/tree/large"], 0)?;
    let chunks = chunks.as_array().context("a list")?;
    assert_eq!(chunks.len(), 3);
    for chunk in chunks {
        assert_eq!(chunk["servers"].as_array().map(Vec::len), Some(3), "{chunk}");
    }
    run(bench, &["locate", "/a"], 1)?;

    let status = json(bench, &["status"], 0)?;
    assert_eq!(status["servers"].as_array().map(Vec::len), Some(4), "{status}");
    assert_eq!(status["files"].as_u64(), Some(4), "{status}");
    assert!(text(&run(bench, &["status"], 0)?).contains("healthy"));
    let fsck = json(bench, &["fsck"], 0)?;
    assert_eq!(fsck["problem_count"].as_u64(), Some(0), "{fsck}");

    run(bench, &["rm", "/a"], 1)?;
    run(bench, &["rm", "/a/none"], 4)?;
    run(bench, &["rm", "-f", "/a/none"], 0)?;
    run(bench, &["rm", "-rf", "/a"], 0)?;
    run(bench, &["ls", "/a"], 4)?;
    assert_eq!(text(&run(bench, &["ls"], 0)?).trim(), "x/");
    trash(bench)
}

/// After `/a` was removed, with the file `/x/moved` there.
fn trash(bench: &Bench) -> anyhow::Result<()> {
    let list = json(bench, &["trash", "list"], 0)?;
    let newest = list.as_array().and_then(|list| list.last()).context("an entry")?;
    assert_eq!((newest["path"].as_str(), newest["type"].as_str()), (Some("/a"), Some("directory")));
    assert!(newest["files"].as_u64() > Some(0), "{newest}");
    assert!(newest["expires_at"].as_u64() > newest["deleted_at"].as_u64(), "{newest}");
    assert!(text(&run(bench, &["trash", "list"], 0)?).contains("/a/"));
    assert!(text(&run(bench, &["status"], 0)?).contains("trash: "));

    run(bench, &["trash", "restore", "/a/none"], 4)?;
    run(bench, &["trash", "restore", "999999"], 4)?;
    run(bench, &["trash", "restore", "a"], 1)?;
    run(bench, &["trash", "restore", "/a", "--to", "/x"], 1)?;
    let restored = json(bench, &["trash", "restore", "/a", "--to", "/b/a"], 0)?;
    assert_eq!((restored["path"].as_str(), &restored["inode"]), (Some("/b/a"), &newest["inode"]));
    run(bench, &["stat", "/b/a/tree/large"], 0)?;

    run(bench, &["rm", "/x/moved"], 0)?;
    assert_eq!(text(&run(bench, &["trash", "restore", "/x/moved"], 0)?), "restored /x/moved\n");
    assert_eq!(text(&run(bench, &["cat", "/x/moved"], 0)?), "from a pipe");
    run(bench, &["rm", "/x/moved"], 0)?;
    run(bench, &["trash", "empty", "/b"], 4)?;
    assert_eq!(json(bench, &["trash", "empty", "/x/moved"], 0)?["removed"], 1);
    run(bench, &["trash", "restore", "/x/moved"], 4)?;
    run(bench, &["trash", "empty"], 0)?;
    assert_eq!(json(bench, &["trash", "list"], 0)?, Value::Array(Vec::new()));
    run(bench, &["rm", "-r", "--skip-trash", "/b"], 0)?;
    assert_eq!(json(bench, &["trash", "list"], 0)?, Value::Array(Vec::new()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_problems_and_an_unreachable_cluster_have_codes_of_their_own()
-> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape { servers: 3, ..Shape::default() }).await?;
        tokio::task::block_in_place(|| {
            let wrong = bench.kubectl().arg("frobnicate").output()?;
            assert_eq!(wrong.status.code(), Some(2));
            let help = bench.kubectl().arg("--help").output()?;
            assert!(help.status.success() && text(&help).contains("Exit codes"));

            let mut put = bench.kubectl().args(["put", "-", "/f"]).stdin(Stdio::piped()).spawn()?;
            put.stdin.take().context("a pipe")?.write_all(b"x")?;
            assert!(put.wait()?.success());
            run(&bench, &["fsck"], 0)?;
            bench.kill(Part::Server(2))?;
            let until = std::time::Instant::now() + Duration::from_secs(20);
            // There is no fourth server to make a new copy on.
            while bench.kubectl().arg("fsck").output()?.status.code() != Some(3) {
                ensure!(std::time::Instant::now() < until, "fsck never found the missing copy");
            }
            let found = json(&bench, &["fsck"], 3)?;
            assert_eq!(found["problems"][0]["kind"], "UNDER_REPLICATED", "{found}");

            let nowhere = Command::new(bench.binary("kubectl-gfs"))
                .args(["--endpoint", "127.0.0.1:1", "--timeout", "1", "status"])
                .output()?;
            assert_eq!(nowhere.status.code(), Some(5), "{nowhere:?}");
            Ok(())
        })
    })
    .await
}

/// Runs it with something on its standard input; returns what it prints.
fn fed(bench: &Bench, arguments: &[&str], input: &[u8], code: i32) -> anyhow::Result<String> {
    let mut child = bench
        .kubectl()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // A verb that refuses does not read all of it.
    let _ = child.stdin.take().context("a pipe")?.write_all(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(code), "{arguments:?} ended with {:?}", output.status);
    Ok(text(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_appended_and_files_cut_by_hand() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        tokio::task::block_in_place(|| append_and_truncate(&bench))
    })
    .await
}

fn append_and_truncate(bench: &Bench) -> anyhow::Result<()> {
    let lines = "one\ntwo\nand three";
    let said = fed(bench, &["append", "-p", "--lines", "/logs/today"], lines.as_bytes(), 0)?;
    assert!(said.starts_with("appended 3 records"), "{said}");
    assert!(said.contains("the first at 0, the last at 8"), "{said}");
    assert_eq!(text(&run(bench, &["cat", "/logs/today"], 0)?), lines);

    // From files, in records of a size, as JSON.
    let local = tempfile::tempdir()?;
    let path = local.path().join("more").display().to_string();
    std::fs::write(&path, "0123456789")?;
    let append = ["append", "--record", "4", "--durability", "disk", "/logs/today", &path];
    let done = json(bench, &append, 0)?;
    assert_eq!(done["records"].as_u64(), Some(3), "{done}");
    assert_eq!(done["bytes"].as_u64(), Some(10), "{done}");
    assert_eq!(done["first"].as_u64(), Some(17), "{done}");
    assert_eq!(text(&run(bench, &["tail", "-c", "10", "/logs/today"], 0)?), "0123456789");

    run(bench, &["append", "--no-create", "/logs/none", &path], 4)?;
    run(bench, &["append", "/logs", &path], 1)?;
    run(bench, &["append", "--record", "1G", "/logs/today", &path], 1)?;
    // A line that no record can hold: those before it are kept.
    let long = [b"short\n".to_vec(), vec![b'x'; 300_000]].concat();
    fed(bench, &["append", "--lines", "/logs/long"], &long, 1)?;
    assert_eq!(text(&run(bench, &["cat", "/logs/long"], 0)?), "short\n");

    run(bench, &["truncate", "/logs/today", "3"], 0)?;
    assert_eq!(text(&run(bench, &["cat", "/logs/today"], 0)?), "one");
    run(bench, &["truncate", "/logs/today", "3M"], 0)?;
    let stat = json(bench, &["stat", "/logs/today"], 0)?;
    assert_eq!(stat.get(0).unwrap_or(&stat)["length"].as_u64(), Some(3 << 20), "{stat}");
    let zeros = run(bench, &["tail", "-c", "5", "/logs/today"], 0)?;
    assert_eq!(zeros.stdout, [0; 5]);
    run(bench, &["truncate", "/logs/none", "3"], 4)?;
    run(bench, &["truncate", "/logs/today", "3X"], 2)?;

    // What is added while somebody looks on.
    let mut tail = bench
        .kubectl()
        .args(["cat", "-f", "--offset", "6", "/logs/long"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = std::io::BufReader::new(tail.stdout.take().context("a pipe")?);
    fed(bench, &["append", "--lines", "/logs/long"], b"later\n", 0)?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    tail.kill()?;
    tail.wait()?;
    assert_eq!(line, "later\n");
    Ok(())
}
