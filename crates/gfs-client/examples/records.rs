//! Appends records beside others, overwrites bytes, cuts a file: `records ENDPOINT`.

use std::error::Error;

use gfs_client::{AppendOptions, Client, ClientOptions, CreateOptions, Durability, ErrorCode};

/// Does it at the cluster behind `endpoint`.
pub async fn records(endpoint: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect([endpoint], ClientOptions::default()).await?;

    // Two appenders of one file, as if in two programs.
    let create = Some(CreateOptions { parents: true, ..CreateOptions::default() });
    let options = AppendOptions { create, ..AppendOptions::default() };
    let one = client.open_append_with("/records/log", options).await?;
    let other = client.open_append("/records/log").await?;
    let first = one.append("from one\n").await?;
    let second = other.append_with("from the other, on disk\n", Durability::Disk).await?;
    assert!(first < second, "one was acknowledged before the other began");
    one.close().await?;
    other.close().await?;

    let file = client.open("/records/log").await?;
    assert_eq!(file.read_at(second, 14).await?, "from the other");

    // Overwriting changes no length; beyond the end nothing can be overwritten.
    let log = client.open_overwrite("/records/log").await?;
    log.write_at(first, "FROM").await?;
    let refused = log.write_at(1 << 20, "too far").await.map_err(|error| error.code());
    assert_eq!(refused, Err(ErrorCode::OutOfRange));
    log.close().await?;
    assert_eq!(file.read_at(0, 8).await?, "FROM one");

    // A file is extended by zeros, and cut.
    client.truncate("/records/log", 1 << 20).await?;
    let zeros = client.open("/records/log").await?.read_at(1 << 19, 100).await?;
    assert!(zeros.iter().all(|byte| *byte == 0));
    assert_eq!(client.truncate("/records/log", second).await?.length, second);
    client.remove_all("/records").await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).ok_or("usage: records HOST:PORT")?;
    records(&endpoint).await
}
