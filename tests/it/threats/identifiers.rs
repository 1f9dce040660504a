//! Names: what stands in one is text to everybody who gets it.

use doorward::core::AccountId;
use serde_json::json;

use super::{register_with, registered, sign_in_with};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, on_both_backends, register};

on_both_backends!(
    sql_injection_in_any_text_is_only_text,
    header_injection_in_a_name_is_refused,
    one_canonical_form_on_both_backends,
    no_request_grants_a_role_or_permission,
);

const SQL: [&str; 8] = [
    "' OR '1'='1",
    "emily' --",
    "emily'; DROP TABLE accounts; --",
    "\" OR \"\"=\"",
    "emily%",
    "%",
    "\\'; SELECT pg_sleep(30); --",
    "emily' UNION SELECT 1,2,3 --",
];

fn sql_injection_in_any_text_is_only_text(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    let mut browser = register(&service, "emily");
    for text in SQL {
        assert_eq!(sign_in_with(&service, text, PASSWORD).status, 401, "{text}");
        assert_eq!(sign_in_with(&service, "emily", text).status, 401, "{text}");
        assert_eq!(register_with(&service, text, PASSWORD).status, 422, "{text}");
        let profile = browser.patch("/auth/me", &json!({ "firstName": text, "profile": { "k": text } }).to_string());
        assert_eq!((profile.status, &profile.json()["firstName"]), (200, &json!(text)), "{}", profile.text());
        let body = json!({ "username": "emily", "password": PASSWORD, "deviceId": text, "deviceName": text });
        let signed_in = Request::new("POST", "/auth/login").header("User-Agent", text).json(&body.to_string());
        assert_eq!(signed_in.send(service.address()).status, 200, "{text}");
        let encoded: String = text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
        assert_eq!(browser.delete(&format!("/auth/sessions/{encoded}")).status, 404, "{text}");
    }
    assert_eq!(tables.number(&service, "SELECT count(*) FROM accounts"), 1);
}

fn header_injection_in_a_name_is_refused(backend: Backend) {
    let service = backend.service().start();
    for text in [
        "em\r\nilys",
        "em\nSet-Cookie: x=1",
        "em:ily",
        "em,ily",
        "em;ily",
        "em\0ily",
        "em\u{85}ily",
        "em\u{2028}ily",
        "=?utf-8?q?x?=",
    ] {
        for field in ["username", "email", "name"] {
            let given = if field == "email" { format!("{text}@example.com") } else { text.to_owned() };
            let body = json!({ "username": "newcomer", "password": PASSWORD, field: given });
            let answer = Request::new("POST", "/auth/register").json(&body.to_string()).send(service.address());
            // RFC 5322 lets a local part hold the letters of the last one, and none of them ends a line.
            let harmless = field == "email" && text == "=?utf-8?q?x?=";
            assert!(answer.status == 422 || harmless, "{field} {text:?}: {}", answer.text());
        }
    }
}

fn one_canonical_form_on_both_backends(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    // SQLite's NOCASE would fold the first only, PostgreSQL's lower() by its locale.
    for (number, (name, variants, canonical)) in [
        ("Emily", ["EMILY", "eMILY"], "emily"),
        ("Straße", ["STRASSE", "straẞe"], "strasse"),
        ("ÉLODIE", ["élodie", "E\u{301}lodie"], "élodie"),
        ("ΣΊΣΥΦΟΣ", ["σίσυφος", "ΣίσυφοΣ"], "σίσυφος"),
        ("o\u{fb03}ce", ["OFFICE", "oﬃCE"], "office"),
    ]
    .into_iter()
    .enumerate()
    {
        registered(&service, name);
        let id = i64::try_from(number).unwrap() + 1;
        for variant in variants {
            // One that is typed in pieces is no new name either.
            let taken = register_with(&service, variant, PASSWORD).status;
            assert!([409, 422].contains(&taken), "{variant} beside {name}: {taken}");
            let mut browser = Browser::new(service.address());
            let body = json!({ "username": variant, "password": PASSWORD }).to_string();
            assert_eq!(browser.post("/auth/login", &body).status, 200, "{variant} for {name}");
            assert_eq!(browser.get("/auth/me").json()["username"], name, "shown as its owner wrote it");
            assert_eq!(service.core().find_account_by(variant).unwrap().id, AccountId(id), "an operator finds it too");
        }
        let canonical_rows = format!("SELECT count(*) FROM accounts WHERE username_canonical = '{canonical}'");
        let stored = tables.number(&service, &canonical_rows);
        assert_eq!(stored, 1, "{canonical}");
    }
}

fn no_request_grants_a_role_or_permission(backend: Backend) {
    let service = backend.service().start();
    let sign_ups = [
        (
            "/store/auth/signup",
            json!({ "firstName": "A", "lastName": "B", "login": "storey", "email": "a@example.com", "password": PASSWORD }),
        ),
        (
            "/signin/api/v1/auths/sign-up",
            json!({ "first_name": "A", "last_name": "B", "email": "b@example.com", "password": PASSWORD }),
        ),
        ("/envelope/auth/register", json!({ "email": "c@example.com", "password": "Quiet-harbour-7" })),
    ];
    for (path, mut body) in sign_ups {
        let rights = json!({
            "role": "ADMIN", "rol": "ADMIN", "roles": ["ADMIN"], "isAdmin": true, "is_admin": true, "permissions": ["all"],
            "id": 1, "status": "active", "emailVerified": true, "epoch": 99, "created_at": "2020-01-01T00:00:00Z",
        });
        body.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
        let answer = Request::new("POST", path).json(&body.to_string()).send(service.address());
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        let account = service.core().find_account_by(body["email"].as_str().unwrap()).unwrap();
        assert!(!account.role.contains("ADMIN") && account.permissions.is_empty(), "{path}: {account:?}");
        assert!(!account.email_verified, "{path}");
    }
}
