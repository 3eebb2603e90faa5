//! Where the scrub of a volume stands, as it is stored.

use super::record::{framed, replace_file, unframed};
use super::volume::Volume;
use super::{StoreError, StoreResult};
use gfs_core::scrub::Progress;
use gfs_types::WallMillis;

const MAX_FILE: usize = 4096;

/// The file `gfs-scrub`, framed as [`super::VolumeRecord`] is, in the same style:
///
/// ```text
/// gfs-scrub 1
/// after 4660
/// passes 12
/// completed 1763850000000
/// damaged 2
/// lost 0
/// crc32c 5be3f21a
/// ```
///
/// `after` is the handle up to which the present pass has verified (0: none), `completed` when the
/// last pass ended, in milliseconds since 1970. A file that is missing or garbled, or of a newer
/// format, only has the pass begin anew and the counts at 0.
fn encode(progress: &Progress) -> String {
    let Progress { after, passes, completed, damaged_blocks, lost_replicas } = progress;
    framed(format!(
        "gfs-scrub 1\nafter {after}\npasses {passes}\ncompleted {}\ndamaged {damaged_blocks}\n\
         lost {lost_replicas}\n",
        completed.0
    ))
}

fn decode(text: &[u8]) -> Result<Progress, String> {
    let mut lines = unframed(text)?.lines();
    let mut number = |name: &str| {
        let line = lines.next().unwrap_or_default();
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        let value = value.and_then(|value| value.parse::<u64>().ok());
        value.ok_or_else(|| format!("{line:?} in place of {name}"))
    };
    match number("gfs-scrub")? {
        1 => {}
        format => return Err(format!("format {format} was written by newer software")),
    }
    Ok(Progress {
        after: number("after")?,
        passes: number("passes")?,
        completed: WallMillis(number("completed")?),
        damaged_blocks: number("damaged")?,
        lost_replicas: number("lost")?,
    })
}

impl Volume {
    /// Where the scrub stood when that was last stored; its begin where nothing usable is stored.
    #[must_use]
    pub fn scrub_progress(&self) -> Progress {
        let path = self.shared.volume.scrub();
        let read = || {
            let file = match self.shared.files.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Progress::default());
                }
                Err(error) => return Err(error.to_string()),
            };
            let mut text = vec![0; MAX_FILE];
            let read = file.read(&mut text, 0).map_err(|error| error.to_string())?;
            text.truncate(read);
            decode(&text)
        };
        read().unwrap_or_else(|why| {
            tracing::warn!(why, "where the scrub stood is lost: it begins anew");
            Progress::default()
        })
    }

    /// Stores, durably, where the scrub stands.
    ///
    /// # Errors
    /// The disk fails, or is full.
    pub fn save_scrub_progress(&self, progress: &Progress) -> StoreResult<()> {
        let (files, layout) = (&*self.shared.files, &self.shared.volume);
        let text = encode(progress);
        let result =
            replace_file(files, layout, &layout.new_scrub(), &layout.scrub(), text.as_bytes());
        // A disk too full for this one may still do all else.
        result.inspect_err(|error| {
            if !matches!(error, StoreError::NoSpace { .. }) {
                super::chunk::lock(&self.shared.health).note("write", error);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_round_trips_and_garbage_is_told() {
        let progress = Progress {
            after: 4_660,
            passes: 12,
            completed: WallMillis(1_763_850_000_000),
            damaged_blocks: 2,
            lost_replicas: u64::MAX,
        };
        let text = encode(&progress);
        assert_eq!(decode(text.as_bytes()), Ok(progress));
        for at in 0..text.len() {
            let mut garbled = text.clone().into_bytes();
            garbled[at] ^= 0x10;
            assert!(decode(&garbled).is_err(), "byte {at}");
            assert!(decode(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        let newer = framed("gfs-scrub 2\nafter 1\n".to_owned());
        assert!(decode(newer.as_bytes()).unwrap_err().contains("newer"));
    }
}
