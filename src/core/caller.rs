//! Who asks, and from where. How a request names its caller (cookie, bearer, proxy headers) is web's to read.

use std::net::IpAddr;

use super::error::Refusal;
use crate::clock::Timestamp;
use crate::secret::DeviceToken;
use crate::store::{AccountId, SessionId};

/// A signed-in caller: what a live access token says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// The session's generation when the token was made.
    pub generation: i64,
    /// The account's role when the token was made; a change of role kills the token.
    pub role: String,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// Whether the account must change its password before it does anything else.
    pub must_change_password: bool,
}

impl Caller {
    /// The same, unless all it may do is change its password or sign out.
    pub fn require_full_access(self) -> Result<Self, Refusal> {
        if self.must_change_password { Err(Refusal::PasswordChangeRequired) } else { Ok(self) }
    }
}

/// Where a request comes from, for sessions lists and audit.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The client's address; proxies in front are already looked through.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub user_agent: Option<String>,
    /// The request's id, the same in the log.
    pub request_id: Option<String>,
    /// What it shows of sign-ins before.
    pub device: Option<DeviceToken>,
}

impl Client {
    /// The command line.
    pub fn operator() -> Self {
        Self { user_agent: Some("command line".to_owned()), ..Self::default() }
    }
}

/// The most characters of what a client says about itself and its device.
pub const DEVICE_TEXT_MAX: usize = 200;

/// What a client calls itself, without what could break a log line, at a bearable length.
pub(in crate::core) fn cut_agent(agent: Option<&str>) -> Option<String> {
    agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(DEVICE_TEXT_MAX).collect())
}
