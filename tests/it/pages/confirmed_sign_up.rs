//! Confirmed sign-up on the hosted pages (`/register`, `/register/confirm`): one page whether or not an identifier is
//! taken, a form behind the mailed link, and a redirect target that survives the mail.

use super::{form, hidden, is_signed_in, location, open_and_send, send, sign_in_by_page};
use crate::mounts::Away;
use crate::support::confirmed_sign_up::{OTHER, SignUpService, add_account, assert_invalid, exact_answer};
use crate::support::http::{Browser, Request, Response};
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    the_page_after_the_form_is_the_same_whatever_is_taken,
    an_email_address_is_required,
    the_link_opens_a_form_that_signs_in_and_redirects_to_the_target,
    without_a_target_the_link_leads_to_the_default_page,
    a_redirect_target_elsewhere_is_dropped,
    the_form_behind_the_link_is_the_same_for_any_token,
    opening_the_link_changes_nothing,
    a_wrong_password_is_reported_and_can_be_retried,
    a_confirmation_needs_its_csrf_token,
    forms_count_against_the_sign_up_rate_limit,
    without_remember_me_the_browser_keeps_no_session,
    the_pages_and_the_mail_are_in_spanish_when_preferred,
    the_page_of_the_link_has_its_security_headers,
);

const EMAIL: &str = "emily@mail.example";

fn register(setup: &SignUpService, page: &str, fields: &[(&str, &str)]) -> Response {
    let mut browser = Browser::new(setup.service.address());
    open_and_send(&mut browser, page, "/register", fields)
}

/// Signs up by the page; the path of the mailed link.
fn link_of(setup: &SignUpService, page: &str) -> String {
    let response = register(setup, page, &[("email", EMAIL), ("password", PASSWORD)]);
    assert_eq!(response.status, 202, "{}", response.text());
    let mail = setup.mails.wait_for_mail_to(EMAIL, 1);
    mail.token();
    let link = mail.link();
    assert_eq!(link.query_pairs().count(), 1, "the token and nothing else: {link}");
    format!("{}?{}", link.path(), link.query().unwrap())
}

fn confirm(browser: &mut Browser, link: &str, password: &str) -> Response {
    let opened = browser.get(link);
    assert_eq!(opened.status, 200, "{}", opened.text());
    confirm_on(browser, &opened, password, true)
}

/// Sends the form of an open page.
fn confirm_on(browser: &mut Browser, page: &Response, password: &str, remember: bool) -> Response {
    let confirmation = hidden(page, "confirmation").unwrap_or_else(|| panic!("{}", page.text()));
    let mut fields = vec![("confirmation", confirmation.as_str()), ("password", password)];
    if remember {
        fields.push(("remember", "yes"));
    }
    send(browser, page, "/register/confirm", &fields)
}

fn the_page_after_the_form_is_the_same_whatever_is_taken(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    // One browser, so that the parts of a page that depend on its cookie are the same too.
    let mut browser = Browser::new(setup.service.address());
    let mut response = |email: &str, username: &str| {
        let fields = [("email", email), ("username", username), ("password", PASSWORD), ("remember", "yes")];
        let answer = open_and_send(&mut browser, "/register?rd=%2Fwelcome", "/register", &fields);
        assert_eq!((answer.status, answer.set_cookies().len()), (202, 0), "{}", answer.text());
        assert!(answer.device_cookie().is_none());
        exact_answer(&answer)
    };
    let expected = response("free@mail.example", "");
    let (_, headers, page) = &expected;
    assert!(page.contains("mail") && !page.contains("role=\"alert\""), "{page}");
    assert!(!page.contains("free@mail.example"), "{page}");
    assert!(headers.iter().any(|(name, value)| name == "content-type" && value.starts_with("text/html")));
    for (email, username) in [
        ("free@mail.example", ""),
        ("taken@mail.example", ""),
        ("Taken@Mail.Example", "free"),
        ("other@mail.example", "taken"),
        ("taken@mail.example", "taken"),
    ] {
        assert_eq!(response(email, username), expected, "{email} {username}");
    }
    assert_eq!((setup.count("accounts"), setup.count("sessions")), (1, 0));
}

