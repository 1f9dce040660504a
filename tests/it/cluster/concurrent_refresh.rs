//! Concurrent refreshes and logouts on different nodes: the table decides, whichever node is asked, and every node
//! derives the same successor.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

use super::{accepted_for, beside, new_session, node, who};
use crate::support::http::Request;
use crate::support::{SETTLED, Tokens, is_soak, on_postgres, postgres, print_figure, race, refresh_with, register};

on_postgres!(
    fifty_refreshes_over_two_nodes_agree_on_one_successor,
    no_token_survives_a_logout_that_raced_refreshes_over_two_nodes,
);

fn rounds(ordinary: usize, soak: usize) -> usize {
    if is_soak() { soak } else { ordinary }
}

fn fifty_refreshes_over_two_nodes_agree_on_one_successor() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let second = beside(&first, &url).start();
    let mut tokens = Tokens::in_jar_of(&register(&first, "emily"));
    let addresses = [first.address(), second.address()];
    let rounds = rounds(20, 200);
    for round in 0..rounds {
        let body = json!({ "refreshToken": tokens.refresh, "tokens": "body" }).to_string();
        let answers =
            race(50, move |number| Request::new("POST", "/auth/refresh").json(&body).send(addresses[number % 2]));
        let mut successors = BTreeSet::new();
        for answer in &answers {
            assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
            let shown = answer.json();
            successors.insert(shown["refreshToken"].as_str().unwrap().to_owned());
            shown["accessToken"].as_str().unwrap().clone_into(&mut tokens.access);
        }
        assert_eq!(successors.len(), 1, "round {round}: every node makes the same bytes");
        tokens.refresh = successors.pop_first().unwrap();
        let generation = postgres::psql(&url, "SELECT generation FROM sessions");
        assert_eq!(generation, (round + 1).to_string(), "one step a round");
        // Used, and old enough on both nodes to be rotated.
        assert_eq!(who([&first, &second][round % 2], &tokens.access).status, 200, "round {round}");
        for node in [&first, &second] {
            node.core().flush_confirmations().unwrap();
            node.advance(SETTLED);
        }
    }
    assert_eq!(postgres::psql(&url, "SELECT count(*) FROM sessions WHERE ended_at IS NULL"), "1", "no session died");
    tokens.assert_valid(&second);
    print_figure(&format!("{rounds} rounds of 50 refreshes over two nodes: one successor each, none refused"));
}

fn no_token_survives_a_logout_that_raced_refreshes_over_two_nodes() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let second = beside(&first, &url).start();
    register(&first, "emily");
    let addresses = [first.address(), second.address()];
    let (mut brought, rounds) = (0, rounds(30, 500));
    for round in 0..rounds {
        let session = new_session(&first, "emily");
        let body = json!({ "refreshToken": session.refresh, "tokens": "body" }).to_string();
        let end = json!({ "refreshToken": session.refresh }).to_string();
        let answers = race(5, move |number| {
            let (path, body) = if number == 0 { ("/auth/logout", &end) } else { ("/auth/refresh", &body) };
            let answer = Request::new("POST", path).json(body).send(addresses[(round + number) % 2]);
            (answer, Instant::now())
        });
        let ((ended, ended_at), refreshed) = answers.split_first().unwrap();
        assert_eq!(ended.status, 200, "{}", ended.text());
        for (answer, _) in refreshed {
            assert!([200, 401].contains(&answer.status), "round {round}: {}", answer.text());
        }
        let won: Vec<Tokens> = refreshed
            .iter()
            .filter(|(answer, _)| answer.status == 200)
            .map(|(answer, _)| {
                let shown = answer.json();
                let token = |name: &str| shown[name].as_str().unwrap().to_owned();
                Tokens { access: token("accessToken"), refresh: token("refreshToken") }
            })
            .collect();
        brought += won.len();
        for tokens in won.iter().chain([&session]) {
            for node in [&first, &second] {
                assert_eq!(refresh_with(node, &tokens.refresh).status, 401, "round {round}: a refresh token lives");
                accepted_for(node, &tokens.access, *ended_at);
            }
        }
    }
    print_figure(&format!(
        "{rounds} logouts against 4 refreshes over two nodes: {brought} came first, none outlived it"
    ));
    assert!(brought > 0, "no refresh ever came before the logout: this raced nothing");
}
