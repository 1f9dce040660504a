//! Access tokens that this node has found genuine: their signature is checked once, their times and revocation every time.
//! Only what was found genuine comes in, so forged tokens cannot fill it, and it is bounded for the rest.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::Algorithm;
use papaya::Equivalent;

use super::claims::VerifiedClaims;
use crate::core::bounded_map::BoundedMap;

/// Tokens under a shared key that are remembered, some 800 octets each: their signature costs little more than a look-up.
const SHARED_MAX: usize = 4_096;

/// Tokens under a public key, whose signature costs ten times what the rest of a check does.
const PUBLIC_MAX: usize = 32_768;

/// Octets that a token is told from others by before it is compared whole: the end of its signature, which is random.
const TAIL: usize = 32;

/// The whole text. Nothing less is compared: a signature beside other claims is a forgery.
struct Text(Box<str>);

/// A text to look up.
struct Presented<'a>(&'a str);

fn hash_tail<H: Hasher>(text: &str, state: &mut H) {
    let bytes = text.as_bytes();
    state.write(bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default());
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_tail(&self.0, state);
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text {}

impl Hash for Presented<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_tail(self.0, state);
    }
}

impl Equivalent<Text> for Presented<'_> {
    fn equivalent(&self, known: &Text) -> bool {
        *self.0 == *known.0
    }
}

/// The tokens seen under one set of keys.
#[derive(Debug)]
pub struct Seen {
    known: BoundedMap<Text, Arc<VerifiedClaims>>,
    once: Option<Once>,
}

impl Seen {
    /// For tokens that this algorithm signs.
    pub fn under(algorithm: Algorithm) -> Self {
        let is_shared = algorithm == Algorithm::HS256;
        let known = BoundedMap::new(if is_shared { SHARED_MAX } else { PUBLIC_MAX });
        Self { known, once: is_shared.then(Once::default) }
    }

    /// Whether the signature of what is not remembered costs little.
    pub fn is_for_shared_keys(&self) -> bool {
        self.once.is_some()
    }

    /// What a token says, if it is remembered.
    pub fn get(&self, token: &str) -> Option<Arc<VerifiedClaims>> {
        self.known.get(&Presented(token))
    }

    /// Remembers a genuine one; where its signature costs little, only when it comes again.
    pub fn note(&self, token: &str, genuine: &Arc<VerifiedClaims>) {
        if self.once.as_ref().is_none_or(|once| once.knew(token)) {
            self.known.insert(Text(token.into()), Arc::clone(genuine));
        }
    }
}

/// Which tokens came a first time, by octets of their signatures. A token that is used once costs no memory and pushes none
/// out that is in use; one that shares its place with another is remembered a little later, and no worse.
#[derive(Debug)]
struct Once(Box<[AtomicU64]>);

impl Default for Once {
    fn default() -> Self {
        Self((0..SHARED_MAX).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Once {
    /// Whether the token came before; it has now.
    fn knew(&self, token: &str) -> bool {
        // Of the signature's end; but its last octet tells little.
        let Some(mark) = token.as_bytes().last_chunk::<9>().and_then(|tail| tail.first_chunk::<8>()) else {
            return true;
        };
        let mark = u64::from_le_bytes(*mark);
        let place = usize::try_from(mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or_default() % self.0.len();
        self.0.get(place).is_none_or(|place| place.swap(mark, Ordering::Relaxed) == mark)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::core::token::claims::AccessClaims;
    use crate::store::{AccountId, SessionId};

    fn genuine() -> Arc<VerifiedClaims> {
        of_generation(0)
    }

    fn of_generation(generation: i64) -> Arc<VerifiedClaims> {
        let at = Timestamp::from_seconds(1);
        let claims = AccessClaims {
            account: AccountId(1),
            session: SessionId(Uuid::from_u128(1)),
            generation,
            epoch: 0,
            role: String::new(),
            must_change_password: false,
            issued_at: at,
            expires_at: at,
            id: String::new(),
        };
        Arc::new(VerifiedClaims { claims, not_before: None })
    }

    #[test]
    fn a_signature_that_costs_little_is_remembered_when_it_comes_again() {
        let (shared, public) = (Seen::under(Algorithm::HS256), Seen::under(Algorithm::EdDSA));
        let token = "header.payload.signature-of-some-length";
        for (times, known) in [(1, false), (2, true)] {
            shared.note(token, &genuine());
            assert_eq!(shared.get(token).is_some(), known, "after {times}");
        }
        public.note(token, &genuine());
        assert!(public.get(token).is_some(), "one that costs much at once");
        assert!(public.get("header.other.signature-of-some-length").is_none(), "the whole text is compared");
    }

    #[test]
    fn tokens_of_one_signature_are_told_apart_when_both_are_remembered() {
        let seen = Seen::under(Algorithm::EdDSA);
        let tokens = [0, 1].map(|n| format!("header.payload-{n}.signature-of-more-octets-than-are-looked-at-first"));
        for (generation, token) in (0..).zip(&tokens) {
            seen.note(token, &of_generation(generation));
            seen.note(token, &of_generation(generation));
        }
        let known = tokens.map(|token| seen.get(&token).map(|genuine| genuine.generation));
        assert_eq!(known, [Some(0), Some(1)]);
        assert_eq!(seen.known.len(), 2, "the same one twice is one");
    }

    #[test]
    fn a_place_is_found_among_all_there_are() {
        let once = Once::default();
        let tokens: Vec<String> =
            (0..2000_u64).map(|n| format!("{:016x}.", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert!(tokens.iter().all(|token| !once.knew(token)));
        let kept = tokens.iter().filter(|token| once.knew(token)).count();
        assert!(kept > 1000, "{kept} of 2000 had a place of their own among {SHARED_MAX}");
    }

    #[test]
    fn tokens_that_come_once_push_nobody_out() {
        let seen = Seen::under(Algorithm::HS256);
        let token = |n: usize| format!("header.payload.{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        seen.note(&token(1), &genuine());
        seen.note(&token(1), &genuine());
        (2..100_000).for_each(|n| seen.note(&token(n), &genuine()));
        assert!(seen.get(&token(1)).is_some());
    }
}
