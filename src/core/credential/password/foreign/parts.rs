//! The pieces that hashes from elsewhere are written with: numbers, `name=number` lists, the dialects of base64.
//! What they may say is for foreign.rs.

use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The longest salt, and the longest digest, that any of these systems makes.
const BYTES_MAX: usize = 128;

/// Digits and nothing else: no sign.
pub fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// So many bytes at least; fewer would match by chance.
pub fn bytes(bytes: Vec<u8>, least: usize) -> Option<Vec<u8>> {
    (least..=BYTES_MAX).contains(&bytes.len()).then_some(bytes)
}

/// Base64 as the PHC form has it (no padding), as Django has it (padding), and as passlib has it (`.` for `+`).
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text.replace('.', "+")).ok()
}

/// The same in bcrypt's own alphabet without stray bits at its end.
pub fn bcrypt_normal(text: &str) -> Option<String> {
    let forgiving = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::BCRYPT, forgiving);
    engine.decode(text).ok().map(|bytes| engine.encode(bytes))
}

/// `m=65536,t=3,p=4`: each name once, in any order.
pub struct Named<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Named<'a> {
    pub fn read(text: &'a str) -> Option<Self> {
        text.split(',').map(|pair| pair.split_once('=')).collect::<Option<_>>().map(Self)
    }

    pub fn take<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        number(self.0.remove(at).1)
    }

    /// Whether nothing is left that would change the hash.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
