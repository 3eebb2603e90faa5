//! What the chunkserver counts. The names are stable and described in `docs/metrics-chunkserver.md`.

use crate::credit::Credit;
use crate::volumes::Bay;
use gfs_process::{Counter, Gauge, Labelled, Metrics};
use std::sync::atomic::Ordering;

/// The label of what is told of each volume: its directory.
const VOLUME: [&str; 1] = ["volume"];

/// The chunkserver's metrics.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    pub(crate) written: Counter,
    pub(crate) read: Counter,
    pub(crate) copied: Counter,
    pub(crate) served: Counter,
    pub(crate) corrupt: Counter,
    pub(crate) failed_pushes: Labelled<1, Counter>,
    pub(crate) failed_reads: Labelled<1, Counter>,
    pub(crate) commands: Labelled<2, Counter>,
    pub(crate) disk_errors: Labelled<1, Counter>,
    pub(crate) streams: Gauge,
    pub(crate) reads: Gauge,
    replicas: Labelled<1, Gauge>,
    push_memory: Gauge,
    push_memory_limit: Gauge,
    push_memory_peak: Gauge,
    total_bytes: Labelled<1, Gauge>,
    free_bytes: Labelled<1, Gauge>,
    oldest_io: Labelled<1, Gauge>,
    in_service: Labelled<1, Gauge>,
    pub(crate) unclean: Labelled<1, Gauge>,
    pub(crate) starts: Labelled<2, Counter>,
    pub(crate) probes: Labelled<2, Counter>,
    pub(crate) sessions: Gauge,
    pub(crate) scrubbed: Counter,
    pub(crate) scrub_findings: Labelled<1, Counter>,
    pub(crate) scrub_percent: Labelled<1, Gauge>,
    pub(crate) scrub_completed: Labelled<1, Gauge>,
}

impl ServerMetrics {
    /// From the start on all is told of every volume.
    pub(crate) fn begin_volume(&self, bay: &Bay) {
        let name = bay.name();
        for gauge in [&self.unclean, &self.scrub_percent, &self.scrub_completed] {
            gauge.with([&name]).set(0);
        }
        self.tell_volume(bay);
    }

    /// Brings what is told of a volume up to date.
    pub(crate) fn tell_volume(&self, bay: &Bay) {
        let name = bay.name();
        let volume = [name.as_str()];
        let (total, free) = bay.space();
        self.total_bytes.with(volume).set(i64::try_from(total).unwrap_or(i64::MAX));
        self.free_bytes.with(volume).set(i64::try_from(free).unwrap_or(i64::MAX));
        self.oldest_io.with(volume).set(i64::from(bay.io.oldest_ms()));
        self.replicas.with(volume).set(i64::from(bay.replicas.load(Ordering::Relaxed)));
        self.in_service.with(volume).set(i64::from(bay.service().is_serving()));
    }

    /// Brings what is told of the memory for pushed data up to date.
    pub(crate) fn tell_credit(&self, credit: &Credit) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.push_memory.set(bytes(credit.used()));
        self.push_memory_peak.set(bytes(credit.peak()));
        self.push_memory_limit.set(bytes(credit.total()));
    }

    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            written: metrics.counter(
                "gfs_chunkserver_written_bytes_total",
                "Bytes of mutations applied to replicas",
            ),
            read: metrics.counter("gfs_chunkserver_read_bytes_total", "Bytes sent to readers"),
            copied: metrics.counter(
                "gfs_chunkserver_copied_bytes_total",
                "Bytes taken from other servers by clones and version changes",
            ),
            served: metrics.counter(
                "gfs_chunkserver_copy_served_bytes_total",
                "Bytes sent to other servers for clones and version changes",
            ),
            corrupt: metrics.counter(
                "gfs_chunkserver_corrupt_blocks_total",
                "Blocks found not to match their checksums",
            ),
            failed_pushes: metrics.counters(
                "gfs_chunkserver_failed_pushes_total",
                "Push streams that ended with an error",
                ["code"],
            ),
            failed_reads: metrics.counters(
                "gfs_chunkserver_failed_reads_total",
                "Reads that ended with an error",
                ["code"],
            ),
            commands: metrics.counters(
                "gfs_chunkserver_commands_total",
                "Commands of the master, by kind and outcome",
                ["kind", "code"],
            ),
            disk_errors: metrics.counters(
                "gfs_chunkserver_disk_errors_total",
                "Disk operations that failed",
                ["operation"],
            ),
            streams: metrics.gauge("gfs_chunkserver_streams", "Data streams open now"),
            reads: metrics.gauge("gfs_chunkserver_reads", "Reads being served now"),
            replicas: metrics.gauges("gfs_chunkserver_replicas", "Replicas on the volume", VOLUME),
            push_memory: metrics
                .gauge("gfs_chunkserver_push_credit_bytes", "Memory reserved for pushed data"),
            push_memory_limit: metrics.gauge(
                "gfs_chunkserver_push_credit_limit_bytes",
                "Memory that may be reserved for pushed data",
            ),
            push_memory_peak: metrics.gauge(
                "gfs_chunkserver_push_credit_peak_bytes",
                "Most memory that was ever reserved for pushed data at a time",
            ),
            total_bytes: metrics.gauges(
                "gfs_chunkserver_volume_total_bytes",
                "Size of the volume's file system",
                VOLUME,
            ),
            free_bytes: metrics.gauges(
                "gfs_chunkserver_volume_free_bytes",
                "Free space of the file system",
                VOLUME,
            ),
            oldest_io: metrics.gauges(
                "gfs_chunkserver_oldest_io_milliseconds",
                "Age of the oldest disk operation under way",
                VOLUME,
            ),
            in_service: metrics.gauges(
                "gfs_chunkserver_volume_in_service",
                "1 while the volume does its part, 0 when it has left service",
                VOLUME,
            ),
            unclean: metrics.gauges(
                "gfs_chunkserver_unclean_replicas",
                "Replicas with bytes not yet known to be on disk",
                VOLUME,
            ),
            starts: metrics.counters(
                "gfs_chunkserver_starts_total",
                "Times a volume was read for what is on it, by what its start-up log was good for",
                ["volume", "log"],
            ),
            probes: metrics.counters(
                "gfs_chunkserver_volume_probes_total",
                "Looks at a volume that left service, by their outcome",
                ["volume", "result"],
            ),
            sessions: metrics.gauge("gfs_chunkserver_sessions", "Masters it is registered with"),
            scrubbed: metrics.counter(
                "gfs_chunkserver_scrubbed_bytes_total",
                "Bytes of replicas verified in the background",
            ),
            scrub_findings: metrics.counters(
                "gfs_chunkserver_scrub_findings_total",
                "What the scrub found",
                ["kind"],
            ),
            scrub_percent: metrics.gauges(
                "gfs_chunkserver_scrub_progress_percent",
                "Of the replicas, how many the present pass has verified",
                VOLUME,
            ),
            scrub_completed: metrics.gauges(
                "gfs_chunkserver_scrub_completed_timestamp_seconds",
                "When the last complete pass ended",
                VOLUME,
            ),
        }
    }
}
