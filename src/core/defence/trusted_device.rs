//! A device that has signed in before: what its cookie says, and for whom. The throttle gives such a device an allowance
//! of its own, so that an attacker who hammers an account does not lock its owner out.
//!
//! The cookie names the device by a random number and, for each of its last few accounts, holds a MAC over both: it
//! tells nobody who they are, cannot be made up, and opens nothing.

use crate::secret::{DeviceToken, MacKey, NoRandomness, base64url, from_base64url, random_bytes};
use crate::store::AccountId;

/// Accounts that one browser is known for at a time.
const ACCOUNTS: usize = 4;

/// Octets of a MAC: forging one is a guess in 2^128.
const MAC: usize = 16;

/// The device behind a token, if this account has signed in from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedDevice(String);

impl TrustedDevice {
    /// Its number, as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Recognises the device by its token, if this account has signed in from it.
    pub(in crate::core) fn recognize(key: &MacKey, shown: Option<&DeviceToken>, account: AccountId) -> Option<Self> {
        let parts = Parts::read(shown?)?;
        let expected = device_mac(key, parts.number, account);
        let same =
            |mac: &&str| aws_lc_rs::constant_time::verify_slices_are_equal(mac.as_bytes(), expected.as_bytes()).is_ok();
        parts.macs.iter().any(same).then(|| Self(parts.number.to_owned()))
    }

    #[cfg(test)]
    pub(in crate::core) fn for_test(number: &str) -> Self {
        Self(number.to_owned())
    }
}

/// `NUMBER.MAC.MAC…`, newest first.
struct Parts<'a> {
    number: &'a str,
    macs: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(token: &'a DeviceToken) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let number = parts.next()?;
        let macs: Vec<&str> = parts.take(ACCOUNTS + 1).collect();
        let sound = from_base64url(number).is_some_and(|bytes| bytes.len() == MAC) && macs.len() <= ACCOUNTS;
        sound.then_some(Self { number, macs })
    }
}

/// The token by which the device is trusted for this account from now on, and for the accounts it was trusted for.
pub(in crate::core) fn issue_device_token(
    key: &MacKey,
    shown: Option<&DeviceToken>,
    account: AccountId,
) -> Result<DeviceToken, NoRandomness> {
    let fresh = base64url(&random_bytes::<MAC>()?);
    let parts = shown.and_then(Parts::read).unwrap_or(Parts { number: &fresh, macs: Vec::new() });
    let mac = device_mac(key, parts.number, account);
    let others = parts.macs.into_iter().filter(|other| *other != mac).take(ACCOUNTS - 1);
    let macs: Vec<&str> = std::iter::once(mac.as_str()).chain(others).collect();
    Ok(DeviceToken::new(format!("{}.{}", parts.number, macs.join("."))))
}

fn device_mac(key: &MacKey, number: &str, account: AccountId) -> String {
    let mac = key.sign(format!("device {number} {account}").as_bytes());
    base64url(mac.get(..MAC).unwrap_or(&mac))
}
