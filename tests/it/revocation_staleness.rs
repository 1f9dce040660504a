//! Revocation cache staleness: a check reads the cache, and a cache that has not synchronised with the table for too
//! long answers nothing by itself. Without the table such a check is refused with 503, and it recovers without
//! intervention. A lock that another process holds does not block checks.

use std::time::{Duration, Instant};

use actix_web::web;
use doorward::Caller;
use doorward::testing::TestService;

use crate::mounts::Away;
use crate::support::http::{Request, Response};
use crate::support::{Backend, Tokens, on_both_backends, register};

on_both_backends!(a_check_without_the_table_is_right_or_unavailable);

/// Longer than REVOCATION_MAX_STALE and a request's timeout, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

fn who(service: &TestService, access: &str) -> Response {
    Request::new("GET", "/who").bearer(access).send(service.address())
}

/// Repeats the check until it is answered with this status; a 401 in between would cost a client its session.
fn until(service: &TestService, access: &str, status: u16) -> Response {
    let began = Instant::now();
    loop {
        let answer = who(service, access);
        if answer.status == status {
            return answer;
        }
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        assert!(began.elapsed() < SOON, "never {status}, still {}", answer.status);
    }
}

fn a_check_without_the_table_is_right_or_unavailable(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let routes = |app: &mut web::ServiceConfig| {
        app.route("/who", web::get().to(|caller: Caller| async move { caller.account.to_string() }));
    };
    let service = builder.set("DATABASE_TIMEOUT", "2s").routes(routes).start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let account = service.core().find_account_by("emily").unwrap().uuid.to_string();
    assert_eq!(who(&service, &access).status, 200);
    let away = Away::take(&tables, service.folder());
    if backend == Backend::Postgres {
        let refused = until(&service, &access, 503);
        assert!(refused.header("retry-after").is_some() && refused.set_cookies().is_empty());
    } else {
        // SQLite's readers never wait for a writer, so the cache stays fresh.
        assert_eq!(who(&service, &access).text(), account);
    }
    away.give_back();
    assert_eq!(until(&service, &access, 200).text(), account);
}
