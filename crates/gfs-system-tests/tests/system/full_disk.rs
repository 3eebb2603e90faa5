//! A disk that fills up in the middle of a write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_local::Part;
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, write_file};

/// A small file system, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        let size = format!("size={bytes}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "gfs-test"]).arg(at).status();
        ensure!(status.context("mount")?.success(), "a tmpfs cannot be mounted: root is needed");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the processes that use it may be ending still.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_costs_one_copy_and_no_acknowledged_byte() -> anyhow::Result<()> {
    bounded(Duration::from_secs(90), async {
        let directory = tempfile::tempdir()?;
        let mut disk = None;
        // One chunk is larger than the small disk, and three servers are just enough: the disk is
        // chosen, and fills up in the middle of the chunk.
        let shape = Shape { servers: 3, chunk_size: 64 << 20, ..Shape::default() };
        let small = directory.path().join(Part::Server(0).to_string());
        let bench = Bench::start_in(directory, shape, |_| {
            disk = Some(SmallDisk::mount(&small, 24 << 20)?);
            Ok(())
        })
        .await?;
        let (content, length) = (Content(1), 48_u64 << 20);
        let progress = Arc::<Acknowledged>::default();
        write_file(bench.client.clone(), "/f".to_owned(), content, length, 3, progress).await?;
        bench.check_file("/f", content, length).await?;
        // The two that have room hold it, and it is not called full.
        bench.check_replicas("/f", content, length, 2).await?;
        let status = bench.client.status().await?;
        let health = status.chunks.unwrap_or_default();
        assert_eq!((health.total, health.full), (1, 0), "{health:?}");
        for part in bench.cluster.parts() {
            assert!(bench.cluster.pid(part)?.is_some(), "{part} must survive a full disk");
        }
        let server = status.servers.iter().find(|s| s.total_bytes < 1 << 30);
        println!("{server:?}");
        drop(bench);
        drop(disk);
        Ok(())
    })
    .await
}
