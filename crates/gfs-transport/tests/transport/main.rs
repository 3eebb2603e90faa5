//! The crate from outside: clients and servers of it, over a network in memory or TCP.

mod bulk;
mod connections;
mod net;
