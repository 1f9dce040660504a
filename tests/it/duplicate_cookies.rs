//! Duplicate session cookies (cookie tossing) are recorded as aggregated audit events on every route, and cannot be
//! used to flood the table: they need no account and arrive as fast as checks. That they are refused is cookies.rs's;
//! how a browser gets rid of them, sign_in_and_out.rs's.

mod sign_in_and_out;

use std::time::Duration;

use doorward::core::audit::{AuditFilter, AuditRecord};
use doorward::testing::{Builder, TestService};

use crate::mounts::Away;
use crate::support::http::{Request, Response};
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, code, on_both_backends, race};

on_both_backends!(
    every_route_records_who_sent_them,
    a_burst_is_aggregated_into_one_row_and_the_next_counts_the_rest,
    many_addresses_together_write_a_few_rows_a_minute,
    without_the_database_they_are_refused_as_before_and_recorded_later,
);

/// The rows are found by this user agent.
const AGENT: &str = "browser-of-a-test";

fn behind_a_proxy(builder: Builder) -> TestService {
    builder.set("TRUSTED_PROXIES", "127.0.0.0/8").start()
}

/// A request with two values for a cookie, from this address.
fn with_two(method: &str, path: &str, name: &str, address: &str) -> Request {
    let two = format!("{name}=planted-by-a-sibling; {name}=the-browsers-own");
    let request = Request::new(method, path).cookie_header(&two).header("X-Forwarded-For", address);
    let request = request.header("User-Agent", AGENT);
    if method == "POST" { request.json("{}") } else { request }
}

/// The rows, oldest first; `None` without the database.
fn readable(service: &TestService) -> Option<Vec<AuditRecord>> {
    let wanted = AuditFilter { kind: Some("duplicate_cookie".to_owned()), ..AuditFilter::default() };
    let events = service.core().list_events(&wanted, 1000).ok()?;
    Some(events.into_iter().rev().collect())
}

fn recorded(service: &TestService) -> Vec<AuditRecord> {
    readable(service).unwrap()
}

/// Waits until there are this many rows, and returns them.
fn rows(service: &TestService, number: usize) -> Vec<AuditRecord> {
    until(PATIENCE, "rows in the background", || readable(service).filter(|recorded| recorded.len() >= number))
}

/// The number of requests that a row counts.
fn counted(row: &AuditRecord) -> u64 {
    let detail = row.detail.as_deref().unwrap_or_default();
    let number = detail.split(' ').next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {row:?}"))
}

fn id_of(answer: &Response) -> Option<String> {
    answer.header("X-Request-Id").map(ToOwned::to_owned)
}

fn every_route_records_who_sent_them(backend: Backend) {
    let service = behind_a_proxy(backend.service().demo());
    let routes = [
        ("GET", "/auth/me", "accessToken", 400),
        ("POST", "/auth/refresh", "refreshToken", 400),
        ("POST", "/auth/logout", "accessToken", 200),
        ("POST", "/auth/logout-all", "accessToken", 400),
        ("GET", "/auth/verify", "accessToken", 401),
        ("POST", "/auth/verify", "accessToken", 401),
        ("GET", "/auth/forward", "accessToken", 401),
        ("GET", "/auth/continue", "refreshToken", 303),
        ("GET", "/login", "accessToken", 200),
        ("GET", "/account", "refreshToken", 303),
        ("GET", "/pin/users/me", "accessToken", 400),
        ("POST", "/pin/auth/refresh", "refreshToken", 400),
        ("GET", "/flat/auth/me", "accessToken", 400),
    ];
    for (number, (method, path, name, status)) in routes.into_iter().enumerate() {
        let address = format!("192.0.2.{}", number + 1);
        let answer = with_two(method, path, name, &address).send(service.address());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        service.core().write_duplicate_cookies().unwrap();
        let all = rows(&service, number + 1);
        let row = &all[number];
        assert_eq!((all.len(), row.address.as_deref()), (number + 1, Some(address.as_str())), "{method} {path}");
        assert_eq!((&row.request_id, row.user_agent.as_deref()), (&id_of(&answer), Some(AGENT)), "{row:?}");
        assert_eq!((row.account, row.session, counted(row)), (None, None, 1), "{row:?}");
        assert_eq!(row.at, service.core().now());
        let text = format!("{row:?}");
        assert!(!text.contains("planted-by") && !text.contains("browsers-own"), "{text}");
        // All addresses together may write a few rows a minute.
        service.advance(Duration::from_secs(7));
    }
}

