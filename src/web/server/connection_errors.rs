//! Connection error reporting: how connections end that the HTTP library gives up. Malformed requests are counted, and logged
//! once a minute however many a stranger sends; the library's own lines, one for each, are filtered in cli/logs.rs. What a
//! malformed request is answered is the library's; when a slow connection is closed, deadlines.rs's.

use actix_http::error::DispatchError;
use prometheus::IntCounter;

use crate::clock::Timestamp;
use crate::web::response::log_limit::LogLimit;

/// Counts and logs the errors that end connections.
#[derive(Debug)]
pub struct ConnectionErrors {
    malformed_requests: IntCounter,
    malformed: LogLimit,
    broken: LogLimit,
}

impl ConnectionErrors {
    /// Counts into this metric.
    pub fn new(malformed_requests: IntCounter) -> Self {
        Self { malformed_requests, malformed: LogLimit::default(), broken: LogLimit::default() }
    }

    /// Reports an error that has ended a connection, and returns it. None of their texts quotes the request.
    pub fn report(&self, error: DispatchError, now: Timestamp) -> DispatchError {
        match &error {
            DispatchError::Parse(cause) => {
                self.malformed_requests.inc();
                if let Some(requests) = self.malformed.count(now) {
                    log::warn!(requests, cause:%; "requests that are not valid HTTP/1.1 were refused");
                }
            }
            DispatchError::Body(_) | DispatchError::Upgrade | DispatchError::InternalError => {
                if let Some(connections) = self.broken.count(now) {
                    log::error!(connections, error:%; "connections broke off because of a defect");
                }
            }
            // The client is gone, or was too slow.
            _ => {}
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use actix_http::error::ParseError;

    use super::*;

    #[test]
    fn only_malformed_requests_are_counted() {
        let errors = ConnectionErrors::new(IntCounter::new("malformed", "malformed").unwrap());
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for (error, counted) in [
            (DispatchError::Parse(ParseError::Header), 1),
            (DispatchError::Io(gone), 1),
            (DispatchError::SlowRequestTimeout, 1),
            (DispatchError::InternalError, 1),
            (DispatchError::Parse(ParseError::TooLarge), 2),
        ] {
            let error = errors.report(error, Timestamp::from_seconds(0));
            assert_eq!(errors.malformed_requests.get(), counted, "{error}");
        }
    }
}
