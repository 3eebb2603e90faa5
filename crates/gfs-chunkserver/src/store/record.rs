//! The volume's record: whose it is, and the highest numbers it has heard.

use super::{StoreError, StoreResult};
use crate::files::ChunkFiles;
use crate::store::layout::VolumeLayout;
use gfs_types::{
    ClusterId, CommitSequence, Crc, Epoch, Geometry, ServerNumber, ServerUuid, VolumeUuid,
};
use std::fmt::Write as _;
use std::path::Path;

/// The file `gfs-volume`: lines of a name, a space and a value, in this order, each once, ended by
/// the checksum of all bytes before its line. It is replaced as a whole (written beside, synced,
/// renamed, directory synced), so a crash leaves the old or the new one.
///
/// ```text
/// gfs-volume 2
/// cluster 01234567-89ab-cdef-0011-223344556677
/// server 8d3f0000-0000-0000-0000-000000000001
/// volume 77aa0000-0000-0000-0000-000000000002
/// number 3
/// chunk-size 67108864
/// epoch 12
/// sequence 90417
/// crc32c 5be3f21a
/// ```
///
/// `cluster none` and `number 0` stand until the server has first registered. Format 1 had no line
/// `volume`, since a server had one volume: its uuid is that of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// The cluster that the volume belongs to, once it does.
    pub cluster: Option<ClusterId>,
    /// The server's identity, minted with its first volume and the same on all of them.
    pub server: ServerUuid,
    /// The volume's own.
    pub volume: VolumeUuid,
    /// The number under which the cluster knows the server; 0 before it registered.
    pub number: ServerNumber,
    /// How chunks are cut.
    pub geometry: Geometry,
    /// The highest epoch seen.
    pub epoch: Epoch,
    /// The highest commit sequence heard, as of when it was last persisted.
    pub sequence: CommitSequence,
}

const MAX_RECORD: u64 = 4096;

impl VolumeRecord {
    /// The file's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let cluster = self.cluster.map_or_else(|| "none".to_owned(), |cluster| cluster.to_string());
        let text = format!(
            "gfs-volume 2\ncluster {cluster}\nserver {}\nvolume {}\nnumber {}\nchunk-size {}\nepoch {}\n\
             sequence {}\n",
            self.server,
            self.volume,
            self.number.0,
            self.geometry.chunk_size(),
            self.epoch,
            self.sequence,
        );
        framed(text)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// A text that says what does not fit.
    pub fn decode(text: &[u8]) -> Result<Self, String> {
        let body = unframed(text)?;
        let mut lines = body.lines();
        let mut field = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            value.ok_or_else(|| format!("the record has {line:?} in place of {name}"))
        };
        let format = match field("gfs-volume")? {
            "1" => 1,
            "2" => 2,
            format => return Err(format!("format {format} was written by newer software")),
        };
        let bad = |value: &str| format!("the record's value {value:?} makes no sense");
        let number = |value: &str| value.parse::<u64>().map_err(|_| bad(value));
        let cluster = match field("cluster")? {
            "none" => None,
            value => Some(ClusterId::parse(value).ok_or_else(|| bad(value))?),
        };
        let value = field("server")?;
        let server = ServerUuid::parse(value).ok_or_else(|| bad(value))?;
        let volume = match format {
            1 => VolumeUuid(server.0),
            _ => {
                let value = field("volume")?;
                VolumeUuid::parse(value).ok_or_else(|| bad(value))?
            }
        };
        let value = field("number")?;
        let server_number = value.parse().map_err(|_| bad(value))?;
        let value = field("chunk-size")?;
        let geometry = Geometry::new(number(value)?).map_err(|error| error.to_string())?;
        Ok(Self {
            cluster,
            server,
            volume,
            number: ServerNumber(server_number),
            geometry,
            epoch: Epoch(number(field("epoch")?)?),
            sequence: CommitSequence(number(field("sequence")?)?),
        })
    }

    pub(crate) fn load(files: &dyn ChunkFiles, layout: &VolumeLayout) -> StoreResult<Option<Self>> {
        let path = layout.record();
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::disk("open", &path, error)),
        };
        let mut text = vec![0; MAX_RECORD as usize];
        let read = file.read(&mut text, 0).map_err(|e| StoreError::disk("read", &path, e))?;
        text.truncate(read);
        match Self::decode(&text) {
            Ok(record) => Ok(Some(record)),
            Err(why) => Err(StoreError::NotAVolume { dir: layout.dir.clone(), why }),
        }
    }

    pub(crate) fn save(&self, files: &dyn ChunkFiles, layout: &VolumeLayout) -> StoreResult<()> {
        replace_file(
            files,
            layout,
            &layout.new_record(),
            &layout.record(),
            self.encode().as_bytes(),
        )
    }
}

