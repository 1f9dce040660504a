//! What a password must be and what hashing it costs.

use std::time::Duration;

/// Settings of passwords and their hashing.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Passwords")]
pub struct Passwords {
    /// The cost of bcrypt: each step doubles the time of a sign-in, and of a guess. 4 to 9 only with TEST_MODE=true.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,

    /// The fewest characters of a new password. 15 is recommended where a password is the only factor; never under 8.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(8..=64))]
    pub password_min_length: u16,

    /// Threads that hash secrets. Default: one a processor core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub hash_threads: Option<u16>,

    /// Sign-ins that may wait for a hashing thread; more are told to come back (503).
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub hash_queue: u16,

    /// The longest that a sign-in waits for a hashing thread; whoever would wait longer is told to come back (503) at once.
    #[arg(long, default_value = "10s", value_parser = queue_time)]
    pub hash_queue_time: Duration,

    /// Whether people may register themselves; false leaves accounts to `doorward account add`.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = super::values::switch)]
    pub signup: bool,

    /// Answer every registration alike (202) and tell by mail whether it worked, so that nobody learns who has an account.
    /// Needs SMTP_URL, MAIL_FROM and PUBLIC_URL. Dialects whose answer is a session take no registrations then.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = super::values::switch)]
    pub signup_confirm_email: bool,

    /// The role of an account that registers itself.
    #[arg(long, default_value = "USER", value_parser = super::values::role)]
    pub signup_role: String,

    /// For test suites only: allows a cheap BCRYPT_COST. Refused with an https PUBLIC_URL.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = super::values::switch)]
    pub test_mode: bool,
}

/// With 0 nobody would be served.
fn queue_time(text: &str) -> Result<Duration, String> {
    match super::values::duration(text)? {
        Duration::ZERO => Err("nobody is served without waiting a moment; use at least 1s".to_owned()),
        some => Ok(some),
    }
}

impl Passwords {
    /// How many threads hash: as said, or one a core.
    pub fn hashing_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        self.hash_threads.map_or_else(cores, usize::from)
    }
}
