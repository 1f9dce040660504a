//! Restored database: tokens whose session or account the rows do not have, after a backup was restored or a node failed over
//! to a copy that lacks the last commits. A logout is final all the same, and a token never speaks for another account.

use doorward::testing::TestService;
use serde_json::json;

use crate::support::http::{Request, Response};
use crate::support::{
    Backend, Tables, Tokens, code, is_accepted, on_both_backends, post, refresh_with, register, sign_in,
};

on_both_backends!(
    a_logout_of_a_session_without_a_row_is_final,
    a_logout_everywhere_of_a_session_without_a_row_ends_what_the_account_has,
    a_logout_everywhere_outlives_an_epoch_that_was_restored,
    every_end_of_all_sessions_outlives_an_epoch_that_was_restored,
    an_expired_refresh_token_of_a_deleted_session_ends_nothing,
    a_repeated_logout_of_a_session_without_a_row_writes_nothing,
    a_token_never_speaks_for_the_account_that_has_its_number_now,
    a_token_with_an_accounts_number_as_its_subject_is_invalid,
);

fn forget_sessions(tables: &Tables, service: &TestService) {
    tables.run(service, "DELETE FROM sessions");
}

fn logout(service: &TestService, path: &str, access: Option<&str>, refresh: Option<&str>) -> Response {
    let cookies = [("accessToken", access), ("refreshToken", refresh)];
    let cookies: Vec<String> =
        cookies.iter().filter_map(|(name, token)| Some(format!("{name}={}", (*token)?))).collect();
    Request::new("POST", path).cookie_header(&cookies.join("; ")).send(service.address())
}

