//! Rendering of the pages: security headers, escaping, two languages, and name, logo and colour from the settings.

use serde_json::json;

use super::{open_and_send, signed_in};
use crate::support::http::{Browser, Request, Response};
use crate::support::{Backend, PASSWORD, on_both_backends, register};

on_both_backends!(
    every_page_has_its_security_headers,
    user_input_is_escaped,
    pages_are_in_spanish_when_preferred,
    disabled_pages_are_not_served,
    a_page_shows_the_configured_name_logo_and_colour,
    password_managers_and_screen_readers_find_what_they_need,
);

/// Every page, signed in and signed out.
fn every_page(service: &doorward::testing::TestService) -> Vec<Response> {
    let mut browser = signed_in(service);
    let mut pages: Vec<Response> = ["/account", "/logout"].into_iter().map(|page| browser.get(page)).collect();
    for _ in 0..2 {
        browser.get("/login?rd=%2Fx");
    }
    pages.push(browser.get("/login?rd=%2Fx"));
    let mut guest = Browser::new(service.address());
    pages.extend(["/login", "/register", "/logout", "/login?rd=%2Fx"].into_iter().map(|page| guest.get(page)));
    pages.push(open_and_send(&mut guest, "/login", "/login", &[("identifier", "x"), ("password", "y")]));
    pages.push(guest.send(Request::new("POST", "/login").json("{}")));
    pages.push(guest.send(Request::new("POST", "/login").header("Origin", "https://evil.test")));
    pages.push(guest.send(Request::new("DELETE", "/account")));
    pages
}

fn every_page_has_its_security_headers(backend: Backend) {
    let service = backend.service().set("REDIRECT_HOSTS", "good.test").start();
    let policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https://good.test:* \
        https://*.good.test:*; frame-ancestors 'none'; base-uri 'none'";
    for page in every_page(&service) {
        let shown = format!("{} {:?} {}", page.status, page.headers, page.text());
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", policy),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-language", "en"),
        ] {
            assert_eq!(page.headers_named(name), [value], "{name}: {shown}");
        }
        assert!(page.header("vary").is_some_and(|vary| vary.contains("Accept-Language")), "{shown}");
        assert!(page.header("x-request-id").is_some(), "{shown}");
        let text = page.text();
        assert!(text.starts_with("<!doctype html>\n<html lang=\"en\">"), "{shown}");
        for forbidden in ["<script", "<style", " style=", "javascript:", "http://", " onclick", "<iframe"] {
            assert!(!text.contains(forbidden), "{forbidden}: {shown}");
        }
        assert_eq!(text.matches("<h1>").count(), 1, "{shown}");
    }
}

fn user_input_is_escaped(backend: Backend) {
    let service = backend.service().start();
    let sharp = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;";
    let inspected = |page: &Response| {
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        let text = page.text();
        assert!(!text.contains("<script") && !text.contains("<img src=x") && !text.contains("\"'>"), "{text}");
        text
    };
    let mut browser = register(&service, "emily");
    let profile = json!({ "firstName": sharp, "lastName": sharp }).to_string();
    assert_eq!(browser.patch("/auth/me", &profile).status, 200);
    let entry = json!({ "username": "emily", "password": PASSWORD, "deviceName": sharp }).to_string();
    assert_eq!(Browser::new(service.address()).post("/auth/login", &entry).status, 200);
    let agent = Request::new("POST", "/auth/login").header("User-Agent", sharp);
    let entry = json!({ "username": "emily", "password": PASSWORD }).to_string();
    assert_eq!(agent.json(&entry).send(service.address()).status, 200);
    let page = inspected(&browser.get("/account"));
    assert!(page.matches("&#60;script&#62;").count() >= 4, "all of it is there, as text: {page}");

    let mut guest = Browser::new(service.address());
    for (path, fields) in [
        ("/login", vec![("identifier", sharp), ("password", sharp), ("remember", sharp)]),
        ("/register", vec![("email", sharp), ("username", sharp), ("password", PASSWORD)]),
    ] {
        let answer = open_and_send(&mut guest, path, path, &fields);
        assert!((400..500).contains(&answer.status));
        assert!(inspected(&answer).contains("value=\"&#34;&#39;&#62;"), "{}", answer.text());
        let token = super::hidden(&guest.get(path), "token").unwrap();
        for back in [format!("/{sharp}"), format!("https://good.test/{sharp}"), sharp.to_owned()] {
            inspected(&guest.send(super::form(path, &[("token", &token), ("rd", &back)])));
            let query: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
            inspected(&guest.get(&format!("{path}?rd={query}")));
            inspected(&guest.get(&format!("{path}?error={query}&done={query}&{query}")));
        }
    }
    inspected(&browser.get("/account?done=%3Cscript%3Ealert(1)%3C/script%3E"));
    for _ in 0..2 {
        browser.get("/login?rd=%2F%3Cscript%3E%22");
    }
    let circle = browser.get("/login?rd=%2F%3Cscript%3E%22");
    assert_eq!(circle.status, 409);
    inspected(&circle);
}

