//! Memory that the machine has already: on a virtual machine whose host hands out pages lazily, and
//! takes free ones back, the first touch of a page costs more than everything measured here.

use std::process::Command;

use anyhow::{Context as _, ensure};

/// Bytes taken at once.
const STEP: u64 = 64 << 20;
/// One byte of each page is written.
const PAGE: usize = 4096;

/// Whether memory is touched before a measurement, for baselines and our own figures alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// It is.
    Warm,
    /// Measured as it comes.
    Cold,
}

impl Warmth {
    /// Has a process of its own touch this much memory and give it back.
    pub(crate) fn touch(self, bytes: u64) -> anyhow::Result<()> {
        if self == Self::Cold {
            return Ok(());
        }
        let program = std::env::current_exe()?;
        let status = Command::new(program)
            .args(["touch-memory", &bytes.to_string()])
            .status()
            .context("starting a process that touches memory")?;
        ensure!(status.success(), "touching {bytes} bytes of memory: {status}");
        Ok(())
    }
}

/// Touches memory of this process.
pub(crate) fn touch_here(bytes: u64) {
    let mut held = Vec::new();
    for _ in 0..bytes.div_ceil(STEP) {
        let mut step = vec![0_u8; STEP as usize];
        step.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        held.push(step);
    }
    std::hint::black_box(&held);
}
