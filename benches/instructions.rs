//! Instruction counts of a check and a refresh, each alone, for scripts/instructions: a fixed number of each, on a
//! database and with keys that are the same every time. Counts do not depend on the machine's other load; times do.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails should stop")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error};
use doorward::clock::{Clock, Timestamp};
use doorward::core::Core;
use doorward::core::account::demo;
use doorward::core::account::identifier::IdentifierKind;
use doorward::core::credential::password::GivenSecret;
use doorward::core::credential::sign_in::SignIn;
use doorward::core::session::caller::Client;
use doorward::core::session::refresh::request::RefreshRequest;
use doorward::core::session::{Issued, MountPolicies, TokenPolicy};
use doorward::secret::Secret;
use doorward::settings::Settings;
use doorward::web::dialects;
use doorward::web::service::Doorward;
use doorward::web::test_api;
use futures_util::FutureExt as _;

/// Noon of an ordinary day.
const NOW: Timestamp = Timestamp::from_seconds(1_795_262_400);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let rounds = arguments.get(1).map_or(1, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    match arguments.first().map(String::as_str) {
        Some("check") => checks(folder.path(), rounds),
        Some("check-fast-path") => checks_on_fast_path(folder.path(), rounds),
        Some("refresh") => refreshes(folder.path(), rounds),
        // `cargo bench` runs every benchmark; this one is for scripts/instructions.
        _ => {}
    }
}

fn settings(folder: &Path) -> Settings {
    let vars: BTreeMap<String, String> = [
        ("DATABASE_URL", format!("sqlite://{}", folder.join("doorward.db").display())),
        ("JWT_SECRET", "0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4".to_owned()),
        ("PEPPER", "a pepper for benchmarks, 32 bytes long".to_owned()),
        ("TEST_MODE", "true".to_owned()),
        ("BCRYPT_COST", "4".to_owned()),
        ("DATABASE_TIMEOUT", "20s".to_owned()),
        ("DATABASE_CONNECTIONS", "1".to_owned()),
        ("SESSIONS_MAX", "1000".to_owned()),
        // valgrind runs one thread at a time, and the one that reads revocations may wait for seconds.
        ("REVOCATION_MAX_STALE", "1m".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Settings::from_vars(&vars, &dialects::known()).unwrap()
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        dialect: "native".to_owned(),
        access_ttl: Duration::from_secs(900),
        refresh_ttl: Duration::from_secs(30 * 86_400),
        rotates: true,
        revokes_on_rotation: false,
        opaque_refresh: false,
        access_ttl_max: Duration::from_secs(900),
        returns_refresh_token: true,
    }
}

/// The first tokens of a session of the sample account.
fn sign_in(core: &Core) -> Issued {
    sign_in_often(core, 1).remove(0)
}

/// The first tokens of so many sessions, with one hash.
fn sign_in_often(core: &Core, times: usize) -> Vec<Issued> {
    demo::load(core).unwrap();
    let client = Client::operator();
    let identifiers = vec![(IdentifierKind::Username, "emilys".to_owned())];
    let request = SignIn::new(identifiers, GivenSecret::Password(Secret::new("emilyspass")));
    let looked_up = core.look_up(request, &client).unwrap();
    let checked = core.check_secret(looked_up, &client).unwrap();
    (0..times).map(|_| core.sign_in(&checked, &policy(), &client).unwrap().unwrap().issued).collect()
}

/// scripts/instructions counts the instructions inside the function of this name only. A check waits for nothing, so its
/// future is ready at the first poll.
#[inline(never)]
fn counted_check<S, B>(service: &S, request: actix_http::Request) -> u16
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    service.call(request).now_or_never().expect("a check that does not wait").unwrap().status().as_u16()
}

fn checks(folder: &Path, rounds: usize) {
    let (service, _) = Doorward::open_with(&settings(folder), Clock::settable(NOW), dialects::ALL).unwrap();
    let token = sign_in(service.core()).access.expose().to_owned();
    actix_web::rt::System::new().block_on(async {
        let service = init_service(App::new().configure(service.configure()).wrap(service.cors())).await;
        let request = || {
            let request = TestRequest::get().uri("/auth/verify").peer_addr(([127, 0, 0, 1], 1).into());
            request.insert_header(("cookie", format!("accessToken={token}"))).to_request()
        };
        for _ in 0..rounds {
            // One that is not counted loads the account's row if the cache has dropped it: a poll reads the revocations again.
            assert_eq!(service.call(request()).await.unwrap().status().as_u16(), 200);
            assert_eq!(counted_check(&service, request()), 200);
        }
    });
}

/// A check on a kept connection, from the request's bytes to the response's.
#[inline(never)]
fn counted_fast_path(service: &Doorward, bytes: &[u8], into: &mut Vec<u8>) -> bool {
    test_api::answer_on_fast_path(service, bytes, into)
}

fn checks_on_fast_path(folder: &Path, rounds: usize) {
    let (service, _) = Doorward::open_with(&settings(folder), Clock::settable(NOW), dialects::ALL).unwrap();
    let issued = sign_in(service.core());
    let cookie = format!("accessToken={}", issued.access.expose());
    let bytes = format!("GET /auth/verify HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    let mut answer = Vec::new();
    for _ in 0..rounds {
        answer.clear();
        // As above.
        if service.core().cached_identity(issued.account).is_none() {
            service.core().find_identity(issued.account).unwrap();
        }
        assert!(counted_fast_path(&service, bytes.as_bytes(), &mut answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// The most refreshes that a run makes.
const REFRESHES_MAX: usize = 110;

/// scripts/instructions subtracts a run with few refreshes from one with many, so that it does not matter on which thread
/// they are done.
fn refreshes(folder: &Path, rounds: usize) {
    let (core, _) = Core::open(&settings(folder), Clock::settable(NOW)).unwrap();
    let policies = Arc::new(MountPolicies::new(vec![], policy()));
    // Each session is refreshed once, as a generation that was made a moment ago does not rotate; all of them begin in every run.
    let tokens = sign_in_often(&core, REFRESHES_MAX).into_iter().map(|issued| issued.refresh);
    for token in tokens.take(rounds) {
        let request = RefreshRequest {
            token,
            asked: policy(),
            access_ttl: None,
            policies: Arc::clone(&policies),
            client: Client::operator(),
        };
        assert!(core.rotate_refresh_token(&request).unwrap().refresh_is_new);
    }
}
