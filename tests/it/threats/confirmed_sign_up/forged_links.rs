//! The token: none but the one that was mailed opens anything, whatever of it somebody knows or changes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::confirmed_sign_up::{OTHER, Silent, assert_invalid};
use crate::support::postgres::all_rows;
use crate::support::{Backend, PASSWORD, Tables, on_both_backends, secret_scanner};

on_both_backends!(
    a_changed_token_is_refused,
    a_token_spliced_from_two_is_refused,
    forgeries_use_up_no_attempt,
    the_rows_contain_neither_token_nor_password,
    the_token_has_enough_entropy_and_is_url_safe,
);

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// With the letter at this place changed in one bit.
fn flipped(token: &str, place: usize, bit: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let number = LETTERS.iter().position(|letter| *letter == bytes[place]);
    bytes[place] = number.map_or(b'A', |number| LETTERS[number ^ (1 << bit)]);
    String::from_utf8(bytes).unwrap()
}

/// A token that is not this one, but all the more like it.
fn forgeries(token: &str) -> Vec<String> {
    let last = token.len() - 1;
    let places = [0, 1, 2, last / 4, last / 2, last / 2 + 1, last * 3 / 4, last - 1, last];
    // Each bit of the last letter: some of them may be no part of an octet, and count all the same.
    let mut forged: Vec<String> = places.iter().map(|place| flipped(token, *place, *place % 6)).collect();
    forged.extend((0..6).map(|bit| flipped(token, last, bit)));
    forged.extend([1, token.len() / 2, last].map(|length| token[..length].to_owned()));
    forged.extend([1, token.len() / 2].map(|start| token[start..].to_owned()));
    let decoded = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    forged.extend([
        format!("{token}A"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}\0"),
        format!("{token}.{token}"),
        format!("{token}{token}"),
        format!("{token}%00"),
        token.chars().rev().collect(),
        token.to_lowercase(),
        token.to_uppercase(),
        format!("+{}", &token[1..]),
        format!("!{}", &token[1..]),
        STANDARD.encode(decoded),
        STANDARD.encode(token),
        "A".repeat(token.len()),
        "null".to_owned(),
        "' OR '1'='1".to_owned(),
    ]);
    forged.retain(|forged| forged != token && !forged.is_empty());
    forged
}

fn a_changed_token_is_refused(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("emily@mail.example");
    let forged = forgeries(&token);
    assert!(forged.len() > 30, "{}", forged.len());
    for forged in &forged {
        let answer = silent.confirm(forged, PASSWORD);
        assert_eq!(answer.status, 401, "{forged:?} beside {token:?}: {}", answer.text());
        assert_invalid(&answer);
    }
    assert_eq!((silent.count("accounts"), silent.count("sessions")), (0, 0));
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201);
}

fn a_token_spliced_from_two_is_refused(backend: Backend) {
    let silent = Silent::start(backend);
    let (own, other) = (silent.token_of("mallory@mail.example"), silent.token_of("victim@mail.example"));
    assert_eq!(own.len(), other.len());
    let mut pieced: Vec<String> = (1..own.len())
        .flat_map(|at| [own[..at].to_owned() + &other[at..], other[..at].to_owned() + &own[at..]])
        .filter(|pieced| *pieced != own && *pieced != other)
        .collect();
    pieced.sort();
    pieced.dedup();
    assert!(pieced.len() > own.len(), "{}", pieced.len());
    for pieced in pieced {
        let answer = silent.confirm(&pieced, PASSWORD);
        assert_eq!(answer.status, 401, "{pieced} of {own} and {other}: {}", answer.text());
    }
    assert_eq!(silent.count("accounts"), 0);
    assert_eq!([silent.confirm(&own, PASSWORD).status, silent.confirm(&other, PASSWORD).status], [201, 201]);
}

/// Or a stranger who knows half of a token could kill it.
fn forgeries_use_up_no_attempt(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("emily@mail.example");
    let last = token.len() - 1;
    for number in 0..24 {
        let forged = flipped(&token, last - number % 3, number % 6);
        let password = if number % 2 == 0 { OTHER } else { PASSWORD };
        assert_invalid(&silent.confirm(&forged, password));
    }
    (0..9).for_each(|_| assert_invalid(&silent.confirm(&token, OTHER)));
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201);
}

fn the_rows_contain_neither_token_nor_password(backend: Backend) {
    let silent = Silent::start(backend);
    let token = silent.token_of("emily@mail.example");
    secret_scanner::used("a password", PASSWORD);
    let rows = match &silent.tables {
        Tables::Postgres(url) => secret_scanner::with_octets(&all_rows(url)),
        Tables::Sqlite => ["doorward.db", "doorward.db-wal"]
            .iter()
            .flat_map(|name| std::fs::read(silent.service.folder().join(name)).unwrap_or_default())
            .collect(),
    };
    secret_scanner::assert_none_in_rows("the rows of a sign-up that waits", &rows);
    // Half of a token is as good as the whole where the other half is stored.
    let secret = URL_SAFE_NO_PAD.decode(&token).unwrap_or_default();
    for part in secret.windows(16.max(secret.len() / 2 + 1)) {
        assert!(!rows.windows(part.len()).any(|bytes| bytes == part), "most of a token stands in the rows");
    }
}

fn the_token_has_enough_entropy_and_is_url_safe(backend: Backend) {
    let silent = Silent::start(backend);
    let tokens = ["a", "b", "c"].map(|name| silent.token_of(&format!("{name}@mail.example")));
    for token in &tokens {
        assert!(token.len() >= 22 && token.len() <= 200, "{token}");
        assert!(token.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_.~".contains(&letter)), "{token}");
        assert!(silent.mails.mails().iter().any(|mail| mail.body.contains(token)), "no part of it is escaped");
    }
    // 128 bits that differ (ASVS 11.5.1): no two tokens have more in common than chance gives.
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let differ = tokens[one].bytes().zip(tokens[other].bytes()).filter(|(one, other)| one != other).count();
        assert!(differ >= 18, "{} and {}", tokens[one], tokens[other]);
    }
}
