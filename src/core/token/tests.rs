//! What is minted is believed; nothing else is.

use super::*;
use crate::secret::base64url;

const NOW: Timestamp = Timestamp::from_seconds(1_795_253_640);
const KEY: &[u8] = b"0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";

fn gate() -> TokenGate {
    let rules = TokenRules { issuer: "doorward".into(), audience: "apps".into(), clock_skew: Duration::from_secs(5) };
    TokenGate::new(
        rules,
        &KeyRing::new(SigningKey::hs256("k1", KEY), [SigningKey::hs256("k0", b"another key, once active, 32 long")]),
    )
    .unwrap()
}

fn access() -> AccessClaims {
    AccessClaims {
        account: AccountId(7),
        session: Id128(Uuid::from_u128(1)),
        generation: 2,
        epoch: 3,
        role: "ADMIN".into(),
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

/// Signs any payload under the header of a genuine access token.
fn forge(payload: &str) -> String {
    let genuine = gate().mint_access(&access(), "k1").unwrap();
    let header = genuine.expose().split('.').next().unwrap().to_owned();
    let message = format!("{header}.{}", base64url(payload.as_bytes()));
    format!("{message}.{}", base64url(&crate::secret::MacKey::new(KEY).sign(message.as_bytes())))
}

fn payload(change: impl Fn(&mut serde_json::Map<String, serde_json::Value>)) -> String {
    let genuine = gate().mint_access(&access(), "k1").unwrap();
    let bytes = crate::secret::from_base64url(genuine.expose().split('.').nth(1).unwrap()).unwrap();
    let mut claims = serde_json::from_slice(&bytes).unwrap();
    change(&mut claims);
    serde_json::to_string(&claims).unwrap()
}

#[test]
fn what_is_minted_is_believed() {
    let token = gate().mint_access(&access(), "k1").unwrap();
    assert_eq!(gate().check_access(token.expose(), NOW), Ok(access()));
    let token = gate().mint_refresh(&refresh(), "k0").unwrap();
    assert_eq!(gate().check_refresh(token.expose(), NOW), Ok(refresh()));
}

#[test]
fn a_refresh_token_is_the_same_octets_every_time() {
    let one = gate().mint_refresh(&refresh(), "k1").unwrap();
    assert_eq!(one.expose(), gate().mint_refresh(&refresh(), "k1").unwrap().expose());
    let id = |generation| gate().rotation_token_id(access().session, generation, "k1").unwrap();
    assert!(id(1) == id(1) && id(1) != id(2));
}

#[test]
fn neither_stands_in_for_the_other() {
    let (gate, now) = (gate(), NOW);
    let (access, refresh) = (gate.mint_access(&access(), "k1").unwrap(), gate.mint_refresh(&refresh(), "k1").unwrap());
    assert_eq!(gate.check_refresh(access.expose(), now), Err(Refusal::TokenInvalid));
    assert_eq!(gate.check_access(refresh.expose(), now), Err(Refusal::TokenInvalid));
}

#[test]
fn the_end_is_strict_and_the_beginning_has_the_skew() {
    let token = gate().mint_access(&access(), "k1").unwrap();
    let at = |seconds: i64| gate().check_access(token.expose(), Timestamp::from_seconds(NOW.seconds() + seconds));
    assert!(at(899).is_ok());
    assert_eq!(at(900), Err(Refusal::TokenExpired));
    assert!(at(-5).is_ok());
    assert_eq!(at(-6), Err(Refusal::TokenInvalid));
}

#[test]
fn the_forge_makes_a_believed_token_when_it_changes_nothing() {
    assert_eq!(gate().check_access(&forge(&payload(|_| ())), NOW), Ok(access()));
    let past = payload(|claims| drop(claims.insert("nbf".into(), (NOW.seconds() - 1).into())));
    assert!(gate().check_access(&forge(&past), NOW).is_ok());
}

#[test]
fn a_signed_token_with_a_missing_or_odd_claim_is_refused() {
    for claim in ["iss", "aud", "sub", "sid", "gen", "epoch", "role", "iat", "exp", "jti", "use"] {
        let absent = payload(|claims| drop(claims.remove(claim)));
        assert_eq!(gate().check_access(&forge(&absent), NOW), Err(Refusal::TokenInvalid), "{claim} absent");
        for odd in ["null", "[]", "{}", "true", "1.5", "\"x\"", "9223372036854775808", "-1"] {
            let value: serde_json::Value = serde_json::from_str(odd).unwrap();
            let text = ["role", "jti"].contains(&claim) && odd == "\"x\"";
            let number = ["gen", "epoch", "iat"].contains(&claim) && odd == "-1";
            if text || number {
                continue;
            }
            let changed = payload(|claims| drop(claims.insert(claim.into(), value.clone())));
            let refused = gate().check_access(&forge(&changed), NOW);
            assert!(refused.is_err(), "{claim} = {odd}: {refused:?}");
        }
    }
    for odd in ["null", "\"1\"", "1.5", "[]", "99999999999"] {
        let value: serde_json::Value = serde_json::from_str(odd).unwrap();
        let changed = payload(|claims| drop(claims.insert("nbf".into(), value.clone())));
        assert_eq!(gate().check_access(&forge(&changed), NOW), Err(Refusal::TokenInvalid), "nbf = {odd}");
    }
}

#[test]
fn a_duplicated_claim_is_refused() {
    let twice = payload(|_| ()).replacen('{', "{\"sub\":\"1\",", 1);
    assert_eq!(gate().check_access(&forge(&twice), NOW), Err(Refusal::TokenInvalid));
}

#[test]
fn a_header_of_another_hand_is_not_even_read() {
    let genuine = gate().mint_access(&access(), "k1").unwrap();
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
        let token = format!("{message}.{}", base64url(&crate::secret::MacKey::new(KEY).sign(message.as_bytes())));
        assert_eq!(gate().check_access(&token, NOW), Err(Refusal::TokenInvalid), "{header}");
    }
}

#[test]
fn every_changed_octet_is_noticed() {
    let genuine = gate().mint_access(&access(), "k1").unwrap();
    for at in 0..genuine.expose().len() {
        let mut bytes = genuine.expose().as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert_eq!(gate().check_access(&forged, NOW), Err(Refusal::TokenInvalid), "octet {at}");
    }
}
