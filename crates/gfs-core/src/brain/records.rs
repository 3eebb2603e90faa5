//! Keys and values of the metadata store, as `proto/gfs/v1/records.proto` specifies them.

use bytes::{BufMut, Bytes, BytesMut};
use gfs_types::{ChunkHandle, ClientId, InodeId, ServerNumber};
use prost::Message;

/// Format of the records, as `ClusterRecord.format` says it.
pub(crate) const FORMAT: u32 = 3;

/// Extents of a page; the first page is in the entry.
pub(crate) const EXTENTS_PER_PAGE: usize = 32;

/// A key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The cluster.
    Cluster,
    /// A name in a directory.
    Entry(InodeId, String),
    /// A further page of a file's extents.
    Page(InodeId, u32),
    /// A chunkserver.
    Server(ServerNumber),
    /// A client's outcomes.
    Client(ClientId),
    /// A chunk that no file needs.
    Garbage(ChunkHandle),
}

pub(crate) fn cluster_key() -> Bytes {
    Bytes::from_static(b"c")
}

fn key(kind: u8, parts: &[&[u8]]) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.put_u8(kind);
    for part in parts {
        key.put_slice(part);
    }
    key.freeze()
}

pub(crate) fn entry_key(directory: InodeId, name: &[u8]) -> Bytes {
    key(b'd', &[&directory.0.to_be_bytes(), name])
}

pub(crate) fn page_key(inode: InodeId, page: u32) -> Bytes {
    key(b'x', &[&inode.0.to_be_bytes(), &page.to_be_bytes()])
}

pub(crate) fn server_key(server: ServerNumber) -> Bytes {
    key(b's', &[&server.0.to_be_bytes()])
}

pub(crate) fn client_key(client: ClientId) -> Bytes {
    key(b'o', &[&client.0.to_be_bytes()])
}

pub(crate) fn garbage_key(handle: ChunkHandle) -> Bytes {
    key(b'g', &[&handle.0.to_be_bytes()])
}

impl Key {
    /// Reads a key; `None` if it is none of ours.
    pub(crate) fn parse(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
        Some(match kind {
            b'c' if rest.is_empty() => Self::Cluster,
            b'd' => {
                let (directory, name) = rest.split_at_checked(8)?;
                Self::Entry(InodeId(number(directory)?), std::str::from_utf8(name).ok()?.into())
            }
            b'x' => {
                let (inode, page) = rest.split_at_checked(8)?;
                let page = u32::from_be_bytes(page.try_into().ok()?);
                Self::Page(InodeId(number(inode)?), page)
            }
            b's' => Self::Server(ServerNumber(u32::from_be_bytes(rest.try_into().ok()?))),
            b'o' => Self::Client(ClientId(number(rest)?)),
            b'g' => Self::Garbage(ChunkHandle(number(rest)?)),
            _ => return None,
        })
    }
}

/// The encoded form.
pub(crate) fn encode(record: &impl Message) -> Bytes {
    record.encode_to_vec().into()
}

/// The page that holds the extent of this index.
pub(crate) fn page_of(index: usize) -> u32 {
    u32::try_from(index / EXTENTS_PER_PAGE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for (bytes, key) in [
            (cluster_key(), Key::Cluster),
            (entry_key(InodeId(7), b"na\xc3\xa9me"), Key::Entry(InodeId(7), "naéme".into())),
            (entry_key(InodeId(0), b""), Key::Entry(InodeId(0), String::new())),
            (page_key(InodeId(8), 3), Key::Page(InodeId(8), 3)),
            (server_key(ServerNumber(9)), Key::Server(ServerNumber(9))),
            (client_key(ClientId(10)), Key::Client(ClientId(10))),
            (garbage_key(ChunkHandle(11)), Key::Garbage(ChunkHandle(11))),
        ] {
            assert_eq!(Key::parse(&bytes), Some(key));
        }
    }

    #[test]
    fn other_keys_are_none_of_ours() {
        for bytes in [&b""[..], b"z", b"c1", b"d123", b"x12345678", b"s1", b"o", b"d12345678\xff"] {
            assert_eq!(Key::parse(bytes), None, "{bytes:?}");
        }
    }
}
