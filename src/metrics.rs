//! What a node counts, and its text for Prometheus. A counter stands where the thing happens; which values should alarm
//! whom is docs/operations.md's.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The counters of one node: two nodes in one process keep apart. Every name begins with `doorward_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Names without the prefix: dashboards know them as they are.
    process: Registry,
    /// Checks that said yes.
    pub checks_allowed: IntCounter,
    /// Checks that said no.
    pub checks_denied: IntCounter,
    /// Checks that could not be decided: 503.
    pub checks_unavailable: IntCounter,
    /// Checks that asked the table because memory was too old, and got an answer.
    pub table_reads_answered: IntCounter,
    /// The same, without an answer.
    pub table_reads_failed: IntCounter,
    /// Refreshes by verdict.
    pub refreshes: IntCounterVec,
    /// Audit events by kind.
    pub events: IntCounterVec,
    /// Tries refused unseen while a block lasts.
    pub throttle_rejections: IntCounter,
    /// Answers by mount and status.
    pub responses: IntCounterVec,
    /// Requests turned away at a full queue, by pool.
    pub rejected: IntCounterVec,
    /// Waiting jobs, by pool.
    pub queue_length: IntGaugeVec,
    /// 1 while the database answers.
    pub database_available: IntGauge,
    /// What the database refused or left unanswered, by kind.
    pub database_errors: IntCounterVec,
    /// Seconds a transaction or a read took, its wait for a connection included.
    pub database_seconds: Histogram,
    /// Seconds a hash took.
    pub password_hash_seconds: Histogram,
    /// 1 while the revocation feed is connected.
    pub feed_connected: IntGauge,
    /// How often it connected.
    pub feed_connections: IntCounter,
    /// Revocations heard of before a poll found them.
    pub feed_notifications: IntCounter,
    /// Polls that read what there is.
    pub feed_polls_ok: IntCounter,
    /// Polls and connections that failed.
    pub feed_polls_failed: IntCounter,
    /// The revocations in memory.
    pub cache_entries: IntGauge,
    /// The age of that memory.
    pub cache_age: prometheus::Gauge,
    /// Proofs of receipt written down.
    pub confirmations_flushed: IntCounter,
    /// Proofs of receipt that wait.
    pub confirmations_pending: IntGauge,
    /// Mails by what became of them.
    pub mails: IntCounterVec,
    /// Rows that housekeeping removed.
    pub purged_rows: IntCounter,
    /// Checks answered by the fast path, without entering actix.
    pub fast_path_checks: IntCounter,
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registry::new_custom(Some("doorward".to_owned()), None)?;
        let checks = counters(&r, "checks_total", "Authentication checks, by outcome.", &["outcome"])?;
        let table = counters(
            &r,
            "revocation_table_reads_total",
            "Checks that read the revocation table because the cache was too old.",
            &["outcome"],
        )?;
        let polls = counters(&r, "feed_polls_total", "Polls of the revocation table.", &["outcome"])?;
        let metrics = Self {
            checks_allowed: checks.with_label_values(&["allowed"]),
            checks_denied: checks.with_label_values(&["denied"]),
            checks_unavailable: checks.with_label_values(&["unavailable"]),
            table_reads_answered: table.with_label_values(&["answered"]),
            table_reads_failed: table.with_label_values(&["failed"]),
            refreshes: counters(&r, "refreshes_total", "Refreshes, by verdict.", &["outcome"])?,
            events: counters(&r, "events_total", "Audit events, by kind.", &["kind"])?,
            throttle_rejections: counter(
                &r,
                "throttle_rejections_total",
                "Sign-in attempts rejected by the throttle before the password was checked.",
            )?,
            responses: counters(&r, "responses_total", "Responses, by mount and status.", &["mount", "status"])?,
            rejected: counters(
                &r,
                "rejected_total",
                "Requests rejected because a worker pool was overloaded, by pool.",
                &["pool"],
            )?,
            queue_length: {
                let gauges = IntGaugeVec::new(
                    Opts::new("queue_length", "Jobs waiting for a worker thread, by pool."),
                    &["pool"],
                )?;
                r.register(Box::new(gauges.clone()))?;
                gauges
            },
            database_available: gauge(&r, "database_available", "1 while the database is available, else 0.")?,
            database_errors: counters(&r, "database_errors_total", "Failed database calls, by kind.", &["kind"])?,
            database_seconds: histogram(&r, "database_seconds", "Duration of database calls, waits included.")?,
            password_hash_seconds: histogram(
                &r,
                "password_hash_seconds",
                "Duration of hashing or verifying one password or PIN.",
            )?,
            feed_connected: gauge(&r, "feed_connected", "1 while the revocation feed is connected, else 0.")?,
            feed_connections: counter(&r, "feed_connections_total", "Connections made by the revocation feed.")?,
            feed_notifications: counter(
                &r,
                "feed_notifications_total",
                "Revocations received by notification, before a poll.",
            )?,
            feed_polls_ok: polls.with_label_values(&["ok"]),
            feed_polls_failed: polls.with_label_values(&["failed"]),
            cache_entries: gauge(&r, "revocation_cache_entries", "Entries in the revocation cache.")?,
            cache_age: {
                let about = "Seconds since the revocation cache was last in step with the table.";
                let gauge = prometheus::Gauge::new("revocation_cache_age_seconds", about)?;
                r.register(Box::new(gauge.clone()))?;
                gauge
            },
            confirmations_flushed: counter(
                &r,
                "confirmations_flushed_total",
                "Delivery confirmations written to the database.",
            )?,
            confirmations_pending: gauge(&r, "confirmations_pending", "Delivery confirmations waiting to be written.")?,
            mails: counters(&r, "mails_total", "Sign-up mails, by outcome.", &["outcome"])?,
            purged_rows: counter(&r, "purged_rows_total", "Rows removed by housekeeping.")?,
            fast_path_checks: counter(&r, "check_fast_path_total", "Checks answered by the fast path.")?,
            registry: r,
            process: Registry::new(),
        };
        metrics.register_process()?;
        metrics.database_available.set(1);
        metrics.show_zeros();
        Ok(metrics)
    }

    /// `build_info`, and what Prometheus expects of a process (`process_*`), under its own names.
    fn register_process(&self) -> Result<(), prometheus::Error> {
        let about = Opts::new("build_info", "Version of this build; always 1.");
        let build = IntGauge::with_opts(about.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);
        self.registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        self.process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// What has not happened yet is 0, and not missing.
    fn show_zeros(&self) {
        for (counters, labels) in [
            (&self.refreshes, &["rotated", "replayed", "reissued", "renewed", "reuse_detected", "refused"][..]),
            (&self.mails, &["sent", "deferred", "refused", "withheld"]),
            (&self.database_errors, &["unavailable", "conflict", "timeout", "internal"]),
        ] {
            for label in labels {
                counters.with_label_values(&[label]);
            }
        }
    }

    /// The text format 0.0.4 of Prometheus.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        TextEncoder::new().encode(&self.process.gather(), &mut text)?;
        String::from_utf8(text).map_err(|why| prometheus::Error::Msg(why.to_string()))
    }
}

fn counter(registry: &Registry, name: &str, about: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, about)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(registry: &Registry, name: &str, about: &str, by: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, about), by)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, name: &str, about: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, about)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Buckets from a quarter of a millisecond to the two seconds after which a request is answered without.
fn histogram(registry: &Registry, name: &str, about: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = vec![0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
    let histogram = Histogram::with_opts(HistogramOpts::new(name, about).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_each_metric_with_its_help() {
        let metrics = Metrics::new().unwrap();
        metrics.refreshes.with_label_values(&["rotated"]).inc();
        let text = metrics.text().unwrap();
        assert!(text.contains("# HELP doorward_refreshes_total Refreshes, by verdict."));
        assert!(text.contains("doorward_refreshes_total{outcome=\"rotated\"} 1"));
        assert!(text.contains("doorward_database_available 1"));
    }
}
