//! Encodings in password hashes of other systems: decimal numbers, PHC parameters, the variants of base64. Which values
//! are allowed is decided by imported_hash.rs.

use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use phc::ParamsString;

/// The longest salt and the longest digest that these systems write.
const BYTES_MAX: usize = 128;

/// A decimal number of digits alone, without a sign.
pub fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// PHC parameters (`m=65536,t=3,p=4`) in any order: each of these names once, and no other, since an unknown one would
/// change the hash.
pub fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let params: ParamsString = text.parse().ok().filter(|params: &ParamsString| params.iter().count() == N)?;
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = params.get_decimal(name)?;
    }
    Some(values)
}

/// Bytes of at least this length: a shorter salt or digest would match by chance.
pub fn sized(bytes: Vec<u8>, min: usize) -> Option<Vec<u8>> {
    (min..=BYTES_MAX).contains(&bytes.len()).then_some(bytes)
}

/// Base64 of the PHC string format (no padding), of Django (padding) and of passlib (`.` for `+`).
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text.replace('.', "+")).ok()
}

/// Base64 in bcrypt's alphabet, encoded anew without stray bits in the last character.
pub fn canonical_bcrypt_base64(text: &str) -> Option<String> {
    let forgiving = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::BCRYPT, forgiving);
    engine.decode(text).ok().map(|bytes| engine.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phc_parameters_are_named_once_in_any_order() {
        let read = |text| parameters(text, ["m", "t", "p"]);
        for text in ["m=64,t=3,p=4", "p=4,m=64,t=3"] {
            assert_eq!(read(text), Some([64, 3, 4]), "{text}");
        }
        for text in [
            "",
            "m=64",
            "m=64,t=3",
            "m=64,t=3,t=3",
            "m=64,t=3,p=4,p=4",
            "m=64,t=3,p=4,x=1",
            "m=64,t=3,p=",
            "m=64,t=3,p",
            "m=64,t=3,p=-4",
            "m=64,t=3,p=+4",
            "m=64,t=3,p=04",
            "m=64,t=3,p=4294967296",
            "m=64,t=3,p=4,",
            "m=64 ,t=3,p=4",
            "M=64,t=3,p=4",
            "m=64=1,t=3,p=4",
            "m=6\u{664},t=3,p=4",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&format!("m=64,t=3,p={:0>200}", 4)), None);
    }
}
