//! The library applications use to read and write files in GFS.
//!
//! [`Client`] has the namespace.

mod client;
mod error;
mod masters;
mod options;

pub use client::{Client, Page};
pub use error::{Error, Result};
pub use gfs_proto::v1 as proto;
pub use options::ClientOptions;
