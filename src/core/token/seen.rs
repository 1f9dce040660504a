//! Access tokens that this node has found genuine: their signature is checked once, their times and revocation every time.
//! Only what was found genuine comes in, so forged tokens cannot fill it, and it is bounded for the rest.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use papaya::Equivalent;

use super::Genuine;
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
    let octets = text.as_bytes();
    state.write(octets.get(octets.len().saturating_sub(TAIL)..).unwrap_or_default());
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
pub struct Seen(BoundedMap<Text, Arc<Genuine>>);

impl Seen {
    /// For tokens that this algorithm signs.
    pub fn under(algorithm: Algorithm) -> Self {
        Self(BoundedMap::new(if algorithm == Algorithm::HS256 { SHARED_MAX } else { PUBLIC_MAX }))
    }

    /// What a token says, if it was seen.
    pub fn get(&self, token: &str) -> Option<Arc<Genuine>> {
        self.0.get(&Presented(token))
    }

    /// Remembers a genuine one.
    pub fn note(&self, token: &str, genuine: &Arc<Genuine>) {
        self.0.insert(Text(token.into()), Arc::clone(genuine));
    }
}
