//! Forgeries that only a key with a public half invites: the public key as an HMAC secret, signatures that are no numbers,
//! a token of one key under another's name. The tests hold the private keys too, so that each fails for one reason only.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use doorward::settings::TokenAlgorithm;
use doorward::testing::TestService;

use super::jwks::jwks;
use super::{key_id, rotate, with};
use crate::support::http::Request;
use crate::support::{Backend, Tokens, code, is_believed, on_both_backends, parts_of, refresh_with, register, sign_in};

on_both_backends!(
    a_public_key_in_any_encoding_is_no_hmac_secret,
    a_malformed_ecdsa_signature_is_refused,
    a_malformed_eddsa_signature_is_refused,
    no_key_is_accepted_under_another_key_id,
    a_token_with_an_embedded_public_key_is_refused,
    a_malleated_ecdsa_signature_is_the_same_token_and_is_revoked_with_it,
);

/// The order of P-256, most significant octet first.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// The order of Ed25519's group, least significant octet first.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The key of this kind in the keys file.
fn private_key(service: &TestService, kind: &str) -> Vec<u8> {
    let file = std::fs::read_to_string(service.folder().join("doorward.keys")).unwrap();
    let line = file.lines().find(|line| line.starts_with(&format!("{kind} "))).unwrap();
    BASE64.decode(line.split(' ').nth(2).unwrap()).unwrap()
}

/// Signs as the key of this kind does.
fn signed_by(kind: &str, key: &[u8], message: &str) -> Vec<u8> {
    let message = message.as_bytes();
    match kind {
        "hs256" => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec(),
        "eddsa" => Ed25519KeyPair::from_pkcs8(key).unwrap().sign(message).as_ref().to_vec(),
        "es256" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key).unwrap();
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        }
        other => panic!("no key signs with {other}"),
    }
}

fn unsigned(header: &str, token: &str) -> String {
    format!("{}.{}", BASE64.encode(header), token.split('.').nth(1).unwrap())
}

fn with_signature(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", BASE64.encode(signature))
}

/// A token's header and payload as they were sent.
fn message_of(token: &str) -> &str {
    token.rsplit_once('.').unwrap().0
}

/// What is believed of it, by header, by cookie and at refresh; empty when all is well.
fn faults(service: &TestService, what: &str, token: &str) -> Vec<String> {
    let by_header = Request::new("GET", "/auth/me").bearer(token).send(service.address());
    let by_cookie = Request::new("GET", "/auth/me").cookie_header(&format!("accessToken={token}"));
    let answers = [by_header, by_cookie.send(service.address()), refresh_with(service, token)];
    let wrong = answers.into_iter().filter(|answer| answer.status != 401 || code(answer) != "token_invalid");
    wrong.map(|answer| format!("{what}: {} {}", answer.status, answer.text())).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} not refused as they should be:\n{}", faults.len(), faults.join("\n"));
}