fn a_logout_of_a_session_without_a_row_is_final(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let mut service = builder.start();
    register(&service, "emily");
    let mut ended = vec![];
    let mut later = vec![];
    for (with_access, with_refresh, bearer) in
        [(true, true, false), (true, false, false), (false, true, false), (true, false, true)]
    {
        let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
        service.advance(std::time::Duration::from_mins(1));
        later.push(Tokens::after_refresh(&refresh_with(&service, &tokens.refresh), &tokens.refresh));
        forget_sessions(&tables, &service);
        assert!(is_accepted(&service, &tokens.access), "a check reads no row");
        let answer = if bearer {
            Request::new("POST", "/auth/logout").bearer(&tokens.access).send(service.address())
        } else {
            let access = with_access.then_some(tokens.access.as_str());
            logout(&service, "/auth/logout", access, with_refresh.then_some(tokens.refresh.as_str()))
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        for access in [&tokens.access, &later.last().unwrap().access] {
            assert!(!is_accepted(&service, access), "{with_access} {with_refresh} {bearer}");
        }
        let again = logout(&service, "/auth/logout", Some(&tokens.access), None);
        assert_eq!(again.status, 200, "a repetition: {}", again.text());
        ended.push(tokens);
    }
    service.restart();
    while service.clock().now().seconds() < crate::support::expiry_of(&later[3].access) {
        service.core().purge().unwrap();
        for tokens in ended.iter().chain(&later) {
            assert!(!is_accepted(&service, &tokens.access), "the revocation is a row");
            assert_eq!(refresh_with(&service, &tokens.refresh).status, 401);
        }
        service.advance(std::time::Duration::from_mins(2));
    }
}

fn a_logout_everywhere_of_a_session_without_a_row_ends_what_the_account_has(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    register(&service, "emily");
    for with_access in [true, false] {
        let old = Tokens::in_jar_of(&sign_in(&service, "emily"));
        forget_sessions(&tables, &service);
        let newer = Tokens::in_jar_of(&sign_in(&service, "emily"));
        let access = with_access.then_some(old.access.as_str());
        let answer = logout(&service, "/auth/logout-all", access, (!with_access).then_some(old.refresh.as_str()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!is_accepted(&service, &old.access));
        newer.assert_invalid(&service);
    }
    Tokens::in_jar_of(&sign_in(&service, "emily")).assert_valid(&service);
}

fn a_logout_everywhere_outlives_an_epoch_that_was_restored(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    register(&service, "emily");
    let account = service.core().find_account_by("emily").unwrap().id;
    for _ in 0..3 {
        service.core().end_all_sessions_as_operator(account).unwrap();
    }
    let (one, other) = (Tokens::in_jar_of(&sign_in(&service, "emily")), Tokens::in_jar_of(&sign_in(&service, "emily")));
    forget_sessions(&tables, &service);
    tables.run(&service, "UPDATE accounts SET epoch = 1");
    assert_eq!(logout(&service, "/auth/logout-all", Some(&one.access), None).status, 200);
    while service.clock().now().seconds() < crate::support::expiry_of(&other.access) {
        service.core().purge().unwrap();
        assert!(!is_accepted(&service, &one.access) && !is_accepted(&service, &other.access));
        service.advance(std::time::Duration::from_mins(1));
    }
}

fn emily(service: &TestService) -> doorward::core::account::Account {
    service.core().find_account_by("emily").unwrap()
}

/// The token is not presented: only the clock knows how high its epoch may be.
fn every_end_of_all_sessions_outlives_an_epoch_that_was_restored(backend: Backend) {
    use doorward::core::AccountStatus;
    type End = fn(&TestService, &Tokens);
    let ends: [(&str, End); 6] = [
        ("logout-all", |service, later| {
            assert_eq!(logout(service, "/auth/logout-all", Some(&later.access), None).status, 200);
        }),
        ("the operator's end", |service, _| {
            service.core().end_all_sessions_as_operator(emily(service).id).unwrap();
        }),
        ("a lock", |service, _| {
            for status in [AccountStatus::Locked, AccountStatus::Active] {
                service.core().set_status(emily(service).id, status).unwrap();
            }
        }),
        ("a role", |service, _| {
            service.core().set_role(emily(service).id, "ADMIN").unwrap();
        }),
        ("a required change", |service, _| {
            for required in [true, false] {
                service.core().require_password_change(&emily(service), required).unwrap();
            }
        }),
        ("a change of the password", |service, later| {
            let change =
                json!({ "currentPassword": crate::support::PASSWORD, "newPassword": "another-harbour-lantern" });
            let request = Request::new("POST", "/auth/change-password").bearer(&later.access);
            assert_eq!(request.json(&change.to_string()).send(service.address()).status, 200);
        }),
    ];
    let (builder, tables) = backend.service_and_tables();
    let mut service = builder.start();
    register(&service, "emily");
    for (name, end) in ends {
        for _ in 0..3 {
            service.core().end_all_sessions_as_operator(emily(&service).id).unwrap();
        }
        let stolen = Tokens::in_jar_of(&sign_in(&service, "emily"));
        service.advance(std::time::Duration::from_secs(1));
        forget_sessions(&tables, &service);
        tables.run(&service, "DELETE FROM revocations");
        tables.run(&service, "UPDATE accounts SET epoch = 1");
        service.restart();
        let later = Tokens::in_jar_of(&sign_in(&service, "emily"));
        assert!(is_accepted(&service, &stolen.access), "{name}: a check reads no row");
        end(&service, &later);
        assert!(!is_accepted(&service, &stolen.access), "{name}");
        assert!(!is_accepted(&service, &later.access), "{name}");
        assert_eq!(refresh_with(&service, &stolen.refresh).status, 401, "{name}");
    }
}

/// Its row was deleted because it had expired: no sign that the rows are those of a backup.
fn an_expired_refresh_token_of_a_deleted_session_ends_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("REFRESH_TTL", "1d").set("SESSION_MAX_AGE", "1d").start();
    register(&service, "emily");
    let old = Tokens::in_jar_of(&sign_in(&service, "emily"));
    service.advance(std::time::Duration::from_hours(49));
    service.core().purge().unwrap();
    assert_eq!(tables.number(&service, "SELECT count(*) FROM sessions"), 0);
    let alive = Tokens::in_jar_of(&sign_in(&service, "emily"));
    let rows = |table: &str| tables.number(&service, &format!("SELECT count(*) FROM {table}"));
    let before = (rows("revocations"), rows("audit_events"));
    for path in ["/auth/logout", "/auth/logout-all"] {
        let answer = logout(&service, path, None, Some(&old.refresh));
        assert_eq!((answer.status, code(&answer).as_str()), (401, "token_expired"), "{path}");
        assert!(is_accepted(&service, &alive.access), "{path}");
    }
    assert_eq!((rows("revocations"), rows("audit_events")), before);
    alive.assert_valid(&service);
}

fn a_repeated_logout_of_a_session_without_a_row_writes_nothing(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.start();
    register(&service, "emily");
    for path in ["/auth/logout", "/auth/logout-all"] {
        for (with_access, with_refresh) in [(true, true), (true, false), (false, true)] {
            let tokens = Tokens::in_jar_of(&sign_in(&service, "emily"));
            forget_sessions(&tables, &service);
            let rows = |table: &str| tables.number(&service, &format!("SELECT count(*) FROM {table}"));
            let mut written = vec![];
            for _ in 0..3 {
                let access = with_access.then_some(tokens.access.as_str());
                let answer = logout(&service, path, access, with_refresh.then_some(tokens.refresh.as_str()));
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                written.push((rows("revocations"), rows("audit_events")));
            }
            assert!(written[0] == written[1] && written[1] == written[2], "{path} {with_access}: {written:?}");
        }
    }
}

fn a_token_never_speaks_for_the_account_that_has_its_number_now(backend: Backend) {
    let (builder, tables) = backend.service_and_tables();
    let service = builder.set("TRUSTED_PROXIES", "127.0.0.1").set("SIGNUP", "true").start();
    let bob = Tokens::in_jar_of(&register(&service, "bob"));
    register(&service, "mallory");
    // The backup is from before bob signed up, and mallory signs up with the number that he had.
    tables.run(&service, "DELETE FROM sessions");
    tables.run(&service, "UPDATE accounts SET id = id + 100 WHERE username = 'bob'");
    tables.run(&service, "UPDATE accounts SET id = id - 1 WHERE username = 'mallory'");
    tables.run(&service, "DELETE FROM accounts WHERE username = 'bob'");
    assert_eq!(tables.number(&service, "SELECT id FROM accounts WHERE username = 'mallory'"), 1);
    let cookie = format!("accessToken={}; refreshToken={}", bob.access, bob.refresh);
    let with_cookie = |request: Request| request.cookie_header(&cookie).send(service.address());
    let verify = Request::new("GET", "/auth/verify").header("X-Forwarded-Host", "app.test");
    let verify = verify.header("X-Forwarded-Uri", "/").header("X-Forwarded-Proto", "http");
    let requests = [
        verify,
        Request::new("GET", "/auth/me"),
        Request::new("PATCH", "/auth/me").json(&json!({ "firstName": "Bob" }).to_string()),
        Request::new("POST", "/auth/refresh"),
        Request::new("POST", "/auth/change-password").json(
            &json!({ "currentPassword": crate::support::PASSWORD, "newPassword": "another-harbour-lantern" })
                .to_string(),
        ),
    ];
    for request in requests {
        let answer = with_cookie(request);
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.header("Remote-User"), None);
    }
    let listed = with_cookie(Request::new("GET", "/auth/sessions"));
    assert_eq!(listed.status, 401, "{}", listed.text());
    assert_eq!(tables.number(&service, "SELECT count(*) FROM accounts WHERE first_name IS NOT NULL"), 0);
    Tokens::in_jar_of(&sign_in(&service, "mallory")).assert_valid(&service);
}

