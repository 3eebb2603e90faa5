//! What must hold of the whole cluster.
//!
//! While a run goes on, every client checks each byte that it reads. The checks here look at what
//! is stored, at the end: [`acknowledged`] at the bytes, [`replicas`] at the copies, [`goal`] at
//! whether the cluster came back to what it should be. [`promise`] says, at each loss of power, what
//! of it can still be asked for.

pub mod acknowledged;
pub mod extents;
pub mod goal;
pub mod promise;
pub mod replicas;
