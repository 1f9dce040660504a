//! Password and registration settings: the cost and concurrency of hashing, the minimum length, and who may sign up.

use std::time::Duration;

use crate::settings::values::{InvalidValue, boolean, duration, number, role};

/// Names that apps, mail servers (RFC 2142) and certificate authorities take for somebody with authority.
const RESERVED_NAMES: &str = "admin,administrator,root,superuser,sysadmin,system,operator,owner,moderator,staff,support,help,\
                              helpdesk,security,abuse,noc,postmaster,hostmaster,webmaster,mailer-daemon,anonymous,\
                              guest,noreply,no-reply,doorward";

/// Settings of passwords, their hashing, and registration.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Passwords")]
pub struct PasswordSettings {
    /// The bcrypt cost. Each step doubles the time of a sign-in, and of an attacker's guess. 4 to 9 only with
    /// TEST_MODE=true.
    #[arg(long, default_value_t = 12, value_parser = |text: &str| number::<u32>(text, 4..=31))]
    pub bcrypt_cost: u32,

    /// The minimum length of a new password in characters: at least 8. 15 is recommended where a password is the only factor.
    #[arg(long, default_value_t = 8, value_parser = |text: &str| number::<u16>(text, 8..=64))]
    pub password_min_length: u16,

    /// Threads that hash passwords and PINs. Default: one per processor core.
    #[arg(long, value_parser = |text: &str| number::<u16>(text, 1..=256))]
    pub hash_threads: Option<u16>,

    /// The maximum number of requests that wait for a hashing thread: sign-ins, registrations, their confirmations and
    /// password changes. Further ones are answered with 503 and Retry-After. One account has at most one place for strangers and
    /// one for its trusted devices, one client address at most a quarter; their further requests wait outside the queue, for
    /// HASH_QUEUE_TIME at most.
    #[arg(long, default_value_t = 32, value_parser = |text: &str| number::<u16>(text, 1..=10000))]
    pub hash_queue: u16,

    /// The maximum time such a request waits, in the queue and outside; then it is answered with 503 and Retry-After. A request
    /// that would have to wait longer in the queue, by the time that hashes take, is answered so without waiting there.
    #[arg(long, default_value = "10s", value_parser = queue_time)]
    pub hash_queue_time: Duration,

    /// Allow registration by anybody. With `false`, accounts are added by `doorward account add`. Default: `true`; with
    /// TRUSTED_PROXIES, RULES_FILE or VERIFY_RENEW there is none, and the start asks for a decision, since every account can
    /// then use the apps behind the proxy.
    #[arg(long, action = clap::ArgAction::Set, value_parser = boolean)]
    pub signup: Option<bool>,

    /// Answer every registration alike (202) and send the result by email, so that no answer reveals whether an account
    /// exists. Needs SMTP_URL, MAIL_FROM, and PUBLIC_URL or SIGNUP_CONFIRM_URL. Dialects that answer a registration with a
    /// session then refuse registrations.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub signup_confirm_email: bool,

    /// Names that cannot be registered as username or name, comma-separated, in any spelling; `doorward account add` and imports
    /// can use them. An empty value reserves none.
    #[arg(long, value_delimiter = ',', default_value = RESERVED_NAMES, value_parser = reserved_name)]
    pub reserved_names: Vec<String>,

    /// The role of accounts created by registration.
    #[arg(long, default_value = "USER", value_parser = role)]
    pub signup_role: String,

    /// For test suites only: allows a low BCRYPT_COST and lifting the throttle. Refused with an https PUBLIC_URL.
    #[arg(long, default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub test_mode: bool,
}

/// A queue time of 0 would reject every request that does not find an idle thread.
fn queue_time(text: &str) -> Result<Duration, InvalidValue> {
    match duration(text)? {
        Duration::ZERO => Err(InvalidValue::new("0 would reject most sign-ins; use at least 1s")),
        positive => Ok(positive),
    }
}

/// The longest name that an account can have.
const NAME_MAX: usize = 64;

/// An empty one reserves nothing: no account has an empty name.
fn reserved_name(text: &str) -> Result<String, InvalidValue> {
    if text.chars().count() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(InvalidValue::new(format!(
            "{text:?} is not a valid name; write names of up to {NAME_MAX} characters, separated by commas"
        )));
    }
    Ok(text.to_owned())
}

impl PasswordSettings {
    /// Whether anybody can register.
    pub fn allows_signup(&self) -> bool {
        self.signup.unwrap_or(true)
    }

    /// The number of hashing threads: HASH_THREADS, or one per core.
    pub fn hashing_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        self.hash_threads.map_or_else(cores, usize::from)
    }
}
