//! Writes a file, appends to it, and reads it back: `hello ENDPOINT`.

use std::error::Error;

use gfs_client::{Client, ClientOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, SeekFrom};

/// Does it at the cluster behind `endpoint`.
pub async fn hello(endpoint: &str) -> Result<String, Box<dyn Error>> {
    let client = Client::connect([endpoint], ClientOptions::default()).await?;
    client.mkdir_all("/hello").await?;

    // Closed, a file is on as many servers as its goal says, and its length is recorded.
    let mut file = client.create("/hello/world.txt").await?;
    file.write_all(b"Hello, world").await?;
    file.close().await?;

    let mut file = client.open_write("/hello/world.txt").await?;
    file.write_all(b", and all who read").await?;
    file.close().await?;

    let mut file = client.open("/hello/world.txt").await?;
    assert_eq!(file.read_at(7, 5).await?, "world");
    file.seek(SeekFrom::Start(0)).await?;
    let mut text = String::new();
    file.read_to_string(&mut text).await?;

    client.rename("/hello/world.txt", "/hello/everybody.txt", false).await?;
    assert_eq!(client.stat("/hello/everybody.txt").await?.length, text.len() as u64);
    client.remove_all("/hello").await?;
    Ok(text)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).ok_or("usage: hello HOST:PORT")?;
    println!("{}", hello(&endpoint).await?);
    Ok(())
}
