//! Session limits: how many sessions an account may have, their list in pages, and that ending all of them is constant work.

use std::time::Duration;

use serde_json::json;

use crate::support::http::{Browser, Request};
use crate::support::{
    Backend, PASSWORD, Tables, Tokens, code, is_accepted, on_both_backends, print_figure, register, sessions_of,
    sign_in,
};

on_both_backends!(
    a_sign_in_over_the_limit_ends_the_session_that_was_seen_least_recently,
    a_lowered_limit_ends_all_that_are_too_many,
    many_more_than_the_limit_end_in_several_sign_ins,
    the_new_session_is_not_the_one_that_is_too_many,
    the_session_list_has_pages,
    an_invalid_page_of_sessions_is_refused,
    the_account_page_links_to_the_next_page_of_devices,
    all_of_many_sessions_end_in_a_few_statements,
);

fn a_sign_in_over_the_limit_ends_the_session_that_was_seen_least_recently(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("SESSIONS_MAX", "3").start();
    register(&service, "emily");
    service.core().end_all_sessions_as_operator(service.core().find_account_by("emily").unwrap().id).unwrap();
    let mut sessions = vec![];
    for _ in 0..3 {
        service.advance(Duration::from_secs(10));
        sessions.push(Tokens::in_jar_of(&sign_in(&service, "emily")));
    }
    // A refresh counts as seen.
    service.advance(Duration::from_secs(10));
    sessions[0] = sessions[0].assert_valid(&service);
    let newest = Tokens::in_jar_of(&sign_in(&service, "emily"));
    sessions[1].assert_invalid(&service);
    let refused = crate::support::refresh_with(&service, &sessions[1].refresh);
    assert_eq!(code(&refused), "session_ended");
    for alive in [&sessions[0], &sessions[2], &newest] {
        assert!(is_accepted(&service, &alive.access));
    }
    let reasons = "SELECT count(*) FROM audit_events WHERE kind = 'session_ended' AND detail = 'too_many'";
    assert_eq!(tables.number(&service, reasons), 1);
    assert_eq!(tables.number(&service, "SELECT count(*) FROM sessions WHERE end_reason = 'too_many'"), 1);
}

fn a_lowered_limit_ends_all_that_are_too_many(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("SESSIONS_MAX", "2").start();
    register(&service, "emily");
    add_sessions(&tables, &service, 7);
    let account = service.core().find_account_by("emily").unwrap().uuid;
    assert_eq!(sessions_of(service.core(), account).len(), 8);
    let newest = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(sessions_of(service.core(), account).len(), 2);
    assert!(is_accepted(&service, &newest.access));
    assert_eq!(tables.number(&service, "SELECT count(*) FROM sessions WHERE end_reason = 'too_many'"), 7);
}

/// One sign-in with thousands of statements would run into its time limit, and so would the next.
fn many_more_than_the_limit_end_in_several_sign_ins(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("SESSIONS_MAX", "2").start();
    register(&service, "emily");
    add_sessions(&tables, &service, 600);
    let account = service.core().find_account_by("emily").unwrap().uuid;
    let counts: Vec<usize> = (0..4)
        .map(|_| {
            let newest = Tokens::in_jar_of(&sign_in(&service, "emily"));
            assert!(is_accepted(&service, &newest.access));
            sessions_of(service.core(), account).len()
        })
        .collect();
    assert_eq!(counts, [352, 103, 2, 2]);
    let ended = "SELECT count(*) FROM audit_events WHERE kind = 'session_ended' AND detail = 'too_many'";
    assert_eq!(tables.number(&service, ended), 603);
}

/// Others may have been seen by a clock that was ahead, or at the same moment.
fn the_new_session_is_not_the_one_that_is_too_many(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("SESSIONS_MAX", "2").start();
    register(&service, "emily");
    add_sessions(&tables, &service, 3);
    for ahead in [0, 1, 3_600_000] {
        tables.run(&service, &format!("UPDATE sessions SET last_seen_at = last_seen_at + {ahead}"));
        let newest = Tokens::in_jar_of(&sign_in(&service, "emily"));
        assert!(is_accepted(&service, &newest.access), "{ahead} ms");
        newest.assert_valid(&service);
        let account = service.core().find_account_by("emily").unwrap().uuid;
        assert_eq!(sessions_of(service.core(), account).len(), 2);
    }
}

