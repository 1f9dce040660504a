//! Legacy password hash schemes of other systems, which no crate that is kept up verifies: md5crypt, phpass, salted SHA-1, and
//! the scrypt variant of Firebase. Each is verified once, at the first sign-in, which replaces it. Their text forms are parsed
//! by vendor_forms.rs.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::digest;
use aws_lc_rs::iv::FixedLength;
use md5::{Digest, Md5};

use crate::secret::constant_time_eq;

/// The alphabet of crypt(3) and phpass, whose characters carry six bits each, the lowest first.
const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The order in which md5crypt writes the bytes of the digest.
const MD5CRYPT_ORDER: [usize; 16] = [0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11];

/// The value of a character of crypt's alphabet.
pub fn crypt_value(character: char) -> Option<u8> {
    let position = CRYPT_ALPHABET.iter().position(|known| char::from(*known) == character)?;
    u8::try_from(position).ok()
}

/// Decodes groups of four characters, the lowest bits first, as phpass encodes; the last group may be shorter.
fn decode_crypt(text: &str, length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for (place, character) in group.iter().enumerate() {
            bits |= u32::from(crypt_value(char::from(*character))?) << (6 * place);
        }
        bytes.extend(bits.to_le_bytes().into_iter().take(group.len() * 6 / 8));
    }
    (bytes.len() == length).then_some(bytes)
}

/// An md5crypt hash: `$1$`, or Apache's `$apr1$`.
#[derive(Clone)]
pub struct Md5Crypt {
    magic: &'static str,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Md5Crypt {
    /// By its magic word, its salt of up to eight characters and its digest of 22.
    pub fn parse(magic: &'static str, salt: &str, digest: &str) -> Option<Self> {
        let fits = salt.len() <= 8 && digest.len() == 22;
        let mut bytes = vec![0; 16];
        let mut places = MD5CRYPT_ORDER.iter();
        for group in digest.as_bytes().chunks(4).filter(|_| fits) {
            let mut bits = 0_u32;
            for (place, character) in group.iter().enumerate() {
                bits |= u32::from(crypt_value(char::from(*character))?) << (6 * place);
            }
            let count = group.len() * 6 / 8;
            // The first byte of a group stands in its highest bits.
            for index in (0..count).rev() {
                *bytes.get_mut(*places.next()?)? = u8::try_from((bits >> (8 * index)) & 0xff).ok()?;
            }
        }
        fits.then(|| Self { magic, salt: salt.as_bytes().to_vec(), digest: bytes })
    }

    /// Whether the password has this digest.
    pub fn verify(&self, password: &[u8]) -> bool {
        constant_time_eq(&self.derive(password), &self.digest)
    }

    /// Poul-Henning Kamp's algorithm, as FreeBSD and Apache have it.
    fn derive(&self, password: &[u8]) -> Vec<u8> {
        let salt = self.salt.as_slice();
        let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
        let mut first = Md5::new().chain_update(password).chain_update(self.magic).chain_update(salt);
        for start in (0..password.len()).step_by(16) {
            first.update(inner.get(..(password.len() - start).min(16)).unwrap_or_default());
        }
        let mut bits = password.len();
        while bits > 0 {
            let byte = if bits & 1 == 1 { 0 } else { password.first().copied().unwrap_or_default() };
            first.update([byte]);
            bits >>= 1;
        }
        let mut digest = first.finalize();
        for round in 0..1000_u32 {
            let mut next = Md5::new();
            if round & 1 == 1 {
                next.update(password);
            } else {
                next.update(digest);
            }
            if round % 3 != 0 {
                next.update(salt);
            }
            if round % 7 != 0 {
                next.update(password);
            }
            if round & 1 == 1 {
                next.update(digest);
            } else {
                next.update(password);
            }
            digest = next.finalize();
        }
        digest.to_vec()
    }
}

/// A portable hash of phpass, as WordPress and phpBB had it: `$P$` or `$H$`.
#[derive(Clone)]
pub struct Phpass {
    rounds: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Phpass {
    /// One character for the logarithm of the rounds, eight of salt, 22 of digest.
    pub fn parse(rest: &str) -> Option<Self> {
        let (head, digest) = rest.split_at_checked(9)?;
        let (log_rounds, salt) = head.split_at_checked(1)?;
        let log_rounds = u32::from(crypt_value(log_rounds.chars().next()?)?);
        let rounds = 1_u32.checked_shl(log_rounds).filter(|_| log_rounds >= 7)?;
        Some(Self { rounds, salt: salt.as_bytes().to_vec(), digest: decode_crypt(digest, 16)? })
    }

    /// The number of MD5 rounds.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Whether the password has this digest.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut digest = Md5::new().chain_update(&self.salt).chain_update(password).finalize();
        for _ in 0..self.rounds {
            digest = Md5::new().chain_update(digest).chain_update(password).finalize();
        }
        constant_time_eq(&digest, &self.digest)
    }
}

/// Whether SHA-1 of the password and a salt is this digest.
pub fn verify_salted_sha1(password: &[u8], salt: &[u8], hash: &[u8]) -> bool {
    let computed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[password, salt].concat());
    constant_time_eq(computed.as_ref(), hash)
}

/// Firebase's scrypt: the derived key encrypts the project's signer key, and the result is stored.
#[derive(Clone)]
pub struct FirebaseScrypt {
    /// The parameters: rounds are the block size, the memory cost is the logarithm of N.
    pub params: scrypt::Params,
    /// The account's salt and the project's separator.
    pub salt: Vec<u8>,
    /// The project's signer key.
    pub signer_key: Vec<u8>,
    /// The encrypted signer key.
    pub hash: Vec<u8>,
}

impl FirebaseScrypt {
    /// Whether the password has this hash.
    pub fn verify(&self, password: &[u8]) -> bool {
        self.encrypt(password).is_some_and(|encrypted| constant_time_eq(&encrypted, &self.hash))
    }

    fn encrypt(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut derived = [0; 64];
        scrypt::scrypt(password, &self.salt, &self.params, &mut derived).ok()?;
        let key = UnboundCipherKey::new(&AES_256, derived.get(..32)?).ok()?;
        let mut encrypted = self.signer_key.clone();
        // The counter begins at zero, as Firebase's does: each derived key encrypts one text only.
        let counter = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        EncryptingKey::ctr(key).ok()?.less_safe_encrypt(&mut encrypted, counter).ok()?;
        Some(encrypted)
    }
}