fn a_token_with_an_accounts_number_as_its_subject_is_invalid(backend: Backend) {
    use doorward::core::keys::signing_key::{KeyRing, SigningKey};
    use doorward::core::token::claims::AccessClaims;
    use doorward::core::token::{TokenAuthority, TokenRules};
    // What this service signs has the account's UUID, which no other account ever gets.
    let service = backend.service().start();
    register(&service, "emily");
    let account = service.core().find_account_by("emily").unwrap();
    let token = Tokens::in_jar_of(&sign_in(&service, "emily")).access;
    assert_eq!(crate::support::decode_jwt(&token).1["sub"], account.uuid.to_string());
    let me = post(&service, "/auth/login", &json!({ "username": "emily", "password": crate::support::PASSWORD }));
    assert_eq!(me.status, 200);
    let key = b"kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";
    let rules =
        TokenRules { issuer: "doorward".into(), audience: "apps".into(), clock_skew: std::time::Duration::ZERO };
    let authority = TokenAuthority::new(rules, &KeyRing::new(SigningKey::hs256("k1", key), [])).unwrap();
    let at = service.clock().now();
    let claims = AccessClaims {
        account: account.uuid,
        session: doorward::core::SessionId(uuid::Uuid::from_u128(1)),
        generation: 0,
        epoch: 0,
        role: "USER".into(),
        must_change_password: false,
        issued_at: at,
        expires_at: at.plus(std::time::Duration::from_mins(5)),
        id: "x".into(),
    };
    let genuine = authority.mint_access(&claims, "k1").unwrap().expose().to_owned();
    assert!(authority.verify_access(&genuine, at).is_ok());
    for subject in ["1", "-1", "", "00000000-0000-0000-0000-00000000000g", "../x"] {
        let payload = crate::support::decode_jwt(&genuine).1.to_string().replace(&account.uuid.to_string(), subject);
        let forged = jsonwebtoken::encode(
            &header_of(&genuine),
            &serde_json::from_str::<serde_json::Value>(&payload).unwrap(),
            &jsonwebtoken::EncodingKey::from_secret(key),
        );
        assert!(authority.verify_access(&forged.unwrap(), at).is_err(), "{subject:?}");
    }
}

fn header_of(token: &str) -> jsonwebtoken::Header {
    jsonwebtoken::decode_header(token).unwrap()
}
