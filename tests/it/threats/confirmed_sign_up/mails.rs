//! Contents of the mails: text, language, sender, links, and how many of them an address gets.

use doorward::core::AccountStatus;
use serde_json::{Value, json};
use url::Url;

use crate::support::confirmed_sign_up::{OTHER, SignUpService, URL, add_account, deliver, mails_with_outcome};
use crate::support::http::Request;
use crate::support::smtp::Mail;
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    a_free_address_gets_one_link_with_the_token,
    a_taken_address_is_notified_and_linked_to_the_sign_in,
    a_taken_name_is_reported_to_the_mailbox_only,
    no_mail_contains_user_input,
    every_mail_is_plain_text_with_the_required_headers,
    mails_are_in_spanish_when_preferred,
    the_sender_is_a_setting,
    the_link_can_lead_to_a_page_of_the_app,
    rate_limit_of_three_mails_an_hour_holds_for_any_spelling_of_an_address,
    rate_limit_counts_mails_to_a_taken_address_alike,
);

fn a_free_address_gets_one_link_with_the_token(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.must_sign_up("emily@mail.example", &json!({}));
    let mail = setup.mails.wait_for_mail_to("emily@mail.example", 1);
    assert_eq!(mail.to, ["emily@mail.example"], "and no other recipient");
    let link = mail.link();
    assert_eq!(link.as_str(), format!("{URL}/register/confirm?token={}", mail.token()));
    setup.wait_for_outcome("sent", 1);
    deliver(&setup.service);
    assert_eq!((setup.mails.mails().len(), mails_with_outcome(&setup.service, "sent")), (1, 1), "once");
}

fn a_taken_address_is_notified_and_linked_to_the_sign_in(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    setup.must_sign_up("free@mail.example", &json!({}));
    setup.must_sign_up("taken@mail.example", &json!({ "password": OTHER }));
    let invited = setup.mails.wait_for_mail_to("free@mail.example", 1);
    let mail = setup.mails.wait_for_mail_to("taken@mail.example", 1);
    assert_eq!(mail.link().as_str(), format!("{URL}/login"));
    assert!(!mail.raw.contains("token") && !mail.raw.contains("register/confirm"), "{}", mail.raw);
    assert_ne!(mail.body, invited.body);
    assert!(mail.body.contains("account"), "{}", mail.body);
    let disabled = add_account(&setup.service, "disabled@mail.example", None);
    setup.service.core().set_status(disabled, AccountStatus::Locked).unwrap();
    setup.must_sign_up("disabled@mail.example", &json!({}));
    let notice = setup.mails.wait_for_mail_to("disabled@mail.example", 1);
    assert_eq!(
        (notice.the("subject"), &notice.body),
        (mail.the("subject"), &mail.body),
        "nor does a mail tell of a lock"
    );
    assert_eq!((setup.count("accounts"), setup.count("sessions")), (2, 0));
}

fn a_taken_name_is_reported_to_the_mailbox_only(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("harbourmaster"));
    let mut body_text = vec![];
    for (number, name) in ["harbourmaster", "HarbourMaster", "ｈarbourmaster"].into_iter().enumerate() {
        let email = format!("free-{number}@mail.example");
        let answer = setup.sign_up(&email, &json!({ "username": name }));
        if answer.status == 422 {
            continue;
        }
        assert_eq!(answer.status, 202, "{name}: {}", answer.text());
        let mail = setup.mails.wait_for_mail_to(&email, 1);
        assert!(!mail.raw.contains("token"), "{}", mail.raw);
        assert!(mail.body.contains("name") && mail.body.to_lowercase().contains("again"), "{}", mail.body);
        assert!(!mail.body.to_lowercase().contains("harbourmaster"), "{}", mail.body);
        body_text.push(mail.body);
    }
    assert!(body_text.len() >= 2 && body_text.iter().all(|body| *body == body_text[0]), "{body_text:?}");
    // The owner of an account learns of that first.
    setup.must_sign_up("taken@mail.example", &json!({ "username": "harbourmaster" }));
    assert_eq!(setup.mails.wait_for_mail_to("taken@mail.example", 1).link().path(), "/login");
    assert_eq!(setup.count("accounts"), 1);
}

