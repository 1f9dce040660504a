//! Signed assertions (`Remote-Assertion`): a token by which an app verifies that a request came through the proxy, and
//! which doorward itself does not accept.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use doorward::testing::{Builder, TestService};

use super::forwarded;
use crate::support::http::Request;
use crate::support::{Backend, PASSWORD, Tokens, code, decode_jwt, is_accepted, on_both_backends, post, register};

on_both_backends!(
    an_assertion_names_the_caller_and_the_request,
    an_assertion_is_not_accepted_as_a_token,
    every_access_token_algorithm_signs_assertions,
    without_a_trusted_proxy_no_assertion_is_issued,
    a_check_of_a_checks_own_path_issues_no_assertion,
);

const ASKING: &str = "/auth/verify?assertion=true";

fn behind_a_proxy(backend: Backend) -> Builder {
    backend.service().set("TRUSTED_PROXIES", "127.0.0.1")
}

fn assertion(service: &TestService, access: &str, method: &str, host: &str) -> String {
    let answer = forwarded(ASKING, method, host, "/a").bearer(access).send(service.address());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("remote-assertion").unwrap().to_owned()
}

fn keys(service: &TestService, path: &str) -> JwkSet {
    serde_json::from_slice(&Request::new("GET", path).send(service.address()).body).unwrap()
}

fn checked(service: &TestService, assertion: &str, host: &str) -> Option<Value> {
    let set = keys(service, "/.well-known/assertion-jwks.json");
    let kid = decode_jwt(assertion).0["kid"].as_str()?.to_owned();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[host]);
    rules.set_issuer(&["doorward"]);
    rules.validate_exp = false;
    decode(assertion, &DecodingKey::from_jwk(set.find(&kid)?).ok()?, &rules).ok().map(|data| data.claims)
}

fn an_assertion_names_the_caller_and_the_request(backend: Backend) {
    let service = behind_a_proxy(backend).start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let text = assertion(&service, &access, "DELETE", "App.example.com");
    assert_eq!(decode_jwt(&text).0["typ"], "doorward-assertion+jwt");
    let claims = checked(&service, &text, "app.example.com").unwrap();
    let of_access = decode_jwt(&access).1;
    assert_eq!(
        (&claims["sub"], &claims["sid"], &claims["role"]),
        (&of_access["sub"], &of_access["sid"], &of_access["role"])
    );
    assert_eq!(claims["htm"], "DELETE");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 30);
    assert_eq!(claims["iat"], service.clock().now().seconds());
    assert!(checked(&service, &text, "other.example.com").is_none());
    let again = assertion(&service, &access, "DELETE", "app.example.com");
    assert_ne!(decode_jwt(&again).1["jti"], claims["jti"]);
    let plain = forwarded("/auth/verify", "GET", "app.example.com", "/a").bearer(&access).send(service.address());
    assert_eq!(plain.header("remote-assertion"), Some(""), "none was requested");
}

fn an_assertion_is_not_accepted_as_a_token(backend: Backend) {
    let service = behind_a_proxy(backend).set("TOKEN_ALGORITHM", "eddsa").start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    // A host name that makes its audience equal to that of access tokens.
    let text = assertion(&service, &access, "GET", "doorward");
    assert!(!is_accepted(&service, &text));
    let refreshed = Request::new("POST", "/auth/refresh").json(&format!("{{\"refreshToken\":\"{text}\"}}"));
    assert_eq!(refreshed.send(service.address()).status, 401);
    let kid = decode_jwt(&text).0["kid"].as_str().unwrap().to_owned();
    assert!(keys(&service, "/.well-known/jwks.json").find(&kid).is_none(), "no checker of access tokens has its key");
}

fn every_access_token_algorithm_signs_assertions(backend: Backend) {
    for algorithm in ["hs256", "eddsa", "es256"] {
        let service = behind_a_proxy(backend).set("TOKEN_ALGORITHM", algorithm).start();
        let access = Tokens::in_jar_of(&register(&service, "emily")).access;
        let text = assertion(&service, &access, "GET", "app.example.com");
        assert!(checked(&service, &text, "app.example.com").is_some(), "{algorithm}");
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        assert!(checked(&service, &format!("{signed}.{turned}"), "app.example.com").is_none());
    }
}

fn without_a_trusted_proxy_no_assertion_is_issued(backend: Backend) {
    let service = behind_a_proxy(backend).start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let answer = Request::new("GET", ASKING).bearer(&access).send(service.address());
    assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"));
    let stranger = backend.service().set("TRUSTED_PROXIES", "10.0.0.1").start();
    let access = Tokens::in_jar_of(&register(&stranger, "emily")).access;
    let answer = forwarded(ASKING, "GET", "app.example.com", "/a").bearer(&access).send(stranger.address());
    assert_eq!(answer.status, 403);
}

/// A proxy that passes a client's request for a check on describes that request: its path is then the check's.
fn a_check_of_a_checks_own_path_issues_no_assertion(backend: Backend) {
    let service = behind_a_proxy(backend).set("DIALECTS", "native=/api").start();
    super::add_account(&service, "emily", "USER", &[]);
    let login = serde_json::json!({ "username": "emily", "password": PASSWORD });
    let access = Tokens::set_by(&post(&service, "/api/auth/login", &login)).access;
    for check in ["/auth/verify", "/auth/forward", "/api/auth/verify", "/api/auth/forward"] {
        for target in [
            check.to_owned(),
            format!("{check}?assertion=true"),
            format!("/{check}/"),
            check.to_ascii_uppercase(),
            check.replace("/auth/", "/x/../auth/./"),
            check.replace("auth", "%61uth"),
            check.replace("auth/", "auth%2F"),
            format!("{check};x"),
        ] {
            let request = forwarded(ASKING, "GET", "app.example.com", &target).bearer(&access);
            let answer = request.send(service.address());
            assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"), "{target}");
            assert!(answer.header("remote-assertion").is_none(), "{target}");
        }
    }
    for target in ["/auth/verify-email", "/auth/verify/x", "/x/auth/verify", "/?x=/auth/verify"] {
        let answer = forwarded(ASKING, "GET", "app.example.com", target).bearer(&access).send(service.address());
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
}
