//! Signing keys of every algorithm: their tokens behave alike, switching the algorithm ends no session, and retiring a
//! key ends everything signed with it. The public halves are tested in jwks.rs, forgeries in key_confusion.rs, the
//! commands in commands.rs.

mod commands;
mod jwks;
mod key_confusion;

use std::time::Duration;

use doorward::settings::TokenAlgorithm;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::{
    Backend, Tables, Tokens, decode_jwt, is_accepted, on_both_backends, post, race, refresh_with, register, sign_in,
};

on_both_backends!(
    each_algorithm_signs_in_refreshes_and_signs_out,
    the_refresh_token_is_the_same_on_every_node_and_at_every_replay,
    switching_the_algorithm_ends_no_session,
    retiring_a_key_ends_its_tokens_and_sessions_on_every_node,
    removing_a_key_invalidates_refresh_tokens_of_every_shape,
    a_rotation_prunes_exactly_the_keys_without_live_tokens,
);

/// The setting's value, and the name in a token's header.
const ALGORITHMS: [(&str, &str); 3] = [("hs256", "HS256"), ("eddsa", "EdDSA"), ("es256", "ES256")];

/// Longer than the propagation delay of a new key of any algorithm.
const SETTLED: Duration = Duration::from_secs(61);

fn with(backend: Backend, algorithm: &str) -> Builder {
    backend.service().set("TOKEN_ALGORITHM", algorithm)
}

/// Another node on the same database and keys.
fn beside(first: &TestService, tables: &Tables) -> Builder {
    let database = match tables {
        Tables::Sqlite => format!("sqlite://{}", first.folder().join("doorward.db").display()),
        Tables::Postgres(url) => url.clone(),
    };
    let keys = first.folder().join("doorward.keys").display().to_string();
    TestService::builder().set("DATABASE_URL", database).set("KEYS_FILE", keys)
}

fn key_id(token: &str) -> String {
    decode_jwt(token).0["kid"].as_str().unwrap().to_owned()
}

fn algorithm_of(token: &str) -> String {
    decode_jwt(token).0["alg"].as_str().unwrap().to_owned()
}

/// Rotates, and waits until this node signs with the key.
fn rotate(service: &TestService, algorithm: TokenAlgorithm) -> String {
    let id = service.core().rotate_signing_key(Some(algorithm)).unwrap().id;
    service.advance(SETTLED);
    service.core().sync().unwrap();
    id
}

fn each_algorithm_signs_in_refreshes_and_signs_out(backend: Backend) {
    for (word, name) in ALGORITHMS {
        let service = with(backend, word).start();
        let mut browser = register(&service, "emily");
        let first = Tokens::in_jar_of(&browser);
        assert_eq!((algorithm_of(&first.access).as_str(), algorithm_of(&first.refresh).as_str()), (name, "HS256"));
        assert_eq!(key_id(&first.access), key_id(&first.refresh), "one id for both, to retire them together");
        let (header, _) = decode_jwt(&first.access);
        assert_eq!(header.as_object().unwrap().len(), 3, "typ, alg, kid: {header}");
        let second = first.assert_valid(&service);
        assert_eq!(algorithm_of(&second.access), name);
        let third = second.assert_valid(&service);
        // The refresh token was rotated outside the browser.
        browser.set_cookie("refreshToken", &third.refresh);
        browser.set_cookie("accessToken", &third.access);
        assert_eq!(browser.post_empty("/auth/logout").status, 200);
        for tokens in [first, second, third] {
            tokens.assert_invalid(&service);
        }
    }
}

fn claims_of(answer: &Tokens) -> Value {
    decode_jwt(&answer.access).1
}

fn the_refresh_token_is_the_same_on_every_node_and_at_every_replay(backend: Backend) {
    for (word, _) in ALGORITHMS {
        let (builder, tables) = backend.service_and_tables();
        let first = builder.set("TOKEN_ALGORITHM", word).start();
        let second = beside(&first, &tables).start();
        let session_tokens = Tokens::in_jar_of(&register(&first, "emily"));
        let (nodes, spent) = ([first.address(), second.address()], session_tokens.refresh.clone());
        let answers = race(8, move |number| {
            let request = Request::new("POST", "/auth/refresh").cookie_header(&format!("refreshToken={spent}"));
            request.send(nodes[number % 2])
        });
        let mut answers: Vec<Tokens> = answers.iter().map(Tokens::set_by).collect();
        answers.extend([&first, &second].map(|node| Tokens::set_by(&refresh_with(node, &session_tokens.refresh))));
        for answer in &answers {
            assert_eq!(answer.refresh, answers[0].refresh, "{word}");
            assert_eq!(claims_of(answer), claims_of(&answers[0]), "{word}: one token, however often it is signed");
            assert!(is_accepted(&first, &answer.access) && is_accepted(&second, &answer.access), "{word}");
        }
        answers[0].assert_valid(&second);
    }
}

