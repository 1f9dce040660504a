//! Token authority: it verifies the tokens that it issues, and no others.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use super::signature::TOKEN_MAX;
use super::*;
use crate::secret::{MacKey, base64url};
use crate::settings::TokenAlgorithm;
use jsonwebtoken::DecodingKey;

const NOW: Timestamp = Timestamp::from_seconds(1_795_253_640);
const KEY: &[u8] = b"0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";

fn authority() -> TokenAuthority {
    let rules = TokenRules { issuer: "doorward".into(), audience: "apps".into(), clock_skew: Duration::from_secs(5) };
    TokenAuthority::new(
        rules,
        &KeyRing::new(SigningKey::hs256("k1", KEY), [SigningKey::hs256("k0", b"another key, once active, 32 long")]),
    )
    .unwrap()
}

fn access() -> AccessClaims {
    AccessClaims {
        account: AccountUuid(Uuid::from_u128(7)),
        session: SessionId(Uuid::from_u128(1)),
        generation: 2,
        epoch: 3,
        role: "ADMIN".into(),
        must_change_password: false,
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(900)),
        id: "j".into(),
    }
}

fn refresh() -> RefreshClaims {
    let access = access();
    RefreshClaims {
        account: access.account,
        session: access.session,
        generation: access.generation,
        issued_at: access.issued_at,
        expires_at: access.expires_at,
    }
}

/// The claims of an access token at NOW, verified three ways: for the first time, cached, and without the cache.
fn verify_repeatedly(authority: &TokenAuthority, token: &str) -> Result<AccessClaims, Refusal> {
    let first = authority.verify_access(token, NOW);
    assert_eq!(authority.verify_access(token, NOW), first, "the cached result is the same");
    assert_eq!(authority.verify_access_uncached(token, NOW), first);
    first.map(|genuine| (**genuine).clone())
}

/// Signs any payload under the header of a genuine access token.
fn forge(payload: &str) -> String {
    let genuine = authority().mint_access(&access(), "k1").unwrap();
    let header = genuine.expose().split('.').next().unwrap().to_owned();
    let message = format!("{header}.{}", base64url(payload.as_bytes()));
    format!("{message}.{}", base64url(&MacKey::new(KEY).sign(message.as_bytes())))
}

fn payload(change: impl Fn(&mut serde_json::Map<String, serde_json::Value>)) -> String {
    let genuine = authority().mint_access(&access(), "k1").unwrap();
    let bytes = crate::secret::from_base64url(genuine.expose().split('.').nth(1).unwrap()).unwrap();
    let mut claims = serde_json::from_slice(&bytes).unwrap();
    change(&mut claims);
    serde_json::to_string(&claims).unwrap()
}

#[test]
fn issued_tokens_are_verified() {
    let token = authority().mint_access(&access(), "k1").unwrap();
    assert_eq!(verify_repeatedly(&authority(), token.expose()), Ok(access()));
    let token = authority().mint_refresh(&refresh(), "k0").unwrap();
    assert_eq!(authority().verify_refresh(token.expose(), NOW), Ok(refresh()));
}

/// The row of a session may name a key that was retired since.
#[test]
fn only_keys_of_the_ring_are_trusted() {
    let authority = authority();
    assert_eq!(authority.active_key_id(), "k1");
    assert_eq!(authority.key_ids().collect::<Vec<_>>(), ["k1", "k0"]);
    assert!(
        authority.trusts_key("k1")
            && authority.trusts_key("k0")
            && !authority.trusts_key("k2")
            && !authority.trusts_key("")
    );
    assert!(authority.mint_access(&access(), "k2").is_err() && authority.mint_refresh(&refresh(), "k2").is_err());
}

#[test]
fn a_refresh_token_is_the_same_bytes_every_time() {
    let one = authority().mint_refresh(&refresh(), "k1").unwrap();
    assert_eq!(one.expose(), authority().mint_refresh(&refresh(), "k1").unwrap().expose());
    let id = |generation| authority().rotation_token_id(access().session, generation, "k1").unwrap();
    assert!(id(1) == id(1) && id(1) != id(2));
}

#[test]
fn access_and_refresh_tokens_are_not_interchangeable() {
    let (authority, now) = (authority(), NOW);
    let (access, refresh) =
        (authority.mint_access(&access(), "k1").unwrap(), authority.mint_refresh(&refresh(), "k1").unwrap());
    assert_eq!(authority.verify_refresh(access.expose(), now), Err(Refusal::TokenInvalid));
    assert_eq!(authority.verify_access(refresh.expose(), now), Err(Refusal::TokenInvalid));
}

