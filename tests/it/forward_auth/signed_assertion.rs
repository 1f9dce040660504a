//! The signed assertion: an app sees by it that a request came through the proxy, and it is good for nothing else.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use doorward::testing::{Builder, TestService};

use super::forwarded;
use crate::support::http::Request;
use crate::support::{Backend, Tokens, code, is_believed, on_both_backends, parts_of, register};

on_both_backends!(
    an_assertion_names_the_caller_and_the_request,
    an_assertion_is_not_accepted_as_a_token,
    every_access_token_algorithm_signs_assertions,
    without_a_trusted_proxy_no_assertion_is_issued,
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
    let kid = parts_of(assertion).0["kid"].as_str()?.to_owned();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[host]);
    rules.set_issuer(&["doorward"]);
    rules.validate_exp = false;
    decode(assertion, &DecodingKey::from_jwk(set.find(&kid)?).ok()?, &rules).ok().map(|data| data.claims)
}

fn an_assertion_names_the_caller_and_the_request(backend: Backend) {
    let service = behind_a_proxy(backend).start();
    let access = Tokens::held_by(&register(&service, "emily")).access;
    let text = assertion(&service, &access, "DELETE", "App.example.com");
    assert_eq!(parts_of(&text).0["typ"], "doorward-assertion+jwt");
    let claims = checked(&service, &text, "app.example.com").unwrap();
    let of_access = parts_of(&access).1;
    assert_eq!(
        (&claims["sub"], &claims["sid"], &claims["role"]),
        (&of_access["sub"], &of_access["sid"], &of_access["role"])
    );
    assert_eq!(claims["htm"], "DELETE");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 30);
    assert_eq!(claims["iat"], service.clock().now().seconds());
    assert!(checked(&service, &text, "other.example.com").is_none());
    let again = assertion(&service, &access, "DELETE", "app.example.com");
    assert_ne!(parts_of(&again).1["jti"], claims["jti"]);
    let plain = forwarded("/auth/verify", "GET", "app.example.com", "/a").bearer(&access).send(service.address());
    assert_eq!(plain.header("remote-assertion"), Some(""), "nobody asked for one");
}

fn an_assertion_is_not_accepted_as_a_token(backend: Backend) {
    let service = behind_a_proxy(backend).set("TOKEN_ALGORITHM", "eddsa").start();
    let access = Tokens::held_by(&register(&service, "emily")).access;
    // The host that makes its audience equal to that of access tokens.
    let text = assertion(&service, &access, "GET", "doorward");
    assert!(!is_believed(&service, &text));
    let refreshed = Request::new("POST", "/auth/refresh").json(&format!("{{\"refreshToken\":\"{text}\"}}"));
    assert_eq!(refreshed.send(service.address()).status, 401);
    let kid = parts_of(&text).0["kid"].as_str().unwrap().to_owned();
    assert!(keys(&service, "/.well-known/jwks.json").find(&kid).is_none(), "no checker of access tokens has its key");
}

fn every_access_token_algorithm_signs_assertions(backend: Backend) {
    for algorithm in ["hs256", "eddsa", "es256"] {
        let service = behind_a_proxy(backend).set("TOKEN_ALGORITHM", algorithm).start();
        let access = Tokens::held_by(&register(&service, "emily")).access;
        let text = assertion(&service, &access, "GET", "app.example.com");
        assert!(checked(&service, &text, "app.example.com").is_some(), "{algorithm}");
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        assert!(checked(&service, &format!("{signed}.{turned}"), "app.example.com").is_none());
    }
}

fn without_a_trusted_proxy_no_assertion_is_issued(backend: Backend) {
    let service = behind_a_proxy(backend).start();
    let access = Tokens::held_by(&register(&service, "emily")).access;
    let answer = Request::new("GET", ASKING).bearer(&access).send(service.address());
    assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"));
    let stranger = backend.service().set("TRUSTED_PROXIES", "10.0.0.1").start();
    let access = Tokens::held_by(&register(&stranger, "emily")).access;
    let answer = forwarded(ASKING, "GET", "app.example.com", "/a").bearer(&access).send(stranger.address());
    assert_eq!(answer.status, 403);
}
