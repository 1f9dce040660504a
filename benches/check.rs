//! Micro-benchmarks of the parts of a check, without HTTP: parsing a cookie, verifying a token at first sight and from
//! the verified-token cache, by algorithm and beside the JWT library's own decode, a revocation lookup, issuing,
//! hashing.
//!
//! ```text
//! cargo bench --bench check
//! ```
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use criterion::{Criterion, criterion_group, criterion_main};
use doorward::clock::Timestamp;
use doorward::core::credential::password::{Hasher, Pepper, new_password};
use doorward::core::keys::signing_key::{KeyRing, SigningKey};
use doorward::core::revocation::cache::RevocationCache;
use doorward::core::token::claims::AccessClaims;
use doorward::core::token::{TokenAuthority, TokenRules};
use doorward::core::{AccountUuid, SessionId};
use doorward::secret::{MacKey, Secret};
use doorward::store::tables::revocations::RevocationRow;
use doorward::web::test_api;
use jsonwebtoken::{DecodingKey, Validation, decode};
use uuid::Uuid;

const KEY: &[u8] = b"0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";
const NOW: Timestamp = Timestamp::from_seconds(4_000_000_000);

fn claims() -> AccessClaims {
    AccessClaims {
        account: AccountUuid(Uuid::from_u128(7)),
        session: SessionId(Uuid::from_u128(u128::MAX)),
        generation: 2,
        epoch: 3,
        role: "USER".to_owned(),
        must_change_password: false,
        issued_at: NOW,
        expires_at: Timestamp::from_seconds(NOW.seconds() + 900),
        id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    }
}

fn cache_of(revocations: u128) -> RevocationCache {
    let cache = RevocationCache::default();
    for id in 0..revocations {
        cache.apply(&RevocationRow {
            id: 1,
            session_id: Some(SessionId(Uuid::from_u128(id))),
            generation: None,
            account_uuid: None,
            except_session_id: None,
            epoch: None,
            created_at: NOW,
            expires_at: NOW,
        });
    }
    cache
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: "doorward".to_owned(),
        audience: "doorward".to_owned(),
        clock_skew: std::time::Duration::from_secs(5),
    }
}

/// A token authority of each algorithm for access tokens.
fn authorities() -> [(&'static str, TokenAuthority); 3] {
    let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let authority = |key| TokenAuthority::new(rules(), &KeyRing::new(key, [])).unwrap();
    [
        ("HS256", authority(SigningKey::hs256("k1", KEY))),
        ("EdDSA", authority(SigningKey::eddsa("k1", ed.as_ref()).unwrap())),
        ("ES256", authority(SigningKey::es256("k1", ec.as_ref()).unwrap())),
    ]
}

fn token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    let mut validation = Validation::default();
    validation.set_issuer(&["doorward"]);
    validation.set_audience(&["doorward"]);
    let key = DecodingKey::from_secret(KEY);
    for (name, authority) in authorities() {
        let token = authority.mint_access(&claims(), "k1").unwrap();
        if name == "HS256" {
            group.bench_function("the library's decode, HS256", |bench| {
                bench.iter(|| decode::<serde_json::Value>(black_box(token.expose()), &key, &validation).unwrap());
            });
        }
        // More than the verified-token cache holds, so that each entry is evicted before its token returns.
        let many: Vec<_> = (0..200_000)
            .map(|n| authority.mint_access(&AccessClaims { id: format!("{n:022}"), ..claims() }, "k1").unwrap())
            .collect();
        let mut next = many.iter().cycle();
        group.bench_function(format!("{name}, never seen"), |bench| {
            bench.iter(|| authority.verify_access(black_box(next.next().unwrap().expose()), NOW).unwrap());
        });
        group.bench_function(format!("{name}, seen before"), |bench| {
            bench.iter(|| authority.verify_access(black_box(token.expose()), NOW).unwrap());
        });
        group.bench_function(format!("{name}, minted"), |bench| {
            bench.iter(|| authority.mint_access(black_box(&claims()), "k1").unwrap());
        });
    }
    group.finish();
}

fn revocation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("revocation");
    for revocations in [0, 1_000, 1_000_000] {
        let cache = cache_of(revocations);
        group.bench_function(format!("looked up among {revocations}"), |bench| {
            let claims = claims();
            bench.iter(|| cache.is_revoked(black_box(&claims)));
        });
    }
    group.finish();
}

fn cookie(criterion: &mut Criterion) {
    let [(_, authority), ..] = authorities();
    let token = authority.mint_access(&claims(), "k1").unwrap();
    let alone = format!("accessToken={}", token.expose());
    let among =
        format!("theme=dark; _ga=GA1.1.1234567890.1760000000; {alone}; refreshToken={}; consent=1", token.expose());
    let mut group = criterion.benchmark_group("cookie");
    for (name, line) in [("alone", alone), ("among five", among)] {
        group.bench_function(name, |bench| {
            bench.iter(|| test_api::cookie(&[black_box(line.as_bytes())], "accessToken").unwrap());
        });
    }
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    group.sample_size(10);
    for cost in [4, 12] {
        let hasher = Hasher::new(Pepper { id: "p1".to_owned(), key: MacKey::new(KEY) }, cost);
        let secret = Secret::new("correct horse battery");
        let stored = hasher.hash(&new_password(&secret, 8, &[]).unwrap()).unwrap();
        group.bench_function(format!("bcrypt {cost}, by itself"), |bench| {
            bench.iter(|| bcrypt::verify("correct horse battery", &stored[stored.find('$').unwrap()..]).unwrap());
        });
        group.bench_function(format!("bcrypt {cost}, a secret checked"), |bench| {
            bench.iter(|| hasher.check(black_box(&secret), Some(&stored)));
        });
    }
    group.finish();
}

criterion_group!(benches, cookie, token, revocation, hash);
criterion_main!(benches);