#[test]
fn a_cached_token_still_expires_and_vouches_for_no_other_text() {
    let authority = authority();
    let token = authority.mint_access(&access(), "k1").unwrap();
    assert!(verify_repeatedly(&authority, token.expose()).is_ok());
    let later =
        |seconds: i64| authority.verify_access(token.expose(), Timestamp::from_seconds(NOW.seconds() + seconds));
    assert_eq!(later(900), Err(Refusal::TokenExpired));
    assert_eq!(later(-6), Err(Refusal::TokenInvalid));
    let (signed, signature) = token.expose().rsplit_once('.').unwrap();
    let header = signed.split('.').next().unwrap();
    let admins = payload(|claims| drop(claims.insert("role".into(), "OWNER".into())));
    let forged = format!("{header}.{}.{signature}", base64url(admins.as_bytes()));
    assert_eq!(authority.verify_access(&forged, NOW), Err(Refusal::TokenInvalid));
    assert_eq!(authority.verify_access(&signature[signature.len() - 32..], NOW), Err(Refusal::TokenInvalid));
}

#[test]
fn expiry_is_strict_and_issuance_tolerates_the_clock_skew() {
    let token = authority().mint_access(&access(), "k1").unwrap();
    let at = |seconds: i64| authority().verify_access(token.expose(), Timestamp::from_seconds(NOW.seconds() + seconds));
    assert!(at(899).is_ok());
    assert_eq!(at(900), Err(Refusal::TokenExpired));
    assert!(at(-5).is_ok());
    assert_eq!(at(-6), Err(Refusal::TokenInvalid));
}

#[test]
fn the_forge_of_these_tests_makes_valid_tokens() {
    assert_eq!(verify_repeatedly(&authority(), &forge(&payload(|_| ()))), Ok(access()));
    let past = payload(|claims| drop(claims.insert("nbf".into(), (NOW.seconds() - 1).into())));
    assert!(authority().verify_access(&forge(&past), NOW).is_ok());
}

#[test]
fn a_signed_token_with_a_missing_or_mistyped_claim_is_refused() {
    for claim in ["iss", "aud", "sub", "sid", "gen", "epoch", "role", "iat", "exp", "jti", "use"] {
        let absent = payload(|claims| drop(claims.remove(claim)));
        assert_eq!(authority().verify_access(&forge(&absent), NOW), Err(Refusal::TokenInvalid), "{claim} absent");
        for odd in ["null", "[]", "{}", "true", "1.5", "\"x\"", "9223372036854775808", "-1"] {
            let value: serde_json::Value = serde_json::from_str(odd).unwrap();
            let text = ["role", "jti"].contains(&claim) && odd == "\"x\"";
            let number = ["gen", "epoch", "iat"].contains(&claim) && odd == "-1";
            if text || number {
                continue;
            }
            let changed = payload(|claims| drop(claims.insert(claim.into(), value.clone())));
            let refused = authority().verify_access(&forge(&changed), NOW);
            assert!(refused.is_err(), "{claim} = {odd}: {refused:?}");
        }
    }
    for odd in ["null", "\"1\"", "1.5", "[]", "99999999999"] {
        let value: serde_json::Value = serde_json::from_str(odd).unwrap();
        let changed = payload(|claims| drop(claims.insert("nbf".into(), value.clone())));
        assert_eq!(authority().verify_access(&forge(&changed), NOW), Err(Refusal::TokenInvalid), "nbf = {odd}");
    }
}

#[test]
fn the_password_change_claim_is_present_only_if_true() {
    let plain = payload(|_| {});
    assert!(!plain.contains("mcp"), "{plain}");
    let restricted = AccessClaims { must_change_password: true, ..access() };
    let token = authority().mint_access(&restricted, "k1").unwrap();
    assert_eq!(verify_repeatedly(&authority(), token.expose()), Ok(restricted));
    for odd in ["null", "\"true\"", "1", "[]", "{}"] {
        let value: serde_json::Value = serde_json::from_str(odd).unwrap();
        let changed = payload(|claims| drop(claims.insert("mcp".into(), value.clone())));
        assert_eq!(authority().verify_access(&forge(&changed), NOW), Err(Refusal::TokenInvalid), "mcp = {odd}");
    }
}