fn a_burst_is_aggregated_into_one_row_and_the_next_counts_the_rest(backend: Backend) {
    let service = behind_a_proxy(backend.service());
    let to = service.address();
    let request = with_two("GET", "/auth/verify", "accessToken", "192.0.2.1");
    let sent = request.clone();
    let statuses = race(4, move |_| [(); 25].map(|()| sent.send(to).status));
    assert_eq!(statuses.concat(), [401; 100]);
    let first = rows(&service, 1);
    service.core().write_duplicate_cookies().unwrap();
    assert_eq!(recorded(&service).len(), 1, "one a minute for an address");
    let other = with_two("GET", "/auth/me", "accessToken", "192.0.2.2").send(to);
    let second = rows(&service, 2);
    assert_eq!((second.len(), &second[1].request_id), (2, &id_of(&other)), "another address has a row of its own");
    service.advance(Duration::from_mins(1));
    let last = request.send(to);
    let all = rows(&service, 3);
    let own: Vec<&AuditRecord> = all.iter().filter(|row| row.address.as_deref() == Some("192.0.2.1")).collect();
    let known: u64 = own.iter().map(|row| counted(row)).sum();
    assert!(known == 101 || (known == 100 && counted(&first[0]) < 100), "{all:?}");
    assert!(known == 100 || own.last().unwrap().request_id == id_of(&last), "{all:?}");
    assert_eq!((all.len(), own.len()), (3, 2), "{all:?}");
}

fn many_addresses_together_write_a_few_rows_a_minute(backend: Backend) {
    let service = behind_a_proxy(backend.service());
    for host in 1..=40 {
        let refused = with_two("GET", "/auth/verify", "accessToken", &format!("198.51.100.{host}"));
        assert_eq!(refused.send(service.address()).status, 401);
    }
    assert_eq!(rows(&service, 10).len(), 10);
    for minute in 1..=3 {
        service.core().write_duplicate_cookies().unwrap();
        assert_eq!(recorded(&service).len(), minute * 10, "ten a minute, however many wait");
        service.advance(Duration::from_mins(1));
        rows(&service, (minute + 1) * 10);
    }
    service.advance(Duration::from_mins(1));
    service.core().write_duplicate_cookies().unwrap();
    let all = recorded(&service);
    assert_eq!((all.len(), all.iter().map(counted).sum::<u64>()), (40, 40), "and none is lost");
}

fn without_the_database_they_are_refused_as_before_and_recorded_later(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = behind_a_proxy(builder.set("DATABASE_TIMEOUT", "2s"));
    let away = Away::take(&tables, service.folder());
    for round in 0..50 {
        let refused = with_two("GET", "/auth/verify", "accessToken", "192.0.2.1").send(service.address());
        assert_eq!((refused.status, code(&refused).as_str()), (401, "duplicate_cookie"), "{round}");
        let refused = with_two("POST", "/auth/refresh", "refreshToken", "192.0.2.1").send(service.address());
        assert_eq!((refused.status, code(&refused).as_str()), (400, "duplicate_cookie"), "{round}");
    }
    // While the background thread is trying to write them, there is nothing left to write here.
    until(PATIENCE, "a write that fails", || service.core().write_duplicate_cookies().is_err().then_some(()));
    away.give_back();
    rows(&service, 1);
    service.advance(Duration::from_mins(1));
    let all = until(PATIENCE, "all of them", || {
        readable(&service).filter(|known| known.iter().map(counted).sum::<u64>() == 100)
    });
    assert!(all.len() <= 2, "{all:?}");
}