/// Ends a record's lines by their checksum.
pub(super) fn framed(mut text: String) -> String {
    let crc = Crc::of(text.as_bytes()).0;
    let _ = writeln!(text, "crc32c {crc:08x}"); // writing to a String cannot fail
    text
}

/// The lines of a record whose checksum is right.
pub(super) fn unframed(text: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the record is not text")?;
    let (body, last) = text
        .strip_suffix('\n')
        .and_then(|text| text.rfind('\n'))
        .map(|at| text.split_at(at + 1))
        .ok_or("the record is cut short")?;
    if !body.starts_with("gfs-") {
        return Err("the record is not one of GFS".to_owned());
    }
    let crc = last.trim_end().strip_prefix("crc32c ").filter(|digits| digits.len() == 8);
    let crc = crc.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    if crc != Some(Crc::of(body.as_bytes()).0) {
        return Err("the record does not match its checksum".to_owned());
    }
    Ok(body)
}

/// Replaces a file as a whole and durably: by way of `new`, beside it.
pub(super) fn replace_file(
    files: &dyn ChunkFiles,
    layout: &VolumeLayout,
    new: &Path,
    path: &Path,
    bytes: &[u8],
) -> StoreResult<()> {
    match files.unlink(new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::disk("remove", new, error));
        }
        _ => {}
    }
    let file = files.create(new).map_err(|e| StoreError::disk("create", new, e))?;
    file.write_all(bytes, 0)
        .and_then(|()| file.sync())
        .map_err(|e| StoreError::disk("write", new, e))?;
    files
        .rename(new, path)
        .and_then(|()| files.sync_dir(&layout.dir))
        .map_err(|e| StoreError::disk("rename", new, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_garbage_is_told() {
        let mut record = VolumeRecord {
            cluster: None,
            server: ServerUuid(5),
            volume: VolumeUuid(6),
            number: ServerNumber(0),
            geometry: Geometry::default(),
            epoch: Epoch(0),
            sequence: CommitSequence(0),
        };
        assert_eq!(VolumeRecord::decode(record.encode().as_bytes()), Ok(record.clone()));
        record.cluster = Some(ClusterId(9));
        record.epoch = Epoch(12);
        let text = record.encode();
        assert_eq!(VolumeRecord::decode(text.as_bytes()), Ok(record));
        for at in 0..text.len() {
            let mut garbled = text.clone().into_bytes();
            garbled[at] ^= 0x10;
            assert!(VolumeRecord::decode(&garbled).is_err(), "byte {at}");
            assert!(VolumeRecord::decode(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_record_of_a_server_with_one_volume_is_read() {
        let text = "gfs-volume 1\ncluster none\nserver 8d3f0000-0000-0000-0000-000000000001\n\
                    number 3\nchunk-size 67108864\nepoch 12\nsequence 5\n";
        let record = VolumeRecord::decode(framed(text.to_owned()).as_bytes()).unwrap();
        assert_eq!((record.volume.0, record.epoch), (record.server.0, Epoch(12)));
        let newer = framed(text.replace("gfs-volume 1", "gfs-volume 3"));
        assert!(VolumeRecord::decode(newer.as_bytes()).unwrap_err().contains("newer"));
    }
}