/// The bounds of the times, one second to either side of each.
#[test]
fn lifetimes_begin_within_the_skew_and_are_positive_and_bounded() {
    let (now, most) = (NOW.seconds(), 100 * 366 * 86_400);
    for (iat, exp, nbf, fits) in [
        (now, now + 1, None, true),
        (now, now + most, None, true),
        (now, now + most + 1, None, false),
        (now + 5, now + 6, None, true),
        (now + 5, now + 5, None, false),
        (now + 5, now + 4, None, false),
        (now + 6, now + 7, None, false),
        (0, now + 1, None, true),
        (-1, now + 1, None, false),
        (now, now + 1, Some(0), true),
        (now, now + 1, Some(-1), false),
        (now, now + 9, Some(now + 5), true),
        (now, now + 9, Some(now + 6), false),
    ] {
        assert_eq!(authority().has_valid_times(iat, exp, nbf, NOW), fits, "{iat} to {exp}, not before {nbf:?}");
    }
}

#[test]
fn an_overlong_token_is_not_examined() {
    let padded = |bytes: usize| {
        let long = |filler: usize| forge(&payload(|claims| drop(claims.insert("x".into(), "x".repeat(filler).into()))));
        // Three bytes of payload are four of the token.
        let near = (bytes - long(0).len()) * 3 / 4;
        (near.saturating_sub(4)..near + 4).map(long).find(|token| token.len() == bytes).unwrap()
    };
    let (longest, longer) = (padded(TOKEN_MAX), padded(TOKEN_MAX + 2));
    assert!(authority().verify_access(&longest, NOW).is_ok());
    assert_eq!(authority().verify_access(&longer, NOW), Err(Refusal::TokenInvalid));
}

#[test]
fn a_duplicated_claim_is_refused() {
    let twice = payload(|_| ()).replacen('{', "{\"sub\":\"1\",", 1);
    assert_eq!(authority().verify_access(&forge(&twice), NOW), Err(Refusal::TokenInvalid));
}

#[test]
fn a_header_that_is_not_ours_is_never_interpreted() {
    let genuine = authority().mint_access(&access(), "k1").unwrap();
    let (_, rest) = genuine.expose().split_once('.').unwrap();
    let body = rest.split('.').next().unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"typ":"at+jwt","alg":"HS384","kid":"k1"}"#,
        r#"{"typ":"at+jwt","alg":"HS256","kid":"k1","crit":["exp"]}"#,
        r#"{"typ":"at+jwt","alg":"HS256","kid":"k2"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#,
        r#"{"typ":"at+jwt","alg":"HS256","kid":"k1","jwk":{"kty":"oct","k":"AA"}}"#,
    ] {
        let message = format!("{}.{body}", base64url(header.as_bytes()));
        let token = format!("{message}.{}", base64url(&MacKey::new(KEY).sign(message.as_bytes())));
        assert_eq!(authority().verify_access(&token, NOW), Err(Refusal::TokenInvalid), "{header}");
    }
}

#[test]
fn every_changed_byte_is_detected() {
    let genuine = authority().mint_access(&access(), "k1").unwrap();
    for at in 0..genuine.expose().len() {
        let mut bytes = genuine.expose().as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert_eq!(authority().verify_access(&forged, NOW), Err(Refusal::TokenInvalid), "byte {at}");
    }
}

/// A ring whose first key is of this algorithm, beside one of each other.
fn ring_of(algorithm: TokenAlgorithm) -> KeyRing {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().to_pkcs8v1().unwrap();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let key = |algorithm| match algorithm {
        TokenAlgorithm::Hs256 => SigningKey::hs256("hs256", KEY),
        TokenAlgorithm::EdDsa => SigningKey::eddsa("eddsa", ed.as_ref()).unwrap(),
        TokenAlgorithm::Es256 => SigningKey::es256("es256", ec.as_ref()).unwrap(),
    };
    KeyRing::new(key(algorithm), TokenAlgorithm::ALL.into_iter().filter(|other| *other != algorithm).map(key))
}

fn authority_of(ring: &KeyRing) -> TokenAuthority {
    let rules = TokenRules { issuer: "doorward".into(), audience: "apps".into(), clock_skew: Duration::from_secs(5) };
    TokenAuthority::new(rules, ring).unwrap()
}

