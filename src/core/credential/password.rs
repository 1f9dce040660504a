//! Password policy and password hashing (peppered bcrypt), with a verification that takes the same time for an unknown
//! account. Hashes of other systems are in imported_hash.rs. The threads that hash are web/run.rs's, and how often a secret
//! may be tried is throttle.rs's.

mod common;
mod imported_hash;
mod normalization;

pub use imported_hash::ImportedHash;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::core::account::identifier::canonical;
use crate::core::error::{FieldRule, InternalError};
use crate::secret::{MacKey, Secret};
use crate::store::tables::accounts::SecretColumn;
use normalization::normal;

/// The longest password, in characters.
pub const PASSWORD_MAX: usize = 128;

/// The scheme in front of the bcrypt hash in a stored form: `hmac-bcrypt:PEPPER-ID:$2b$…`.
const SCHEME: &str = "hmac-bcrypt";

/// A key outside the database: hashes stolen from it cannot be attacked without it.
#[derive(Debug, Clone)]
pub struct Pepper {
    /// Part of every hash made with it, so that peppers can be rotated.
    pub id: String,
    /// The key.
    pub key: MacKey,
}

/// The peppers that verify.
#[derive(Debug, Clone)]
pub struct Peppers {
    /// The pepper of new hashes.
    pub active: Pepper,
    /// Rotated peppers, which hashes still refer to.
    pub others: Vec<Pepper>,
    /// The key under which failures are counted; a rotation does not change it.
    pub digest_key: MacKey,
}

impl From<Pepper> for Peppers {
    fn from(active: Pepper) -> Self {
        Self { digest_key: active.key.clone(), active, others: Vec::new() }
    }
}

impl Peppers {
    /// The pepper and the bcrypt hash of a stored form.
    fn parse<'a>(&self, stored: &'a str) -> Option<(&Pepper, &'a str)> {
        let mut parts = stored.splitn(3, ':');
        let (scheme, id, hash) = (parts.next()?, parts.next()?, parts.next()?);
        if scheme != SCHEME {
            return None;
        }
        let pepper = std::iter::once(&self.active).chain(&self.others).find(|pepper| pepper.id == id);
        if pepper.is_none() {
            log::error!(pepper = id; "a secret was hashed with a pepper that is not configured; restore PEPPER or the keys file");
        }
        Some((pepper?, hash))
    }
}

/// The prefix of every stored form with this pepper.
pub fn stored_prefix(pepper_id: &str) -> String {
    format!("{SCHEME}:{pepper_id}:")
}

/// A new secret that complies with the policy, normalised for hashing.
#[derive(Debug, Clone)]
pub struct NewSecret(Secret);

impl NewSecret {
    /// Whether it equals another secret after normalisation.
    pub fn is(&self, other: &Secret) -> bool {
        self.0 == normal(other)
    }
}

/// The secret of a sign-in, by kind.
#[derive(Debug, Clone)]
pub enum GivenSecret {
    /// A password.
    Password(Secret),
    /// A PIN.
    Pin(Secret),
}

impl GivenSecret {
    /// The secret as typed.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Pin(secret) => secret,
        }
    }

    /// The column with its stored form.
    pub const fn column(&self) -> SecretColumn {
        match self {
            Self::Password(_) => SecretColumn::Password,
            Self::Pin(_) => SecretColumn::Pin,
        }
    }
}

/// Checks a new password against the policy: length in characters, common passwords, similarity to the account's names
/// (NIST SP 800-63B-4 section 3.1.1.2; ASVS 6.2). There are no composition rules.
pub fn new_password(secret: &Secret, min_length: usize, names: &[&str]) -> Result<NewSecret, FieldRule> {
    let password = normal(secret);
    let length = password.expose().chars().count();
    if length < min_length {
        return Err(FieldRule::TooShort(min_length));
    }
    if length > PASSWORD_MAX {
        return Err(FieldRule::TooLong(PASSWORD_MAX));
    }
    let folded = canonical(password.expose());
    let own = names.iter().map(|name| canonical(name)).chain(["doorward".to_owned()]);
    if own.filter(|name| !name.is_empty()).any(|name| derived_from(&folded, &name)) {
        return Err(FieldRule::LikeIdentifier);
    }
    if common::contains(&password.expose().to_lowercase()) {
        return Err(FieldRule::TooCommon);
    }
    Ok(NewSecret(password))
}

/// Checks a new PIN: 4 to 12 digits.
pub fn new_pin(secret: &Secret) -> Result<NewSecret, FieldRule> {
    let pin = secret.expose();
    if (4..=12).contains(&pin.len()) && pin.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(NewSecret(secret.clone()));
    }
    Err(FieldRule::NotAPin)
}

/// A secret that the policy does not apply to: an operator's, a demo's, or one that was verified just now.
pub fn unjudged(secret: &Secret) -> NewSecret {
    NewSecret(normal(secret))
}

