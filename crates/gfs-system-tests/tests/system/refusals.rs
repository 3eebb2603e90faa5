//! What does not belong together is refused, with an error that says so, and touches nothing.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_client::{Client, ClientOptions, ErrorCode};
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Replica, Shape, bounded};
use gfs_types::ClusterId;
use tokio::io::AsyncWriteExt as _;

const LIMIT: Duration = Duration::from_secs(60);
const SMALL: Shape =
    Shape { servers: 2, directories: 1, chunk_size: 1 << 20, deadline: Duration::from_secs(10) };

/// Runs a process that must end by itself, with an error.
fn refused(command: &mut Command) -> anyhow::Result<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            let Output { stderr, .. } = child.wait_with_output()?;
            anyhow::bail!("it still ran: {}", String::from_utf8_lossy(&stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it ended with success: {words}");
    ensure!(!words.contains("panicked"), "it panicked: {words}");
    Ok(words)
}

/// A chunkserver with these flags, at a port of its own.
fn chunkserver(bench: &Bench, data: &std::path::Path) -> Command {
    let mut command = Command::new(&bench.cluster.options().binaries.chunkserver);
    command
        .arg(format!("--listen={}:0", bench.cluster.options().address))
        .arg(format!("--http-listen={}:0", bench.cluster.options().address))
        .arg(format!("--data={}", data.display()))
        .arg(format!("--master={}", bench.cluster.endpoint()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_cluster_is_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(SMALL).await?;
        let options = ClientOptions {
            cluster: Some(ClusterId(0x0123_4567_89ab_4def_8123_4567_89ab_cdef)),
            ..ClientOptions::default()
        };
        let error = Client::connect([bench.cluster.endpoint()], options).await;
        let error = error.expect_err("it means another cluster");
        assert_eq!(error.code(), ErrorCode::WrongCluster, "{error}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_cluster_is_refused_untouched() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let one = Bench::start(SMALL).await?;
        let other = Bench::start(SMALL).await?;
        let content = Content(1);
        let mut file = one.client.create("/f").await?;
        file.write_bytes(content.bytes(0, 100_000)).await?;
        file.close().await?;
        let data = one.cluster.data(Part::Server(0))?.to_owned();
        tokio::task::block_in_place(|| one.cluster.end(Part::Server(0)))?;
        let before = listing(&data)?;
        assert!(before.iter().any(|line| line.contains(".chunk")), "{before:?}");

        let words = tokio::task::block_in_place(|| refused(&mut chunkserver(&other, &data)))?;
        assert!(words.contains("cluster"), "{words}");
        assert_eq!(listing(&data)?, before, "nothing was touched");
        assert_eq!(other.client.status().await?.servers.len(), 2, "it did not register");

        one.restart(Part::Server(0))?;
        one.check_replicas("/f", content, 100_000, 2).await
    })
    .await
}

/// Names, lengths and contents' checksums of all files below.
fn listing(directory: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            all.extend(listing(&path)?);
        } else {
            let bytes = std::fs::read(&path)?;
            let crc = gfs_types::Crc::of(&bytes);
            all.push(format!("{} {} {:08x}", path.display(), bytes.len(), crc.0));
        }
    }
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_directory_is_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(SMALL).await?;
        let data = bench.cluster.data(Part::Server(0))?;
        let words = tokio::task::block_in_place(|| refused(&mut chunkserver(&bench, data)))?;
        assert!(words.contains("in use") || words.contains("another process"), "{words}");
        assert!(words.contains(&data.display().to_string()), "it names the directory: {words}");

        let mut master = Command::new(&bench.cluster.options().binaries.master);
        master
            .arg(format!("--listen={}:0", bench.cluster.options().address))
            .arg(format!("--http-listen={}:0", bench.cluster.options().address))
            .arg(format!("--data={}", bench.cluster.data(Part::Master)?.display()));
        let words = tokio::task::block_in_place(|| refused(&mut master))?;
        assert!(words.contains("in use") || words.contains("another process"), "{words}");

        let mut file = bench.client.create("/f").await?;
        file.write_all(b"still here").await?;
        file.close().await?;
        bench.check_text("/f", "still here").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_whose_port_is_taken_say_which() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(SMALL).await?;
        let fresh = tempfile::tempdir()?;
        let taken = [bench.cluster.grpc(Part::Master)?, bench.cluster.http(Part::Server(0))?];
        let binaries = &bench.cluster.options().binaries;
        for binary in [&binaries.master, &binaries.chunkserver] {
            for (grpc, http) in [(Some(taken[0]), None), (None, Some(taken[1]))] {
                let any = std::net::SocketAddr::from((bench.cluster.options().address, 0));
                let mut command = Command::new(binary);
                command
                    .arg(format!("--listen={}", grpc.unwrap_or(any)))
                    .arg(format!("--http-listen={}", http.unwrap_or(any)))
                    .arg(format!("--data={}", fresh.path().join("data").display()));
                if binary == &binaries.chunkserver {
                    command.arg(format!("--master={}", bench.cluster.endpoint()));
                }
                let words = tokio::task::block_in_place(|| refused(&mut command))?;
                let port = grpc.or(http).context("one is taken")?.port().to_string();
                assert!(words.contains("in use") && words.contains(&port), "{binary:?}: {words}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_volume_is_garbled_does_not_start_over() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(SMALL).await?;
        let content = Content(2);
        let mut file = bench.client.create("/f").await?;
        file.write_bytes(content.bytes(0, 10_000)).await?;
        file.close().await?;
        let data = bench.cluster.data(Part::Server(0))?.to_owned();
        tokio::task::block_in_place(|| bench.cluster.end(Part::Server(0)))?;
        let record = data.join("gfs-volume");
        let good = std::fs::read(&record)?;
        std::fs::write(&record, b"not a volume")?;
        let words = tokio::task::block_in_place(|| refused(&mut chunkserver(&bench, &data)))?;
        assert!(words.contains("gfs-volume") || words.contains("volume"), "{words}");
        assert!(!Replica::all(&data, bench.chunk_size())?.is_empty(), "its chunks stay");
        std::fs::write(&record, good)?;
        bench.restart(Part::Server(0))?;
        bench.check_replicas("/f", content, 10_000, 2).await
    })
    .await
}
