//! Session cookies: names, scope and attributes, also when they are cleared, and how a `Cookie` header is parsed.

use std::time::Duration;

use doorward::testing::{Builder, TestService};
use serde_json::json;

use crate::support::http::{Browser, Request, Response, SetCookie};
use crate::support::{
    Backend, PASSWORD, SETTLED, Tokens, code, expiry_of, is_accepted, on_both_backends, register, sign_in,
};

on_both_backends!(
    cookies_are_set_and_cleared_with_the_same_attributes,
    contradictory_cookie_settings_stop_the_start,
    a_cookie_never_outlives_its_token,
    without_remember_me_cookies_end_with_the_browser,
    two_cookie_headers_are_one_list,
    duplicate_cookies_that_differ_are_refused,
    a_malformed_foreign_cookie_does_not_affect_ours,
    a_similar_cookie_name_is_not_ours,
    a_token_in_a_cookie_is_nowhere_else_in_the_answer,
    a_bearer_token_overrides_the_cookie_valid_or_not,
    the_bearer_scheme_is_case_insensitive,
    tokens_in_the_body_come_without_cookies,
    a_failed_request_clears_no_cookie,
);

/// Settings, and the cookies that result from them.
struct Setup {
    settings: &'static [(&'static str, &'static str)],
    access: &'static str,
    refresh: &'static str,
    /// Beside `Max-Age`, sorted.
    attributes: &'static [&'static str],
}

const HTTPS: [(&str, &str); 4] = [
    ("PUBLIC_URL", "https://auth.example.com"),
    ("TEST_MODE", "false"),
    ("BCRYPT_COST", "10"),
    ("THROTTLE_FREE_FAILURES", "5"),
];

