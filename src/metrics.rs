//! Metrics of a node, and their Prometheus text. Each counter is incremented where its event happens; which values should
//! raise an alarm is documented in docs/operations.md.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// The metrics of one node; nodes in the same process are independent. Every name has the prefix `doorward_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Process metrics, whose names have no prefix: dashboards expect them so.
    process: Registry,
    /// Authentication checks.
    pub checks: CheckMetrics,
    /// The database.
    pub database: DatabaseMetrics,
    /// The revocation feed.
    pub feed: FeedMetrics,
    /// The nodes of the database.
    pub nodes: NodeMetrics,
    /// The revocation cache.
    pub cache: CacheMetrics,
    /// The worker pools.
    pub pools: PoolMetrics,
    /// Forwarded headers that were ignored.
    pub proxies: ProxyMetrics,
    /// Refreshes by verdict.
    pub refreshes: IntCounterVec,
    /// Audit events by kind.
    pub events: IntCounterVec,
    /// Sign-in attempts rejected by the throttle.
    pub throttle_rejections: IntCounter,
    /// Requests that are not valid HTTP/1.1.
    pub malformed_requests: IntCounter,
    /// Responses by mount and status.
    pub responses: IntCounterVec,
    /// Duration of one hash.
    pub password_hash_seconds: Histogram,
    /// Delivery confirmations written to the database.
    pub confirmations_flushed: IntCounter,
    /// Delivery confirmations in memory.
    pub confirmations_pending: IntGauge,
    /// Registration mails by outcome.
    pub mails: IntCounterVec,
    /// Rows removed by housekeeping.
    pub purged_rows: IntCounter,
}

/// Metrics of authentication checks.
#[derive(Debug, Clone)]
pub struct CheckMetrics {
    /// Checks that allowed the request.
    pub allowed: IntCounter,
    /// Checks that denied it.
    pub denied: IntCounter,
    /// Checks without a decision: status 503.
    pub unavailable: IntCounter,
    /// Checks that read the revocation table because the cache was too old.
    pub table_reads_answered: IntCounter,
    /// The same, when the read failed.
    pub table_reads_failed: IntCounter,
    /// Checks answered by the fast path, without entering actix.
    pub fast_path: IntCounter,
}

/// Metrics of the database.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    /// 1 while the database is available.
    pub available: IntGauge,
    /// Failed calls by kind.
    pub errors: IntCounterVec,
    /// Duration of a transaction or read, including the wait for a connection.
    pub seconds: Histogram,
}

/// Metrics of the revocation feed.
#[derive(Debug, Clone)]
pub struct FeedMetrics {
    /// 1 while the feed is connected.
    pub connected: IntGauge,
    /// Connections made.
    pub connections: IntCounter,
    /// Revocations received by notification, before a poll.
    pub notifications: IntCounter,
    /// Successful polls.
    pub polls_ok: IntCounter,
    /// Failed polls and connections.
    pub polls_failed: IntCounter,
    /// Rows read by polls and resyncs.
    pub rows_read: IntCounter,
}

/// Metrics of the processes that serve the database.
#[derive(Debug, Clone)]
pub struct NodeMetrics {
    /// Running nodes, this one included.
    pub live: IntGauge,
    /// Running nodes that share no signing key or no pepper with this one.
    pub with_other_keys: IntGauge,
    /// The largest difference between this node's clock and another's or the database's, in seconds.
    pub clock_difference: Gauge,
}

/// Metrics of the revocation cache.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// Entries in memory.
    pub entries: IntGauge,
    /// Seconds since the last synchronisation with the table.
    pub age: Gauge,
}

/// Metrics of the worker pools.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    /// Requests rejected by load shedding, by pool.
    pub rejected: IntCounterVec,
    /// Queued jobs, by pool.
    pub queue_length: IntGaugeVec,
}

/// Metrics of the reverse proxies in front.
#[derive(Debug, Clone)]
pub struct ProxyMetrics {
    /// Forwarded headers of a peer that is not in TRUSTED_PROXIES.
    pub untrusted: IntCounter,
    /// Entries of X-Forwarded-For that are not an address.
    pub unreadable: IntCounter,
    /// Requests of a trusted proxy with another header in place of X-Forwarded-For.
    pub missing: IntCounter,
}

impl CheckMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let checks = counters(r, "checks_total", "Authentication checks, by outcome.", "outcome")?;
        let about = "Checks that read the revocation table because the cache was too old.";
        let table_reads = counters(r, "revocation_table_reads_total", about, "outcome")?;
        Ok(Self {
            allowed: checks.with_label_values(&["allowed"]),
            denied: checks.with_label_values(&["denied"]),
            unavailable: checks.with_label_values(&["unavailable"]),
            table_reads_answered: table_reads.with_label_values(&["answered"]),
            table_reads_failed: table_reads.with_label_values(&["failed"]),
            fast_path: counter(r, "check_fast_path_total", "Checks answered by the fast path.")?,
        })
    }
}

impl DatabaseMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let available = gauge(r, "database_available", "1 while the database is available, else 0.")?;
        available.set(1);
        Ok(Self {
            available,
            errors: counters(r, "database_errors_total", "Failed database calls, by kind.", "kind")?,
            seconds: histogram(r, "database_seconds", "Duration of database calls, waits included.")?,
        })
    }
}

impl FeedMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let polls = counters(r, "feed_polls_total", "Polls of the revocation table.", "outcome")?;
        let about = "Revocations received by notification, before a poll.";
        Ok(Self {
            connected: gauge(r, "feed_connected", "1 while the revocation feed is connected, else 0.")?,
            connections: counter(r, "feed_connections_total", "Connections made by the revocation feed.")?,
            notifications: counter(r, "feed_notifications_total", about)?,
            polls_ok: polls.with_label_values(&["ok"]),
            polls_failed: polls.with_label_values(&["failed"]),
            rows_read: counter(r, "revocations_read_total", "Rows that this node has read of the revocation table.")?,
        })
    }
}