fn pages_are_in_spanish_when_preferred(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let mut guest = Browser::new(service.address());
    let send_request = |browser: &mut Browser, page: &str, language: &str| {
        browser.send(Request::new("GET", page).header("Accept-Language", language))
    };
    for (who, page, words) in
        [(&mut browser, "/account", "Dispositivos con sesión iniciada"), (&mut guest, "/login", "Iniciar sesión")]
    {
        let answer = send_request(who, page, "es-MX,es;q=0.9,en;q=0.8");
        assert!(answer.text().contains(words) && answer.text().contains("<html lang=\"es\">"), "{}", answer.text());
        assert_eq!(answer.header("content-language"), Some("es"));
    }
    let question = send_request(&mut browser, "/logout", "es").text();
    assert!(question.contains("¿Quieres cerrar la sesión en este dispositivo?"), "{question}");
    assert!(send_request(&mut guest, "/register", "es").text().contains("Crear una cuenta"));
    let refused = Request::new("POST", "/login").header("Origin", "https://evil.test").header("Accept-Language", "es");
    assert!(refused.send(service.address()).text().contains("página de otro sitio"), "refusals too");
    assert!(send_request(&mut guest, "/login", "de").text().contains("Sign in"), "who speaks neither gets English");
}

fn disabled_pages_are_not_served(backend: Backend) {
    let service = backend.service().set("PAGES", "false").start();
    let mut browser = register(&service, "emily");
    for page in ["/login", "/register", "/account", "/logout"] {
        for answer in [browser.get(page), browser.send(super::form(page, &[("identifier", "emily")]))] {
            assert_eq!(answer.status, 404, "{page}");
            assert_eq!(crate::support::code(&answer), "route_not_found");
        }
    }
    assert_eq!(super::location(&browser.get("/auth/continue?rd=%2Fx")), "/x", "the refresh on the way stays");
}

fn a_page_shows_the_configured_name_logo_and_colour(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo.svg");
    std::fs::write(&file, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").unwrap();
    let plain = TestPage::of(&backend.service().start());
    let service = backend.service().set("PAGE_NAME", "Ship & <Harbour>").set("PAGE_ACCENT", "#ffd400");
    let named = TestPage::of(&service.set("PAGE_LOGO", file.display().to_string()).start());
    assert!(plain.page.contains("<title>Sign in · Doorward</title>"), "{}", plain.page);
    assert!(named.page.contains("Ship &#38; &#60;Harbour&#62;"), "{}", named.page);
    assert!(named.style.contains("--accent: #ffd400; --on-accent: #000;"));
    assert!(plain.style.contains("--accent: #3457d5; --on-accent: #fff;"));
    assert_eq!(named.logo, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    assert!(named.paths.iter().zip(&plain.paths).all(|(named, plain)| named != plain), "other files, other paths");
    let missing = backend.service().set("PAGE_LOGO", "/nowhere/logo.svg").try_start().err().unwrap().to_string();
    assert!(missing.contains("PAGE_LOGO: /nowhere/logo.svg cannot be read"), "{missing}");
}

struct TestPage {
    page: String,
    style: String,
    logo: String,
    paths: Vec<String>,
}

impl TestPage {
    fn of(service: &doorward::testing::TestService) -> Self {
        let get = |path: &str| Request::new("GET", path).send(service.address());
        let page = get("/login").text();
        let path = |before: &str| page.split_once(before).unwrap().1.split_once('"').unwrap().0.to_owned();
        let paths = vec![path("rel=\"stylesheet\" href=\""), path("<img src=\"")];
        let mut texts = vec![];
        for (path, kind) in paths.iter().zip(["text/css; charset=utf-8", "image/svg+xml"]) {
            let file = get(path);
            assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{path}");
            assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
            texts.push(file.text());
        }
        assert_eq!(get("/pages/style-x.css").status, 404);
        Self { page, logo: texts.pop().unwrap(), style: texts.pop().unwrap(), paths }
    }
}

fn password_managers_and_screen_readers_find_what_they_need(backend: Backend) {
    let service = backend.service().start();
    let mut browser = signed_in(&service);
    let mut guest = Browser::new(service.address());
    let (account, login, register) = (browser.get("/account"), guest.get("/login"), guest.get("/register"));
    for (page, fields) in [
        (&login, vec![("identifier", "username"), ("password", "current-password")]),
        (&register, vec![("email", "email"), ("username", "username"), ("password", "new-password")]),
        (&account, vec![("current", "current-password"), ("new", "new-password")]),
    ] {
        let text = page.text();
        for (field, purpose) in fields {
            let input = text.split_once(&format!("<input id=\"{field}\"")).unwrap().1.split_once('>').unwrap().0;
            assert!(input.contains(&format!("autocomplete=\"{purpose}\"")), "{field}: {input}");
            assert!(text.contains(&format!("<label for=\"{field}\">")), "{field} has a label");
            assert_eq!(input.contains("type=\"password\""), purpose.ends_with("password"), "{input}");
        }
    }
    assert!(account.text().contains("autocomplete=\"username\""), "whose password is changed");
    let wrong = open_and_send(&mut guest, "/login", "/login", &[("identifier", "emily"), ("password", "x")]);
    assert!(wrong.text().contains("role=\"alert\" tabindex=\"-1\" autofocus"), "the error has the focus");
    assert_eq!(wrong.text().matches("autofocus").count(), 1, "and nothing else has");
}