/// A mail with a stranger's text would be the stranger's mail under our name.
fn no_mail_contains_user_input(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken-by-canary"));
    let typed = json!({
        "name": "namecanary", "firstName": "Win a prize at http://evil.example/firstcanary", "lastName": "lastcanary",
        "gender": "gendercanary", "image": "http://evil.example/imagecanary", "phone": "+34600000000",
        "deviceId": "devicecanary", "deviceName": "Come to http://evil.example/canary", "profile": { "a": "profilecanary" },
    });
    for (email, username) in [
        ("free@mail.example", "usercanary"),
        ("taken@mail.example", "other-canary"),
        ("named@mail.example", "taken-by-canary"),
    ] {
        let mut body = typed.clone();
        body["email"] = email.into();
        body["username"] = username.into();
        body["password"] = PASSWORD.into();
        let request = Request::new("POST", "/auth/register")
            .header("User-Agent", "agentcanary")
            .header("Accept-Language", "en, x-languagecanary")
            .header("X-Request-Id", "requestcanary");
        let answer = request.json(&body.to_string()).send(setup.service.address());
        assert_eq!(answer.status, 202, "{}", answer.text());
        let mail = setup.mails.wait_for_mail_to(email, 1);
        for text in [&mail.raw, &mail.body, mail.the("subject")] {
            for typed in ["canary", "evil", "prize", "34600000000", PASSWORD] {
                assert!(!text.contains(typed), "{typed} in {text}");
            }
        }
        assert!(!mail.body.contains(email), "{}", mail.body);
    }
}

