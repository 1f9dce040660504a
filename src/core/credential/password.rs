//! Password policy and password hashing (peppered bcrypt), with a verification that takes the same time for an unknown
//! account. Hashes of other systems are in password/imported_hash.rs. The threads that hash are decided by
//! web/blocking/operations.rs, the number of attempts by core/defence/login_throttle.rs.

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
use normalization::normalize;

/// The longest password, in characters; NIST SP 800-63B-4 section 3.1.1.2 asks for at least 64.
pub const PASSWORD_MAX: usize = 128;

/// The scheme in front of the bcrypt hash in a stored form: `hmac-bcrypt:PEPPER-ID:$2b$…`.
const SCHEME: &str = "hmac-bcrypt";

/// A key outside the database: hashes stolen from it cannot be attacked without it.
#[derive(Debug, Clone)]
pub struct Pepper {
    /// Part of every stored form made with it, so that peppers can be rotated.
    pub id: String,
    /// The key.
    pub key: MacKey,
}

/// All configured peppers.
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
    /// The ids of all peppers.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.active).chain(&self.others).map(|pepper| pepper.id.as_str())
    }

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
    pub fn equals(&self, other: &Secret) -> bool {
        self.0 == normalize(other)
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
    /// The secret as entered.
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
    let password = normalize(secret);
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

/// Exempts a secret from the policy: one of an import or of a sample account, or one that was just verified.
pub fn skip_policy(secret: &Secret) -> NewSecret {
    NewSecret(normalize(secret))
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
    Mismatch,
    /// The secret matches.
    Match,
    /// The secret matches a hash of another cost, pepper or system, which should be replaced.
    MatchOutdated,
}

/// Hashes and verifies secrets. `hash` takes the time of one bcrypt of the configured cost, and so does `check` for a wrong
/// secret, with an account or without one. Two kinds of stored forms take longer or shorter: one of a higher cost the time of
/// that cost, and an imported one the time of its own scheme.
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

    /// Replaces the peppers, also those of all clones. A running call finishes with the ones it started with.
    pub fn replace_peppers(&self, peppers: Peppers) {
        self.peppers.store(Arc::new(peppers));
    }

    /// The key of the digests under which failures are counted: without it, the throttle's rows do not reveal an account.
    pub fn digest_key(&self) -> &MacKey {
        &self.digest_key
    }

    /// Hashes a new secret; the result is its stored form.
    pub fn hash(&self, secret: &NewSecret) -> Result<String, InternalError> {
        let peppers = self.peppers.load_full();
        let hash = bcrypt::non_truncating_hash(peppered(&peppers.active, &secret.0), self.cost);
        let hash = hash.map_err(|cause| InternalError::broken_by("hashing failed", cause))?;
        Ok(stored_prefix(&peppers.active.id) + &hash)
    }

    /// Verifies a secret. An absent or unreadable stored form takes the same time as a native one of the configured cost or a
    /// lower one, if the secret is wrong. An imported hash takes the time of its own scheme until the first sign-in replaces
    /// it: no padding could hide that for every scheme, parameter and machine, so equal time is not guaranteed for it. (bcrypt
    /// of another system is padded up to the configured cost.)
    pub fn check(&self, secret: &Secret, stored: Option<&str>) -> SecretCheck {
        if let Some(imported) = stored.and_then(ImportedHash::from_stored) {
            return self.check_imported(secret, &imported);
        }
        let peppers = self.peppers.load_full();
        let (pepper, hash) = match stored.and_then(|stored| peppers.parse(stored)) {
            Some((pepper, hash)) => (pepper, Some(hash)),
            None => (&peppers.active, None),
        };
        let peppered = peppered(pepper, &normalize(secret));
        let dummy_hash = dummy_hash(self.cost);
        let matches = bcrypt::non_truncating_verify(&peppered, hash.unwrap_or(&dummy_hash)).unwrap_or(false);
        if !matches {
            self.pad_to_configured_cost(&peppered, hash.and_then(cost_of).unwrap_or(self.cost));
        }
        match hash {
            Some(hash) if matches && cost_of(hash) == Some(self.cost) && pepper.id == peppers.active.id => {
                SecretCheck::Match
            }
            Some(_) if matches => SecretCheck::MatchOutdated,
            _ => SecretCheck::Mismatch,
        }
    }

    fn check_imported(&self, secret: &Secret, imported: &ImportedHash) -> SecretCheck {
        if imported.verify(secret) {
            return SecretCheck::MatchOutdated;
        }
        if let Some(cost) = imported.bcrypt_cost() {
            let peppers = self.peppers.load();
            self.pad_to_configured_cost(&peppered(&peppers.active, &normalize(secret)), cost);
        }
        SecretCheck::Mismatch
    }

    /// A hash of a lower cost is verified faster than the dummy, which would reveal that its account exists. One hash of
    /// each cost from there up to the configured one adds up to the difference, since each costs twice the previous one.
    fn pad_to_configured_cost(&self, peppered: &str, cost: u32) {
        for padding in cost..self.cost {
            let _ = bcrypt::non_truncating_verify(peppered, &dummy_hash(padding));
        }
    }
}

