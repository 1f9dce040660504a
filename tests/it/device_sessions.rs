//! Device sessions: which session a sign-in replaces, and what the session list shows.

mod one_jar;

use std::time::Duration;

use doorward::testing::TestService;
use serde_json::{Value, json};

use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends, register, sign_in};

on_both_backends!(
    a_device_is_named_by_its_owner_alone,
    a_second_sign_in_of_a_device_replaces_its_session,
    the_same_device_of_another_account_keeps_its_session,
    a_sign_in_replaces_the_session_of_the_cookies_it_presents,
    a_refused_sign_in_ends_no_session,
    the_session_list_shows_the_own_live_sessions,
    the_session_list_never_shows_a_token,
    a_refresh_keeps_the_device_and_updates_its_last_use,
);

/// Signs in with more fields than identifier and password.
fn sign_in_as(service: &TestService, username: &str, more: &Value) -> Browser {
    let mut body = json!({ "username": username, "password": PASSWORD });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut browser = Browser::new(service.address());
    let answer = browser.post("/auth/login", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    browser
}

fn list(browser: &mut Browser) -> Vec<Value> {
    let answer = browser.get("/auth/sessions");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["sessions"].as_array().unwrap().clone()
}

fn a_second_sign_in_of_a_device_replaces_its_session(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let phone = json!({ "deviceId": "phone-1" });
    let parent = Tokens::in_jar_of(&sign_in_as(&service, "emily", &phone));
    let first = Tokens::set_by(&crate::support::refresh_with(&service, &parent.refresh));
    let tablet = Tokens::in_jar_of(&sign_in_as(&service, "emily", &json!({ "deviceId": "tablet-1" })));
    let nameless = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let mut second = sign_in_as(&service, "emily", &phone);
    first.assert_invalid(&service);
    parent.assert_invalid(&service);
    let devices: Vec<Value> = list(&mut second).into_iter().map(|session| session["deviceId"].clone()).collect();
    assert_eq!(devices.iter().filter(|id| **id == "phone-1").count(), 1, "{devices:?}");
    assert_eq!(devices.len(), 4, "the registration's, the phone's, the tablet's and the nameless: {devices:?}");
    for tokens in [Tokens::in_jar_of(&second), tablet, nameless] {
        tokens.assert_valid(&service);
    }
}

fn the_same_device_of_another_account_keeps_its_session(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    register(&service, "bob");
    let shared = json!({ "deviceId": "kitchen-1" });
    let emily = Tokens::in_jar_of(&sign_in_as(&service, "emily", &shared));
    let bob = Tokens::in_jar_of(&sign_in_as(&service, "bob", &shared));
    emily.assert_valid(&service);
    bob.assert_valid(&service);
}

fn a_sign_in_replaces_the_session_of_the_cookies_it_presents(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    register(&service, "bob");
    let entries = [("/auth/login", "emily", 200), ("/auth/login", "bob", 200), ("/auth/register", "carol", 201)];
    for cookies in ["both", "accessToken", "refreshToken"] {
        for (path, username, status) in entries {
            let username = if status == 201 { format!("{username}-{cookies}") } else { username.to_owned() };
            let session_tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
            let mut browser = Browser::new(service.address());
            for (name, value) in [("accessToken", &session_tokens.access), ("refreshToken", &session_tokens.refresh)] {
                if [name, "both"].contains(&cookies) {
                    browser.set_cookie(name, value);
                }
            }
            let body = json!({ "username": username, "password": PASSWORD }).to_string();
            assert_eq!(browser.post(path, &body).status, status);
            session_tokens.assert_invalid(&service);
            let now = Tokens::in_jar_of(&browser);
            assert!(now.access != session_tokens.access && now.refresh != session_tokens.refresh);
            now.assert_valid(&service);
        }
    }
}

fn a_refused_sign_in_ends_no_session(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let phone = Tokens::in_jar_of(&sign_in_as(&service, "emily", &json!({ "deviceId": "phone-1" })));
    let wrong = json!({ "username": "emily", "password": "not-this-lantern", "deviceId": "phone-1" }).to_string();
    assert_eq!(browser.post("/auth/login", &wrong).status, 401);
    let taken = json!({ "username": "emily", "password": PASSWORD, "deviceId": "phone-1" }).to_string();
    assert_eq!(browser.post("/auth/register", &taken).status, 409);
    phone.assert_valid(&service);
    Tokens::in_jar_of(&browser).assert_valid(&service);
}

fn the_session_list_shows_the_own_live_sessions(backend: Backend) {
    let service = backend.service().set("REFRESH_TTL", "1d").start();
    register(&service, "bob");
    let mut browser = register(&service, "emily");
    sign_in(&service, "emily");
    service.advance(Duration::from_hours(24));
    assert_eq!(browser.get("/auth/sessions").status, 401, "those two are over");

    let mut ended = sign_in(&service, "emily");
    assert_eq!(ended.post_empty("/auth/logout").status, 200);
    let body = json!({ "username": "emily", "password": PASSWORD, "deviceId": "p1", "deviceName": "Emily's phone" });
    let login = Request::new("POST", "/auth/login").header("User-Agent", "Harbour/1.0").json(&body.to_string());
    let mut phone = Browser::new(service.address());
    assert_eq!(phone.send(login).status, 200);
    let mut here = sign_in(&service, "emily");
    for (browser, name) in [(&mut phone, json!("Emily's phone")), (&mut here, Value::Null)] {
        let sessions = list(browser);
        assert_eq!(sessions.len(), 2, "{sessions:?}");
        let current: Vec<&Value> = sessions.iter().filter(|session| session["current"] == json!(true)).collect();
        assert_eq!(current.len(), 1, "{sessions:?}");
        assert_eq!(current[0]["deviceName"], name);
        let named = sessions.iter().find(|session| session["deviceName"] == "Emily's phone").unwrap();
        assert_eq!((&named["deviceId"], &named["userAgent"]), (&json!("p1"), &json!("Harbour/1.0")));
        assert_eq!((&named["address"], &named["dialect"]), (&json!("127.0.0.1"), &json!("native")));
        for key in ["createdAt", "lastSeenAt", "expiresAt"] {
            assert!(named[key].as_str().is_some_and(|text| text.ends_with('Z')), "{key}: {named}");
        }
    }
    let unasked = Request::new("GET", "/auth/sessions").send(service.address());
    assert_eq!(unasked.status, 401);
}

fn the_session_list_never_shows_a_token(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    let text = browser.get("/auth/sessions").text();
    let own = Tokens::in_jar_of(&browser);
    for token in [&own.access, &own.refresh, &other.access, &other.refresh] {
        for part in token.split('.') {
            assert!(!text.contains(part), "{text}");
        }
    }
    for word in ["token", "eyJ", "hash", "secret", "epoch", "generation"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

fn a_refresh_keeps_the_device_and_updates_its_last_use(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut browser = sign_in_as(&service, "emily", &json!({ "deviceId": "p1", "deviceName": "phone" }));
    let mine = |browser: &mut Browser| {
        let sessions = list(browser);
        sessions.into_iter().find(|session| session["current"] == json!(true)).unwrap()
    };
    let before = mine(&mut browser);
    service.advance(Duration::from_hours(1));
    assert_eq!(browser.post_empty("/auth/refresh").status, 200);
    let after = mine(&mut browser);
    for key in ["id", "deviceId", "deviceName", "createdAt"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    for key in ["lastSeenAt", "expiresAt"] {
        assert!(after[key].as_str() > before[key].as_str(), "{key}: {before} {after}");
    }
}

fn a_device_is_named_by_its_owner_alone(backend: Backend) {
    let service = backend.service().start();
    let mut phone = register(&service, "emily");
    let mut laptop = sign_in(&service, "emily");
    let mut bob = register(&service, "bob");
    let shown = |browser: &mut Browser| {
        let current = list(browser).into_iter().filter(|session| session["current"] == true);
        current.map(|session| session["deviceName"].clone()).collect::<Vec<_>>()
    };
    let others = list(&mut laptop).into_iter().find(|session| session["current"] == false).unwrap();
    let id = others["id"].as_str().unwrap().to_owned();
    let path = format!("/auth/sessions/{id}");
    let rename = |browser: &mut Browser, path: &str, body: &Value| {
        let answer = browser.patch(path, &body.to_string());
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(rename(&mut laptop, &path, &json!({ "deviceName": "Kitchen tablet" })).0, 200);
    assert_eq!(shown(&mut phone), [json!("Kitchen tablet")]);
    assert_eq!(rename(&mut phone, &path, &json!({ "deviceName": null })).0, 200);
    assert_eq!(shown(&mut phone), [Value::Null]);
    for (body, status) in [
        (json!({}), 422),
        (json!({ "deviceName": "" }), 422),
        (json!({ "deviceName": 7 }), 422),
        (json!({ "deviceName": "x".repeat(201) }), 422),
        (json!({ "deviceName": "a\nb" }), 422),
        (json!({ "deviceName": "a", "userAgent": "b" }), 422),
    ] {
        assert_eq!(rename(&mut laptop, &path, &body).0, status, "{body}");
    }
    let theirs = json!({ "deviceName": "mine now" });
    for path in [&path, "/auth/sessions/rubbish", "/auth/sessions/00000000-0000-0000-0000-000000000000"] {
        assert_eq!(rename(&mut bob, path, &theirs), (404, "session_not_found".to_owned()), "{path}");
    }
    assert_eq!(phone.post_empty("/auth/logout").status, 200);
    assert_eq!(rename(&mut laptop, &path, &theirs), (404, "session_not_found".to_owned()), "it has ended");
    assert_eq!(rename(&mut phone, &path, &theirs).0, 401);
}
