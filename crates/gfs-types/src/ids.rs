//! Ids and counters: who mints each, and the rule it obeys (the table of `ARCHITECTURE.md`,
//! *Numbers*).

use std::fmt;

/// Version of the wire protocol, exchanged in every handshake. A peer with another major protocol
/// version is refused before anything else is read.
pub const PROTOCOL_VERSION: u32 = 1;

/// The inode id of `/`.
pub const ROOT_INODE: InodeId = InodeId(1);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one. Saturates at `u64::MAX`, which no counter reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter! {
    /// A leadership term of the master. Servers store the highest they saw and refuse lower ones.
    Epoch
}
counter! {
    /// Orders metadata transactions; compared and incremented in every one.
    CommitSequence
}
counter! {
    /// A file or directory. Minted by the leader, never reused. `0` is no inode.
    InodeId
}
counter! {
    /// The replication state of a chunk (GFS paper §4.5): raised at every grant to existing
    /// content, every change of membership and every truncation. A burnt number is never reused.
    /// `0` means *none*: a replica complete at 0 has never been made equal to a current one.
    Version
}
counter! {
    /// The order of mutations within one version, minted by the primary from 1. A gap blocks.
    Serial
}
counter! {
    /// A client's own counter of mutating calls (from 1), so that a repeat is recognised.
    OpSequence
}

/// A chunk (GFS paper §2.3: *chunk handle*). Minted by the leader, never reused; `0` is no chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkHandle(pub u64);

impl fmt::Display for ChunkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The short number under which a registered server stands in chunk records. Minted by the leader
/// from 1, never reused; `0` is no server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerNumber(pub u32);

impl fmt::Display for ServerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The 16 bytes of its wire and disk form, big endian.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// Reads the wire form. `None` unless it is exactly 16 bytes and not all zero.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                let id = u128::from_be_bytes(bytes.try_into().ok()?);
                (id != 0).then_some(Self(id))
            }

            /// Reads the form that `Display` writes: 32 hexadecimal digits, dashes ignored.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                let id = u128::from_str_radix(&digits, 16).ok()?;
                (id != 0).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let v = self.0;
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    (v >> 96) as u32,
                    (v >> 80) as u16,
                    (v >> 64) as u16,
                    (v >> 48) as u16,
                    v & 0xffff_ffff_ffff
                )
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid! {
    /// Names a cluster; minted by its first master; in every request, in the metadata store and on
    /// every volume. A mismatch is refused and touches nothing.
    ClusterId
}
uuid! {
    /// A chunkserver's identity, minted with its first volume and on each of them. Never a pod name
    /// or an address.
    ServerUuid
}
uuid! {
    /// A volume (data directory) of a chunkserver, minted with it. Two directories never have the
    /// same one, unless one is a copy of the other.
    VolumeUuid
}

/// A client process: random, drawn by the client when it connects. With [`OpSequence`] it names an
/// operation; as a *writer* it names a stream of mutations of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_print_and_parse() {
        let id = ClusterId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0011-223344556677");
        assert_eq!(ClusterId::parse(&id.to_string()), Some(id));
        assert_eq!(ClusterId::from_slice(&id.to_bytes()), Some(id));
    }

    #[test]
    fn absurd_uuids_are_refused() {
        for text in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "zz",
            "+1234567-89ab-cdef-0011-223344556677",
        ] {
            assert_eq!(ClusterId::parse(text), None, "{text}");
        }
        assert_eq!(ClusterId::from_slice(&[0; 16]), None);
        assert_eq!(ClusterId::from_slice(&[1; 15]), None);
    }
}