impl NodeMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let about = "Largest difference between this node's clock and another node's or the database's.";
        let clock_difference = Gauge::new("clock_difference_seconds", about)?;
        r.register(Box::new(clock_difference.clone()))?;
        Ok(Self {
            live: gauge(r, "nodes", "Running nodes of the database, this one included.")?,
            with_other_keys: gauge(
                r,
                "nodes_with_other_keys",
                "Running nodes that share no signing key or no pepper with this one.",
            )?,
            clock_difference,
        })
    }
}

impl CacheMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let about = "Seconds since the revocation cache was last in step with the table.";
        let age = Gauge::new("revocation_cache_age_seconds", about)?;
        r.register(Box::new(age.clone()))?;
        Ok(Self { entries: gauge(r, "revocation_cache_entries", "Entries in the revocation cache.")?, age })
    }
}

impl PoolMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let about = Opts::new("queue_length", "Jobs waiting for a worker thread, by pool.");
        let queue_length = IntGaugeVec::new(about, &["pool"])?;
        r.register(Box::new(queue_length.clone()))?;
        let about = "Requests rejected because a worker pool was overloaded, by pool.";
        Ok(Self { rejected: counters(r, "rejected_total", about, "pool")?, queue_length })
    }
}

impl ProxyMetrics {
    fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        let about = "Forwarded headers that were ignored, by reason. `untrusted`: the sender is not in TRUSTED_PROXIES; `unreadable`: an \
             entry is not an address; `missing`: a trusted proxy sends Forwarded or X-Real-IP, and no X-Forwarded-For.";
        let ignored = counters(r, "forwarded_headers_ignored_total", about, "reason")?;
        Ok(Self {
            untrusted: ignored.with_label_values(&["untrusted"]),
            unreadable: ignored.with_label_values(&["unreadable"]),
            missing: ignored.with_label_values(&["missing"]),
        })
    }
}

impl Metrics {
    /// Registers all metrics, at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registry::new_custom(Some("doorward".to_owned()), None)?;
        let throttle = "Sign-in attempts rejected by the throttle before the password was checked.";
        let hash = "Duration of hashing or verifying one password or PIN.";
        let flushed = "Delivery confirmations written to the database.";
        let malformed = "Requests that are not valid HTTP/1.1, or whose head is too large to be read.";
        let responses = Opts::new("responses_total", "Responses, by mount and status.");
        let metrics = Self {
            checks: CheckMetrics::register(&r)?,
            database: DatabaseMetrics::register(&r)?,
            feed: FeedMetrics::register(&r)?,
            nodes: NodeMetrics::register(&r)?,
            cache: CacheMetrics::register(&r)?,
            pools: PoolMetrics::register(&r)?,
            proxies: ProxyMetrics::register(&r)?,
            refreshes: counters(&r, "refreshes_total", "Refreshes, by verdict.", "outcome")?,
            events: counters(&r, "events_total", "Audit events, by kind.", "kind")?,
            throttle_rejections: counter(&r, "throttle_rejections_total", throttle)?,
            malformed_requests: counter(&r, "malformed_requests_total", malformed)?,
            responses: IntCounterVec::new(responses, &["mount", "status"])?,
            password_hash_seconds: histogram(&r, "password_hash_seconds", hash)?,
            confirmations_flushed: counter(&r, "confirmations_flushed_total", flushed)?,
            confirmations_pending: gauge(&r, "confirmations_pending", "Delivery confirmations waiting to be written.")?,
            mails: counters(&r, "mails_total", "Sign-up mails, by outcome.", "outcome")?,
            purged_rows: counter(&r, "purged_rows_total", "Rows removed by housekeeping.")?,
            registry: r,
            process: Registry::new(),
        };
        metrics.registry.register(Box::new(metrics.responses.clone()))?;
        metrics.register_process()?;
        metrics.initialize_labels();
        Ok(metrics)
    }

    /// Registers `build_info`, and the `process_*` metrics that Prometheus expects of a process.
    fn register_process(&self) -> Result<(), prometheus::Error> {
        let about = Opts::new("build_info", "Version of this build; always 1.");
        let build = IntGauge::with_opts(about.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);
        self.registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        self.process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// Makes every label value appear at zero before its first event: a rate over a series that appears at 1 is 0, so an
    /// alarm would miss the first failure.
    fn initialize_labels(&self) {
        for (counters, labels) in [
            (&self.refreshes, &["rotated", "replayed", "reissued", "renewed", "reuse_detected", "refused"][..]),
            (&self.mails, &["sent", "deferred", "refused", "withheld"]),
            (&self.database.errors, &["unavailable", "conflict", "timeout", "internal"]),
        ] {
            for label in labels {
                counters.with_label_values(&[label]);
            }
        }
    }

    /// The metrics in Prometheus's text format 0.0.4.
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

fn counters(registry: &Registry, name: &str, about: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, about), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, name: &str, about: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, about)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Buckets from a quarter of a millisecond to two seconds, the default timeout of a database call.
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
    fn metrics_text_has_name_and_help_of_each_metric() {
        let metrics = Metrics::new().unwrap();
        metrics.refreshes.with_label_values(&["rotated"]).inc();
        let text = metrics.text().unwrap();
        assert!(text.contains("# HELP doorward_refreshes_total Refreshes, by verdict."));
        assert!(text.contains("doorward_refreshes_total{outcome=\"rotated\"} 1"));
        assert!(text.contains("doorward_database_available 1"));
    }
}
