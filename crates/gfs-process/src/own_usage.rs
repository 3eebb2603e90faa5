//! What the process itself uses, under the names Prometheus' client libraries agreed on. Read when
//! asked for.

use std::fmt;
use std::fs;

use gfs_types::WallMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::time::{ClockId, clock_gettime};

/// CPU time, memory, open files and start time of this process.
#[derive(Debug)]
pub(crate) struct OwnUsage {
    /// When the process started.
    pub(crate) started: WallMillis,
}

impl Collector for OwnUsage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut show = |name, help, value: Option<f64>| match value {
            // The file system of the kernel's facts is not mounted: better no value than zero.
            None => Ok(()),
            Some(value) => {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
            }
        };
        show(
            "process_resident_memory_bytes",
            "Memory held in RAM",
            resident_bytes().map(|bytes| bytes as f64),
        )?;
        show("process_open_fds", "Open file descriptors", open_files())?;
        let started = self.started.0 as f64 / 1000.0;
        show("process_start_time_seconds", "Start of the process since 1970", Some(started))?;

        let cpu = ConstCounter::new(cpu_seconds());
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time used, user and system",
            None,
            cpu.metric_type(),
        )?)
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes of RAM this process holds; `None` where the kernel does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident.saturating_mul(rustix::param::page_size() as u64))
}

fn open_files() -> Option<f64> {
    // One of them is the directory being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn the_values_are_shown_and_plausible() {
        let metrics = Metrics::new();
        metrics.collector(OwnUsage { started: WallMillis(1_700_000_000_000) });
        let text = metrics.render().expect("renders");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).trim().parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes ") > 1e5);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_cpu_seconds_total ") > 0.0);
        assert!((value("process_start_time_seconds ") - 1.7e9).abs() < 1.0);
    }
}