fn an_email_address_is_required(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    for (email, username, password, field) in [
        ("", "emily", PASSWORD, "email"),
        ("", "taken", PASSWORD, "email"),
        ("", "", PASSWORD, "email"),
        ("not-an-email", "", PASSWORD, "email"),
        ("taken@mail.example", "", "short", "password"),
        (EMAIL, "two words", PASSWORD, "username"),
    ] {
        let fields = [("email", email), ("username", username), ("password", password)];
        let answer = register(&setup, "/register?rd=%2Fx", &fields);
        assert_eq!((answer.status, answer.set_cookies().len()), (422, 0), "{}", answer.text());
        assert!(answer.text().contains(&format!("id=\"{field}-error\">")), "{field}: {}", answer.text());
        assert_eq!(hidden(&answer, "rd").as_deref(), Some("/x"));
    }
    assert!(setup.mails.commands().is_empty());
    assert_eq!(setup.count("pending_sign_ups"), 0);
}

fn the_link_opens_a_form_that_signs_in_and_redirects_to_the_target(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("REDIRECT_HOSTS", "good.test"));
    let link = link_of(&setup, "/register?rd=https%3A%2F%2Fapp.good.test%2Fdeep%3Fa%3Db%26c");
    // A different browser from the one that signed up: the mail may be read on a phone.
    let mut browser = Browser::new(setup.service.address());
    let entered = confirm(&mut browser, &link, PASSWORD);
    assert_eq!(location(&entered), "https://app.good.test/deep?a=b&c");
    assert_eq!(entered.set_cookies().len(), 2);
    assert!(entered.set_cookies().iter().all(|cookie| cookie.line.contains("Max-Age")), "it was to be remembered");
    assert!(is_signed_in(&mut browser));
    let me = browser.get("/auth/me").json();
    assert_eq!((&me["email"], &me["emailVerified"]), (&EMAIL.into(), &true.into()));
    assert_eq!((setup.count("accounts"), setup.count("sessions")), (1, 1));
    let mut again = Browser::new(setup.service.address());
    let refused = confirm(&mut again, &link, PASSWORD);
    assert_eq!((refused.status, refused.set_cookies().len()), (401, 0), "once");
    assert!(!is_signed_in(&mut again));
}

fn without_a_target_the_link_leads_to_the_default_page(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register");
    let mut browser = Browser::new(setup.service.address());
    assert_eq!(location(&confirm(&mut browser, &link, PASSWORD)), "/account");
    let page = browser.get("/account");
    assert!(page.status == 200 && page.text().contains(EMAIL), "{}", page.text());
}

fn a_redirect_target_elsewhere_is_dropped(backend: Backend) {
    let setup = SignUpService::start(backend);
    let mut browser = Browser::new(setup.service.address());
    let token = hidden(&browser.get("/register"), "token").unwrap();
    let fields = [("token", token.as_str()), ("email", EMAIL), ("password", PASSWORD), ("rd", "https://evil.test/")];
    assert_eq!(browser.send(form("/register", &fields)).status, 202);
    let token = setup.mails.wait_for_mail_to(EMAIL, 1).token();
    // Nor does one that is added to the link or its form.
    let opened = browser.get(&format!("/register/confirm?token={token}&rd=https%3A%2F%2Fevil.test%2F"));
    assert!(!opened.text().contains("evil.test"), "{}", opened.text());
    let own = hidden(&opened, "token").unwrap();
    let fields = [
        ("token", own.as_str()),
        ("confirmation", token.as_str()),
        ("password", PASSWORD),
        ("rd", "https://evil.test/"),
    ];
    let entered = browser.send(form("/register/confirm", &fields));
    assert!(entered.status < 500 && !format!("{:?}{}", entered.headers, entered.text()).contains("evil.test"));
}

