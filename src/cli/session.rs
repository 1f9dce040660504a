//! `doorward session`: lists and revokes sessions. A running service applies a revocation within REVOCATION_MAX_STALE.

use clap::Subcommand;
use uuid::Uuid;

use super::console::{print_line, print_table};
use crate::cli::error::CommandError;
use crate::core::{Core, SessionId};

#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List an account's live sessions.
    List {
        /// The account's number, email, username or name.
        account: String,
        /// How many to list.
        #[arg(long, default_value = "50", value_parser = clap::value_parser!(u16).range(1..))]
        limit: u16,
        /// List those that began before this session: the next page.
        #[arg(long)]
        after: Option<Uuid>,
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

impl SessionCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::List { account, limit, after } => {
                let account = core.find_account_by(&account)?;
                let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let page = core.list_sessions(account.uuid, after.map(SessionId), limit.into())?;
                let sessions = page.sessions.into_iter().map(|session| {
                    vec![
                        session.id.to_string(),
                        session.dialect,
                        session.created_at.rfc3339(),
                        session.last_seen_at.rfc3339(),
                        or_dash(session.address),
                        or_dash(session.device_name.or(session.user_agent)),
                    ]
                });
                print_table(
                    &["SESSION", "DIALECT", "CREATED", "LAST SEEN", "ADDRESS", "DEVICE"],
                    &sessions.collect::<Vec<_>>(),
                );
                if let Some(next) = page.next {
                    print_line(&format!("more: doorward session list {} --after {next}", account.id));
                }
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
