//! Audit trail: the events that are recorded, each twice: as a row in the transaction of the act itself, and as a log line and
//! a metric once that is committed. Which act records what is decided by the operations; the table is
//! store/tables/audit_events.rs's. Neither row nor log line ever holds a secret, a token, or an identifier as it was typed
//! (people type passwords into user name fields).

use super::Core;
use super::error::Error;
use super::session::caller::Client;
use crate::clock::Timestamp;
use crate::core::session::caller::sanitize_user_agent;
use crate::store::tables::audit_events;
use crate::store::tables::audit_events::AuditRow;
use crate::store::{self, AccountId, Db, SessionId};

pub use crate::store::tables::audit_events::AuditFilter;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An account was created.
    SignUp,
    /// A registration was requested; the account is created once it is confirmed by mail.
    SignUpRequested,
    /// A session began.
    SignIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A session was ended by its owner.
    SignOut,
    /// All sessions of an account were ended.
    SignOutEverywhere,
    /// A session ended for another reason.
    SessionEnded,
    /// A spent refresh token was presented again; its session ended.
    RefreshReuse,
    /// A refresh token was replaced that had not been presented since it was issued: the response was lost, or a thief keeps it.
    RefreshAnswerLost,
    /// A spent refresh token was presented to a check, which ends no session.
    SpentTokenAtCheck,
    /// An account was deleted.
    AccountDeletion,
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
    /// A change of the password was required, or the requirement was lifted.
    PasswordChangeRequired,
    /// A request had two different cookies of the same name.
    DuplicateCookie,
    /// The failed sign-ins of an account were reset.
    ThrottleLifted,
    /// A signing key or a pepper was created or retired.
    KeysChange,
}

impl EventKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::SignUp,
        Self::SignUpRequested,
        Self::SignIn,
        Self::SignInRefused,
        Self::SignOut,
        Self::SignOutEverywhere,
        Self::SessionEnded,
        Self::RefreshReuse,
        Self::RefreshAnswerLost,
        Self::SpentTokenAtCheck,
        Self::AccountDeletion,
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
            Self::SignUpRequested => "sign_up_requested",
            Self::SignIn => "sign_in",
            Self::SignInRefused => "sign_in_refused",
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::SessionEnded => "session_ended",
            Self::RefreshReuse => "refresh_reuse",
            Self::RefreshAnswerLost => "refresh_answer_lost",
            Self::SpentTokenAtCheck => "spent_token_at_check",
            Self::AccountDeletion => "account_deletion",
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

    /// Whether the events of an account that happen from one address within a minute share a row with their number: those that
    /// a client can repeat in a loop, and of which each one says nothing about the security of the account. All others are
    /// exact. Log lines and metrics always are.
    const fn is_aggregated(self) -> bool {
        matches!(self, Self::ProfileChange)
    }

    /// Whether the log line is a warning: these events indicate an attack.
    const fn is_warning(self) -> bool {
        matches!(self, Self::RefreshReuse | Self::SpentTokenAtCheck | Self::DuplicateCookie)
    }
}

/// An event as it is stored.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in `AuditEvent` and `Client`")]
pub struct AuditRecord {
    pub at: Timestamp,
    pub kind: String,
    pub account: Option<AccountId>,
    pub session: Option<SessionId>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub detail: Option<String>,
    /// How many such events the row stands for; the other columns are the first one's.
    pub count: i64,
}

impl From<AuditRow> for AuditRecord {
    fn from(row: AuditRow) -> Self {
        let AuditRow { at, kind, account_id, session_id, address, user_agent, request_id, detail, count, .. } = row;
        Self { at, kind, account: account_id, session: session_id, address, user_agent, request_id, detail, count }
    }
}

impl Core {
    /// The newest events that match the filter, newest first.
    pub fn list_events(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRecord>, Error> {
        let rows = self.store.read(|db| audit_events::list(db, filter, limit))?;
        Ok(rows.into_iter().map(AuditRecord::from).collect())
    }

    /// Counts and logs an event. To be called after the commit: the log must not report what was rolled back.
    pub(super) fn log_event(&self, event: &AuditEvent) {
        self.metrics.events.with_label_values(&[event.kind.as_str()]).inc();
        event.log();
    }
}

/// One event, with the client that caused it.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    kind: EventKind,
    account: Option<AccountId>,
    session: Option<SessionId>,
    detail: Option<String>,
    client: Client,
}

impl AuditEvent {
    /// An event without account, session and detail.
    pub fn new(kind: EventKind, client: &Client) -> Self {
        Self { kind, account: None, session: None, detail: None, client: client.clone() }
    }

    /// Sets the account.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    /// Sets the session.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets the detail, a text of this service.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Inserts the row, in the transaction of the act, or adds the event to the row of its minute.
    pub fn write(&self, db: &mut Db, at: Timestamp) -> Result<(), store::StoreError> {
        let row = AuditRow {
            at,
            kind: self.kind.as_str().to_owned(),
            account_id: self.account,
            session_id: self.session,
            address: self.client.address.map(|address| address.to_string()),
            user_agent: sanitize_user_agent(self.client.user_agent.as_deref()),
            request_id: self.client.request_id.clone(),
            detail: self.detail.clone(),
            count: 1,
            minute: self.kind.is_aggregated().then(|| at.seconds().div_euclid(60)),
        };
        if row.minute.is_some() && audit_events::add_to_minute(db, &row)? {
            return Ok(());
        }
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
        let level = if self.kind.is_warning() { log::Level::Warn } else { log::Level::Info };
        let mut record = log::Record::builder();
        record.target("doorward::audit").level(level).key_values(&known);
        log::logger().log(&record.args(format_args!("{}", self.kind.as_str())).build());
    }
}
