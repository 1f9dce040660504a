//! Trusted devices: the cookie of a browser that an account has signed in from. The throttle gives such a device an allowance
//! of its own, so that an attacker who floods an account with guesses does not lock its owner out.
//!
//! The cookie holds a random device id and a MAC over device and account for each of its last few accounts: it reveals no
//! account, cannot be forged, and authenticates no request. What the allowance is, is decided by throttle_policy.rs.

use crate::secret::{DeviceToken, MacKey, NoRandomness, base64url, constant_time_eq, from_base64url, random_bytes};
use crate::store::AccountUuid;

/// Accounts that one device is trusted for at a time; a new one evicts the oldest.
const ACCOUNTS_MAX: usize = 4;

/// Bytes of the device id and of each MAC: a forgery is a guess among 2^128.
const DEVICE_MAC_BYTES: usize = 16;

/// The device behind a token, if this account has signed in from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedDevice(String);

impl TrustedDevice {
    /// The device id, as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Recognises the device by its token, if this account has signed in from it.
    pub(in crate::core) fn recognize(
        key: &MacKey,
        presented: Option<&DeviceToken>,
        account: AccountUuid,
    ) -> Option<Self> {
        let parts = DeviceTokenParts::parse(presented?)?;
        let expected = device_mac(key, parts.id, account);
        let matches = |mac: &&str| constant_time_eq(mac.as_bytes(), expected.as_bytes());
        parts.macs.iter().any(matches).then(|| Self(parts.id.to_owned()))
    }

    #[cfg(test)]
    pub(in crate::core) fn for_test(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// `ID.MAC.MAC…`, the newest account first.
struct DeviceTokenParts<'a> {
    id: &'a str,
    macs: Vec<&'a str>,
}

impl<'a> DeviceTokenParts<'a> {
    fn parse(token: &'a DeviceToken) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let id = parts.next()?;
        let macs: Vec<&str> = parts.take(ACCOUNTS_MAX + 1).collect();
        let valid =
            from_base64url(id).is_some_and(|bytes| bytes.len() == DEVICE_MAC_BYTES) && macs.len() <= ACCOUNTS_MAX;
        valid.then_some(Self { id, macs })
    }
}

/// The token by which the device is trusted for this account from now on, and for the accounts it was trusted for.
pub(in crate::core) fn issue_device_token(
    key: &MacKey,
    presented: Option<&DeviceToken>,
    account: AccountUuid,
) -> Result<DeviceToken, NoRandomness> {
    let fresh = base64url(&random_bytes::<DEVICE_MAC_BYTES>()?);
    let parts =
        presented.and_then(DeviceTokenParts::parse).unwrap_or(DeviceTokenParts { id: &fresh, macs: Vec::new() });
    let mac = device_mac(key, parts.id, account);
    let others = parts.macs.into_iter().filter(|other| *other != mac).take(ACCOUNTS_MAX - 1);
    let macs: Vec<&str> = std::iter::once(mac.as_str()).chain(others).collect();
    Ok(DeviceToken::new(format!("{}.{}", parts.id, macs.join("."))))
}

fn device_mac(key: &MacKey, id: &str, account: AccountUuid) -> String {
    let mac = key.sign(format!("device {id} {account}").as_bytes());
    base64url(mac.get(..DEVICE_MAC_BYTES).unwrap_or(&mac))
}
