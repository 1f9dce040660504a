//! `doorward session`: lists and revokes sessions. A running service applies a revocation within REVOCATION_MAX_STALE.

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::console::{print_line, print_table};
use crate::cli::error::CommandError;
use crate::core::account::Account;
use crate::core::session::Session;
use crate::core::{Core, SessionId};

#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List an account's live sessions.
    List {
        /// The account's number, email, username or name.
        account: String,
        #[command(flatten)]
        list: ListSessions,
    },
    /// Revoke one session.
    Revoke {
        /// The session's id, from `doorward session list`.
        session: Uuid,
    },
    /// Revoke every session of an account.
    RevokeAll {
        /// The account's number, email, username or name.
        account: String,
    },
}

/// Which sessions are listed, and how.
#[derive(Debug, Args)]
pub struct ListSessions {
    /// How many to list.
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// List those that began before this session: the next page.
    #[arg(long)]
    after: Option<Uuid>,
    /// Only sessions of this dialect: native, flat, …
    #[arg(long)]
    dialect: Option<String>,
    /// Only sessions from this address.
    #[arg(long)]
    address: Option<std::net::IpAddr>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl ListSessions {
    fn selects(&self, session: &Session) -> bool {
        let address = self.address.map(|address| address.to_string());
        self.dialect.as_ref().is_none_or(|dialect| *dialect == session.dialect)
            && (address.is_none() || session.address == address)
    }

    fn run(&self, core: &Core, account: &Account) -> Result<(), CommandError> {
        let page = core.list_sessions(account.uuid, self.after.map(SessionId), self.limit.into())?;
        let selected = page.sessions.into_iter().filter(|session| self.selects(session));
        if self.json {
            selected.for_each(|session| print_line(&json_line(&session)));
            return Ok(());
        }
        print_table(
            &["SESSION", "DIALECT", "CREATED", "LAST SEEN", "ADDRESS", "DEVICE"],
            &selected.map(cells).collect::<Vec<_>>(),
        );
        if let Some(next) = page.next {
            print_line(&format!("more: doorward session list {} --after {next}", account.id));
        }
        Ok(())
    }
}

fn cells(session: Session) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        session.id.to_string(),
        session.dialect,
        session.created_at.rfc3339(),
        session.last_seen_at.rfc3339(),
        or_dash(session.address),
        or_dash(session.device_name.or(session.user_agent)),
    ]
}

fn json_line(session: &Session) -> String {
    json!({
        "id": session.id.to_string(),
        "dialect": session.dialect,
        "deviceId": session.device_id,
        "deviceName": session.device_name,
        "userAgent": session.user_agent,
        "address": session.address,
        "createdAt": session.created_at.rfc3339(),
        "lastSeenAt": session.last_seen_at.rfc3339(),
        "expiresAt": session.expires_at.rfc3339(),
    })
    .to_string()
}

impl SessionCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::List { account, list } => list.run(core, &core.find_account_by(&account)?)?,
            Self::Revoke { session } => {
                core.end_session_as_operator(SessionId(session))?;
                print_line(&format!("session {session} has ended"));
            }
            Self::RevokeAll { account } => {
                let account = core.find_account_by(&account)?;
                core.end_all_sessions_as_operator(account.id)?;
                print_line(&format!("every session of account {} has ended", account.id));
            }
        }
        Ok(())
    }
}