/// The secret's HMAC as text (44 characters of base64), which bcrypt is given because it reads 72 bytes and stops at NUL. So every byte of the secret
/// counts, and hashes stolen elsewhere cannot be used against these (password shucking).
fn peppered(pepper: &Pepper, secret: &Secret) -> String {
    STANDARD.encode(pepper.key.sign(secret.expose().as_bytes()))
}

/// A valid hash, which takes as long to verify as a real one; a malformed hash would return in microseconds. Its digest is
/// all zero bits, and no secret with that digest is known.
fn dummy_hash(cost: u32) -> String {
    format!("$2b${cost:02}${}{}", ".".repeat(22), ".".repeat(31))
}

/// Measures one hash of this cost.
pub fn measure_hash(cost: u32) -> Duration {
    let began = Instant::now();
    let _ = bcrypt::non_truncating_verify("measured", &dummy_hash(cost));
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
    fn password_length_counts_characters() {
        assert_eq!(check_policy("1234567"), Err(FieldRule::TooShort(8)));
        assert_eq!(check_policy(&"🦀".repeat(64)), Ok(()));
        assert_eq!(check_policy(&"é".repeat(129)), Err(FieldRule::TooLong(128)));
        assert_eq!(check_policy("пароль из слов"), Ok(()));
    }

    #[test]
    fn password_policy_refuses_common_passwords_and_names() {
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
    fn password_hash_covers_every_byte_and_trims_nothing() {
        let long = "x".repeat(128);
        let stored = hasher(4).hash(&skip_policy(&Secret::new(long.clone()))).unwrap();
        assert_eq!(hasher(4).check(&Secret::new(long.clone()), Some(&stored)), SecretCheck::Match);
        for at in [0, 71, 72, 73, 100, 127] {
            let mut other = long.clone();
            other.replace_range(at..=at, "y");
            assert_eq!(hasher(4).check(&Secret::new(other), Some(&stored)), SecretCheck::Mismatch, "{at}");
        }
        assert_eq!(hasher(4).check(&Secret::new(format!("{long} ")), Some(&stored)), SecretCheck::Mismatch);
    }

    #[test]
    fn password_hash_does_not_truncate_at_nul_and_ignores_composition() {
        let stored = hasher(4).hash(&skip_policy(&Secret::new("ab\0cd-é-long"))).unwrap();
        assert_eq!(hasher(4).check(&Secret::new("ab\0xx-é-long"), Some(&stored)), SecretCheck::Mismatch);
        assert_eq!(hasher(4).check(&Secret::new("ab\0cd-e\u{301}-long"), Some(&stored)), SecretCheck::Match);
    }

    #[test]
    fn hash_of_another_cost_is_outdated_and_of_another_pepper_a_mismatch() {
        let stored = hasher(4).hash(&skip_policy(&Secret::new("long enough"))).unwrap();
        assert!(stored.starts_with("hmac-bcrypt:p1:$2b$04$"));
        assert_eq!(hasher(5).check(&Secret::new("long enough"), Some(&stored)), SecretCheck::MatchOutdated);
        let other = Hasher::new(Pepper { id: "p1".to_owned(), key: MacKey::new(b"another pepper") }, 4);
        assert_eq!(other.check(&Secret::new("long enough"), Some(&stored)), SecretCheck::Mismatch);
    }

    #[test]
    fn pepper_rotation_outdates_old_hashes_and_new_ones_have_the_new_pepper() {
        let rotating = hasher(4);
        let (secret, clone) = (Secret::new("long enough"), rotating.clone());
        let old = rotating.hash(&skip_policy(&secret)).unwrap();
        let digest = rotating.digest_key().sign(b"x");
        let new = Pepper { id: "p2".to_owned(), key: MacKey::new(b"the pepper that came after it, for tests") };
        let Peppers { active, digest_key, .. } = clone.peppers.load_full().as_ref().clone();
        rotating.replace_peppers(Peppers { active: new.clone(), others: vec![active], digest_key });
        assert_eq!(clone.check(&secret, Some(&old)), SecretCheck::MatchOutdated, "clones follow");
        assert_eq!(clone.check(&Secret::new("another one"), Some(&old)), SecretCheck::Mismatch);
        let upgraded = clone.hash(&skip_policy(&secret)).unwrap();
        assert!(upgraded.starts_with(&stored_prefix("p2")));
        assert_eq!(rotating.check(&secret, Some(&upgraded)), SecretCheck::Match);
        assert_eq!(rotating.digest_key().sign(b"x"), digest, "the digest key stays");
        rotating.replace_peppers(new.into());
        assert_eq!(rotating.check(&secret, Some(&old)), SecretCheck::Mismatch, "a pepper that was removed");
    }

    #[test]
    fn dummy_hash_is_valid_and_computed_by_bcrypt() {
        assert!(bcrypt::non_truncating_verify("x", &dummy_hash(4)).is_ok_and(|matches| !matches));
        assert_eq!(cost_of(&dummy_hash(4)), Some(4));
    }

    #[test]
    fn pin_policy_allows_digits_alone() {
        for wrong in ["123", "1234567890123", "12a4", "١٢٣٤", " 1234"] {
            assert!(new_pin(&Secret::new(wrong)).is_err(), "{wrong}");
        }
        assert!(new_pin(&Secret::new("0000")).is_ok());
    }
}
