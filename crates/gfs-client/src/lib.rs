//! The library applications use to read and write files in GFS.
//!
//! [`Client`] has the namespace and opens files; [`File`] has the bytes. [`Appender`] adds records to
//! a file beside others, [`Overwriter`] replaces bytes in its middle.
//!
//! ```no_run
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! Every call has a deadline ([`ClientOptions::deadline`]) within which it is tried again wherever
//! that may help: other masters, other replicas, a new version of a chunk. A mutation that is tried
//! again takes effect once. Bytes are checksummed where they are handed in and verified before they
//! are handed out.

mod append;
mod client;
mod error;
mod file;
mod masters;
mod open;
mod options;
mod overwrite;
mod read;
mod sink;
mod trash;
mod write;

pub use append::{AppendOptions, Appender};
pub use client::{Client, Page};
pub use error::{Error, Result};
pub use file::File;
pub use gfs_proto::v1 as proto;
pub use gfs_types::{ErrorCode, GfsPath};
pub use open::CreateOptions;
pub use options::{ClientOptions, Durability, RemoveOptions};
pub use overwrite::Overwriter;
pub use trash::Trash;