fn the_form_behind_the_link_is_the_same_for_any_token(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register");
    let genuine = link.split_once("token=").unwrap().1.to_owned();
    let spent = setup.token_of("spent@mail.example");
    assert_eq!(setup.confirm(&spent, PASSWORD).status, 201);
    let mut browser = Browser::new(setup.service.address());
    browser.get("/login");
    let mut shown = |token: &str| {
        let page = browser.get(&format!("/register/confirm?token={token}"));
        let (status, mut headers, body) = exact_answer(&page);
        assert_eq!(hidden(&page, "confirmation").as_deref(), Some(token));
        headers.retain(|(name, _)| name != "content-length");
        (status, headers, body.replace(token, "TOKEN"))
    };
    let expected = shown(&genuine);
    assert_eq!(expected.0, 200, "{}", expected.2);
    for part in
        ["type=\"password\"", "autocomplete=\"current-password\"", "name=\"remember\"", "<label for=\"password\">"]
    {
        assert!(expected.2.contains(part), "{part}: {}", expected.2);
    }
    for token in [&spent, &genuine[1..], &genuine[..genuine.len() - 1], "nobody-ever-mailed-this"] {
        assert_eq!(shown(token), expected, "{token}");
    }
    for odd in ["", "?token=", "?token=a&token=b", "?token=%3Cscript%3Ealert(1)%3C%2Fscript%3E", "?token=%ff%00"] {
        let page = browser.get(&format!("/register/confirm{odd}"));
        assert!(page.status < 500 && !page.text().contains("<script"), "{odd}: {}", page.text());
    }
}

fn opening_the_link_changes_nothing(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("DATABASE_TIMEOUT", "2s"));
    let link = link_of(&setup, "/register");
    // Mail programs open links by themselves.
    for method in ["GET", "HEAD", "GET", "OPTIONS"] {
        for _ in 0..4 {
            let answer = Request::new(method, &link).send(setup.service.address());
            assert!(answer.set_cookies().is_empty(), "{method}: {:?}", answer.headers);
        }
    }
    assert_eq!((setup.count("accounts"), setup.count("sessions")), (0, 0));
    let away = Away::take(&setup.tables, setup.service.folder());
    let opened = Request::new("GET", &link).send(setup.service.address());
    assert_eq!(opened.status, 200, "no row is asked for: {}", opened.text());
    away.give_back();
    let mut browser = Browser::new(setup.service.address());
    let entered = until(PATIENCE, "the database", || {
        let answer = confirm(&mut browser, &link, PASSWORD);
        assert!([303, 503].contains(&answer.status), "{}", answer.text());
        (answer.status == 303).then_some(answer)
    });
    assert_eq!(location(&entered), "/account");
}

fn a_wrong_password_is_reported_and_can_be_retried(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register?rd=%2Fwelcome");
    let mut browser = Browser::new(setup.service.address());
    let mut page = browser.get(&link);
    for _ in 0..2 {
        page = confirm_on(&mut browser, &page, OTHER, true);
        assert_eq!((page.status, page.set_cookies().len()), (401, 0), "{}", page.text());
        assert!(page.text().contains("role=\"alert\"") && page.text().contains("type=\"password\""), "{}", page.text());
        assert!(!page.text().contains(OTHER) && hidden(&page, "confirmation").is_some());
    }
    // An unknown token is reported in the same words.
    let unknown = browser.get("/register/confirm?token=nobody-ever-mailed-this");
    let unknown = confirm_on(&mut browser, &unknown, OTHER, true);
    let body_text =
        |page: &Response| page.text().split_once("role=\"alert\"").unwrap().1.split_once("</p>").unwrap().0.to_owned();
    assert_eq!((unknown.status, body_text(&unknown)), (401, body_text(&page)));
    assert_eq!(location(&confirm_on(&mut browser, &page, PASSWORD, true)), "/welcome");
    assert!(is_signed_in(&mut browser));
}