const SETUPS: [Setup; 7] = [
    Setup {
        settings: &[],
        access: "accessToken",
        refresh: "refreshToken",
        attributes: &["HttpOnly", "Path=/", "SameSite=Lax"],
    },
    Setup {
        settings: &[("COOKIE_SAME_SITE", "Strict"), ("COOKIE_ACCESS_NAME", "at"), ("COOKIE_REFRESH_NAME", "rt")],
        access: "at",
        refresh: "rt",
        attributes: &["HttpOnly", "Path=/", "SameSite=Strict"],
    },
    Setup {
        settings: &[("COOKIE_DOMAIN", "example.com")],
        access: "accessToken",
        refresh: "refreshToken",
        attributes: &["Domain=example.com", "HttpOnly", "Path=/", "SameSite=Lax"],
    },
    Setup {
        settings: &HTTPS,
        access: "__Host-accessToken",
        refresh: "__Host-refreshToken",
        attributes: &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
    },
    Setup {
        settings: &[HTTPS[0], HTTPS[1], HTTPS[2], HTTPS[3], ("COOKIE_SAME_SITE", "None")],
        access: "__Host-accessToken",
        refresh: "__Host-refreshToken",
        attributes: &["HttpOnly", "Path=/", "SameSite=None", "Secure"],
    },
    Setup {
        settings: &[HTTPS[0], HTTPS[1], HTTPS[2], HTTPS[3], ("COOKIE_DOMAIN", "example.com")],
        access: "__Secure-accessToken",
        refresh: "__Secure-refreshToken",
        attributes: &["Domain=example.com", "HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
    },
    Setup {
        settings: &[HTTPS[0], HTTPS[1], HTTPS[2], HTTPS[3], ("COOKIE_PREFIX", "none")],
        access: "accessToken",
        refresh: "refreshToken",
        attributes: &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
    },
];

fn with(builder: Builder, settings: &[(&str, &str)]) -> Builder {
    settings.iter().fold(builder, |builder, (name, value)| builder.set(name, *value))
}

fn max_age(cookie: &SetCookie) -> Option<i64> {
    let text = cookie.attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
    Some(text.parse().expect("Max-Age is a number"))
}

/// The cookies of an answer by name: each once, without characters that would break a `Cookie` header, and no other.
fn cookies_of(answer: &Response, setup: &Setup) -> [SetCookie; 2] {
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    let mut cookies = answer.set_cookies();
    // Cookies that another COOKIE_DOMAIN has left are cleared beside them.
    let is_of_setup = |cookie: &SetCookie| {
        let domain = setup.attributes.iter().find(|attribute| attribute.starts_with("Domain="));
        cookie.attributes.iter().find(|attribute| attribute.starts_with("Domain=")).map(String::as_str)
            == domain.copied()
    };
    assert!(cookies.iter().all(|cookie| is_of_setup(cookie) || cookie.value.is_empty()), "{cookies:?}");
    cookies.retain(is_of_setup);
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    [setup.access, setup.refresh].map(|name| {
        let cookie = cookies.iter().find(|cookie| cookie.name == name).unwrap_or_else(|| panic!("{cookies:?}"));
        assert!(!cookie.value.contains(['=', ';', ',', '"', ' ']), "{cookie:?}");
        assert!(!cookie.line.to_ascii_lowercase().contains("expires"), "{cookie:?}");
        let mut attributes: Vec<&str> = cookie.attributes.iter().map(String::as_str).collect();
        attributes.retain(|attribute| !attribute.starts_with("Max-Age="));
        attributes.sort_unstable();
        assert_eq!(attributes, setup.attributes, "{cookie:?}");
        assert_eq!(cookie.attributes.len(), setup.attributes.len() + 1, "{cookie:?}");
        cookie.clone()
    })
}

fn assert_set(answer: &Response, setup: &Setup) {
    let [access, refresh] = cookies_of(answer, setup);
    assert_eq!(
        (max_age(&access), max_age(&refresh)),
        (Some(900), Some(2_592_000)),
        "{setup:?}",
        setup = setup.settings
    );
    assert!(!access.value.is_empty() && !refresh.value.is_empty());
}

fn assert_cleared(answer: &Response, setup: &Setup) {
    for cookie in cookies_of(answer, setup) {
        assert_eq!((max_age(&cookie), cookie.value.as_str()), (Some(0), ""), "{cookie:?}");
    }
}

fn cookies_are_set_and_cleared_with_the_same_attributes(backend: Backend) {
    for setup in &SETUPS {
        let service = with(backend.service(), setup.settings).start();
        let emily = json!({ "username": "emily", "password": PASSWORD }).to_string();
        let mut browser = Browser::new(service.address());
        assert_set(&browser.post("/auth/register", &emily), setup);
        assert_set(&browser.post_empty("/auth/refresh"), setup);
        assert_cleared(&browser.post_empty("/auth/logout"), setup);
        assert_set(&browser.post("/auth/login", &emily), setup);
        let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
        assert_set(&browser.post("/auth/change-password", &change), setup);
        assert_cleared(&browser.post_empty("/auth/logout-all"), setup);
    }
}

fn contradictory_cookie_settings_stop_the_start(backend: Backend) {
    let rows: [(&[(&str, &str)], &str); 4] = [
        (&[("COOKIE_SAME_SITE", "None")], "COOKIE_SAME_SITE"),
        (&[("COOKIE_PREFIX", "__Host-")], "COOKIE_PREFIX"),
        (&[("COOKIE_PREFIX", "__Secure-")], "COOKIE_PREFIX"),
        (
            &[HTTPS[0], HTTPS[1], HTTPS[2], HTTPS[3], ("COOKIE_PREFIX", "__Host-"), ("COOKIE_DOMAIN", "example.com")],
            "COOKIE_DOMAIN",
        ),
    ];
    for (settings, named) in rows {
        let why = with(backend.service(), settings).try_start().err().unwrap_or_else(|| panic!("{settings:?} starts"));
        assert!(why.to_string().contains(named), "{settings:?}: {why}");
    }
}

fn a_cookie_never_outlives_its_token(backend: Backend) {
    let builder = backend.service().set("SESSION_MAX_AGE", "1h").set("REFRESH_TTL", "40m").set("ACCESS_TTL", "15m");
    let service = builder.start();
    let mut browser = register(&service, "emily");
    let first = Tokens::in_jar_of(&browser);
    // Odd milliseconds, so that rounding up a cookie's lifetime would show; the last steps reach the absolute expiry.
    for step in [1_234, 10_001, 899_999, 1_499_998, 600_007, 400_501] {
        service.advance(Duration::from_millis(step));
        let answer = browser.post_empty("/auth/refresh");
        assert_eq!(answer.status, 200, "{}", answer.text());
        for cookie in answer.set_cookies() {
            let left = expiry_of(&cookie.value) * 1000 - service.clock().now().as_millis();
            let kept = max_age(&cookie).unwrap() * 1000;
            assert!(kept > 0 && kept <= left, "{}: {kept} ms kept, {left} ms left", cookie.name);
        }
    }
    assert!(
        expiry_of(&Tokens::in_jar_of(&browser).refresh) <= expiry_of(&first.refresh) + 20 * 60,
        "the absolute expiry is unchanged"
    );
}

fn without_remember_me_cookies_end_with_the_browser(backend: Backend) {
    let service = backend.service().start();
    register(&service, "emily");
    let mut browser = Browser::new(service.address());
    let body = json!({ "username": "emily", "password": PASSWORD, "remember": false }).to_string();
    let mut answers = vec![browser.post("/auth/login", &body)];
    answers.push(browser.post_empty("/auth/refresh"));
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
    answers.push(browser.post("/auth/change-password", &change));
    assert_eq!(browser.get("/auth/me").status, 200);
    service.advance(Duration::from_hours(1));
    answers.push(browser.post_empty("/auth/refresh"));
    for answer in answers {
        let cookies = answer.set_cookies();
        assert_eq!((answer.status, cookies.len()), (200, 2), "{}", answer.text());
        for cookie in cookies {
            assert!(!cookie.line.to_ascii_lowercase().contains("max-age"), "{}", cookie.line);
            assert!(!cookie.line.to_ascii_lowercase().contains("expires"), "{}", cookie.line);
        }
    }
}

fn two_cookie_headers_are_one_list(backend: Backend) {
    let service = backend.service().start();
    let Tokens { access, refresh } = Tokens::in_jar_of(&register(&service, "emily"));
    let (access, refresh) = (format!("accessToken={access}"), format!("refreshToken={refresh}"));
    for (first, second) in [(&access, &refresh), (&refresh, &access)] {
        let both = |method, path| Request::new(method, path).cookie_header(first).cookie_header(second);
        assert_eq!(both("GET", "/auth/me").send(service.address()).status, 200);
        assert_eq!(both("POST", "/auth/refresh").send(service.address()).status, 200);
    }
    let logout = Request::new("POST", "/auth/logout").cookie_header("theme=dark").cookie_header(&refresh);
    assert_eq!(logout.send(service.address()).status, 200);
    let me = Request::new("GET", "/auth/me").cookie_header(&access);
    assert_eq!(me.send(service.address()).status, 401, "the refresh token of the second line was read");
}

fn duplicate_cookies_that_differ_are_refused(backend: Backend) {
    let service = backend.service().start();
    let Tokens { access, refresh } = Tokens::in_jar_of(&register(&service, "emily"));
    let other = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let rows = [
        ("GET", "/auth/me", "accessToken", &access, &other.access),
        ("POST", "/auth/refresh", "refreshToken", &refresh, &other.refresh),
        ("GET", "/auth/session", "accessToken", &access, &other.access),
        ("GET", "/auth/sessions", "accessToken", &access, &other.access),
        ("POST", "/auth/logout-all", "accessToken", &access, &other.access),
    ];
    for (method, path, name, ours, theirs) in rows {
        for theirs in [theirs.as_str(), "", "x"] {
            let request = Request::new(method, path);
            let in_one_line = request.clone().cookie_header(&format!("{name}={ours}; {name}={theirs}"));
            let in_two = request.cookie_header(&format!("{name}={theirs}")).cookie_header(&format!("{name}={ours}"));
            for refused in [in_one_line, in_two].map(|request| request.send(service.address())) {
                assert_eq!((refused.status, code(&refused).as_str()), (400, "duplicate_cookie"), "{path} {theirs:?}");
                assert!(refused.set_cookies().is_empty());
            }
        }
    }
    let twice = Request::new("GET", "/auth/me").cookie_header(&format!("accessToken={access}; accessToken={access}"));
    assert_eq!(twice.send(service.address()).status, 200, "twice the same is no doubt");
}

/// `GET /auth/me` with this raw `Cookie` header.
fn me(service: &TestService, cookies: &[u8]) -> Response {
    Request::new("GET", "/auth/me").raw_header(b"Cookie", cookies).send(service.address())
}

fn a_malformed_foreign_cookie_does_not_affect_ours(backend: Backend) {
    let service = backend.service().start();
    let ours = format!("accessToken={}", Tokens::in_jar_of(&register(&service, "emily")).access);
    let neighbours: [&[u8]; 12] = [
        b"\xff\xfe=\xff",
        b"caf\xe9=1",
        b"theme=\x80\x81",
        b"keyless",
        b"=nameless",
        b"=",
        b"",
        b";;;",
        b"a=%zz%",
        b"q=\"un\\closed",
        b"$Version=1; $Path=/",
        b"a=b=c==, d=e",
    ];
    for neighbour in neighbours {
        for list in [[neighbour, ours.as_bytes()], [ours.as_bytes(), neighbour]] {
            let answer = me(&service, &list.join(b"; ".as_slice()));
            assert_eq!(answer.status, 200, "{:?}: {}", String::from_utf8_lossy(neighbour), answer.text());
        }
    }
}

fn a_similar_cookie_name_is_not_ours(backend: Backend) {
    let service = backend.service().start();
    let ours = Tokens::in_jar_of(&register(&service, "emily")).access;
    let names: [&[u8]; 9] = [
        b"AccessToken",
        b"accesstoken",
        b"%61ccessToken",
        b"\"accessToken\"",
        b"\xc2\xa0accessToken",
        b"\xe2\x80\x80accessToken",
        b"\xc2\x85accessToken",
        b"accessToken[]",
        b"__Host-accessToken",
    ];
    for name in names {
        let shown = String::from_utf8_lossy(name).into_owned();
        let theirs = [name, b"=evil"].concat();
        let mine = format!("accessToken={ours}").into_bytes();
        for list in [[theirs.clone(), mine.clone()], [mine, theirs]] {
            assert_eq!(me(&service, &list.join(b"; ".as_slice())).status, 200, "{shown:?}");
        }
        let alone = [name, b"=", ours.as_bytes()].concat();
        assert_eq!(me(&service, &alone).status, 401, "{shown:?} was read as ours");
    }
}

fn a_token_in_a_cookie_is_nowhere_else_in_the_answer(backend: Backend) {
    let service = backend.service().start();
    let emily = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-harbour-lantern" }).to_string();
    let steps = [
        ("POST", "/auth/register", Some(emily.as_str())),
        ("GET", "/auth/me", None),
        ("POST", "/auth/refresh", None),
        ("PATCH", "/auth/me", Some(r#"{"firstName":"Emily"}"#)),
        ("GET", "/auth/sessions", None),
        ("POST", "/auth/change-password", Some(change.as_str())),
        ("POST", "/auth/logout", None),
    ];
    let (mut browser, mut seen) = (Browser::new(service.address()), Vec::new());
    for (method, path, body) in steps {
        let request = Request::new(method, path);
        let answer = browser.send(body.map_or(request.clone(), |body| request.json(body)));
        assert!(answer.status < 300, "{path}: {}", answer.text());
        seen.extend(["accessToken", "refreshToken"].into_iter().filter_map(|name| browser.cookie(name)));
        let others = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
        let elsewhere = others.fold(answer.text(), |text, (_, value)| text + value);
        assert!(seen.iter().all(|token| !elsewhere.contains(token)), "{path}: {elsewhere}");
    }
}

fn a_bearer_token_overrides_the_cookie_valid_or_not(backend: Backend) {
    let service = backend.service().start();
    let emily = Tokens::in_jar_of(&register(&service, "emily")).access;
    let bob = Tokens::in_jar_of(&register(&service, "bob")).access;
    let me = |bearer: &str, cookie: &str| {
        let request = Request::new("GET", "/auth/me").bearer(bearer).cookie_header(&format!("accessToken={cookie}"));
        request.send(service.address())
    };
    assert_eq!(me(&emily, &bob).json()["username"], "emily");
    assert_eq!(me(&bob, &emily).json()["username"], "bob");
    assert_eq!(me(&emily, "rubbish").json()["username"], "emily");
    for bad in ["rubbish", "a.b.c", &emily.replace('.', "x"), &format!("{emily}A")] {
        assert_eq!(me(bad, &emily).status, 401, "{bad:?} was rescued by a good cookie");
    }
}

fn the_bearer_scheme_is_case_insensitive(backend: Backend) {
    let service = backend.service().start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request = Request::new("GET", "/auth/me").header("Authorization", format!("{scheme} {access}"));
        assert_eq!(request.send(service.address()).status, 200, "{scheme}");
    }
}

fn tokens_in_the_body_come_without_cookies(backend: Backend) {
    let service = backend.service().start();
    let emily = json!({ "username": "emily", "password": PASSWORD, "tokens": "body" });
    let post = |path: &str, body: &serde_json::Value| {
        let answer = Request::new("POST", path).json(&body.to_string()).send(service.address());
        assert!(answer.status < 300, "{path}: {}", answer.text());
        assert!(answer.set_cookies().is_empty(), "{path} sets {:?}", answer.headers_named("Set-Cookie"));
        let token = |name: &str| answer.json()[name].as_str().unwrap_or_else(|| panic!("{path}: no {name}")).to_owned();
        Tokens { access: token("accessToken"), refresh: token("refreshToken") }
    };
    for path in ["/auth/register", "/auth/login"] {
        let first = post(path, &emily);
        assert!(is_accepted(&service, &first.access), "{path}");
        let second = post("/auth/refresh", &json!({ "refreshToken": first.refresh, "tokens": "body" }));
        assert!(is_accepted(&service, &second.access), "{path}");
        let young = post("/auth/refresh", &json!({ "refreshToken": second.refresh }));
        assert!(is_accepted(&service, &young.access) && young.access != second.access, "{path}");
        assert_eq!(young.refresh, second.refresh, "too young to be rotated: the body has it again");
        service.advance(SETTLED);
        let third = post("/auth/refresh", &json!({ "refreshToken": second.refresh }));
        assert!(is_accepted(&service, &third.access), "a client that sends it in the body reads it there");
        assert_ne!(first.refresh, second.refresh);
        assert_ne!(second.refresh, third.refresh);
    }
}

fn a_failed_request_clears_no_cookie(backend: Backend) {
    let service = backend.service().start();
    let mut browser = register(&service, "emily");
    service.advance(Duration::from_mins(20));
    let expired = browser.get("/auth/me");
    assert_eq!((expired.status, code(&expired).as_str()), (401, "token_expired"));
    let wrong = browser.post("/auth/login", r#"{"username":"emily","password":"not-this-one"}"#);
    assert_eq!(wrong.status, 401);
    let broken = browser.post("/auth/refresh", "{");
    assert_eq!(broken.status, 400);
    let forged = crate::support::refresh_with(&service, "a.b.c");
    assert_eq!(forged.status, 401);
    let missing = Request::new("POST", "/auth/refresh").send(service.address());
    assert_eq!((missing.status, code(&missing).as_str()), (401, "refresh_token_missing"));
    for answer in [expired, wrong, broken, forged, missing] {
        assert!(answer.set_cookies().is_empty(), "{:?}", answer.set_cookies());
    }
    assert_eq!(browser.post_empty("/auth/refresh").status, 200, "the refresh token was not lost");
}
