//! What a check of an access token costs: the whole of it, with none and with many revocations in memory, beside the JWT
//! library's own decode with its default validation, in the same run.
//!
//! ```text
//! cargo bench --bench check
//! ```
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::clock::Timestamp;
use doorward::core::revocation::View;
use doorward::core::signing_key::{KeyRing, SigningKey};
use doorward::core::token::{AccessClaims, TokenGate, TokenRules};
use doorward::core::{AccountId, Id128};
use doorward::store::revocations::RevocationRow;
use jsonwebtoken::{DecodingKey, Validation, decode};
use uuid::Uuid;

const KEY: &[u8] = b"0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";
const NOW: Timestamp = Timestamp::from_seconds(4_000_000_000);

fn claims() -> AccessClaims {
    AccessClaims {
        account: AccountId(7),
        session: Id128(Uuid::from_u128(u128::MAX)),
        generation: 2,
        epoch: 3,
        role: "USER".to_owned(),
        issued_at: NOW,
        expires_at: Timestamp::from_seconds(NOW.seconds() + 900),
        id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    }
}

fn view_of(revocations: u128) -> View {
    let view = View::default();
    for id in 0..revocations {
        view.apply(&RevocationRow {
            id: 1,
            session_id: Some(Id128(Uuid::from_u128(id))),
            generation: None,
            account_id: None,
            epoch: None,
            created_at: NOW,
            expires_at: NOW,
        });
    }
    view
}

fn check(criterion: &mut Criterion) {
    let rules = TokenRules {
        issuer: "doorward".to_owned(),
        audience: "doorward".to_owned(),
        clock_skew: std::time::Duration::from_secs(5),
    };
    let gate = TokenGate::new(rules, &KeyRing::new(SigningKey::hs256("k1", KEY), [])).unwrap();
    let token = gate.mint_access(&claims(), "k1").unwrap();
    let mut group = criterion.benchmark_group("check");
    let key = DecodingKey::from_secret(KEY);
    let mut validation = Validation::default();
    validation.set_issuer(&["doorward"]);
    validation.set_audience(&["doorward"]);
    group.bench_function("the library's decode, no revocation", |bench| {
        bench.iter(|| decode::<serde_json::Value>(black_box(token.expose()), &key, &validation).unwrap());
    });
    for revocations in [0, 1_000, 100_000] {
        let view = view_of(revocations);
        group.bench_function(format!("first sight, {revocations} revocations"), |bench| {
            bench.iter(|| {
                let claims = gate.check_access(black_box(token.expose()), NOW).unwrap();
                assert!(!view.is_revoked(&claims));
            });
        });
        group.bench_function(format!("revocation look-up alone, {revocations}"), |bench| {
            let claims = claims();
            bench.iter(|| view.is_revoked(black_box(&claims)));
        });
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
