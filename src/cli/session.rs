//! `doorward session`: look at and end sessions. A running service hears of it within REVOCATION_MAX_STALE.

use clap::Subcommand;
use uuid::Uuid;

use super::console::{print_line, table};
use crate::cli::error::CommandError;
use crate::core::{Core, SessionId};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List an account's live sessions.
    List {
        /// Its number, email, username or name.
        account: String,
    },
    /// End one session.
    Revoke {
        /// Its id, from `doorward session list`.
        session: Uuid,
    },
    /// End every session of an account.
    RevokeAll {
        /// Its number, email, username or name.
        account: String,
    },
}

impl Command {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::List { account } => {
                let account = core.find_account_by(&account)?;
                let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let sessions = core.list_sessions(account.id)?.into_iter().map(|session| {
                    vec![
                        session.id.to_string(),
                        session.dialect,
                        session.created_at.rfc3339(),
                        session.last_seen_at.rfc3339(),
                        shown(session.address),
                        shown(session.device_name.or(session.user_agent)),
                    ]
                });
                table(
                    &["SESSION", "DIALECT", "BEGAN", "LAST SEEN", "ADDRESS", "DEVICE"],
                    &sessions.collect::<Vec<_>>(),
                );
            }
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
