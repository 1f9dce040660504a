//! What a new secret must be, how it is hashed, and the check that costs the same whether there is anything to check or
//! not. Hashes that other systems made are foreign.rs's. On which threads it runs is web/blocking.rs's; how often it may be tried is throttle's.

mod foreign;

pub use foreign::Foreign;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use unicode_normalization::UnicodeNormalization;

use crate::core::account::identifier::canonical;
use crate::core::error::{FieldRule, InternalError};
use crate::secret::{MacKey, Secret};
use crate::store::tables::accounts::SecretColumn;

/// The most characters of a password.
pub const PASSWORD_MAX: usize = 128;

/// Names the scheme in front of what bcrypt makes: `hmac-bcrypt:PEPPER-ID:$2b$…`.
const SCHEME: &str = "hmac-bcrypt";

/// Of 20,000 common passwords those that a policy of 8 characters would let through, in octet order, lower case.
/// Collected by Royce Williams; taken from Django 5.2 (BSD-3-Clause).
const COMMON: &str = include_str!("common_passwords.txt");

/// A key outside the database, without which its hashes cannot be tried.
#[derive(Debug, Clone)]
pub struct Pepper {
    /// Stands in every hash made with it, so that it can be replaced.
    pub id: String,
    /// The key.
    pub key: MacKey,
}

/// The peppers that are believed.
#[derive(Debug, Clone)]
pub struct Peppers {
    /// New hashes are made with it.
    pub active: Pepper,
    /// There are hashes made with them.
    pub others: Vec<Pepper>,
    /// What failures are counted under; the same whatever pepper is active.
    pub digest_key: MacKey,
}

impl From<Pepper> for Peppers {
    fn from(active: Pepper) -> Self {
        Self { digest_key: active.key.clone(), active, others: Vec::new() }
    }
}

impl Peppers {
    /// The pepper and the bcrypt part of a stored form that was made with one of ours.
    fn readable<'a>(&self, stored: &'a str) -> Option<(&Pepper, &'a str)> {
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

/// How every stored form begins that was made with this pepper.
pub fn stored_prefix(pepper_id: &str) -> String {
    format!("{SCHEME}:{pepper_id}:")
}

/// A new secret that fits the policy, in the form that is hashed.
#[derive(Debug, Clone)]
pub struct NewSecret(Secret);

impl NewSecret {
    /// Whether it is the same secret, in whatever Unicode form that was typed.
    pub fn is(&self, other: &Secret) -> bool {
        self.0 == normal(other)
    }
}

/// Which secret a sign-in gives.
#[derive(Debug, Clone)]
pub enum GivenSecret {
    /// A password.
    Password(Secret),
    /// A PIN.
    Pin(Secret),
}

impl GivenSecret {
    /// What was typed.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Pin(secret) => secret,
        }
    }

    /// Which stored form it is held against.
    pub const fn column(&self) -> SecretColumn {
        match self {
            Self::Password(_) => SecretColumn::Password,
            Self::Pin(_) => SecretColumn::Pin,
        }
    }
}

