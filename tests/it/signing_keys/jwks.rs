//! JWKS: tokens verified by a service that has the public keys and nothing else, and what it cannot see.

use std::collections::HashSet;
use std::process::Command;

use doorward::settings::TokenAlgorithm;
use doorward::testing::TestService;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::{Value, json};

use super::{ALGORITHMS, key_id, rotate, with};
use crate::support::http::{Request, Response};
use crate::support::process::search_path;
use crate::support::{Backend, Tokens, decode_jwt, is_accepted, on_both_backends, register, sign_in};

on_both_backends!(
    another_service_verifies_with_the_jwks_alone,
    every_trusted_key_is_published_before_its_first_token_and_until_its_last,
    the_jwks_is_served_once_at_the_root_and_cached_for_a_minute,
    the_jwks_contains_no_private_key,
);

pub const JWKS: &str = "/.well-known/jwks.json";

pub fn jwks(service: &TestService) -> Response {
    let answer = Request::new("GET", JWKS).send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn key_ids(service: &TestService) -> Vec<String> {
    let set = jwks(service).json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Verification by Node's own crypto: the reason for a refusal, and the claims.
fn in_node(service: &TestService, token: &str, audience: &str) -> (Option<String>, Value) {
    let now = service.clock().now().seconds().to_string();
    let url = format!("{}{JWKS}", service.url());
    let script = include_str!("verify.mjs");
    let arguments = ["--input-type=module", "--eval", script, "--", &url, token, "doorward", audience, &now];
    let ran = Command::new("node").args(arguments).env_clear().env("PATH", search_path()).output();
    let ran =
        ran.unwrap_or_else(|why| panic!("node: {why}; get it with `apt-get install nodejs`, version 20 or newer"));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
    (shown["refusal"].as_str().map(ToOwned::to_owned), shown["claims"].clone())
}

/// Verification by a Rust library.
fn in_rust(service: &TestService, token: &str) -> Result<Value, String> {
    let set: JwkSet = serde_json::from_slice(&jwks(service).body).unwrap();
    let key = set.find(&key_id(token)).ok_or("unknown kid")?;
    let algorithm = key.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&["doorward"]);
    rules.set_audience(&["doorward"]);
    // The service's clock is the test's, so expiry is not checked here.
    rules.validate_exp = false;
    let decoded = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules);
    decoded.map(|data| data.claims).map_err(|why| why.to_string())
}

fn another_service_verifies_with_the_jwks_alone(backend: Backend) {
    for (word, name) in &ALGORITHMS[1..] {
        let service = with(backend, word).start();
        let mut browser = register(&service, "emily");
        let Tokens { access, refresh } = Tokens::in_jar_of(&browser);
        let claims = decode_jwt(&access).1;
        assert_eq!(in_node(&service, &access, "doorward"), (None, claims.clone()), "{name}");
        assert_eq!(in_rust(&service, &access), Ok(claims), "{name}");
        let refusal = |token: &str, audience: &str| in_node(&service, token, audience).0.unwrap_or_default();
        assert_eq!(refusal(&access, "another"), "not from there or not for here");
        assert_eq!(refusal(&refresh, "doorward"), "another kind of token");
        assert!(in_rust(&service, &refresh).is_err());
        let (signed, signature) = access.rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        assert_eq!(refusal(&format!("{signed}.{turned}"), "doorward"), "wrong signature");
        // What the public keys cannot show: that the session has ended.
        assert_eq!(browser.post_empty("/auth/logout").status, 200);
        assert!(!is_accepted(&service, &access) && refusal(&access, "doorward").is_empty());
        service.advance(std::time::Duration::from_secs(15 * 60));
        assert_eq!(refusal(&access, "doorward"), "expired");
    }
}

