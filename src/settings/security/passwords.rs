//! Password and registration settings: the cost and concurrency of hashing, the minimum length, and who may sign up.

use std::time::Duration;

use crate::settings::values::{InvalidValue, boolean, duration, role};

/// Settings of passwords, their hashing, and registration.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Passwords")]
pub struct PasswordSettings {
    /// The bcrypt cost. Each step doubles the time of a sign-in, and of an attacker's guess. 4 to 9 only with
    /// TEST_MODE=true.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,

    /// The minimum length of a new password in characters: at least 8. 15 is recommended where a password is the only factor.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(8..=64))]
    pub password_min_length: u16,

    /// Threads that hash passwords and PINs. Default: one per processor core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub hash_threads: Option<u16>,

    /// The maximum number of sign-ins that wait for a hashing thread. Further ones are answered with 503 and Retry-After.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub hash_queue: u16,

    /// The maximum time a sign-in waits for a hashing thread. One that would wait longer is answered immediately with 503 and
    /// Retry-After.
    #[arg(long, default_value = "10s", value_parser = queue_time)]
    pub hash_queue_time: Duration,

    /// Allow registration. With `false`, accounts are added by `doorward account add`.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = boolean)]
    pub signup: bool,

    /// Answer every registration alike (202) and send the result by email, so that no answer reveals whether an account
    /// exists. Needs SMTP_URL, MAIL_FROM, and PUBLIC_URL or SIGNUP_CONFIRM_URL. Dialects that answer a registration with a
    /// session then refuse registrations.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub signup_confirm_email: bool,

    /// The role of accounts created by registration.
    #[arg(long, default_value = "USER", value_parser = role)]
    pub signup_role: String,

    /// For test suites only: allows a low BCRYPT_COST and lifting the throttle. Refused with an https PUBLIC_URL.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub test_mode: bool,
}

/// A queue time of 0 would reject every sign-in that does not find an idle thread.
fn queue_time(text: &str) -> Result<Duration, InvalidValue> {
    match duration(text)? {
        Duration::ZERO => Err(InvalidValue::new("0 would reject most sign-ins; use at least 1s")),
        positive => Ok(positive),
    }
}

impl PasswordSettings {
    /// The number of hashing threads: HASH_THREADS, or one per core.
    pub fn hashing_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        self.hash_threads.map_or_else(cores, usize::from)
    }
}
