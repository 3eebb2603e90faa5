//! What the master's shell counts. Names are stable.

use gfs_core::brain::Usage;
use gfs_process::{Counter, DURATION_BUCKETS, Gauge, Histogram, Metrics};
use gfs_proto::v1 as pb;
use gfs_types::Millis;

use crate::term::Answer;

#[derive(Clone)]
pub(crate) struct MasterMetrics {
    pub(crate) term: TermMetrics,
    pub(crate) commit: CommitMetrics,
    /// 1 while this master leads.
    pub(crate) leading: Gauge,
    pub(crate) cluster: ClusterMetrics,
    used: gfs_process::Labelled<1, Gauge>,
    limit: gfs_process::Labelled<1, Gauge>,
}

#[derive(Clone)]
pub(crate) struct TermMetrics {
    calls: Histogram,
    failed_calls: gfs_process::Labelled<1, Counter>,
}

#[derive(Clone)]
pub(crate) struct CommitMetrics {
    pub(crate) refused: Counter,
    transactions: Histogram,
    operations: Counter,
    records: Counter,
}

/// Copied from the brain's status about once a second.
#[derive(Clone)]
pub(crate) struct ClusterMetrics {
    pub(crate) files: Gauge,
    pub(crate) trash: gfs_process::Labelled<1, Gauge>,
    pub(crate) chunks: gfs_process::Labelled<1, Gauge>,
    pub(crate) servers: gfs_process::Labelled<1, Gauge>,
    pub(crate) incidents: Gauge,
    pub(crate) recovery: gfs_process::Labelled<1, Gauge>,
    pub(crate) bytes: gfs_process::Labelled<1, Gauge>,
    pub(crate) balance: gfs_process::Labelled<1, Gauge>,
    pub(crate) moved: gfs_process::Labelled<1, Gauge>,
}

impl MasterMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            term: TermMetrics {
                calls: metrics.histogram(
                    "gfs_master_call_seconds",
                    "Time from a call's arrival to its answer, commit included",
                    DURATION_BUCKETS,
                ),
                failed_calls: metrics.counters(
                    "gfs_master_failed_calls_total",
                    "Calls that were answered with an error",
                    ["code"],
                ),
            },
            commit: CommitMetrics {
                refused: metrics.counter(
                    "gfs_master_commits_refused_total",
                    "Transactions that the metadata store did not take; each is tried again",
                ),
                transactions: metrics.histogram(
                    "gfs_master_commit_seconds",
                    "Time a metadata transaction took",
                    DURATION_BUCKETS,
                ),
                operations: metrics
                    .counter("gfs_master_committed_operations_total", "Operations made durable"),
                records: metrics.counter(
                    "gfs_master_committed_records_total",
                    "Metadata records written or deleted",
                ),
            },
            leading: metrics.gauge("gfs_master_leading", "1 while this master leads"),
            used: metrics.gauges(
                "gfs_master_limited",
                "How much there is of what clients and servers can make more of",
                ["of"],
            ),
            limit: metrics.gauges("gfs_master_limit", "How much of it there may be", ["of"]),
            cluster: ClusterMetrics {
                files: metrics.gauge(
                    "gfs_master_files",
                    "Files in the namespace, without those in the trash",
                ),
                trash: metrics.gauges(
                    "gfs_master_trash",
                    "What is in the trash: entries, files, directories",
                    ["of"],
                ),
                chunks: metrics.gauges(
                    "gfs_master_chunks",
                    "Chunks by health: total, full, under_replicated, endangered, unavailable, \
                     cloning",
                    ["health"],
                ),
                servers: metrics.gauges(
                    "gfs_master_servers",
                    "Chunkservers by state of the failure detector",
                    ["state"],
                ),
                incidents: metrics.gauge("gfs_master_incidents_open", "Incidents not yet healed"),
                recovery: metrics.gauges(
                    "gfs_master_last_incident_milliseconds",
                    "Times of the newest incident: detected, first_clone, two_copies, full \
                     (-1: not yet)",
                    ["step"],
                ),
                bytes: metrics.gauges(
                    "gfs_master_bytes",
                    "Bytes: total and free on all servers, logical of all files, trash of those in \
                     the trash",
                    ["of"],
                ),
                balance: metrics.gauges(
                    "gfs_master_balance",
                    "How equally full the servers are: active (1 while copies are moved for that), \
                     emptiest_permille, fullest_permille, moving (copies on their way), bytes_left",
                    ["of"],
                ),
                moved: metrics.gauges(
                    "gfs_master_balance_moved",
                    "What was moved since this master leads: chunks, bytes",
                    ["of"],
                ),
            },
        }
    }
}

