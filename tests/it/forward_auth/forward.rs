//! `/auth/forward`: like verify, but a browser navigation is redirected to the sign-in page, with the return URL that a
//! trusted proxy names.

use doorward::testing::{Builder, TestService};

use super::{check, forwarded};
use crate::support::http::{Request, Response};
use crate::support::{Backend, Tokens, code, on_both_backends, register};

on_both_backends!(
    a_denied_navigation_gets_the_page_that_says_who_is_signed_in,
    an_undecided_navigation_gets_a_page,
    a_navigation_is_redirected_to_sign_in_and_anything_else_is_refused,
    the_return_url_comes_from_a_trusted_proxy_and_names_listed_hosts_only,
    contradictory_forwarded_headers_are_refused,
    a_browser_with_a_live_refresh_cookie_is_redirected_to_continue,
    each_family_of_forwarded_headers_is_read_alone,
    a_websockets_scheme_is_that_of_its_request,
);

const SIGN_IN: &str = "https://auth.example.com/login";

fn behind_a_proxy(builder: Builder) -> Builder {
    let builder = builder.set("TEST_MODE", "false").set("BCRYPT_COST", "10").set("TRUSTED_PROXIES", "127.0.0.1");
    builder.set("PUBLIC_URL", "https://auth.example.com").set("REDIRECT_HOSTS", "example.com")
}

fn location(answer: &Response) -> &str {
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.header("location").unwrap()
}

fn navigation(service: &TestService, host: &str, target: &str) -> Response {
    forwarded("/auth/forward", "GET", host, target).header("Accept", "text/html,*/*").send(service.address())
}

