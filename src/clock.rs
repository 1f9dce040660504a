//! Clock and timestamps: the only source of the current time, so that a test can set it. What a time means (expiry, grace,
//! age) is decided by the rules in `core`; how a timestamp is stored is decided by store/tables/timestamp.rs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A point in time in UTC, in milliseconds since 1970-01-01: both databases and all comparisons have this precision, so a
/// value that was stored and read compares equal to the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub(crate) i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since 1970-01-01 UTC, as tokens carry them (RFC 7519 `NumericDate`).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The timestamp plus a duration. Saturates instead of overflowing.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(duration)))
    }

    /// The timestamp minus a duration. Saturates instead of overflowing.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(duration)))
    }

    /// The duration since `earlier`; zero if `earlier` is later than this.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses RFC 3339, with any UTC offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-21T09:34:00.000Z`.
    pub fn rfc3339(self) -> String {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(format).ok())
            .unwrap_or_else(|| format!("{}ms", self.0))
    }

    /// The format of HTTP headers (RFC 9110 section 5.6.7): `Fri, 27 Nov 2026 23:57:17 GMT`.
    pub fn http_date(self) -> String {
        let format =
            format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
        let at = OffsetDateTime::from_unix_timestamp(self.seconds()).ok();
        at.and_then(|at| at.format(format).ok()).unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The source of the current time: the system clock, or a clock that a test sets.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    settable: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A stopped clock for tests. Its clones share one time.
    pub fn settable(now: Timestamp) -> Self {
        Self { settable: Some(Arc::new(AtomicI64::new(now.0))) }
    }

    /// The current time, truncated to milliseconds.
    pub fn now(&self) -> Timestamp {
        match &self.settable {
            Some(millis) => Timestamp(millis.load(Ordering::SeqCst)),
            None => system_now(),
        }
    }

    /// Advances a settable clock; no effect on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Some(millis) = &self.settable {
            millis.fetch_add(millis_of(by), Ordering::SeqCst);
        }
    }

    /// Sets a settable clock, also backwards; no effect on the system clock.
    pub fn set(&self, to: Timestamp) {
        if let Some(millis) = &self.settable {
            millis.store(to.0, Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
fn system_now() -> Timestamp {
    let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
    Timestamp(i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_seconds_round_down_also_before_1970() {
        assert_eq!(Timestamp::from_millis(1999).seconds(), 1);
        assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    }

    #[test]
    fn timestamp_text_is_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_795_253_640_007).rfc3339(), "2026-11-21T09:34:00.007Z");
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-21T09:34:00.007Z"),
            Some(Timestamp::from_millis(1_795_253_640_007))
        );
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!(Timestamp::from_millis(i64::MAX).rfc3339(), "9223372036854775807ms");
    }

    #[test]
    fn clones_of_a_settable_clock_share_one_time() {
        let clock = Clock::settable(Timestamp::from_seconds(10));
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now(), Timestamp::from_seconds(15));
    }
}