fn switching_the_algorithm_ends_no_session(backend: Backend) {
    let service = with(backend, "hs256").start();
    let mut session_tokens = vec![Tokens::in_jar_of(&register(&service, "emily"))];
    for algorithm in [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256, TokenAlgorithm::Hs256] {
        let id = service.core().rotate_signing_key(Some(algorithm)).unwrap().id;
        service.core().sync().unwrap();
        let early = Tokens::in_jar_of(&sign_in(&service, "emily"));
        assert_ne!(key_id(&early.access), id, "not before every node has it");
        session_tokens.push(early);
        service.advance(SETTLED);
        service.core().sync().unwrap();
        let late = Tokens::in_jar_of(&sign_in(&service, "emily"));
        assert_eq!(key_id(&late.access), id);
        session_tokens.push(late);
        for tokens in &mut session_tokens {
            let next = tokens.assert_valid(&service);
            assert_eq!((key_id(&next.access), key_id(&next.refresh)), (id.clone(), id.clone()));
            assert!(is_accepted(&service, &next.access), "and so it is rotated the next time");
            *tokens = next;
        }
    }
    let listed = service.core().list_keys().unwrap();
    assert_eq!(listed.iter().map(|key| key.kind).collect::<Vec<_>>(), ["hs256", "es256", "eddsa", "hs256", "pepper"]);
    let needed: Vec<i64> = listed.iter().map(|key| key.in_use_by).collect();
    assert_eq!(needed, [7, 0, 0, 0, 1]);
}

/// Access and refresh token of three contracts: one that rotates, one that does not, one whose refresh token is a UUID.
fn on_three_wires(service: &TestService) -> Vec<(&'static str, String, String)> {
    let native =
        post(service, "/auth/login", &json!({ "username": "emilys", "password": "emilyspass", "tokens": "body" }));
    let pin = post(service, "/pin/auth/login", &json!({ "name": "cooluser1", "pin": "0000" }));
    let enveloped = json!({ "email": "emily.johnson@x.dummyjson.com", "password": "emilyspass" });
    let envelope = post(service, "/envelope/auth/login", &enveloped);
    let pin = Tokens::set_by(&pin);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (native, envelope) = (native.json(), envelope.json()["data"].clone());
    vec![
        ("", text(&native["accessToken"]), text(&native["refreshToken"])),
        ("/pin", pin.access, pin.refresh),
        ("/envelope", text(&envelope["accessToken"]), text(&envelope["refreshToken"])),
    ]
}

fn refreshed_on(service: &TestService, mount: &str, access: &str, refresh: &str) -> crate::support::http::Response {
    match mount {
        "/envelope" => post(service, "/envelope/auth/refresh-token", &json!({ "refreshToken": refresh })),
        mount => Request::new("POST", &format!("{mount}/auth/refresh"))
            .cookie_header(&format!("accessToken={access}; refreshToken={refresh}"))
            .send(service.address()),
    }
}