/// Whether the password is the name, its local part before an @, the local part reversed, or one of these with digits
/// and punctuation appended.
fn derived_from(password: &str, name: &str) -> bool {
    let local = name.split('@').next().unwrap_or(name);
    let reversed: String = local.chars().rev().collect();
    let stem = password.trim_end_matches(|c: char| !c.is_alphabetic());
    [name, local, &reversed].iter().any(|form| password == *form || (!stem.is_empty() && stem == *form))
}

/// Result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretCheck {
    /// The secret does not match, or none is stored.
    Wrong,
    /// The secret matches.
    Right,
    /// The secret matches a hash of another cost, pepper or system, which should be replaced.
    RightButOutdated,
}

/// Hashes and verifies secrets. Each call takes the time of one bcrypt.
#[derive(Debug, Clone)]
pub struct Hasher {
    peppers: Arc<ArcSwap<Peppers>>,
    digest_key: MacKey,
    cost: u32,
}

impl Hasher {
    /// A hasher of this cost.
    pub fn new(peppers: impl Into<Peppers>, cost: u32) -> Self {
        let peppers = peppers.into();
        Self { digest_key: peppers.digest_key.clone(), peppers: Arc::new(ArcSwap::from_pointee(peppers)), cost }
    }

    /// Replaces the peppers, also of all clones. A running call finishes with those that it began with.
    pub fn follow(&self, peppers: Peppers) {
        self.peppers.store(Arc::new(peppers));
    }

    /// The key under which failures are counted: without it their rows do not tell the account.
    pub fn digest_key(&self) -> &MacKey {
        &self.digest_key
    }

    /// Hashes a new secret; the result is its stored form.
    pub fn hash(&self, secret: &NewSecret) -> Result<String, InternalError> {
        let peppers = self.peppers.load_full();
        let hash = bcrypt::non_truncating_hash(keyed(&peppers.active, &secret.0), self.cost);
        let hash = hash.map_err(|cause| InternalError::broken_by("hashing failed", cause))?;
        Ok(stored_prefix(&peppers.active.id) + &hash)
    }

    /// Verifies a secret. An absent or unreadable stored form takes the same time as one of ours. An imported hash takes the
    /// time of its own scheme until the first sign-in replaces it: no padding could hide that for every scheme, parameter
    /// and machine, so equal time is not promised for it.
    pub fn check(&self, secret: &Secret, stored: Option<&str>) -> SecretCheck {
        if let Some(imported) = stored.and_then(ImportedHash::from_stored) {
            return self.check_imported(secret, &imported);
        }
        let peppers = self.peppers.load_full();
        let (pepper, hash) = match stored.and_then(|stored| peppers.parse(stored)) {
            Some((pepper, hash)) => (pepper, Some(hash)),
            None => (&peppers.active, None),
        };
        let keyed = keyed(pepper, &normal(secret));
        let dummy = dummy(self.cost);
        let matches = bcrypt::non_truncating_verify(&keyed, hash.unwrap_or(&dummy)).unwrap_or(false);
        if !matches {
            self.pad_to_own_cost(&keyed, hash.and_then(cost_of).unwrap_or(self.cost));
        }
        match hash {
            Some(hash) if matches && cost_of(hash) == Some(self.cost) && pepper.id == peppers.active.id => {
                SecretCheck::Right
            }
            Some(_) if matches => SecretCheck::RightButOutdated,
            _ => SecretCheck::Wrong,
        }
    }

    fn check_imported(&self, secret: &Secret, imported: &ImportedHash) -> SecretCheck {
        if imported.verify(secret) {
            return SecretCheck::RightButOutdated;
        }
        if let Some(cost) = imported.bcrypt_cost() {
            let peppers = self.peppers.load();
            self.pad_to_own_cost(&keyed(&peppers.active, &normal(secret)), cost);
        }
        SecretCheck::Wrong
    }

    /// A hash of a lower cost is verified faster than the dummy, which would reveal that its account exists. One hash of
    /// each cost from there up to ours adds up to the difference, since each costs twice the one before.
    fn pad_to_own_cost(&self, keyed: &str, cost: u32) {
        for padding in cost..self.cost {
            let _ = bcrypt::non_truncating_verify(keyed, &dummy(padding));
        }
    }
}

/// The secret's HMAC as text, which bcrypt is given because it reads 72 bytes and stops at NUL. So every byte of the secret
/// counts, and hashes stolen elsewhere cannot be tried against ours (password shucking).
fn keyed(pepper: &Pepper, secret: &Secret) -> String {
    STANDARD.encode(pepper.key.sign(secret.expose().as_bytes()))
}

/// A valid hash, which takes as long to verify as a real one; a malformed hash would return in microseconds. Its digest is
/// all zero bits, and no secret with that digest is known.
fn dummy(cost: u32) -> String {
    format!("$2b${cost:02}${}{}", ".".repeat(22), ".".repeat(31))
}

/// Measures one hash of this cost.
pub fn time_of_a_hash(cost: u32) -> Duration {
    let began = Instant::now();
    let _ = bcrypt::non_truncating_verify("measured", &dummy(cost));
    began.elapsed()
}