fn a_confirmation_needs_its_csrf_token(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register");
    let token = link.split_once("token=").unwrap().1.to_owned();
    let mut attacker = Browser::new(setup.service.address());
    let theirs = hidden(&attacker.get(&link), "token").unwrap();
    let mut browser = Browser::new(setup.service.address());
    let own = hidden(&browser.get(&link), "token").unwrap();
    assert_ne!(own, token);
    for forged in ["", "x", &theirs, &own[1..], &token] {
        let fields = [("token", forged), ("confirmation", &token), ("password", PASSWORD)];
        let answer = browser.send(form("/register/confirm", &fields));
        assert_eq!((answer.status, answer.set_cookies().len()), (403, 0), "{forged:?}: {}", answer.text());
    }
    let fields = [("token", own.as_str()), ("confirmation", &token), ("password", PASSWORD)];
    let foreign = form("/register/confirm", &fields);
    assert_eq!(foreign.send(setup.service.address()).status, 403, "without the browser's cookie");
    for (header, value) in [("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(browser.send(foreign.clone().header(header, value)).status, 403, "{header}");
    }
    let json = serde_json::json!({ "confirmation": token, "password": PASSWORD, "token": own }).to_string();
    assert_eq!(browser.post("/register/confirm", &json).status, 415);
    assert_eq!(browser.delete("/register/confirm").status, 405);
    assert_eq!(setup.count("accounts"), 0);
    assert_eq!(location(&confirm(&mut browser, &link, PASSWORD)), "/account", "and none of that used it up");
    assert_invalid(&setup.confirm(&token, PASSWORD));
}

fn forms_count_against_the_sign_up_rate_limit(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("THROTTLE_SIGN_UPS", "2/1h"));
    let link = link_of(&setup, "/register");
    let mut browser = Browser::new(setup.service.address());
    assert_eq!(confirm(&mut browser, &link, OTHER).status, 401);
    let late = register(&setup, "/register", &[("email", "next@mail.example"), ("password", PASSWORD)]);
    for refused in [confirm(&mut browser, &link, PASSWORD), late] {
        assert_eq!((refused.status, refused.set_cookies().len()), (429, 0), "{}", refused.text());
        assert!(refused.header("retry-after").is_some() && refused.text().contains("role=\"alert\""));
    }
    setup.advance(3600);
    assert_eq!(location(&confirm(&mut browser, &link, PASSWORD)), "/account");
}

fn without_remember_me_the_browser_keeps_no_session(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register");
    let mut browser = Browser::new(setup.service.address());
    let opened = browser.get(&link);
    let entered = confirm_on(&mut browser, &opened, PASSWORD, false);
    assert_eq!((entered.status, entered.set_cookies().len()), (303, 2));
    assert!(entered.set_cookies().iter().all(|cookie| !cookie.line.contains("Max-Age")), "{:?}", entered.set_cookies());
    let mut later = Browser::new(setup.service.address());
    assert_eq!(location(&sign_in_by_page(&mut later, "/login", EMAIL)), "/account");
}

fn the_pages_and_the_mail_are_in_spanish_when_preferred(backend: Backend) {
    let setup = SignUpService::start(backend);
    let mut browser = Browser::new(setup.service.address());
    let token = hidden(&browser.get("/register"), "token").unwrap();
    let fields = [("token", token.as_str()), ("email", EMAIL), ("password", PASSWORD)];
    let response = browser.send(form("/register", &fields).header("Accept-Language", "es"));
    assert_eq!((response.status, response.header("content-language")), (202, Some("es")), "{}", response.text());
    assert!(
        response.text().contains("<html lang=\"es\">") && response.text().contains("correo"),
        "{}",
        response.text()
    );
    let mail = setup.mails.wait_for_mail_to(EMAIL, 1);
    assert!(mail.body.contains("contraseña"), "{}", mail.body);
    let path = format!("/register/confirm?token={}", mail.token());
    let opened = browser.send(Request::new("GET", &path).header("Accept-Language", "es"));
    assert!(opened.text().contains("<html lang=\"es\">") && opened.text().contains("Contraseña"), "{}", opened.text());
    let plain = browser.get(&path);
    assert!(plain.text().contains("<html lang=\"en\">") && !plain.text().contains("ontraseña"), "{}", plain.text());
}

fn the_page_of_the_link_has_its_security_headers(backend: Backend) {
    let setup = SignUpService::start(backend);
    let link = link_of(&setup, "/register");
    let page = Request::new("GET", &link).send(setup.service.address());
    let login = Request::new("GET", "/login").send(setup.service.address());
    for name in [
        "Referrer-Policy",
        "Cache-Control",
        "X-Content-Type-Options",
        "Cross-Origin-Opener-Policy",
        "Cross-Origin-Resource-Policy",
        "Content-Security-Policy",
    ] {
        let fences = page.headers_named(name);
        assert!(fences.len() == 1 && fences == login.headers_named(name), "{name}: {fences:?}");
    }
    // The link must not leak to another site in `Referer`.
    assert!(["no-referrer", "same-origin"].contains(&page.header("Referrer-Policy").unwrap()));
    assert_eq!(page.header("Cache-Control"), Some("no-store"));
    assert!(!page.text().contains("<script"), "{}", page.text());
}