fn every_trusted_key_is_published_before_its_first_token_and_until_its_last(backend: Backend) {
    let service = with(backend, "hs256").start();
    register(&service, "emily");
    assert_eq!(jwks(&service).json(), json!({ "keys": [] }), "a shared secret is never published");
    let eddsa = rotate(&service, TokenAlgorithm::EdDsa);
    let old = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(key_ids(&service).join(" "), eddsa);
    let es256 = service.core().rotate_signing_key(Some(TokenAlgorithm::Es256)).unwrap().id;
    service.core().sync().unwrap();
    assert_eq!(key_ids(&service), [es256.clone(), eddsa.clone()], "before its first token");
    service.advance(super::SETTLED);
    service.core().sync().unwrap();
    let new = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!((key_id(&old.access), key_id(&new.access)), (eddsa.clone(), es256.clone()));
    assert!(in_rust(&service, &old.access).is_ok() && in_rust(&service, &new.access).is_ok(), "both in the overlap");
    service.core().retire_key(&eddsa).unwrap();
    service.core().sync().unwrap();
    assert_eq!(key_ids(&service), [es256]);
    assert_eq!(in_rust(&service, &old.access), Err("unknown kid".to_owned()));
}

fn the_jwks_is_served_once_at_the_root_and_cached_for_a_minute(backend: Backend) {
    let service = with(backend, "es256").set("DIALECTS", "flat=/,native=/here").start();
    let answer = jwks(&service);
    assert_eq!(answer.header("Content-Type"), Some("application/jwk-set+json"));
    assert_eq!(answer.headers_named("Cache-Control"), ["public, max-age=60"]);
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    assert!(answer.set_cookies().is_empty());
    let send = |method: &str, path: &str| Request::new(method, path).send(service.address());
    let head = send("HEAD", JWKS);
    assert_eq!((head.status, head.headers_named("Cache-Control")), (200, vec!["public, max-age=60"]));
    let posted = send("POST", JWKS);
    assert_eq!((posted.status, posted.header("Allow")), (405, Some("GET, HEAD")));
    assert_eq!(posted.header("Cache-Control"), Some("no-store"), "an error is not kept");
    assert_eq!(send("GET", &format!("/here{JWKS}")).status, 404);
    // A cookie that is refused elsewhere is ignored here.
    let odd = Request::new("GET", JWKS).cookie_header("accessToken=a; accessToken=b").send(service.address());
    assert_eq!(odd.json(), answer.json());
}

fn the_jwks_contains_no_private_key(backend: Backend) {
    let service = with(backend, "eddsa").start();
    rotate(&service, TokenAlgorithm::Es256);
    rotate(&service, TokenAlgorithm::Hs256);
    let set = jwks(&service).json();
    assert_eq!(set.as_object().unwrap().len(), 1);
    let names = |key: &Value| key.as_object().unwrap().keys().cloned().collect::<HashSet<String>>();
    let expected = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<HashSet<String>>();
    assert_eq!(names(&set["keys"][0]), expected("kty crv x y kid use alg"));
    assert_eq!(names(&set["keys"][1]), expected("kty crv x kid use alg"));
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    let (es256, eddsa) = (&set["keys"][0], &set["keys"][1]);
    assert_eq!([&es256["kty"], &es256["crv"], &es256["alg"], &es256["use"]], ["EC", "P-256", "ES256", "sig"]);
    assert_eq!([&eddsa["kty"], &eddsa["crv"], &eddsa["alg"], &eddsa["use"]], ["OKP", "Ed25519", "EdDSA", "sig"]);
    let bytes = |text: &Value| base64::Engine::decode(&super::key_confusion::BASE64, text.as_str().unwrap()).unwrap();
    for coordinate in [&es256["x"], &es256["y"], &eddsa["x"]] {
        assert_eq!(bytes(coordinate).len(), 32);
    }
    let file = std::fs::read_to_string(service.folder().join("doorward.keys")).unwrap();
    let text = set.to_string();
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        assert!(!text.contains(line.split(' ').nth(2).unwrap()));
    }
}
