//! Sign-ins of several mounts in one cookie jar: where tokens go into cookies alone a sign-in replaces the session of the
//! cookies that came with it, if that is of the same mount; where tokens are in bodies too the earlier session lives on.

use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::Browser;
use crate::support::{Backend, PASSWORD, is_accepted, on_both_backends, registered};

on_both_backends!(
    sign_in_at_flat_leaves_the_session_of_the_jar_alive,
    sign_in_replaces_the_session_of_the_jar_only_at_its_own_mount,
    sign_in_with_tokens_in_the_body_leaves_the_session_of_the_jar_alive,
    sign_in_at_the_page_replaces_the_session_of_native,
);

fn login(username: &str) -> Value {
    json!({ "username": username, "password": PASSWORD })
}

fn service(backend: Backend) -> TestService {
    let service = backend.service().demo().start();
    for name in ["emily", "bob"] {
        assert_eq!(registered(&service, json!({ "username": name })).status, 201);
    }
    service
}

/// Signs in and returns the access token, from the cookie or else from the body.
fn enter(browser: &mut Browser, path: &str, body: &Value) -> String {
    let answer = browser.post(path, &body.to_string());
    assert!([200, 201].contains(&answer.status), "{path}: {}", answer.text());
    let cookie = answer.set_cookies().into_iter().find(|cookie| cookie.name == "accessToken");
    cookie.map_or_else(|| answer.json()["accessToken"].as_str().unwrap().to_owned(), |cookie| cookie.value)
}

fn pin() -> Value {
    json!({ "name": "cooluser1", "pin": "0000" })
}

/// Path and body of a sign-in or a registration.
type Entry = (&'static str, Value);

/// For each pair of sign-ins in one jar: whether the first session lives on.
fn assert_outlives(backend: Backend, pairs: &[(Entry, Entry, bool)]) {
    let service = service(backend);
    for ((first, one), (second, two), lives) in pairs {
        let mut browser = Browser::new(service.address());
        let earlier = enter(&mut browser, first, one);
        let later = enter(&mut browser, second, two);
        assert_eq!(is_accepted(&service, &earlier), *lives, "{first} then {second}");
        assert!(is_accepted(&service, &later), "{first} then {second}");
    }
}

fn sign_in_at_flat_leaves_the_session_of_the_jar_alive(backend: Backend) {
    let flat = "/flat/auth/login";
    assert_outlives(
        backend,
        &[
            ((flat, login("emily")), (flat, login("emily")), true),
            ((flat, login("emily")), ("/flat/users/login", login("bob")), true),
            (("/pin/auth/login", pin()), (flat, login("emily")), true),
            (("/auth/login", login("emily")), (flat, login("emily")), true),
            (("/auth/login", login("bob")), ("/flat/user/login", login("emily")), true),
        ],
    );
}

fn sign_in_replaces_the_session_of_the_jar_only_at_its_own_mount(backend: Backend) {
    let new = json!({ "username": "carol", "password": PASSWORD });
    assert_outlives(
        backend,
        &[
            (("/auth/login", login("emily")), ("/auth/login", login("bob")), false),
            (("/auth/login", login("emily")), ("/auth/register", new), false),
            (("/pin/auth/login", pin()), ("/pin/auth/login", pin()), false),
            (("/auth/login", login("emily")), ("/pin/auth/login", pin()), true),
            (("/pin/auth/login", pin()), ("/auth/login", login("emily")), true),
            (("/flat/auth/login", login("emily")), ("/auth/login", login("emily")), true),
            (("/flat/auth/login", login("emily")), ("/pin/auth/login", pin()), true),
        ],
    );
}

fn sign_in_with_tokens_in_the_body_leaves_the_session_of_the_jar_alive(backend: Backend) {
    let in_body = |username: &str| json!({ "username": username, "password": PASSWORD, "tokens": "body" });
    assert_outlives(
        backend,
        &[
            (("/auth/login", login("emily")), ("/auth/login", in_body("emily")), true),
            (("/auth/login", login("emily")), ("/auth/login", in_body("bob")), true),
            (("/auth/login", login("emily")), ("/auth/register", in_body("dave")), true),
            (("/auth/login", in_body("emily")), ("/auth/login", login("emily")), true),
        ],
    );
}

fn sign_in_at_the_page_replaces_the_session_of_native(backend: Backend) {
    let service = service(backend);
    for (path, body, lives) in [("/auth/login", login("emily"), false), ("/flat/auth/login", login("emily"), true)] {
        let mut browser = Browser::new(service.address());
        let page = browser.get("/login");
        let token = crate::pages::hidden(&page, "token").unwrap();
        let earlier = enter(&mut browser, path, &body);
        let fields = [("token", token.as_str()), ("identifier", "bob"), ("password", PASSWORD)];
        assert_eq!(browser.send(crate::pages::form("/login", &fields)).status, 303, "{path}");
        assert_eq!(is_accepted(&service, &earlier), lives, "{path}");
    }
}