fn retiring_a_key_ends_its_tokens_and_sessions_on_every_node(backend: Backend) {
    for (word, _) in ALGORITHMS {
        let (builder, tables) = backend.service_and_tables();
        let service = builder.set("TOKEN_ALGORITHM", word).demo().start();
        let session_tokens = on_three_wires(&service);
        let old = key_id(&session_tokens[0].1);
        let refused = service.core().retire_key(&old).unwrap_err().to_string();
        assert!(refused.contains("only signing key") && refused.contains("keys rotate"), "{refused}");
        // Every node has read it after a second: an access token of /pin is valid for a minute.
        let new = service.core().rotate_signing_key(Some(TokenAlgorithm::Hs256)).unwrap().id;
        let other = beside(&service, &tables).start();
        for node in [&service, &other] {
            node.advance(Duration::from_secs(2));
            node.core().sync().unwrap();
        }
        // The contract that does not rotate gets an access token under the new key; its session stays under the old
        // one.
        let kept = refreshed_on(&service, "/pin", &session_tokens[1].1, &session_tokens[1].2).set_cookies();
        assert_eq!((kept.len(), kept[0].name.as_str(), key_id(&kept[0].value)), (1, "accessToken", new.clone()));
        let survivor = on_three_wires(&service);
        assert!(session_tokens.iter().all(|(_, access, _)| is_accepted(&service, access)), "the overlap");

        assert_eq!(service.core().plan_retirement(&old).unwrap().sessions, 3);
        assert_eq!(service.core().retire_key(&old).unwrap(), 3);
        for node in [&service, &other] {
            node.core().sync().unwrap();
            for (mount, access, refresh) in &session_tokens {
                assert!(!is_accepted(node, access), "{word} {mount}");
                let answer = refreshed_on(node, mount, "", refresh);
                assert_eq!(answer.status, 401, "{word} {mount}: {}", answer.text());
            }
            assert!(!is_accepted(node, &kept[0].value), "{word}: the session is over, not only its key");
            assert!(survivor.iter().all(|(_, access, _)| is_accepted(node, access)), "{word}");
        }
        for (mount, access, refresh) in &survivor {
            let answer = refreshed_on(&service, mount, access, refresh);
            assert_eq!(answer.status, 200, "{word} {mount}: {}", answer.text());
        }
        let again = service.core().retire_key(&old).unwrap_err().to_string();
        assert!(again.contains(&format!("there is no key {old}")), "{again}");
    }
}

/// Removed by hand, with the sessions' rows unchanged: the key alone decides.
fn removing_a_key_invalidates_refresh_tokens_of_every_shape(backend: Backend) {
    let service = with(backend, "eddsa").demo().start();
    let session_tokens = on_three_wires(&service);
    rotate(&service, TokenAlgorithm::EdDsa);
    let envelope = refreshed_on(&service, "/envelope", "", &session_tokens[2].2);
    assert_eq!(envelope.status, 200, "accepted in the overlap: {}", envelope.text());
    let file = service.folder().join("doorward.keys");
    let text = std::fs::read_to_string(&file).unwrap();
    let pulled = format!("eddsa {} ", key_id(&session_tokens[0].1));
    let left: Vec<&str> = text.lines().filter(|line| !line.starts_with(&pulled)).collect();
    assert_eq!(left.len(), text.lines().count() - 1);
    std::fs::write(&file, left.join("\n") + "\n").unwrap();
    service.core().sync().unwrap();
    // The envelope's token was spent and its successor not yet used: the holder of the removed key can compute the
    // successor and must not get it.
    for (mount, _, refresh) in &session_tokens {
        let answer = refreshed_on(&service, mount, "", refresh);
        assert_eq!(answer.status, 401, "{mount}: {}", answer.text());
    }
    let successor = envelope.json()["data"]["refreshToken"].as_str().unwrap().to_owned();
    let answer = refreshed_on(&service, "/envelope", "", &successor.to_uppercase());
    assert_eq!(answer.status, 200, "the new key's lives, however it is written: {}", answer.text());
}

fn a_rotation_prunes_exactly_the_keys_without_live_tokens(backend: Backend) {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let service = backend.service().set("REFRESH_TTL", "30d").start();
    let tokens = Tokens::in_jar_of(&register(&service, "emily"));
    let first = key_id(&tokens.access);
    let second = rotate(&service, TokenAlgorithm::EdDsa);
    let ids = || service.core().list_keys().unwrap().into_iter().map(|key| key.id).collect::<Vec<_>>();
    service.advance(days(29));
    let rotated = service.core().rotate_signing_key(None).unwrap();
    assert_eq!((rotated.kind, rotated.pruned.len()), ("eddsa", 0), "a token of the first may live");
    assert_eq!(ids()[..3], [rotated.id.clone(), second.clone(), first.clone()]);
    service.core().sync().unwrap();
    assert_eq!(refresh_with(&service, &tokens.refresh).status, 200);
    service.advance(days(3));
    let again = service.core().rotate_signing_key(None).unwrap();
    assert_eq!(again.pruned, [first], "the second was replaced three days ago");
    assert_eq!(ids()[..3], [again.id, rotated.id, second]);
}