/// Checks a new password against the policy: length in characters, the common ones, the names it is meant to protect
/// (NIST SP 800-63B-4 section 3.1.1.2; ASVS 6.2). Composition rules there are none.
pub fn new_password(secret: &Secret, least: usize, names: &[&str]) -> Result<NewSecret, FieldRule> {
    let password = normal(secret);
    let length = password.expose().chars().count();
    if length < least {
        return Err(FieldRule::TooShort(least));
    }
    if length > PASSWORD_MAX {
        return Err(FieldRule::TooLong(PASSWORD_MAX));
    }
    let folded = canonical(password.expose());
    let own = names.iter().map(|name| canonical(name)).chain(["doorward".to_owned()]);
    if own.filter(|name| !name.is_empty()).any(|name| derived_from(&folded, &name)) {
        return Err(FieldRule::LikeIdentifier);
    }
    if is_common(&password.expose().to_lowercase()) {
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

/// An operator's or a demo's secret, which no policy judges but the length.
pub fn unjudged(secret: &Secret) -> NewSecret {
    NewSecret(normal(secret))
}

fn is_common(lower: &str) -> bool {
    let lines: Vec<&str> = COMMON.lines().collect();
    lines.binary_search(&lower).is_ok()
}

/// The name itself, its first part before an @, backwards, or with digits and signs after it.
fn derived_from(password: &str, name: &str) -> bool {
    let local = name.split('@').next().unwrap_or(name);
    let backwards: String = local.chars().rev().collect();
    let stem = password.trim_end_matches(|c: char| !c.is_alphabetic());
    [name, local, &backwards].iter().any(|form| password == *form || (!stem.is_empty() && stem == *form))
}

/// NFC, so that a keyboard that composes and one that does not make the same password.
fn normal(secret: &Secret) -> Secret {
    Secret::new(secret.expose().nfc().collect::<String>())
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretCheck {
    /// It is not the secret, or there is none.
    Wrong,
    /// It is.
    Right,
    /// It is, and its hash is of an older cost, or of another system.
    RightButOutdated,
}

/// Makes and checks stored forms of secrets. Each call takes the time of one bcrypt.
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

    /// From the next call on it hashes with these; a call that runs ends as it began.
    pub fn follow(&self, peppers: Peppers) {
        self.peppers.store(Arc::new(peppers));
    }

    /// The key under which failures are counted: nobody without it can tell whose they are.
    pub fn digest_key(&self) -> &MacKey {
        &self.digest_key
    }

    /// The stored form of a new secret.
    pub fn hash(&self, secret: &NewSecret) -> Result<String, InternalError> {
        let peppers = self.peppers.load_full();
        let hash = bcrypt::non_truncating_hash(keyed(&peppers.active, &secret.0), self.cost);
        let hash = hash.map_err(|cause| InternalError::Broken(format!("hashing failed: {cause}")))?;
        Ok(stored_prefix(&peppers.active.id) + &hash)
    }

    /// Whether the secret is the stored one. Takes the same time for a stored form that is absent or unreadable, and for one
    /// of ours. One that was imported takes what its own scheme takes until its owner has signed in once: there is no
    /// padding that would hide it for scheme, parameters and machine alike, so it is not promised.
    pub fn check(&self, secret: &Secret, stored: Option<&str>) -> SecretCheck {
        if let Some(foreign) = stored.and_then(Foreign::of_stored) {
            return self.check_foreign(secret, &foreign);
        }
        let peppers = self.peppers.load_full();
        let (pepper, hash) = match stored.and_then(|stored| peppers.readable(stored)) {
            Some((pepper, hash)) => (pepper, Some(hash)),
            None => (&peppers.active, None),
        };
        let keyed = keyed(pepper, &normal(secret));
        let dummy = dummy(self.cost);
        let matches = bcrypt::non_truncating_verify(&keyed, hash.unwrap_or(&dummy)).unwrap_or(false);
        if !matches {
            self.spend_what_is_missing(&keyed, hash.and_then(cost_of).unwrap_or(self.cost));
        }
        match hash {
            Some(hash) if matches && cost_of(hash) == Some(self.cost) && pepper.id == peppers.active.id => {
                SecretCheck::Right
            }
            Some(_) if matches => SecretCheck::RightButOutdated,
            _ => SecretCheck::Wrong,
        }
    }

    fn check_foreign(&self, secret: &Secret, foreign: &Foreign) -> SecretCheck {
        if foreign.is_of(secret) {
            return SecretCheck::RightButOutdated;
        }
        if let Some(cost) = foreign.bcrypt_cost() {
            let peppers = self.peppers.load();
            self.spend_what_is_missing(&keyed(&peppers.active, &normal(secret)), cost);
        }
        SecretCheck::Wrong
    }

    /// A hash of an older, lower cost answers sooner than the dummy does, and so would tell that its account exists. Costs
    /// from it up to ours, one of each, add up to the difference.
    fn spend_what_is_missing(&self, keyed: &str, cost: u32) {
        for missing in cost..self.cost {
            let _ = bcrypt::non_truncating_verify(keyed, &dummy(missing));
        }
    }
}

/// bcrypt reads 72 bytes and stops at NUL, so it gets a keyed digest as text: every octet of the secret counts, and
/// hashes stolen elsewhere cannot be tried against ours (password shucking).
fn keyed(pepper: &Pepper, secret: &Secret) -> String {
    STANDARD.encode(pepper.key.sign(secret.expose().as_bytes()))
}

/// A valid hash, so that checking it takes as long as checking a real one; a malformed one would return in microseconds.
/// Its digest is all zero bits, which no secret is known to have.
fn dummy(cost: u32) -> String {
    format!("$2b${cost:02}${}{}", ".".repeat(22), ".".repeat(31))
}

/// How long one hash of this cost takes now.
pub fn time_of_a_hash(cost: u32) -> Duration {
    let began = Instant::now();
    let _ = bcrypt::non_truncating_verify("measured", &dummy(cost));
    began.elapsed()
}

/// The cost that a bcrypt hash names.
fn cost_of(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(cost: u32) -> Hasher {
        Hasher::new(Pepper { id: "p1".to_owned(), key: MacKey::new(b"a pepper for tests, 32 bytes long") }, cost)
    }

    fn judge(password: &str) -> Result<(), FieldRule> {
        new_password(&Secret::new(password), 8, &["emilys", "emily.johnson@x.dummyjson.com"]).map(|_| ())
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(judge("1234567"), Err(FieldRule::TooShort(8)));
        assert_eq!(judge(&"🦀".repeat(64)), Ok(()));
        assert_eq!(judge(&"é".repeat(129)), Err(FieldRule::TooLong(128)));
        assert_eq!(judge("пароль из слов"), Ok(()));
    }

    #[test]
    fn common_ones_and_names_are_refused() {
        for common in ["password1", "PASSWORD1", "iloveyou1", "12345678"] {
            assert_eq!(judge(common), Err(FieldRule::TooCommon), "{common}");
        }
        for own in
            ["emilys2026!", "EMILYS99", "emily.johnson", "nosnhoj.ylime", "emily.johnson@x.dummyjson.com", "doorward"]
        {
            assert_eq!(judge(own), Err(FieldRule::LikeIdentifier), "{own}");
        }
        assert_eq!(judge("password1 is a substring"), Ok(()));
    }

    #[test]
    fn the_list_is_in_octet_order() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.is_sorted() && lines.len() > 8000);
    }

    #[test]
    fn every_octet_counts_and_nothing_is_trimmed() {
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
    fn nul_does_not_cut_and_composition_does_not_matter() {
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
    fn after_a_rotation_old_hashes_are_right_but_outdated_and_new_ones_are_of_the_new_pepper() {
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
        assert_eq!(rotating.digest_key().sign(b"x"), digest, "failures are counted on");
        rotating.follow(new.into());
        assert_eq!(rotating.check(&secret, Some(&old)), SecretCheck::Wrong, "a pepper that is gone");
    }

    #[test]
    fn the_dummy_is_a_hash_that_bcrypt_really_computes() {
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