/// The cost in a bcrypt hash.
fn cost_of(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(cost: u32) -> Hasher {
        Hasher::new(Pepper { id: "p1".to_owned(), key: MacKey::new(b"a pepper for tests, 32 bytes long") }, cost)
    }

    fn check_policy(password: &str) -> Result<(), FieldRule> {
        new_password(&Secret::new(password), 8, &["emilys", "emily.johnson@x.dummyjson.com"]).map(|_| ())
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(check_policy("1234567"), Err(FieldRule::TooShort(8)));
        assert_eq!(check_policy(&"🦀".repeat(64)), Ok(()));
        assert_eq!(check_policy(&"é".repeat(129)), Err(FieldRule::TooLong(128)));
        assert_eq!(check_policy("пароль из слов"), Ok(()));
    }

    #[test]
    fn common_passwords_and_names_are_refused() {
        for common in ["password1", "PASSWORD1", "iloveyou1", "12345678"] {
            assert_eq!(check_policy(common), Err(FieldRule::TooCommon), "{common}");
        }
        for own in
            ["emilys2026!", "EMILYS99", "emily.johnson", "nosnhoj.ylime", "emily.johnson@x.dummyjson.com", "doorward"]
        {
            assert_eq!(check_policy(own), Err(FieldRule::LikeIdentifier), "{own}");
        }
        assert_eq!(check_policy("password1 is a substring"), Ok(()));
    }

    #[test]
    fn every_byte_counts_and_nothing_is_trimmed() {
        let long = "x".repeat(128);
        let stored = hasher(4).hash(&unjudged(&Secret::new(long.clone()))).unwrap();
        assert_eq!(hasher(4).check(&Secret::new(long.clone()), Some(&stored)), SecretCheck::Right);
        for at in [0, 71, 72, 73, 100, 127] {
            let mut other = long.clone();
            other.replace_range(at..=at, "y");
            assert_eq!(hasher(4).check(&Secret::new(other), Some(&stored)), SecretCheck::Wrong, "{at}");
        }
        assert_eq!(hasher(4).check(&Secret::new(format!("{long} ")), Some(&stored)), SecretCheck::Wrong);
    }

    #[test]
    fn nul_does_not_truncate_and_composition_does_not_matter() {
        let stored = hasher(4).hash(&unjudged(&Secret::new("ab\0cd-é-long"))).unwrap();
        assert_eq!(hasher(4).check(&Secret::new("ab\0xx-é-long"), Some(&stored)), SecretCheck::Wrong);
        assert_eq!(hasher(4).check(&Secret::new("ab\0cd-e\u{301}-long"), Some(&stored)), SecretCheck::Right);
    }

    #[test]
    fn another_cost_is_outdated_and_another_pepper_is_wrong() {
        let stored = hasher(4).hash(&unjudged(&Secret::new("long enough"))).unwrap();
        assert!(stored.starts_with("hmac-bcrypt:p1:$2b$04$"));
        assert_eq!(hasher(5).check(&Secret::new("long enough"), Some(&stored)), SecretCheck::RightButOutdated);
        let other = Hasher::new(Pepper { id: "p1".to_owned(), key: MacKey::new(b"another pepper") }, 4);
        assert_eq!(other.check(&Secret::new("long enough"), Some(&stored)), SecretCheck::Wrong);
    }

    #[test]
    fn after_a_rotation_old_hashes_are_outdated_and_new_ones_have_the_new_pepper() {
        let rotating = hasher(4);
        let (secret, clone) = (Secret::new("long enough"), rotating.clone());
        let old = rotating.hash(&unjudged(&secret)).unwrap();
        let digest = rotating.digest_key().sign(b"x");
        let new = Pepper { id: "p2".to_owned(), key: MacKey::new(b"the pepper that came after it, for tests") };
        let Peppers { active, digest_key, .. } = clone.peppers.load_full().as_ref().clone();
        rotating.follow(Peppers { active: new.clone(), others: vec![active], digest_key });
        assert_eq!(clone.check(&secret, Some(&old)), SecretCheck::RightButOutdated, "clones follow");
        assert_eq!(clone.check(&Secret::new("another one"), Some(&old)), SecretCheck::Wrong);
        let upgraded = clone.hash(&unjudged(&secret)).unwrap();
        assert!(upgraded.starts_with(&stored_prefix("p2")));
        assert_eq!(rotating.check(&secret, Some(&upgraded)), SecretCheck::Right);
        assert_eq!(rotating.digest_key().sign(b"x"), digest, "the key of failures stays");
        rotating.follow(new.into());
        assert_eq!(rotating.check(&secret, Some(&old)), SecretCheck::Wrong, "a pepper that was removed");
    }

    #[test]
    fn the_dummy_is_a_valid_hash_that_bcrypt_computes() {
        assert!(bcrypt::non_truncating_verify("x", &dummy(4)).is_ok_and(|matches| !matches));
        assert_eq!(cost_of(&dummy(4)), Some(4));
    }

    #[test]
    fn pins_are_digits() {
        for wrong in ["123", "1234567890123", "12a4", "١٢٣٤", " 1234"] {
            assert!(new_pin(&Secret::new(wrong)).is_err(), "{wrong}");
        }
        assert!(new_pin(&Secret::new("0000")).is_ok());
    }
}
