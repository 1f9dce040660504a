//! `doorward audit`: lists audit events of accounts and sessions from the table that every node writes.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::console::{print_line, print_table};
use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::core::audit::{AuditFilter, AuditRecord, EventKind};
use crate::core::{Core, SessionId};
use crate::settings::values::{InvalidValue, duration};

/// List audit events, newest first.
#[derive(Debug, Args)]
pub struct AuditCommand {
    /// Only events of this account: its number, email, username or name.
    #[arg(long)]
    account: Option<String>,
    /// Only events of this session.
    #[arg(long)]
    session: Option<Uuid>,
    /// Only events of this kind.
    #[arg(long, value_parser = kinds())]
    kind: Option<String>,
    /// Only events from this client address.
    #[arg(long)]
    address: Option<std::net::IpAddr>,
    /// Only events not older than a duration (24h, 7d) or a time (2026-11-21T12:00:00Z).
    #[arg(long, value_parser = time_bound)]
    since: Option<TimeBound>,
    /// Only events older than a duration or a time.
    #[arg(long, value_parser = time_bound)]
    until: Option<TimeBound>,
    /// The maximum number of events.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// A bound of the time range: a time, or a duration before now.
#[derive(Debug, Clone, Copy)]
enum TimeBound {
    At(Timestamp),
    Ago(Duration),
}

impl TimeBound {
    fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.minus(ago),
        }
    }
}

fn kinds() -> clap::builder::PossibleValuesParser {
    EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().into()
}

fn time_bound(text: &str) -> Result<TimeBound, InvalidValue> {
    let at = Timestamp::parse_rfc3339(text).map(TimeBound::At);
    let parsed = at.or_else(|| duration(text).ok().map(TimeBound::Ago));
    parsed.ok_or_else(|| {
        InvalidValue::new(format!("{text:?} is not a valid duration or time; write 24h, 7d or 2026-11-21T12:00:00Z"))
    })
}

impl AuditCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        let account = self.account.as_deref().map(|account| core.find_account_by(account)).transpose()?;
        let filter = AuditFilter {
            account_id: account.map(|account| account.id),
            session_id: self.session.map(SessionId),
            kind: self.kind,
            address: self.address.map(|address| address.to_string()),
            since: self.since.map(|bound| bound.resolve(core.now())),
            until: self.until.map(|bound| bound.resolve(core.now())),
        };
        let events = core.list_events(&filter, i64::from(self.limit))?;
        if self.json {
            events.iter().for_each(|event| print_line(&json_line(event)));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = events.into_iter().map(cells).collect();
        print_table(
            &["TIME", "KIND", "COUNT", "ACCOUNT", "SESSION", "ADDRESS", "DETAIL", "REQUEST", "USER AGENT"],
            &rows,
        );
        Ok(())
    }
}

fn cells(event: AuditRecord) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        event.at.rfc3339(),
        event.kind,
        event.count.to_string(),
        or_dash(event.account.map(|id| id.to_string())),
        or_dash(event.session.map(|id| id.to_string())),
        or_dash(event.address),
        or_dash(event.detail),
        or_dash(event.request_id),
        or_dash(event.user_agent),
    ]
}

fn json_line(event: &AuditRecord) -> String {
    json!({
        "at": event.at.rfc3339(),
        "kind": event.kind,
        "count": event.count,
        "account": event.account.map(|id| id.0),
        "session": event.session.map(|id| id.to_string()),
        "address": event.address,
        "userAgent": event.user_agent,
        "requestId": event.request_id,
        "detail": event.detail,
    })
    .to_string()
}
