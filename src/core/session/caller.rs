//! Caller and client of a request: the signed-in account and session, and the address and user agent it came from. How a
//! request carries them (cookie, bearer token, proxy headers) is web/request's.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::core::error::Refusal;
use crate::secret::DeviceToken;
use crate::store::{AccountUuid, SessionId};

/// A signed-in caller: the checked claims of a valid access token of a live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountUuid,
    /// The session.
    pub session: SessionId,
    /// The session's generation when the token was issued.
    pub generation: i64,
    /// The account's role when the token was issued. A change of the role revokes the token.
    pub role: String,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// Whether the account must change its password before anything else is allowed.
    pub must_change_password: bool,
}

impl Caller {
    /// The caller itself, unless it may only change its password or sign out.
    pub fn require_full_access(self) -> Result<Self, Refusal> {
        if self.must_change_password { Err(Refusal::PasswordChangeRequired) } else { Ok(self) }
    }
}

/// Where a request comes from, for the list of sessions and the audit trail.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The client's address, as trusted proxies report it.
    pub address: Option<IpAddr>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// The request's id, the same as in the log.
    pub request_id: Option<String>,
    /// Its trusted-device token.
    pub device: Option<DeviceToken>,
}

impl Client {
    /// The command line.
    pub fn operator() -> Self {
        Self { user_agent: Some("command line".to_owned()), ..Self::default() }
    }
}

/// The network that one client owns: an IPv4 address, or an IPv6 /64.
pub(in crate::core) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & (u128::MAX << 64)).into()),
    }
}

/// The longest user agent, device id or device name that is stored, in characters.
pub const DEVICE_TEXT_MAX: usize = 200;

/// A user agent as it is stored and logged: without control characters, which could forge log lines, and truncated.
pub(in crate::core) fn sanitize_user_agent(agent: Option<&str>) -> Option<String> {
    agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(DEVICE_TEXT_MAX).collect())
}
