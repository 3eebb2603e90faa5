//! What the chunkserver counts. The names are stable and described in `docs/metrics-chunkserver.md`.

use gfs_process::{Counter, Gauge, Labelled, Metrics};

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
    pub(crate) replicas: Gauge,
    pub(crate) push_memory: Gauge,
    pub(crate) total_bytes: Gauge,
    pub(crate) free_bytes: Gauge,
    pub(crate) oldest_io: Gauge,
    pub(crate) unclean: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) scrubbed: Counter,
    pub(crate) scrub_findings: Labelled<1, Counter>,
    pub(crate) scrub_percent: Gauge,
    pub(crate) scrub_completed: Gauge,
}

impl ServerMetrics {
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
            replicas: metrics.gauge("gfs_chunkserver_replicas", "Replicas on the volume"),
            push_memory: metrics
                .gauge("gfs_chunkserver_push_credit_bytes", "Memory reserved for pushed data"),
            total_bytes: metrics
                .gauge("gfs_chunkserver_volume_total_bytes", "Size of the volume's file system"),
            free_bytes: metrics
                .gauge("gfs_chunkserver_volume_free_bytes", "Free space of the file system"),
            oldest_io: metrics.gauge(
                "gfs_chunkserver_oldest_io_milliseconds",
                "Age of the oldest disk operation under way",
            ),
            unclean: metrics.gauge(
                "gfs_chunkserver_unclean_replicas",
                "Replicas with bytes not yet known to be on disk",
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
            scrub_percent: metrics.gauge(
                "gfs_chunkserver_scrub_progress_percent",
                "Of the replicas, how many the present pass has verified",
            ),
            scrub_completed: metrics.gauge(
                "gfs_chunkserver_scrub_completed_timestamp_seconds",
                "When the last complete pass ended",
            ),
        }
    }
}
