//! Black-box tests: HTTP against the real server, on both backends, with a clock that tests move. One file a promise;
//! support/ has the client, the throwaway PostgreSQL and the service under test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod accounts;
mod audit;
mod bad_days;
mod browser;
mod canary;
mod clean_up;
mod clock_steps;
mod cluster;
mod command_line;
mod conformance;
mod cookies;
mod crash;
mod devices;
mod documentation;
mod duplicate_cookies;
mod embedded;
mod expiry;
mod forged_tokens;
mod forward_auth;
mod fuzzed;
mod hostile_input;
mod import;
mod limits;
mod model;
mod mounts;
mod nodes;
mod pages;
mod panics;
mod passwords;
mod profiles;
mod proxies;
mod races;
mod redirects;
mod refresh;
mod rolling;
mod rotation;
mod schema;
mod secrets;
mod sign_out;
mod signing_keys;
mod sixth_dialect;
mod soak;
mod source_003;
mod source_samples;
mod staleness;
mod state_machine;
mod support;
mod threats;
mod throttle;
mod timing;