/// Every way in which somebody may have a public key at hand.
fn spellings(service: &TestService, kind: &str) -> Vec<(&'static str, Vec<u8>)> {
    let set = jwks(service);
    let jwk = set.json()["keys"][0].clone();
    let coordinate = |name: &str| BASE64.decode(jwk[name].as_str().unwrap_or_default()).unwrap();
    let (point, prefix) = if kind == "eddsa" {
        (coordinate("x"), bytes("302a300506032b6570032100"))
    } else {
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        (point, bytes("3059301306072a8648ce3d020106082a8648ce3d030107034200"))
    };
    let der = [prefix, point.clone()].concat();
    let lines: Vec<String> =
        STANDARD.encode(&der).chars().collect::<Vec<_>>().chunks(64).map(|l| l.iter().collect()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let mut spellings = vec![
        ("the whole set", set.body.clone()),
        ("the JWK", jwk.to_string().into_bytes()),
        ("x as text", jwk["x"].as_str().unwrap().into()),
        ("x", coordinate("x")),
        ("y", coordinate("y")),
        ("the kid", jwk["kid"].as_str().unwrap().into()),
        ("the point", point.clone()),
        ("the point as base64", STANDARD.encode(&point).into_bytes()),
        ("DER", der.clone()),
        ("DER as base64", STANDARD.encode(&der).into_bytes()),
        ("PEM", pem.clone().into_bytes()),
        ("PEM and a line's end", format!("{pem}\n").into_bytes()),
        ("PEM in one line", pem.replace('\n', "").into_bytes()),
        ("PEM with CR LF", format!("{pem}\n").replace('\n', "\r\n").into_bytes()),
        ("nothing", vec![]),
    ];
    let hex: Vec<String> = point.iter().map(|byte| format!("{byte:02x}")).collect();
    spellings.push(("the point in hex", hex.concat().into_bytes()));
    spellings
}

fn a_public_key_in_any_encoding_is_no_hmac_secret(backend: Backend) {
    for kind in ["eddsa", "es256"] {
        let service = with(backend, kind).start();
        let Tokens { access, refresh } = Tokens::held_by(&register(&service, "emily"));
        let kid = key_id(&access);
        let headers = [
            parts_of(&access).0.to_string(),
            parts_of(&refresh).0.to_string(),
            format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{kid}"}}"#),
            r#"{"typ":"at+jwt","alg":"HS256"}"#.to_owned(),
        ];
        let mut found = vec![];
        for (name, secret) in spellings(&service, kind) {
            for header in &headers {
                for token in [&access, &refresh] {
                    let message = unsigned(header, token);
                    let forged = with_signature(&message, &signed_by("hs256", &secret, &message));
                    found.extend(faults(&service, &format!("{kind}: {name} under {header}"), &forged));
                }
            }
        }
        assert_none(&found);
        assert!(is_believed(&service, &access) && refresh_with(&service, &refresh).status == 200);
    }
}

fn a_malformed_ecdsa_signature_is_refused(backend: Backend) {
    let service = with(backend, "es256").start();
    let Tokens { access, .. } = Tokens::held_by(&register(&service, "emily"));
    let (message, key) = (message_of(&access), private_key(&service, "es256"));
    let genuine = signed_by("es256", &key, message);
    assert!(is_believed(&service, &with_signature(message, &genuine)), "the forge has the key");
    let order = bytes(P256_ORDER);
    let (r, s) = genuine.split_at(32);
    let one = [vec![0; 31], vec![1]].concat();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
    let der = der.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec();
    let mut cases = vec![
        // CVE-2022-21449: r = s = 0 fits every message and every key for whoever forgets to look.
        ("all zero", vec![0; 64]),
        ("r zero", [&[0; 32], s].concat()),
        ("s zero", [r, &[0; 32]].concat()),
        ("r = n, s = n", [&order[..], &order].concat()),
        ("r = n", [&order[..], s].concat()),
        ("s = n", [r, &order].concat()),
        ("r = 1, s = 1", [&one[..], &one].concat()),
        ("all ones", vec![255; 64]),
        ("r and s changed round", [s, r].concat()),
        ("DER", der),
        ("DER of zeros", bytes("3006020100020100")),
        ("a 0 before r", [&[0], r, s].concat()),
        ("a 0 before each", [&[0], r, &[0], s].concat()),
        ("twice", [&genuine[..], &genuine].concat()),
        ("as for P-384", [&[0; 16], r, &[0; 16], s].concat()),
    ];
    for length in [0, 1, 31, 32, 33, 62, 63] {
        cases.push(("too short", genuine[..length].to_vec()));
        cases.push(("too short, zeros", vec![0; length]));
    }
    let found: Vec<String> =
        cases.iter().flat_map(|(name, odd)| faults(&service, name, &with_signature(message, odd))).collect();
    assert_none(&found);
}

/// `a` + `b`, least significant octet first.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let add = |(a, b): (&u8, &u8)| {
        let sum = u16::from(*a) + u16::from(*b) + carry;
        carry = sum >> 8;
        u8::try_from(sum & 255).unwrap()
    };
    a.iter().zip(b).map(add).collect()
}

fn a_malformed_eddsa_signature_is_refused(backend: Backend) {
    let service = with(backend, "eddsa").start();
    let Tokens { access, .. } = Tokens::held_by(&register(&service, "emily"));
    let message = message_of(&access);
    let genuine = signed_by("eddsa", &private_key(&service, "eddsa"), message);
    assert_eq!(with_signature(message, &genuine), access, "the forge has the key");
    let (r, s) = genuine.split_at(32);
    let order = bytes(ED25519_ORDER);
    let zero = [0; 32];
    // The eight points of small order and spellings of them above the field's prime.
    let points = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("all zero".into(), vec![0; 64]),
        ("all ones".into(), vec![255; 64]),
        // RFC 8032 section 5.1.7: without the bound every signature has a second spelling.
        ("s + L".into(), [r, &sum(s, &order)].concat()),
        ("s = L".into(), [r, &order].concat()),
        ("s zero".into(), [r, &zero].concat()),
        ("R and s changed round".into(), [s, r].concat()),
        ("the sign of R".into(), [&r[..31], &[r[31] ^ 128], s].concat()),
        ("twice".into(), [&genuine[..], &genuine].concat()),
        ("an octet more".into(), [&genuine[..], &[0]].concat()),
    ];
    for point in points {
        cases.push((format!("R = {point}, s = 0"), [&bytes(point)[..], &zero].concat()));
        cases.push((format!("R = {point}"), [&bytes(point)[..], s].concat()));
    }
    cases.extend([0, 1, 32, 63].map(|length| (format!("{length} octets"), genuine[..length].to_vec())));
    let found: Vec<String> =
        cases.iter().flat_map(|(name, odd)| faults(&service, name, &with_signature(message, odd))).collect();
    assert_none(&found);
}