impl MasterMetrics {
    /// Shows how far limits are used.
    pub(crate) fn show_usage(&self, usage: &[Usage]) {
        let bounded = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        for Usage { of, used, limit } in usage {
            self.used.with([of]).set(bounded(*used));
            self.limit.with([of]).set(bounded(*limit));
        }
    }
}

impl TermMetrics {
    pub(crate) fn answered(&self, begun: Millis, now: Millis, answer: &Answer) {
        self.calls.observe(now.since(begun).0 as f64 / 1000.0);
        if let Err(detail) = answer {
            self.failed_calls.with([detail.error_code().name()]).inc();
        }
    }
}

impl CommitMetrics {
    pub(crate) fn committed(&self, begun: Millis, now: Millis, operations: usize, records: usize) {
        self.transactions.observe(now.since(begun).0 as f64 / 1000.0);
        self.operations.inc_by(operations as u64);
        self.records.inc_by(records as u64);
    }
}

impl ClusterMetrics {
    /// Shows what the brain says of the cluster.
    pub(crate) fn show(&self, status: &pb::StatusResponse) {
        let set = |gauge: Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(self.files.clone(), status.files);
        set(self.trash.with(["entries"]), status.trash_entries);
        set(self.trash.with(["files"]), status.trash_files);
        set(self.trash.with(["directories"]), status.trash_directories);
        let health = status.chunks.unwrap_or_default();
        for (name, value) in [
            ("total", health.total),
            ("full", health.full),
            ("under_replicated", health.under_replicated),
            ("endangered", health.endangered),
            ("unavailable", health.unavailable),
            ("cloning", health.cloning),
        ] {
            set(self.chunks.with([name]), value);
        }
        for (name, state) in [
            ("alive", pb::ServerState::Alive),
            ("suspect", pb::ServerState::Suspect),
            ("dead", pb::ServerState::Dead),
            ("draining", pb::ServerState::Draining),
            ("maintenance", pb::ServerState::Maintenance),
        ] {
            let count = status.servers.iter().filter(|server| server.state() == state).count();
            set(self.servers.with([name]), count as u64);
        }
        let open = status.incidents.iter().filter(|incident| !incident.closed).count();
        set(self.incidents.clone(), open as u64);
        if let Some(newest) = status.incidents.first() {
            for (name, time) in [
                ("detected", Some(newest.detected_ms)),
                ("first_clone", newest.first_clone_ms),
                ("two_copies", newest.two_copies_ms),
                ("full", newest.full_ms),
            ] {
                self.recovery.with([name]).set(time.map_or(-1, i64::from));
            }
        }
        set(self.bytes.with(["total"]), status.total_bytes);
        set(self.bytes.with(["free"]), status.free_bytes);
        set(self.bytes.with(["logical"]), status.logical_bytes);
        set(self.bytes.with(["trash"]), status.trash_bytes);
        let balance = status.balance.clone().unwrap_or_default();
        set(self.balance.with(["active"]), u64::from(balance.active));
        set(self.balance.with(["emptiest_permille"]), balance.emptiest_permille.into());
        set(self.balance.with(["fullest_permille"]), balance.fullest_permille.into());
        set(self.balance.with(["moving"]), balance.moving);
        set(self.balance.with(["bytes_left"]), balance.bytes_left);
        set(self.moved.with(["chunks"]), balance.moved_chunks);
        set(self.moved.with(["bytes"]), balance.moved_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let metrics = Metrics::new();
        let shown = MasterMetrics::new(&metrics);
        shown.show_usage(&[Usage { of: "fscks", used: 1, limit: 8 }]);
        shown.cluster.show(&pb::StatusResponse::default());
        let text = metrics.render().expect("metrics can be written");
        assert!(text.contains("gfs_master_limited{of=\"fscks\"} 1"), "{text}");
        let document = include_str!("../../../docs/metrics-master.md");
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            let row = [format!("| `{name}`"), format!("| `{name}_total`"), format!("| `{name}{{")];
            let total = format!("| `{name}_total{{");
            let found = row.iter().chain([&total]).any(|row| document.contains(row.as_str()));
            assert!(found, "{name} is not in docs/metrics-master.md");
        }
    }
}
