//! A busy machine is not a dead one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gfs_client::proto::ServerState;
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, write_file};

/// Keeps cores busy until dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn of(threads: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let spin = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..threads).map(|_| std::thread::spawn(spin(Arc::clone(&stop)))).collect();
        Self { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_is_found_dead_because_the_machine_is_busy() -> anyhow::Result<()> {
    let seconds: u64 = std::env::var("GFS_BUSY_SECONDS").map_or(Ok(10), |text| text.parse())?;
    bounded(Duration::from_secs(seconds + 90), async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(1);
        let progress = Arc::<Acknowledged>::default();
        let writer = tokio::spawn(write_file(
            bench.client.clone(),
            "/f".to_owned(),
            content,
            u64::MAX,
            3,
            Arc::clone(&progress),
        ));
        let cores = std::thread::available_parallelism()?.get();
        let load = Load::of(2 * cores);
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let status = bench.client.status().await?;
            for server in &status.servers {
                assert_ne!(server.state(), ServerState::Dead, "{server:?}");
            }
            assert!(status.incidents.is_empty(), "{:?}", status.incidents);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        progress.stop();
        let length = writer.await??;
        drop(load);
        println!("{} MiB were written meanwhile", length >> 20);
        bench.check_file("/f", content, length).await
    })
    .await
}
