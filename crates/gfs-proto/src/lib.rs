//! Messages and services generated from `proto/gfs/v1`. Never edited by hand: `make generate`.
//!
//! The `.proto` files are the specification of the protocol and say what every field means; the
//! code here is what the generator made of them, comments included.

/// Version 1 of the protocol.
// Generated code is held to the generator's taste, not to ours.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    include!("generated/gfs.v1.messages.rs");

    /// Clients and servers of the services.
    #[cfg(feature = "rpc")]
    pub mod rpc {
        include!("generated/gfs.v1.rpc.rs");
    }
}

mod error;
#[cfg(feature = "rpc")]
mod status;

#[cfg(feature = "rpc")]
pub use status::{detail_of, status_of};