fn a_navigation_is_redirected_to_sign_in_and_anything_else_is_refused(backend: Backend) {
    let service = behind_a_proxy(backend.service()).start();
    let html = "text/html,application/xhtml+xml";
    for (method, headers, leads) in [
        ("GET", vec![("Accept", html)], true),
        ("GET", vec![("Sec-Fetch-Mode", "navigate")], true),
        ("POST", vec![("Sec-Fetch-Mode", "navigate"), ("Accept", html)], true),
        ("GET", vec![("Sec-Fetch-Mode", "cors"), ("Accept", html)], false),
        ("GET", vec![("Sec-Fetch-Mode", "no-cors")], false),
        ("POST", vec![("Accept", html)], false),
        ("GET", vec![("Accept", "application/json")], false),
        ("GET", vec![("Accept", "application/json, text/html;q=0.9")], false),
        ("GET", vec![("Accept", "text/html;q=0, */*")], false),
        ("GET", vec![("Accept", html), ("X-Requested-With", "XMLHttpRequest")], false),
        ("GET", vec![("Accept", html), ("HX-Request", "true")], false),
        ("GET", vec![("Accept", html), ("HX-Request", "true"), ("HX-Boosted", "true")], true),
        ("GET", vec![], false),
    ] {
        let request = forwarded("/auth/forward", method, "app.example.com", "/deep?a=b&c=d");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send(service.address());
        if leads {
            let back = if method == "GET" { "?rd=https%3A%2F%2Fapp.example.com%2Fdeep%3Fa%3Db%26c%3Dd" } else { "" };
            assert_eq!(location(&answer), format!("{SIGN_IN}{back}"), "{method} {headers:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        } else {
            assert_eq!((answer.status, code(&answer).as_str()), (401, "token_missing"), "{method} {headers:?}");
        }
    }
}

fn the_return_url_comes_from_a_trusted_proxy_and_names_listed_hosts_only(backend: Backend) {
    let service = behind_a_proxy(backend.service()).start();
    assert_eq!(location(&navigation(&service, "evil.test", "/")), SIGN_IN);
    assert_eq!(location(&navigation(&service, "app.example.com.evil.test", "/")), SIGN_IN);
    assert_eq!(
        location(&navigation(&service, "app.example.com", "//evil.test")),
        format!("{SIGN_IN}?rd=https%3A%2F%2Fapp.example.com%2F%2Fevil.test")
    );
    let strangers = behind_a_proxy(backend.service()).set("TRUSTED_PROXIES", "10.0.0.1").start();
    assert_eq!(location(&navigation(&strangers, "app.example.com", "/deep")), SIGN_IN, "its words do not count");
}

fn contradictory_forwarded_headers_are_refused(backend: Backend) {
    let service = behind_a_proxy(backend.service()).start();
    let request = || forwarded("/auth/forward", "GET", "app.example.com", "/a").header("Accept", "text/html");
    for (what, request) in [
        ("another family names another path", request().header("X-Original-URL", "https://app.example.com/b")),
        ("a second host", request().header("X-Forwarded-Host", "evil.test")),
        ("a second path", request().header("X-Forwarded-Uri", "/b")),
        ("a list of hosts", forwarded("/auth/forward", "GET", "a.test, b.test", "/a").header("Accept", "text/html")),
        ("no path", Request::new("GET", "/auth/forward").header("Accept", "text/html")),
        ("no rooted path", forwarded("/auth/forward", "GET", "a.test", "a").header("Accept", "text/html")),
    ] {
        let answer = request.send(service.address());
        assert_eq!((answer.status, code(&answer).as_str()), (403, "invalid_forwarded_headers"), "{what}");
    }
}

fn a_browser_with_a_live_refresh_cookie_is_redirected_to_continue(backend: Backend) {
    let service = backend.service().set("TRUSTED_PROXIES", "127.0.0.1").start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let lead = |cookies: &str| {
        let request = forwarded("/auth/forward", "GET", "app.example.com", "/").header("Accept", "text/html");
        location(&request.cookie_header(cookies).send(service.address())).to_owned()
    };
    assert_eq!(lead(&format!("refreshToken={}", tokens.refresh)), "/auth/continue");
    assert_eq!(lead("refreshToken=x"), "/login");
    assert_eq!(lead(&format!("refreshToken={}", tokens.access)), "/login");
    assert_eq!(check(&service, "/auth/forward", &tokens.access).status, 200);
}

fn each_family_of_forwarded_headers_is_read_alone(backend: Backend) {
    let original = behind_a_proxy(backend.service()).set("FORWARDED_HEADERS", "x-original").start();
    let request = Request::new("GET", "/auth/forward").header("Accept", "text/html");
    let request = request.header("X-Original-Method", "GET").header("X-Original-URL", "https://app.example.com/a?b");
    let back = format!("{SIGN_IN}?rd=https%3A%2F%2Fapp.example.com%2Fa%3Fb");
    assert_eq!(location(&request.send(original.address())), back);
    assert_eq!(navigation(&original, "app.example.com", "/a?b").status, 403, "the other family alone");
    let envoy = behind_a_proxy(backend.service()).set("FORWARDED_HEADERS", "envoy").start();
    let request = Request::new("GET", "/auth/forward?original=/a?b").header("Accept", "text/html");
    let request = request.header("Host", "app.example.com").header("X-Forwarded-Proto", "https");
    assert_eq!(location(&request.send(envoy.address())), back);
}

fn a_websockets_scheme_is_that_of_its_request(backend: Backend) {
    let service = behind_a_proxy(backend.service()).start();
    let original = behind_a_proxy(backend.service()).set("FORWARDED_HEADERS", "x-original").start();
    // From an https service no redirect leads back to http.
    let back_to_https = "?rd=https%3A%2F%2Fapp.example.com%2Fa";
    for (proto, back) in
        [("wss", back_to_https), ("WSS", back_to_https), ("https", back_to_https), ("ws", ""), ("HTTP", ""), ("Ws", "")]
    {
        let back = format!("{SIGN_IN}{back}");
        let request = Request::new("GET", "/auth/forward").header("Accept", "text/html");
        let request = request.header("X-Forwarded-Method", "GET").header("X-Forwarded-Proto", proto);
        let request = request.header("X-Forwarded-Host", "app.example.com").header("X-Forwarded-Uri", "/a");
        assert_eq!(location(&request.send(service.address())), back, "{proto}");
        let request = Request::new("GET", "/auth/forward").header("Accept", "text/html");
        let request = request.header("X-Original-Method", "GET");
        let request = request.header("X-Original-URL", format!("{proto}://app.example.com/a"));
        assert_eq!(location(&request.send(original.address())), back, "{proto}");
    }
    let ftp = Request::new("GET", "/auth/forward").header("Accept", "text/html").header("X-Forwarded-Method", "GET");
    let ftp =
        ftp.header("X-Forwarded-Proto", "ftp").header("X-Forwarded-Host", "a.test").header("X-Forwarded-Uri", "/");
    assert_eq!(ftp.send(service.address()).status, 403);
}

fn a_denied_navigation_gets_the_page_that_says_who_is_signed_in(backend: Backend) {
    let service = behind_a_proxy(backend.service()).start();
    let body = r#"{"email":"emily@example.com","username":"emily","password":"correct-horse-battery"}"#;
    let made = Request::new("POST", "/auth/register").json(body).send(service.address());
    let cookie = |answer: &Response| {
        let access = answer.set_cookies().into_iter().find(|cookie| cookie.name == "__Host-accessToken").unwrap();
        format!("__Host-accessToken={}", access.value)
    };
    let cookie = cookie(&made);
    let denied = |accept: &str| {
        let request = forwarded("/auth/forward?role=ADMIN", "GET", "app.example.com", "/admin?a=b");
        request.header("Accept", accept).cookie_header(&cookie).send(service.address())
    };
    let led = denied("text/html,*/*");
    let target = "https://auth.example.com/access-denied?rd=https%3A%2F%2Fapp.example.com%2Fadmin%3Fa%3Db";
    assert_eq!(location(&led), target);
    let script = denied("application/json");
    assert_eq!((script.status, code(&script).as_str()), (403, "permission_denied"));

    let show = |request: Request| request.cookie_header(&cookie).send(service.address());
    let path = target.strip_prefix("https://auth.example.com").unwrap();
    let load = |path: &str| Request::new("GET", path).header("Accept", "text/html,*/*");
    let page = show(load(path));
    assert_eq!(page.status, 403, "{}", page.text());
    let switch = "href=\"/logout?rd=https%3A%2F%2Fapp.example.com%2Fadmin%3Fa%3Db\"";
    for words in ["Access denied", "signed in as emily@example.com", "Switch account", switch] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    assert!(show(load(path).header("Accept-Language", "es")).text().contains("Cambiar de cuenta"));
    // As nginx asks for it in place of its own page: the URL is in the forwarded headers.
    let forwarded_page =
        forwarded("/access-denied", "GET", "app.example.com", "/admin?a=b").header("Accept", "text/html");
    assert!(show(forwarded_page).text().contains(switch));
    let elsewhere = show(load("/access-denied?rd=https%3A%2F%2Fevil.test%2F"));
    assert!(elsewhere.status == 403 && !elsewhere.text().contains("evil"), "{}", elsewhere.text());
    for script in [Request::new("GET", path), load(path).header("Sec-Fetch-Mode", "cors")] {
        let answer = show(script);
        assert_eq!((answer.status, answer.header("location")), (403, None));
    }
    let stranger = load(path).send(service.address());
    assert_eq!(stranger.status, 303);
    assert!(stranger.header("location").is_some_and(|target| target.starts_with(SIGN_IN)));
    let without = behind_a_proxy(backend.service()).set("PAGES", "false").start();
    assert_eq!(load("/access-denied").send(without.address()).status, 403, "what the proxy refused stays refused");
}

fn an_undecided_navigation_gets_a_page(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = behind_a_proxy(builder).start();
    let made = register(&service, "emily");
    let access = made.cookie("__Host-accessToken").unwrap();
    tables.run(&service, "ALTER TABLE accounts RENAME TO out_of_reach");
    let ask = |accept: &str| {
        let request = forwarded("/auth/forward", "GET", "app.example.com", "/deep?a=b").header("Accept", accept);
        request.cookie_header(&format!("__Host-accessToken={access}")).send(service.address())
    };
    let page = ask("text/html,*/*");
    assert_eq!(page.status, 503, "{}", page.text());
    assert!(page.header("retry-after").is_some());
    for words in [
        "An internal error occurred",
        "href=\"https://app.example.com/deep?a=b\"",
        "href=\"https://auth.example.com/pages/style-",
    ] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("style-src 'self' https://auth.example.com;"), "{policy}");
    let script = ask("application/json");
    assert_eq!((script.status, code(&script).as_str()), (503, "internal_error"));
}
