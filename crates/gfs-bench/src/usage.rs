//! CPU time and memory of processes, as the kernel counts them.

use std::fs;

use anyhow::Context as _;

/// CPU seconds (user and system) that a process has used so far, its ended threads included.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("reading the CPU time of process {pid}"))?;
    // The name, in parentheses, may hold spaces; the numbers come behind the last one.
    let numbers = stat.rsplit_once(')').context("unexpected /proc format")?.1;
    let mut fields = numbers.split_whitespace().skip(11);
    let mut next = || -> anyhow::Result<f64> {
        Ok(fields.next().context("unexpected /proc format")?.parse::<u64>()? as f64)
    };
    let ticks = next()? + next()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process in bytes: now, and at its highest.
pub(crate) fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("reading the memory of process {pid}"))?;
    let line = |name: &str| -> anyhow::Result<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).context("no value")?;
        let kilobytes: u64 = value.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    };
    Ok((line("VmRSS:")?, line("VmHWM:")?))
}

/// The CPU seconds of a set of processes.
#[derive(Clone, Debug)]
pub(crate) struct CpuMeter {
    pids: Vec<u32>,
    begun: f64,
}

impl CpuMeter {
    /// Starts counting for these processes and this one.
    pub(crate) fn start(pids: impl IntoIterator<Item = u32>) -> anyhow::Result<Self> {
        let mut pids: Vec<u32> = pids.into_iter().collect();
        pids.push(std::process::id());
        let mut meter = Self { pids, begun: 0.0 };
        meter.begun = meter.total()?;
        Ok(meter)
    }

    /// CPU seconds since the start.
    pub(crate) fn seconds(&self) -> anyhow::Result<f64> {
        Ok(self.total()? - self.begun)
    }

    fn total(&self) -> anyhow::Result<f64> {
        self.pids.iter().map(|pid| cpu_seconds(*pid)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let meter = CpuMeter::start([]).unwrap();
        let mut x = 0_u64;
        while meter.seconds().unwrap() < 0.02 {
            x = std::hint::black_box(x + 1);
        }
        let (now, highest) = memory(std::process::id()).unwrap();
        assert!(now > 0 && highest >= now);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
