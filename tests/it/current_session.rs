//! `GET /auth/session`: what a page learns when it loads, and that it costs a stranger no 401.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, code, on_both_backends, register, sign_in};

on_both_backends!(
    a_signed_in_page_learns_who_and_for_how_long,
    a_page_without_an_access_token_learns_whether_a_refresh_may_succeed,
    a_bearer_token_gets_its_error,
    reading_changes_nothing,
);

fn ask(browser: &mut Browser) -> Value {
    let answer = browser.get("/auth/session");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.set_cookies().is_empty()
            && answer.header("cache-control").is_some_and(|value| value.contains("no-store"))
    );
    answer.json()
}

fn a_signed_in_page_learns_who_and_for_how_long(backend: Backend) {
    let service = backend.service().set("ACCESS_TTL", "10m").start();
    register(&service, "emily");
    let mut browser = sign_in(&service, "emily");
    let session = ask(&mut browser);
    assert_eq!((&session["user"]["username"], &session["expiresIn"]), (&json!("emily"), &json!(600)));
    assert_eq!(session["user"], browser.get("/auth/me").json());
    let sessions = browser.get("/auth/sessions").json();
    let current = sessions["sessions"].as_array().unwrap().iter().find(|entry| entry["current"] == true).unwrap();
    assert_eq!(session["session"], json!({ "id": current["id"] }));
    for (seconds, left) in [(1, 599), (400, 199), (198, 1)] {
        service.advance(Duration::from_secs(seconds));
        assert_eq!(ask(&mut browser)["expiresIn"], left);
    }
    service.advance(Duration::from_secs(2));
    assert_eq!(ask(&mut browser), json!({ "refreshable": true }));
}

fn a_page_without_an_access_token_learns_whether_a_refresh_may_succeed(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let refresh = browser.cookie("refreshToken").unwrap();
    let with = |cookies: &str| -> Response {
        let request = Request::new("GET", "/auth/session");
        let request = if cookies.is_empty() { request } else { request.cookie_header(cookies) };
        request.send(service.address())
    };
    for (cookies, expected) in [
        (String::new(), Value::Null),
        ("other=1".to_owned(), Value::Null),
        ("accessToken=junk".to_owned(), Value::Null),
        (format!("accessToken={refresh}"), Value::Null),
        ("refreshToken=junk".to_owned(), Value::Null),
        (format!("refreshToken={refresh}"), json!({ "refreshable": true })),
        (format!("accessToken=junk; refreshToken={refresh}"), json!({ "refreshable": true })),
    ] {
        let answer = with(&cookies);
        assert_eq!((answer.status, answer.json()), (200, expected), "{cookies}");
    }
    // What it says is true: the refresh succeeds; after a logout the browser has no cookie left.
    assert_eq!(browser.post("/auth/refresh", "").status, 200);
    assert_eq!(browser.post("/auth/logout", "").status, 200);
    assert_eq!(ask(&mut browser), Value::Null);
}

fn a_bearer_token_gets_its_error(backend: Backend) {
    let service = backend.service().start();
    let browser = register(&service, "emily");
    let access = browser.cookie("accessToken").unwrap();
    let with = |token: &str| Request::new("GET", "/auth/session").bearer(token).send(service.address());
    assert_eq!(with(&access).json()["user"]["username"], "emily");
    let refused = with("junk");
    assert_eq!((refused.status, code(&refused).as_str()), (401, "token_invalid"));
    service.advance(Duration::from_hours(1));
    let refused = with(&access);
    assert_eq!((refused.status, code(&refused).as_str()), (401, "token_expired"));
}

fn reading_changes_nothing(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let before = browser.cookie("refreshToken").unwrap();
    for _ in 0..5 {
        ask(&mut browser);
        let head = Request::new("HEAD", "/auth/session").send(service.address());
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    assert_eq!(browser.cookie("refreshToken"), Some(before));
}
