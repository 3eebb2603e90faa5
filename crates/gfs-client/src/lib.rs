//! The library applications use to read and write files in GFS.
//!
//! [`Client`] has the namespace and opens files; [`File`] has the bytes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gfs_client::{Client, ClientOptions};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! let client = Client::connect(["127.0.0.1:7000"], ClientOptions::default()).await?;
//! client.mkdir_all("/logs").await?;
//!
//! let mut file = client.create("/logs/today").await?;
//! file.write_all(b"hello").await?;
//! file.close().await?;
//!
//! let mut text = String::new();
//! client.open("/logs/today").await?.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! Every call has a deadline ([`ClientOptions::deadline`]) within which it is tried again wherever
//! that may help: other masters, other replicas, a new version of a chunk. A mutation that is tried
//! again takes effect once. Bytes are checksummed where they are handed in and verified before they
//! are handed out.

mod client;
mod error;
mod file;
mod masters;
mod open;
mod options;
mod read;
mod sink;
mod write;

pub use client::{Client, Page};
pub use error::{Error, Result};
pub use file::File;
pub use gfs_proto::v1 as proto;
pub use gfs_types::{ErrorCode, GfsPath};
pub use open::CreateOptions;
pub use options::ClientOptions;
