//! A small disk of its own for one data directory, which can be made to fail as real ones do: an
//! ext4 file system in a file. For tests and demonstrations; needs root and loop devices.

use anyhow::{Context as _, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
}

impl LoopDisk {
    /// Makes a file system of so many bytes in the file `image`, and mounts it at the directory `at`,
    /// which is made. On the first error the kernel turns it read-only, as Kubernetes nodes have it.
    ///
    /// # Errors
    /// Where that cannot be done here: without root, loop devices, or `mkfs.ext4`.
    pub fn make(image: &Path, bytes: u64, at: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        fs::File::create(image)?.set_len(bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image))?;
        let disk = Self { image: image.to_owned(), at: at.to_owned() };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> anyhow::Result<()> {
        let options = ["-o", "loop,errors=remount-ro"];
        run(Command::new("mount").args(options).arg(&self.image).arg(&self.at))
    }

    /// Has the kernel find an error in the file system: it is read-only from now on, also for those
    /// who have files open for writing.
    ///
    /// # Errors
    /// Where the kernel cannot be told.
    pub fn turn_read_only(&self) -> anyhow::Result<()> {
        let find =
            Command::new("findmnt").args(["-n", "-o", "SOURCE", "-T"]).arg(&self.at).output();
        let device = String::from_utf8(find.context("findmnt")?.stdout)?;
        let device = Path::new(device.trim()).file_name().context("no device is mounted")?;
        let switch = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(&switch, "1").with_context(|| switch.display().to_string())
    }

    /// Checks the file system and mounts it anew, as an administrator would. Nobody may have files
    /// open in it.
    ///
    /// # Errors
    /// Where that fails.
    pub fn repair(&self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(&self.at))?;
        // It says with its exit code what it corrected.
        let status = Command::new("e2fsck").args(["-p", "-f"]).arg(&self.image).output()?.status;
        ensure!(status.code().is_some_and(|code| code < 4), "e2fsck: {status}");
        self.mount()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: the processes that use it may be ending still.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", words.trim());
    Ok(())
}