fn the_session_list_has_pages(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    for _ in 0..10 {
        sign_in(&service, "emily");
        service.advance(Duration::from_millis(2));
    }
    let (mut seen, mut path, mut pages) = (vec![], "/auth/sessions?limit=4".to_owned(), 0);
    loop {
        let page = browser.get(&path).json();
        let ids = page["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        pages += 1;
        match page["next"].as_str() {
            Some(next) => path = format!("/auth/sessions?limit=4&after={next}"),
            None => break,
        }
    }
    let whole = browser.get("/auth/sessions").json();
    let all: Vec<&str> = whole["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((pages, seen.len(), whole["next"].as_str()), (3, 11, None));
    assert_eq!(seen, all, "newest first, each once");
}

fn an_invalid_page_of_sessions_is_refused(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    for query in ["limit=0", "limit=101", "limit=x", "limit=-1", "after=x", "after=00000000", "limit=5&after=%27"] {
        let answer = browser.get(&format!("/auth/sessions?{query}"));
        assert_eq!((answer.status, code(&answer).as_str()), (422, "invalid_fields"), "{query}: {}", answer.text());
    }
    let empty = browser.get("/auth/sessions?after=00000000-0000-0000-0000-000000000000").json();
    assert_eq!(empty["sessions"], json!([]));
}

fn the_account_page_links_to_the_next_page_of_devices(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    for _ in 0..25 {
        sign_in(&service, "emily");
        service.advance(Duration::from_millis(2));
    }
    let first = browser.get("/account").text();
    assert_eq!(first.matches("<li>").count(), 20);
    let link = first.split("href=\"/account?after=").nth(1).and_then(|rest| rest.split('#').next()).unwrap();
    let second = browser.get(&format!("/account?after={link}")).text();
    assert_eq!(second.matches("<li>").count(), 6);
    assert!(!second.contains("/account?after="), "the last page");
}

/// Adds sessions of the only account by one statement.
fn add_sessions(tables: &Tables, service: &doorward::testing::TestService, count: usize) {
    let series = match tables {
        Tables::Sqlite => format!(
            "(WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count}) SELECT n FROM counted)"
        ),
        Tables::Postgres(_) => format!("generate_series(1, {count}) AS s(n)"),
    };
    let id = match tables {
        Tables::Sqlite => "CAST(printf('%016d', n) AS BLOB)",
        Tables::Postgres(_) => "convert_to(lpad(n::text, 16, '0'), 'UTF8')",
    };
    let columns = "account_id, dialect, epoch, generation, min_generation, key_id, rotated_at, created_at, last_seen_at, \
        idle_expires_at, expires_at, access_expires_at, persistent, access_ttl";
    let limit = if matches!(tables, Tables::Sqlite) { "LIMIT 1" } else { "ORDER BY created_at LIMIT 1" };
    tables.run(
        service,
        &format!(
            "INSERT INTO sessions (id, {columns}) SELECT {id}, {columns} FROM {series}, \
             (SELECT {columns} FROM sessions {limit}) AS template"
        ),
    );
}

fn all_of_many_sessions_end_in_a_few_statements(backend: Backend) {
    let count = crate::support::soak_number("DOORWARD_SESSIONS", 5_000);
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("SESSIONS_MAX", "100000").start();
    let mut browser = register(&service, "emily");
    add_sessions(&tables, &service, count);
    let rows = |what: &str| tables.number(&service, &format!("SELECT count(*) FROM {what}"));
    assert_eq!(rows("sessions"), i64::try_from(count).unwrap() + 1);
    let began = std::time::Instant::now();
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
    let changed = browser.post("/auth/change-password", &body);
    assert_eq!(changed.status, 200, "{}", changed.text());
    print_figure(&format!("{backend:?}: a change of the password beside {count} sessions took {:?}", began.elapsed()));
    assert_eq!(rows("revocations"), 1, "one row ends them all");
    let account = service.core().find_account_by("emily").unwrap();
    assert_eq!(sessions_of(service.core(), account.uuid).len(), 1);
    for act in ["logout-all", "lock"] {
        add_sessions_again(&tables, &service, account.id.0);
        let began = std::time::Instant::now();
        let before = rows("revocations");
        if act == "lock" {
            service.core().set_status(account.id, doorward::core::AccountStatus::Locked).unwrap();
        } else {
            assert_eq!(browser.post_empty("/auth/logout-all").status, 200);
        }
        print_figure(&format!("{backend:?}: {act} beside {count} sessions took {:?}", began.elapsed()));
        assert_eq!(rows("revocations"), before + 1, "{act}");
        assert_eq!(sessions_of(service.core(), account.uuid).len(), 0);
    }
    let cookie = Request::new("GET", "/auth/me").send(service.address());
    assert_eq!(cookie.status, 401);
    let mut other = Browser::new(service.address());
    assert_eq!(other.get("/auth/me").status, 401);
}

/// Makes the added sessions live again.
fn add_sessions_again(tables: &Tables, service: &doorward::testing::TestService, account: i64) {
    tables.run(
        service,
        &format!(
            "UPDATE sessions SET epoch = (SELECT epoch FROM accounts WHERE id = {account}) WHERE account_id = {account} \
             AND ended_at IS NULL"
        ),
    );
}
