//! JWK set (RFC 7517) at `/.well-known/jwks.json`: the public keys with which other services verify access tokens. Which keys
//! exist is decided by core/keys/signing_key.rs; a shared secret is not public, so that with HS256 alone the set is empty.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Data, ServiceConfig};
use serde_json::{Value, json};

use crate::core::keys::signing_key::{PUBLIC_KEYS_MAX_AGE, PublicKey};
use crate::web::response::routing::resource;
use crate::web::service::Doorward;

/// Adds the route, once for all mounts.
pub fn routes(app: &mut ServiceConfig) {
    let keys = resource("/.well-known/jwks.json", "GET, HEAD");
    app.service(keys.route(web::get().to(jwks)).route(web::head().to(jwks)));
}

async fn jwks(service: Data<Doorward>) -> HttpResponse {
    answer(&service.core().public_keys())
}

/// The keys as a JWK set that clients may cache for a minute.
pub(in crate::web) fn answer(keys: &[(String, PublicKey)]) -> HttpResponse {
    let keys: Vec<Value> = keys.iter().map(|(id, key)| jwk(id, key)).collect();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("public, max-age={}", PUBLIC_KEYS_MAX_AGE.as_secs())))
        .content_type("application/jwk-set+json")
        .body(json!({ "keys": keys }).to_string())
}

/// With `alg` and `use`, so that a verifier cannot use the key for another algorithm or purpose (RFC 8725 section 3.1).
fn jwk(id: &str, key: &PublicKey) -> Value {
    match key {
        PublicKey::Ed25519 { x } => {
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "use": "sig", "alg": "EdDSA" })
        }
        PublicKey::P256 { x, y } => {
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "use": "sig", "alg": "ES256" })
        }
    }
}
