//! What is worth an event, and that it is told twice: in the table, in the transaction of the act itself, and as a log
//! line once that is committed. What changes no row is told in the background. Neither ever holds a secret, a token or an
//! identifier as somebody typed it (people type passwords into user name fields).

use super::Core;
use super::caller::Client;
use super::error::Error;
use crate::clock::Timestamp;
use crate::core::caller::cut_agent;
use crate::store::tables::audit_events;
use crate::store::tables::audit_events::AuditRow;
use crate::store::{self, AccountId, Db, SessionId};

pub use crate::store::tables::audit_events::AuditFilter;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An account was made.
    SignUp,
    /// Somebody asked for an account, which is made once whoever reads the address's mail confirms it.
    SignUpAsked,
    /// A session began.
    SignIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A session was ended by its owner.
    SignOut,
    /// All sessions of an account were ended.
    SignOutEverywhere,
    /// One session was ended by other means.
    SessionEnded,
    /// A spent refresh token came back.
    RefreshReuse,
    /// A password or PIN was changed.
    SecretChange,
    /// A change of a secret was refused.
    SecretChangeRefused,
    /// The profile was changed.
    ProfileChange,
    /// The role was changed.
    RoleChange,
    /// The status was changed.
    StatusChange,
    /// A change of the password was required, or is no more.
    PasswordChangeRequired,
    /// Two cookies of ours came that differ.
    DuplicateCookie,
    /// What failed sign-ins had cost an account was forgotten.
    ThrottleLifted,
    /// A signing key or a pepper was made or retired.
    KeysChange,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::SignUp,
        Self::SignUpAsked,
        Self::SignIn,
        Self::SignInRefused,
        Self::SignOut,
        Self::SignOutEverywhere,
        Self::SessionEnded,
        Self::RefreshReuse,
        Self::SecretChange,
        Self::SecretChangeRefused,
        Self::ProfileChange,
        Self::RoleChange,
        Self::StatusChange,
        Self::PasswordChangeRequired,
        Self::DuplicateCookie,
        Self::ThrottleLifted,
        Self::KeysChange,
    ];

    /// The word in the table and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignUpAsked => "sign_up_asked",
            Self::SignIn => "sign_in",
            Self::SignInRefused => "sign_in_refused",
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::SessionEnded => "session_ended",
            Self::RefreshReuse => "refresh_reuse",
            Self::SecretChange => "secret_change",
            Self::SecretChangeRefused => "secret_change_refused",
            Self::ProfileChange => "profile_change",
            Self::RoleChange => "role_change",
            Self::StatusChange => "status_change",
            Self::PasswordChangeRequired => "password_change_required",
            Self::DuplicateCookie => "duplicate_cookie",
            Self::ThrottleLifted => "throttle_lifted",
            Self::KeysChange => "keys_change",
        }
    }

    const fn alarms(self) -> bool {
        matches!(self, Self::RefreshReuse | Self::DuplicateCookie)
    }
}

/// An event as it was written.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in `Event` and `Client`")]
pub struct Told {
    pub at: Timestamp,
    pub kind: String,
    pub account: Option<AccountId>,
    pub session: Option<SessionId>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<String>,
}

impl From<AuditRow> for Told {
    fn from(row: AuditRow) -> Self {
        let AuditRow { at, kind, account_id, session_id, address, user_agent, request_id, detail } = row;
        Self { at, kind, account: account_id, session: session_id, address, user_agent, request_id, detail }
    }
}

impl Core {
    /// The newest events of those that are wanted, newest first.
    pub fn list_events(&self, wanted: &AuditFilter, limit: i64) -> Result<Vec<Told>, Error> {
        let rows = self.store.read(|db| audit_events::list(db, wanted, limit))?;
        Ok(rows.into_iter().map(Told::from).collect())
    }

    /// Tells the log and the metrics, after the act is committed.
    pub(super) fn tell(&self, event: &Event) {
        self.metrics.events.with_label_values(&[event.kind.as_str()]).inc();
        event.log();
    }
}

/// One event, from where it came.
#[derive(Debug, Clone)]
pub struct Event {
    kind: Kind,
    account: Option<AccountId>,
    session: Option<SessionId>,
    detail: Option<String>,
    client: Client,
}

impl Event {
    /// An event about nobody yet.
    pub fn new(kind: Kind, client: &Client) -> Self {
        Self { kind, account: None, session: None, detail: None, client: client.clone() }
    }

    /// About this account.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    /// About this session.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// With words of ours.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Writes the row, in the transaction of the act.
    pub fn write(&self, db: &mut Db, at: Timestamp) -> Result<(), store::Error> {
        let row = AuditRow {
            at,
            kind: self.kind.as_str().to_owned(),
            account_id: self.account,
            session_id: self.session,
            address: self.client.address.map(|address| address.to_string()),
            user_agent: cut_agent(self.client.user_agent.as_deref()),
            request_id: self.client.request_id.clone(),
            detail: self.detail.clone(),
        };
        audit_events::insert(db, &row)
    }

    /// Writes the log line.
    fn log(&self) {
        let fields = [
            ("account", self.account.map(|id| id.to_string())),
            ("session", self.session.map(|id| id.to_string())),
            ("address", self.client.address.map(|address| address.to_string())),
            ("request", self.client.request_id.clone()),
            ("detail", self.detail.clone()),
        ];
        let known: Vec<(&str, String)> = fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let level = if self.kind.alarms() { log::Level::Warn } else { log::Level::Info };
        let mut record = log::Record::builder();
        record.target("doorward::audit").level(level).key_values(&known);
        log::logger().log(&record.args(format_args!("{}", self.kind.as_str())).build());
    }
}
