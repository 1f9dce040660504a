//! What a node counts, and its text for Prometheus. A counter stands where the thing happens; which values should alarm
//! whom is docs/operations.md's.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The counters of one node: two nodes in one process keep apart. Every name begins with `doorward_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Checks that said yes.
    pub checks_allowed: IntCounter,
    /// Checks that said no.
    pub checks_refused: IntCounter,
    /// Checks that could not be decided: 503.
    pub checks_unavailable: IntCounter,
    /// Checks that asked the table because memory was too old, and got an answer.
    pub table_checks_answered: IntCounter,
    /// The same, without an answer.
    pub table_checks_failed: IntCounter,
    /// Refreshes by verdict.
    pub refreshes: IntCounterVec,
    /// Audit events by kind.
    pub events: IntCounterVec,
    /// Tries refused unseen while a block lasts.
    pub throttled: IntCounter,
    /// Answers by mount and status.
    pub responses: IntCounterVec,
    /// Requests turned away at a full queue, by pool.
    pub turned_away: IntCounterVec,
    /// Waiting jobs, by pool.
    pub queue_length: IntGaugeVec,
    /// 1 while the database answers.
    pub database_available: IntGauge,
    /// What the database refused or left unanswered, by kind.
    pub database_failures: IntCounterVec,
    /// Seconds a transaction or a read took, its wait for a connection included.
    pub database_seconds: Histogram,
    /// Seconds a hash took.
    pub hash_seconds: Histogram,
    /// 1 while the revocation feed is connected.
    pub feed_connected: IntGauge,
    /// How often it connected.
    pub feed_connections: IntCounter,
    /// Revocations heard of before a poll found them.
    pub feed_notices: IntCounter,
    /// Polls that read what there is.
    pub feed_polls_ok: IntCounter,
    /// Polls and connections that failed.
    pub feed_polls_failed: IntCounter,
    /// The revocations in memory.
    pub view_entries: IntGauge,
    /// The age of that memory.
    pub view_age: prometheus::Gauge,
    /// Proofs of receipt written down.
    pub receipts_written: IntCounter,
    /// Proofs of receipt that wait.
    pub receipts_unwritten: IntGauge,
    /// Mails by what became of them.
    pub mails: IntCounterVec,
    /// Rows that housekeeping removed.
    pub purged_rows: IntCounter,
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registry::new_custom(Some("doorward".to_owned()), None)?;
        let checks = counters(&r, "checks_total", "Checks of who a request is from, by answer.", &["answer"])?;
        let table = counters(&r, "table_checks_total", "Checks that had to ask the table.", &["outcome"])?;
        let polls = counters(&r, "feed_polls_total", "Polls of the revocation table.", &["outcome"])?;
        let metrics = Self {
            checks_allowed: checks.with_label_values(&["allowed"]),
            checks_refused: checks.with_label_values(&["refused"]),
            checks_unavailable: checks.with_label_values(&["unavailable"]),
            table_checks_answered: table.with_label_values(&["answered"]),
            table_checks_failed: table.with_label_values(&["failed"]),
            refreshes: counters(&r, "refreshes_total", "Refreshes, by verdict.", &["outcome"])?,
            events: counters(&r, "events_total", "Audit events, by kind.", &["kind"])?,
            throttled: counter(&r, "throttled_total", "Tries of a secret refused unseen.")?,
            responses: counters(&r, "responses_total", "Answers, by mount and status.", &["mount", "status"])?,
            turned_away: counters(&r, "turned_away_total", "Requests refused at a full queue.", &["pool"])?,
            queue_length: {
                let gauges = IntGaugeVec::new(Opts::new("queue_length", "Jobs that wait for a thread."), &["pool"])?;
                r.register(Box::new(gauges.clone()))?;
                gauges
            },
            database_available: gauge(&r, "database_available", "1 while the database answers.")?,
            database_failures: counters(&r, "database_failures_total", "Failed database calls.", &["kind"])?,
            database_seconds: histogram(&r, "database_seconds", "Database calls, waits included.")?,
            hash_seconds: histogram(&r, "hash_seconds", "Work on one secret.")?,
            feed_connected: gauge(&r, "feed_connected", "1 while the revocation feed is connected.")?,
            feed_connections: counter(&r, "feed_connections_total", "Connections of the revocation feed.")?,
            feed_notices: counter(&r, "feed_notices_total", "Revocations heard of before a poll.")?,
            feed_polls_ok: polls.with_label_values(&["ok"]),
            feed_polls_failed: polls.with_label_values(&["failed"]),
            view_entries: gauge(&r, "revocation_view_entries", "Revocations in memory.")?,
            view_age: {
                let about = "Seconds since memory last agreed with the revocation table.";
                let gauge = prometheus::Gauge::new("revocation_view_age_seconds", about)?;
                r.register(Box::new(gauge.clone()))?;
                gauge
            },
            receipts_written: counter(&r, "receipts_written_total", "Proofs of receipt written down.")?,
            receipts_unwritten: gauge(&r, "receipts_unwritten", "Proofs of receipt that wait.")?,
            mails: counters(&r, "mails_total", "Mails of sign-ups, by what became of them.", &["outcome"])?,
            purged_rows: counter(&r, "purged_rows_total", "Rows that housekeeping removed.")?,
            registry: r,
        };
        metrics.database_available.set(1);
        metrics.show_zeros();
        Ok(metrics)
    }

    /// What has not happened yet is 0, and not missing.
    fn show_zeros(&self) {
        for (counters, labels) in [
            (&self.refreshes, &["rotated", "repeated", "kept", "renewed", "reused", "refused"][..]),
            (&self.mails, &["sent", "deferred", "refused", "withheld"]),
            (&self.database_failures, &["unavailable", "timeout", "broken"]),
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
