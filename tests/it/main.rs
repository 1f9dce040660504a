//! Integration tests: HTTP requests against the real server, on SQLite and PostgreSQL, with a clock that the tests
//! move. Each module is named after the feature whose promises it tests, so that `cargo test NAME` runs what belongs to
//! it; support/ holds the client, the throwaway PostgreSQL and the service under test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod accounts;
mod audit;
mod browser;
mod canonical_forms;
mod client_address;
mod client_samples;
mod client_samples_shell;
mod clock_steps;
mod cluster;
mod command_line;
mod conformance;
mod cookies;
mod crash_recovery;
mod current_session;
mod database_errors;
mod database_health;
mod device_sessions;
mod documentation;
mod duplicate_cookies;
mod embedding;
mod expiry;
mod external_dialect;
mod forged_tokens;
mod forward_auth;
mod fuzz_seeds;
mod housekeeping;
mod import;
mod migrating;
mod model_checking;
mod mounts;
mod multi_node;
mod node_registry;
mod outages;
mod pages;
mod panics;
mod passwords;
mod profiles;
mod proxies;
mod race_conditions;
mod redirects;
mod refresh;
mod refresh_rotation;
mod refresh_simulation;
mod request_limits;
mod request_validation;
mod reserved_names;
mod restored_database;
mod revocation_resync;
mod revocation_staleness;
mod rolling_restarts;
mod schema;
mod secret_leaks;
mod secret_scanner;
mod session_limits;
mod sign_in_timing;
mod sign_out;
mod signing_keys;
mod soak;
mod state_machine;
mod support;
mod threats;
mod throttle;
