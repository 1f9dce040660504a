//! `doorward audit`: what happened to accounts and sessions, from the table that every node writes.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::console::{print_line, table};
use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::core::audit::{AuditRecord, EventKind, Wanted};
use crate::core::{Core, SessionId};
use crate::settings::values::duration;

/// Show audit events, newest first.
#[derive(Debug, Args)]
pub struct Audit {
    /// Of this account: its number, email, username or name.
    #[arg(long)]
    account: Option<String>,
    /// Of this session.
    #[arg(long)]
    session: Option<Uuid>,
    /// Of this kind.
    #[arg(long, value_parser = kinds())]
    kind: Option<String>,
    /// From this client address.
    #[arg(long)]
    address: Option<std::net::IpAddr>,
    /// Not older than this (24h, 7d), or than this moment (2026-11-21T12:00:00Z).
    #[arg(long, value_parser = moment)]
    since: Option<Moment>,
    /// Older than this.
    #[arg(long, value_parser = moment)]
    until: Option<Moment>,
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy)]
enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.minus(ago),
        }
    }
}

fn kinds() -> clap::builder::PossibleValuesParser {
    EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().into()
}

fn moment(text: &str) -> Result<Moment, String> {
    let at = Timestamp::parse_rfc3339(text).map(Moment::At);
    let read = at.or_else(|| duration(text).ok().map(Moment::Ago));
    read.ok_or_else(|| format!("{text:?} is no moment; write 24h, 7d or 2026-11-21T12:00:00Z"))
}

impl Audit {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        let account = self.account.as_deref().map(|account| core.find_account_by(account)).transpose()?;
        let wanted = Wanted {
            account_id: account.map(|account| account.id),
            session_id: self.session.map(SessionId),
            kind: self.kind,
            address: self.address.map(|address| address.to_string()),
            since: self.since.map(|moment| moment.before(core.now())),
            until: self.until.map(|moment| moment.before(core.now())),
        };
        let events = core.list_events(&wanted, i64::from(self.limit))?;
        if self.json {
            events.iter().for_each(|event| print_line(&line(event)));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = events.into_iter().map(cells).collect();
        table(&["WHEN", "WHAT", "ACCOUNT", "SESSION", "ADDRESS", "DETAIL", "REQUEST", "AGENT"], &rows);
        Ok(())
    }
}

fn cells(event: AuditRecord) -> Vec<String> {
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        event.at.rfc3339(),
        event.kind,
        shown(event.account.map(|id| id.to_string())),
        shown(event.session.map(|id| id.to_string())),
        shown(event.address),
        shown(event.detail),
        shown(event.request_id),
        shown(event.user_agent),
    ]
}

fn line(event: &AuditRecord) -> String {
    json!({
        "at": event.at.rfc3339(),
        "kind": event.kind,
        "account": event.account.map(|id| id.0),
        "session": event.session.map(|id| id.to_string()),
        "address": event.address,
        "userAgent": event.user_agent,
        "requestId": event.request_id,
        "detail": event.detail,
    })
    .to_string()
}