/// The texts of the three mails: to a free address, to a taken one, and about a taken name.
fn three_mails(setup: &SignUpService, language: Option<&str>) -> [Mail; 3] {
    let at = language.map_or("none".to_owned(), |language| {
        language.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).collect()
    });
    let name = format!("taken-{}", at.to_lowercase());
    add_account(&setup.service, &format!("taken@{at}.example"), Some(&name));
    [("free", json!({})), ("taken", json!({})), ("named", json!({ "username": name }))].map(|(who, more)| {
        let email = format!("{who}@{at}.example");
        let mut body: Value = json!({ "email": email, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = Request::new("POST", "/auth/register").json(&body.to_string());
        let request = language.map_or(request.clone(), |language| request.header("Accept-Language", language));
        let answer = request.send(setup.service.address());
        assert_eq!(answer.status, 202, "{}", answer.text());
        setup.mails.wait_for_mail_to(&email, 1)
    })
}

fn every_mail_is_plain_text_with_the_required_headers(backend: Backend) {
    let setup = SignUpService::start(backend);
    let mut ids = vec![];
    for mail in three_mails(&setup, None).into_iter().chain(three_mails(&setup, Some("es"))) {
        assert_eq!((mail.from.as_str(), mail.the("from")), ("door@auth.example", "Harbour <door@auth.example>"));
        assert_eq!(mail.the("to").trim_matches(['<', '>']), mail.to[0]);
        let kind = mail.the("content-type").to_lowercase();
        assert!(kind.starts_with("text/plain") && kind.contains("utf-8"), "{kind}");
        assert!(!mail.the("subject").is_empty() && !mail.body.trim().is_empty());
        let id = mail.the("message-id").to_owned();
        assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{id}");
        let date = mail.the("date");
        assert!(date.contains("2026") && date.contains(':'), "{date}");
        for other in ["cc", "bcc"] {
            assert_eq!(mail.header(other), None);
        }
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "no two mails have the same id");
}

/// Counts words that exist in only one of the two languages.
fn spanish_words(text: &str) -> (usize, usize) {
    let of = |words: &[&str]| text.to_lowercase().split_whitespace().filter(|word| words.contains(word)).count();
    (
        of(&["de", "que", "la", "el", "una", "en", "con", "si", "tu", "esta"]),
        of(&["the", "you", "to", "with", "your", "this"]),
    )
}

fn mails_are_in_spanish_when_preferred(backend: Backend) {
    let setup = SignUpService::start(backend);
    let [free, taken, named] = three_mails(&setup, None);
    for (language, is_spanish) in [
        ("es", true),
        ("es-MX,en;q=0.5", true),
        ("en;q=0.5, es;q=0.8", true),
        ("en", false),
        ("en,es;q=0.9", false),
        ("de", false),
    ] {
        for (mail, plain) in three_mails(&setup, Some(language)).iter().zip([&free, &taken, &named]) {
            let (spanish, english) = spanish_words(&mail.body);
            assert_eq!(spanish > english, is_spanish, "{language}: {}", mail.body);
            assert!(spanish.abs_diff(english) >= 3, "{language}: {}", mail.body);
            assert_eq!(mail.the("subject") == plain.the("subject"), !is_spanish, "{language}: {}", mail.the("subject"));
            assert_eq!(mail.links().len(), plain.links().len(), "{language}: {}", mail.body);
        }
    }
}

fn the_sender_is_a_setting(backend: Backend) {
    for (setting, name) in [
        ("door@auth.example", None),
        ("Harbour <door@auth.example>", Some("Harbour")),
        ("Puerto de Málaga <door@auth.example>", Some("Puerto de Málaga")),
        ("\"Harbour, Ltd.\" <door@auth.example>", Some("Harbour, Ltd.")),
    ] {
        let setup = SignUpService::with(backend, |builder| builder.set("MAIL_FROM", setting));
        setup.must_sign_up("emily@mail.example", &json!({}));
        let mail = setup.mails.wait_for(1);
        assert_eq!(mail.from, "door@auth.example", "{setting}");
        let shown = mail.the("from");
        match name {
            Some(name) => {
                let (before, address) = shown.split_once('<').unwrap_or_else(|| panic!("{shown}"));
                assert_eq!((before.trim().trim_matches('"'), address), (name, "door@auth.example>"));
                // RFC 5322: a comma separates addresses unless it is quoted.
                assert!(!name.contains(',') || shown.starts_with('"') || mail.raw.contains("From: =?"), "{}", mail.raw);
            }
            None => assert_eq!(shown.trim_matches(['<', '>']), "door@auth.example"),
        }
    }
}

fn the_link_can_lead_to_a_page_of_the_app(backend: Backend) {
    for (setting, pages) in [
        ("https://app.example/welcome", "false"),
        ("https://app.example/welcome", "true"),
        ("https://app.example/welcome?step=2&x=%C3%A1", "false"),
        ("https://app.example", "false"),
    ] {
        let setup =
            SignUpService::with(backend, |builder| builder.set("SIGNUP_CONFIRM_URL", setting).set("PAGES", pages));
        setup.must_sign_up("emily@mail.example", &json!({}));
        let mail = setup.mails.wait_for_mail_to("emily@mail.example", 1);
        let (mut link, token) = (mail.link(), mail.token());
        let others: Vec<_> = link.query_pairs().into_owned().filter(|(name, _)| name != "token").collect();
        let wanted = Url::parse(setting).unwrap();
        assert_eq!(others, wanted.query_pairs().into_owned().collect::<Vec<_>>(), "{setting}: {link}");
        let mut bare = wanted.clone();
        link.set_query(None);
        bare.set_query(None);
        assert_eq!(link, bare);
        let page = Request::new("GET", "/register/confirm?token=x").send(setup.service.address());
        assert_eq!(page.status, if pages == "true" { 200 } else { 404 }, "{setting}");
        assert_eq!(setup.confirm(&token, PASSWORD).status, 201, "the app's page sends it on");
    }
}

fn rate_limit_of_three_mails_an_hour_holds_for_any_spelling_of_an_address(backend: Backend) {
    let setup = SignUpService::start(backend);
    let spellings = ["emily@mail.example", "Emily@Mail.Example", "EMILY@MAIL.EXAMPLE", "emily@MAIL.example"];
    for (number, email) in spellings.iter().enumerate().take(3) {
        setup.must_sign_up(email, &json!({}));
        setup.mails.wait_for_mail_to("emily@mail.example", number + 1);
        setup.advance(60);
    }
    setup.wait_for_outcome("sent", 3);
    for (number, email) in spellings.iter().enumerate() {
        setup.must_sign_up(email, &json!({}));
        setup.wait_for_outcome("withheld", u64::try_from(number).unwrap() + 1);
    }
    setup.must_sign_up("ben@mail.example", &json!({}));
    setup.mails.wait_for_mail_to("ben@mail.example", 1);
    setup.advance(50 * 60);
    assert_eq!(setup.mails.mails_to("emily@mail.example").len(), 3, "nor are they sent later");
    setup.advance(11 * 60);
    setup.must_sign_up("emily@mail.example", &json!({}));
    let fourth = setup.mails.wait_for_mail_to("emily@mail.example", 4);
    assert_eq!(setup.confirm(&fourth.token(), PASSWORD).status, 201);
    assert_eq!(setup.mails.mails().len(), 5);
}

fn rate_limit_counts_mails_to_a_taken_address_alike(backend: Backend) {
    let setup = SignUpService::start(backend);
    add_account(&setup.service, "taken@mail.example", Some("taken"));
    for (email, more) in [("taken@mail.example", json!({})), ("free@mail.example", json!({ "username": "taken" }))] {
        for number in 1..=3 {
            setup.must_sign_up(email, &more);
            setup.mails.wait_for_mail_to(email, number);
        }
        let withheld = mails_with_outcome(&setup.service, "withheld");
        setup.must_sign_up(email, &more);
        setup.wait_for_outcome("withheld", withheld + 1);
        assert_eq!(setup.mails.mails_to(email).len(), 3);
    }
}
