//! Metrics, in a registry that is passed to whoever counts something: two of anything can live in
//! one process.
//!
//! Names are written out in full where the metric is made, so that a name found in a dashboard is
//! found in the source: `gfs_<crate>_<what>_<unit>`, counters ending in `_total`. A released name
//! keeps its meaning. Label values come from small fixed sets, never from users.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::registry::{Metric, Registry};

/// A count that only grows.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A whole number that goes up and down.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// A fractional number that goes up and down, such as seconds.
pub type FloatGauge = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;
/// How often values fell into each bucket.
pub type Histogram = prometheus_client::metrics::histogram::Histogram;

/// The upper bounds, in seconds, of buckets for durations from 100 µs to 100 s.
pub const DURATION_BUCKETS: &[f64] =
    &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// The metrics of one process. Clones share one registry.
#[derive(Clone, Default)]
pub struct Metrics {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    registry: Registry,
    names: BTreeSet<String>,
}

impl Metrics {
    /// A registry without metrics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a counter, whose name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.add(base_name(name), help, Counter::default())
    }

    /// Registers a gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    /// Registers a gauge of fractional values.
    pub fn float_gauge(&self, name: &str, help: &str) -> FloatGauge {
        self.add(name, help, FloatGauge::default())
    }

    /// Registers a histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &'static [f64]) -> Histogram {
        self.add(name, help, Buckets(buckets).new_metric())
    }

    /// Registers counters told apart by labels. The name ends in `_total`.
    pub fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
    ) -> Labelled<N, Counter> {
        let family = Family::new_with_constructor(Counter::default as fn() -> Counter);
        Labelled { labels, family: self.add(base_name(name), help, family) }
    }

    /// Registers gauges told apart by labels.
    pub fn gauges<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
    ) -> Labelled<N, Gauge> {
        let family = Family::new_with_constructor(Gauge::default as fn() -> Gauge);
        Labelled { labels, family: self.add(name, help, family) }
    }

    /// Registers histograms told apart by labels.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        buckets: &'static [f64],
    ) -> Labelled<N, Histogram, Buckets> {
        let family = Family::new_with_constructor(Buckets(buckets));
        Labelled { labels, family: self.add(name, help, family) }
    }

    /// Registers metrics that are read when they are asked for.
    pub(crate) fn collector(&self, collector: impl Collector) {
        self.lock().registry.register_collector(Box::new(collector));
    }

    /// All metrics in the OpenMetrics 1.0 text format, which Prometheus reads.
    ///
    /// # Errors
    /// Where a metric cannot be written.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 << 10);
        prometheus_client::encoding::text::encode(&mut text, &self.lock().registry)?;
        Ok(text)
    }

    fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut shared = self.lock();
        if shared.names.insert(name.to_owned()) {
            shared.registry.register(name, help, metric.clone());
        } else {
            // Exposing a name twice would make scrapers refuse the whole page.
            tracing::error!(name, "a metric was registered twice; the second is not shown");
            debug_assert!(false, "metric {name} was registered twice");
        }
        metric
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The format appends `_total` by itself.
fn base_name(name: &str) -> &str {
    debug_assert!(name.ends_with("_total"), "counter {name} does not end in _total");
    name.strip_suffix("_total").unwrap_or(name)
}

/// Metrics of one name, one for each combination of label values.
pub struct Labelled<const N: usize, M, C = fn() -> M> {
    labels: [&'static str; N],
    family: Family<[(&'static str, String); N], M, C>,
}

impl<const N: usize, M, C: Clone> Clone for Labelled<N, M, C> {
    fn clone(&self) -> Self {
        Self { labels: self.labels, family: self.family.clone() }
    }
}

impl<const N: usize, M: Clone, C: MetricConstructor<M>> Labelled<N, M, C> {
    /// The metric with these label values, in the order in which the labels were named. Looking it
    /// up takes a lock: where it is hot, keep what this returns.
    pub fn with(&self, values: [&str; N]) -> M {
        let mut values = values.into_iter();
        let set = self.labels.map(|label| (label, values.next().unwrap_or_default().to_owned()));
        self.family.get_or_create_owned(&set)
    }

    /// Forgets the metric with these label values, such as that of a server that left.
    pub fn remove(&self, values: [&str; N]) {
        let mut values = values.into_iter();
        let set = self.labels.map(|label| (label, values.next().unwrap_or_default().to_owned()));
        self.family.remove(&set);
    }
}

/// Makes histograms with these upper bounds.
#[derive(Clone, Copy)]
pub struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_shown_under_their_full_names() {
        let metrics = Metrics::new();
        metrics.counter("gfs_test_reads_total", "Reads").inc_by(3);
        metrics.gauge("gfs_test_open_chunks", "Open chunks").set(-2);
        metrics.float_gauge("gfs_test_age_seconds", "Age").set(0.5);
        metrics.histogram("gfs_test_wait_seconds", "Wait", DURATION_BUCKETS).observe(0.2);
        let calls = metrics.counters("gfs_test_calls_total", "Calls", ["method", "code"]);
        calls.with(["Stat", "OK"]).inc();
        calls.with(["Stat", "OK"]).inc();
        let text = metrics.render().expect("renders");
        for line in [
            "gfs_test_reads_total 3\n",
            "gfs_test_open_chunks -2\n",
            "gfs_test_age_seconds 0.5\n",
            "gfs_test_wait_seconds_bucket{le=\"0.3\"} 1\n",
            "gfs_test_wait_seconds_bucket{le=\"0.1\"} 0\n",
            "gfs_test_calls_total{method=\"Stat\",code=\"OK\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_registries_know_nothing_of_each_other() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.counter("gfs_test_reads_total", "Reads").inc();
        two.counter("gfs_test_reads_total", "Reads");
        assert!(two.render().expect("renders").contains("gfs_test_reads_total 0"));
    }

    #[test]
    fn label_values_are_escaped_and_can_be_forgotten() {
        let metrics = Metrics::new();
        let gauges = metrics.gauges("gfs_test_used_bytes", "Used", ["server"]);
        gauges.with(["a\"b\n"]).set(1);
        assert!(metrics.render().expect("renders").contains("{server=\"a\\\"b\\n\"} 1"));
        gauges.remove(["a\"b\n"]);
        assert!(!metrics.render().expect("renders").contains("server="));
    }
}
