//! Fewer servers than copies wanted.

use std::time::Duration;

use gfs_client::{CreateOptions, ErrorCode};
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Shape, bounded};
use tokio::io::AsyncWriteExt as _;

const LIMIT: Duration = Duration::from_secs(90);
const WHOLE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_servers_what_can_be_is_kept_and_the_rest_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let shape = Shape { servers: 2, deadline: Duration::from_secs(4), ..Shape::default() };
        let bench = Bench::start(shape).await?;
        let content = Content(1);
        // Three copies are wanted, two are possible and enough to acknowledge.
        let mut file = bench.client.create("/two").await?;
        file.write_bytes(content.bytes(0, 100_000)).await?;
        file.close().await?;
        bench.check_replicas("/two", content, 100_000, 2).await?;
        let health = bench.client.status().await?.chunks.unwrap_or_default();
        assert_eq!((health.total, health.full), (1, 0), "it is not called full: {health:?}");
        let found = bench.client.fsck("/", 10).await?;
        assert!(found.problems.iter().all(|problem| problem.kind == "UNDER_REPLICATED"));
        assert_eq!(found.problem_count, 1);

        // Below two nothing with a goal of three is acknowledged.
        bench.kill(Part::Server(1))?;
        bench
            .wait_status("one is dead", WHOLE, |status| {
                status.servers.iter().any(|s| s.state() == gfs_client::proto::ServerState::Dead)
            })
            .await?;
        let outcome = async {
            let mut file = bench.client.create("/three").await?;
            file.write_all(b"x").await?;
            file.close().await?;
            anyhow::Ok(())
        }
        .await;
        let error = outcome.expect_err("one copy is too few");
        let code = error
            .chain()
            .find_map(|cause| {
                let inner = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
                let inner = inner.and_then(|inner| inner.downcast_ref::<gfs_client::Error>());
                cause.downcast_ref::<gfs_client::Error>().or(inner)
            })
            .map(gfs_client::Error::code);
        assert_eq!(code, Some(ErrorCode::TooFewServers), "{error:#}");
        // A goal of one is another matter.
        let options = CreateOptions { copies: 1, ..CreateOptions::default() };
        let mut file = bench.client.create_with("/one", options).await?;
        file.write_all(b"x").await?;
        file.close().await?;
        bench.check_text("/one", "x").await?;
        bench.check_file("/two", content, 100_000).await?;

        // With the other server back, writing goes on.
        bench.restart(Part::Server(1))?;
        let writable = || async {
            match bench.client.create("/four").await {
                Ok(file) => Ok(file.close().await.is_ok()),
                Err(error) if error.code() == ErrorCode::TooFewServers => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        gfs_system_tests::eventually("two servers suffice again", WHOLE, writable).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_below_the_least_copies_waits_for_a_server() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let shape = Shape { servers: 2, ..Shape::default() };
        let bench = Bench::start(shape).await?;
        let content = Content(2);
        let mut file = bench.client.create("/f").await?;
        file.write_bytes(content.bytes(0, 50_000)).await?;
        file.flush().await?;
        bench.kill(Part::Server(0))?;
        file.write_bytes(content.bytes(50_000, 50_000)).await?;
        let waited = tokio::time::timeout(Duration::from_secs(4), file.flush()).await;
        assert!(waited.is_err(), "nothing may be acknowledged with one copy: {waited:?}");
        bench.restart(Part::Server(0))?;
        file.flush().await?;
        file.close().await?;
        bench.check_file("/f", content, 100_000).await?;
        bench.check_replicas("/f", content, 100_000, 2).await
    })
    .await
}
