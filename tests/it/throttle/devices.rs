//! The trusted-device cookie: every mount that sets cookies gives it, with the life of the session's cookies, and what a
//! throttled client learns of it.

use doorward::testing::TestService;
use serde_json::{Value, json};

use super::{attempt, fail, right, trusted, wait_of, wrong};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, code, on_both_backends, register};

on_both_backends!(
    throttle_device_cookie_is_given_by_every_mount_that_sets_cookies,
    throttle_device_cookie_of_any_mount_lets_its_owner_in_at_every_mount,
    throttle_device_cookie_ends_with_the_browser_that_shall_forget,
    throttle_device_cookie_that_lasts_is_not_replaced_by_one_that_ends,
    throttle_refusal_says_how_to_get_in,
);

fn demo(backend: Backend) -> TestService {
    backend.service().set("THROTTLE_FREE_FAILURES", "5").demo().start()
}

fn by_password() -> Value {
    json!({ "username": "emilys", "password": "emilyspass" })
}

/// The sign-ins of every mount that sets cookies.
fn sign_ins() -> [(&'static str, Value); 5] {
    [
        ("/auth/login", by_password()),
        ("/flat/auth/login", by_password()),
        ("/flat/user/login", by_password()),
        ("/flat/users/login", by_password()),
        ("/pin/auth/login", json!({ "name": "cooluser1", "pin": "0000" })),
    ]
}

fn send(service: &TestService, path: &str, body: &Value) -> Response {
    Request::new("POST", path).json(&body.to_string()).send(service.address())
}

fn throttle_device_cookie_is_given_by_every_mount_that_sets_cookies(backend: Backend) {
    let service = demo(backend);
    for (path, body) in sign_ins() {
        let answer = send(&service, path, &body);
        assert_eq!(answer.status, 200, "{path}");
        let line = answer.device_cookie().unwrap_or_else(|| panic!("no cookie at {path}")).line;
        assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=34560000"), "{line}");
        assert!(!line.contains("emilys") && !line.contains("cooluser1"));
    }
    let in_body = [
        ("/auth/login", json!({ "username": "emilys", "password": "emilyspass", "tokens": "body" })),
        ("/store/auth/signin", json!({ "login": "emilys", "password": "emilyspass" })),
        ("/signin/api/v1/auths/sign-in", by_password()),
    ];
    for (path, body) in in_body {
        let answer = send(&service, path, &body);
        assert!(answer.status < 300 && answer.set_cookies().is_empty(), "{path}: {}", answer.text());
    }
}

fn throttle_device_cookie_of_any_mount_lets_its_owner_in_at_every_mount(backend: Backend) {
    for (from, body) in sign_ins() {
        let service = demo(backend);
        let device = send(&service, from, &body).device_cookie().unwrap().value;
        let identifier = body.get("username").or(body.get("name")).unwrap().clone();
        for _ in 0..6 {
            send(&service, "/auth/login", &json!({ "identifier": identifier, "password": "wrong-wrong" }));
        }
        for (path, body) in sign_ins().into_iter().filter(|(_, other)| *other == body) {
            assert_eq!(send(&service, path, &body).status, 429, "{path}: a stranger waits");
        }
        for (path, body) in sign_ins().into_iter().filter(|(_, other)| *other == body) {
            assert_eq!(trusted(&service, &device).post(path, &body.to_string()).status, 200, "{from}, {path}");
            // The success has reset the strangers' failures.
            for _ in 0..6 {
                send(&service, "/auth/login", &json!({ "identifier": identifier, "password": "wrong-wrong" }));
            }
        }
    }
}

fn forgetful() -> String {
    json!({ "username": "emily", "password": crate::support::PASSWORD, "remember": false }).to_string()
}

fn throttle_device_cookie_ends_with_the_browser_that_shall_forget(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    register(&service, "emily");
    let mut browser = Browser::new(service.address());
    let cookie = browser.post("/auth/login", &forgetful()).device_cookie().unwrap();
    assert!(cookie.line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{}", cookie.line);
    fail(&service, 6);
    assert_eq!(attempt(&service, "emily", crate::support::PASSWORD).status, 429);
    assert_eq!(trusted(&service, &cookie.value).post("/auth/login", &right()).status, 200, "until it ends");
    // A registration too.
    let body = json!({ "username": "bob", "password": crate::support::PASSWORD, "remember": false });
    let line = send(&service, "/auth/register", &body).device_cookie().unwrap().line;
    assert!(!line.contains("Max-Age"), "{line}");
}

fn throttle_device_cookie_that_lasts_is_not_replaced_by_one_that_ends(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    register(&service, "bob");
    assert!(trusted(&service, &device).post("/auth/login", &forgetful()).device_cookie().is_none());
    let lasting = trusted(&service, &device).post("/auth/login", &right()).device_cookie().unwrap();
    assert!(lasting.line.contains("Max-Age"), "{}", lasting.line);
    // For an account that it does not know the browser gets one that knows both.
    let body = json!({ "username": "bob", "password": crate::support::PASSWORD, "remember": false }).to_string();
    let both = trusted(&service, &device).post("/auth/login", &body).device_cookie().unwrap();
    assert!(!both.line.contains("Max-Age"), "{}", both.line);
    fail(&service, 6);
    assert_eq!(trusted(&service, &both.value).post("/auth/login", &right()).status, 200);
}

fn throttle_refusal_says_how_to_get_in(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").start();
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    fail(&service, 6);
    (0..6).for_each(|_| drop(attempt(&service, "nobody", "wrong-wrong")));
    let known = attempt(&service, "emily", crate::support::PASSWORD);
    let unknown = attempt(&service, "nobody", crate::support::PASSWORD);
    (0..6).for_each(|_| drop(trusted(&service, &device).post("/auth/login", &wrong().to_string())));
    let by_device = trusted(&service, &device).post("/auth/login", &right());
    for answer in [&known, &unknown, &by_device] {
        assert_eq!(wait_of(answer), 60);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        for part in
            ["Try again in 60 seconds.", "device that has signed in to the account before", "an operator can reset"]
        {
            assert!(detail.contains(part), "{detail}");
        }
        assert_eq!(code(answer), "throttled");
    }
}
