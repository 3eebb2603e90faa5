//! Appending, files that are open on both sides, and rights.

use std::time::Duration;

use gfs_client::ErrorCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::setup::{CHUNK, Setup, assert_same, connect, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appending_goes_on_where_it_ended() {
    let setup = Setup::new(3).await;
    let client = &setup.client;
    client.create_empty("/file").await.unwrap();
    let mut length = 0;
    let chunk = CHUNK as u64;
    for more in [1, 100_000, 0, chunk - 100_001, 5, 2 * chunk, 70_000] {
        let mut file = client.open_write("/file").await.unwrap();
        assert_eq!(file.len(), length);
        file.write_all(&text(3, length, length + more)).await.unwrap();
        length += more;
        assert_eq!(file.close().await.unwrap().length, length);
        let got = client.open("/file").await.unwrap().read_at(0, 1 << 24).await.unwrap();
        assert_same(&got, &text(3, 0, length));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_can_be_read_before_the_close() {
    let setup = Setup::new(3).await;
    let client = &setup.client;
    let mut writer = client.create("/log").await.unwrap();
    let mut length = 0;
    let mut reader = client.open("/log").await.unwrap();
    let mut got = Vec::new();
    for more in [10, 200_000, CHUNK as u64, 12_345, 2 * CHUNK as u64] {
        writer.write_all(&text(4, length, length + more)).await.unwrap();
        length += more;
        if more % 2 == 0 {
            writer.flush().await.unwrap();
        } else {
            assert_eq!(writer.sync().await.unwrap().length, length);
        }
        // One that is open all the time, and one that comes anew.
        reader.read_to_end(&mut got).await.unwrap();
        assert_same(&got, &text(4, 0, length));
        let again = client.open("/log").await.unwrap().read_at(0, 1 << 24).await.unwrap();
        assert_same(&again, &text(4, 0, length));
        assert_eq!(client.stat("/log").await.unwrap().length, length);
    }
    writer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writes_at_a_time_and_may_give_up() {
    let setup = Setup::new(3).await;
    let client = &setup.client;
    let other = connect(&setup.cluster, Duration::from_secs(2)).await;
    let mut file = client.create("/file").await.unwrap();
    file.write_all(&text(5, 0, 3 * CHUNK as u64)).await.unwrap();
    assert_eq!(other.open_write("/file").await.unwrap_err().code(), ErrorCode::Busy);
    file.abandon().await.unwrap();
    assert!(!client.exists("/file").await.unwrap());

    // Dropped without a close: what was flushed is there, and the same client may go on.
    let mut file = client.create("/file").await.unwrap();
    file.write_all(&text(5, 0, 100_000)).await.unwrap();
    file.flush().await.unwrap();
    drop(file);
    let mut file = client.open_write("/file").await.unwrap();
    assert_eq!(file.len(), 100_000);
    file.write_all(&text(5, 100_000, 200_000)).await.unwrap();
    file.close().await.unwrap();
    let got = other.open("/file").await.unwrap().read_at(0, 1 << 24).await.unwrap();
    assert_same(&got, &text(5, 0, 200_000));

    // Removed under the writer: an error, in time.
    let mut file = client.create("/gone").await.unwrap();
    file.write_all(&text(6, 0, 100_000)).await.unwrap();
    file.flush().await.unwrap();
    client.remove("/gone").await.unwrap();
    assert!(file.close().await.is_err());
}