fn no_key_is_accepted_under_another_key_id(backend: Backend) {
    let service = with(backend, "hs256").start();
    register(&service, "emily");
    let mut tokens = vec![Tokens::held_by(&sign_in(&service, "emily")).access];
    for algorithm in [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256] {
        rotate(&service, algorithm);
        tokens.push(Tokens::held_by(&sign_in(&service, "emily")).access);
    }
    let kinds = ["hs256", "eddsa", "es256"];
    let names = ["HS256", "EdDSA", "ES256"];
    let ids: Vec<String> = tokens.iter().map(|token| key_id(token)).collect();
    let mut found = vec![];
    let mut genuine = 0;
    for (signer, kind) in kinds.iter().enumerate() {
        let key = private_key(&service, kind);
        for (named, id) in ids.iter().enumerate() {
            for (claimed, name) in names.iter().enumerate() {
                let header = format!(r#"{{"typ":"at+jwt","alg":"{name}","kid":"{id}"}}"#);
                let message = unsigned(&header, &tokens[2]);
                let token = with_signature(&message, &signed_by(kind, &key, &message));
                if signer == named && named == claimed {
                    assert!(is_believed(&service, &token), "{header} by its own key");
                    genuine += 1;
                } else {
                    found.extend(faults(&service, &format!("{header} by {kind}"), &token));
                }
            }
        }
    }
    assert_none(&found);
    assert_eq!(genuine, 3);
    service.core().retire_key(&ids[1]).unwrap();
    service.core().sync().unwrap();
    assert_none(&faults(&service, "a retired kid", &tokens[1]));
    assert!(is_believed(&service, &tokens[0]) && is_believed(&service, &tokens[2]));
}

fn a_token_with_an_embedded_public_key_is_refused(backend: Backend) {
    let service = with(backend, "es256").start();
    let Tokens { access, .. } = Tokens::held_by(&register(&service, "emily"));
    let kid = key_id(&access);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"{kid}"}}"#);
    let url = format!("{}{}", service.url(), super::jwks::JWKS);
    let own = format!(r#""typ":"at+jwt","alg":"ES256","kid":"{kid}""#);
    let mut found = vec![];
    for header in [
        format!("{{{own}}}"),
        format!(r#"{{{own},"jwk":{jwk}}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","jwk":{jwk}}}"#),
        format!(r#"{{{own},"jku":"{url}"}}"#),
        format!(r#"{{{own},"x5c":["{x}"]}}"#),
        format!(r#"{{{own},"crit":["jwk"],"jwk":{jwk}}}"#),
    ] {
        let message = unsigned(&header, &access);
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        found.extend(faults(&service, &header, &with_signature(&message, signature.as_ref())));
        if header.contains("jwk") || header.contains("jku") {
            // By the right key, and still with more in its header than we write.
            let signature = signed_by("es256", &private_key(&service, "es256"), &message);
            found.extend(faults(&service, &header, &with_signature(&message, &signature)));
        }
    }
    assert_none(&found);
}

/// `a` - `b`, most significant octet first.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let subtract = |(a, b): (&u8, &u8)| {
        let left = i16::from(*a) - i16::from(*b) - borrow;
        borrow = i16::from(left < 0);
        u8::try_from(left.rem_euclid(256)).unwrap()
    };
    let mut bytes: Vec<u8> = a.iter().rev().zip(b.iter().rev()).map(subtract).collect();
    bytes.reverse();
    bytes
}

/// Of (r, s) anybody can make (r, n - s), and RFC 7518 takes both. So nothing may hang on a token's text.
fn a_malleated_ecdsa_signature_is_the_same_token_and_is_revoked_with_it(backend: Backend) {
    let service = with(backend, "es256").start();
    let mut browser = register(&service, "emily");
    let Tokens { access, .. } = Tokens::held_by(&browser);
    let (message, signature) = access.rsplit_once('.').unwrap();
    let signature = BASE64.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let other = with_signature(message, &[r, &difference(&bytes(P256_ORDER), s)].concat());
    assert_ne!(other, access);
    let me = |token: &str| Request::new("GET", "/auth/me").bearer(token).send(service.address());
    assert_eq!((me(&other).status, me(&other).json()), (200, me(&access).json()));
    assert_eq!(browser.post_empty("/auth/logout").status, 200);
    assert!(!is_believed(&service, &access) && !is_believed(&service, &other));
}