#[test]
fn every_algorithm_signs_and_no_other_key_verifies() {
    for algorithm in TokenAlgorithm::ALL {
        let authority = authority_of(&ring_of(algorithm));
        let own = algorithm.as_str();
        assert_eq!(authority.active_algorithm(), algorithm);
        let token = authority.mint_access(&access(), own).unwrap();
        assert_eq!(verify_repeatedly(&authority, token.expose()), Ok(access()));
        for other in TokenAlgorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let theirs = authority.mint_access(&access(), other.as_str()).unwrap();
            let (header, _) = theirs.expose().split_once('.').unwrap();
            let (_, rest) = token.expose().split_once('.').unwrap();
            assert_eq!(authority.verify_access(&format!("{header}.{rest}"), NOW), Err(Refusal::TokenInvalid));
        }
    }
}

#[test]
fn refresh_tokens_do_not_depend_on_the_access_token_algorithm() {
    for algorithm in TokenAlgorithm::ALL {
        let ring = ring_of(algorithm);
        let texts = [(); 3].map(|()| {
            let token = authority_of(&ring).mint_refresh(&refresh(), algorithm.as_str()).unwrap();
            assert_eq!(authority_of(&ring).verify_refresh(token.expose(), NOW), Ok(refresh()));
            token.expose().to_owned()
        });
        assert!(texts.iter().all(|text| *text == texts[0]), "{algorithm:?}");
        assert!(texts[0].starts_with(&base64url(br#"{"typ":"rt+jwt","alg":"HS256","#)[..30]), "{algorithm:?}");
    }
}

#[test]
fn every_changed_byte_of_a_public_key_signature_is_detected() {
    for algorithm in [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256] {
        let authority = authority_of(&ring_of(algorithm));
        let token = authority.mint_access(&access(), algorithm.as_str()).unwrap();
        let begins = token.expose().rfind('.').unwrap() + 1;
        for at in begins..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(authority.verify_access(&forged, NOW), Err(Refusal::TokenInvalid), "{algorithm:?}, byte {at}");
        }
    }
}

/// Verifies a token under any header: the RFCs' examples have other headers than ours.
fn verified(token: &str, verifier: SignatureVerifier) -> Result<serde_json::Value, Refusal> {
    let (header, _) = token.split_once('.').unwrap();
    read_claims(&verify(token, &HashMap::from([(header.to_owned(), verifier)]))?)
}

#[test]
fn the_examples_of_rfc_7515_are_verified() {
    let hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9le\
        GFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let shared = || SignatureVerifier::Shared(Box::new(MacKey::new(&crate::secret::from_base64url(secret).unwrap())));
    let claims = verified(hs256, shared()).unwrap();
    assert_eq!((claims["iss"].as_str(), claims["exp"].as_i64()), (Some("joe"), Some(1_300_819_380)));

    let es256 = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb2\
        90Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let public = || SignatureVerifier::Public(DecodingKey::from_ec_components(x, y).unwrap(), Algorithm::ES256);
    assert_eq!(verified(es256, public()).unwrap(), claims);
    for (token, check) in [(es256, shared()), (hs256, public())] {
        assert_eq!(verified(token, check), Err(Refusal::TokenInvalid), "the key's algorithm, not the token's");
    }
}

/// RFC 7515 appendices A.1 and A.3 to A.5, and with A.5 RFC 7519 section 6.1, as a client might send them.
#[test]
fn no_example_of_rfc_7515_is_a_token_of_ours() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let es512 = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoX\
        D2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    for (header, payload, signature) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", payload, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            payload,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        ("eyJhbGciOiJFUzUxMiJ9", "UGF5bG9hZA", es512),
        ("eyJhbGciOiJub25lIn0", payload, ""),
    ] {
        let token = format!("{header}.{payload}.{signature}");
        for now in [NOW, Timestamp::from_seconds(1_300_819_379)] {
            assert_eq!(authority().verify_access(&token, now), Err(Refusal::TokenInvalid), "{header}");
            assert_eq!(authority().verify_refresh(&token, now), Err(Refusal::TokenInvalid), "{header}");
        }
    }
}

/// Its payload is a sentence and no JSON, so it goes past the claims: the signature alone, made and checked.
#[test]
fn the_example_of_rfc_8037_is_made_and_verified() {
    let seed = crate::secret::from_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let pkcs8 = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap().to_pkcs8v1().unwrap();
    let key = SigningKey::eddsa("k", pkcs8.as_ref()).unwrap();
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let made = jsonwebtoken::crypto::sign(message.as_bytes(), &key.encoding, key.jwt_algorithm()).unwrap();
    assert_eq!(made, signature);
    let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, key.jwt_algorithm());
    assert!(verified.unwrap());
}
