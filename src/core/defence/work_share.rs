//! Work shares: what a request that computes a hash is counted under in the hashing queue. How much of the queue a key may
//! hold is decided by web/blocking/work_shares.rs.

use std::net::IpAddr;

use crate::core::session::caller::{Client, network};
use crate::store::AccountUuid;

/// What shares one place or several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkKey {
    /// Strangers that present the same identifiers, by their digest.
    Strangers(String),
    /// The trusted devices and sessions of an account, apart from strangers, who must not be able to hold their place.
    Owner(AccountUuid),
    /// A client address, of IPv6 the network.
    Address(IpAddr),
}

/// The keys of one request.
#[derive(Debug, Clone)]
pub struct WorkShare {
    /// The account; a sign-up has none.
    pub account: Option<WorkKey>,
    /// The address, if it is known.
    pub address: Option<WorkKey>,
}

impl WorkShare {
    /// The share of an account's own session.
    pub fn of_owner(account: AccountUuid, client: &Client) -> Self {
        Self { account: Some(WorkKey::Owner(account)), ..Self::of_address(client) }
    }

    /// The share of a request without an account.
    pub fn of_address(client: &Client) -> Self {
        Self { account: None, address: client.address.map(|address| WorkKey::Address(network(address))) }
    }
}
