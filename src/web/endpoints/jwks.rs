//! `/.well-known/jwks.json`: the public keys by which other services check access tokens themselves (RFC 7517). Which keys
//! there are is core/signing_key.rs's; a shared secret is none of them, so with HS256 alone the set is empty.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Data, ServiceConfig};
use serde_json::{Value, json};

use crate::core::keys::signing_key::{PUBLIC_KEYS_MAX_AGE, PublicKey};
use crate::web::http::routing::resource;
use crate::web::service::Doorward;

/// Adds the route, once, whatever is mounted where.
pub fn routes(app: &mut ServiceConfig) {
    let keys = resource("/.well-known/jwks.json", "GET, HEAD");
    app.service(keys.route(web::get().to(jwks)).route(web::head().to(jwks)));
}

async fn jwks(service: Data<Doorward>) -> HttpResponse {
    answer(&service.core().public_keys())
}

/// Keys as a set that others may keep for a minute.
pub(in crate::web) fn answer(keys: &[(String, PublicKey)]) -> HttpResponse {
    let keys: Vec<Value> = keys.iter().map(|(id, key)| jwk(id, key)).collect();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("public, max-age={}", PUBLIC_KEYS_MAX_AGE.as_secs())))
        .content_type("application/jwk-set+json")
        .body(json!({ "keys": keys }).to_string())
}

/// With `alg` and `use`, so that nobody takes the key for anything else (RFC 8725 section 3.1).
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
