//! The token bucket of an address: an office never empties it, an attacker who sprays names or attacks an account does, and
//! neither success nor a trusted device touches it. Core is called directly, with a clock that the tests move.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use doorward::core::account::identifier::IdentifierKind;
use doorward::core::credential::password::GivenSecret;
use doorward::core::credential::sign_in::SignIn;
use doorward::core::error::{Error, Refusal};
use doorward::core::session::TokenPolicy;
use doorward::core::session::caller::Client;
use doorward::secret::Secret;
use doorward::testing::TestService;
use serde_json::json;

use super::{attempt, wait_of};
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, on_both_backends, register};

on_both_backends!(
    throttle_never_delays_an_office_whose_people_mistype,
    throttle_checks_at_most_a_hundred_guesses_of_ten_thousand_addresses,
    throttle_slows_an_address_that_sprays_ten_thousand_names_to_its_bucket,
    throttle_bucket_is_not_filled_by_success,
    throttle_bucket_lets_a_trusted_device_pass,
    throttle_bucket_counts_an_ipv6_network_and_no_neighbour,
    throttle_bucket_is_shared_by_nodes_and_survives_a_restart,
);

fn service(backend: Backend) -> TestService {
    backend.service().set("THROTTLE_FREE_FAILURES", "5").set("THROTTLE_ADDRESS", "100/1h").start()
}

fn from(address: impl Into<IpAddr>) -> Client {
    Client { address: Some(address.into()), ..Client::default() }
}

/// The address with this number.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The secret was checked and is right: the client is signed in.
    Right,
    /// The secret was checked and is wrong.
    Wrong,
    /// The secret was not checked, for this time.
    Throttled(Duration),
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        dialect: "native".to_owned(),
        access_ttl: Duration::from_mins(5),
        refresh_ttl: Duration::from_hours(1),
        rotates: true,
        revokes_on_rotation: false,
        opaque_refresh: false,
        access_ttl_max: Duration::from_mins(15),
        returns_refresh_token: true,
    }
}

/// A sign-in.
fn try_secret(service: &TestService, client: &Client, username: &str, password: &str) -> Outcome {
    let secret = GivenSecret::Password(Secret::new(password));
    let request = SignIn::new(vec![(IdentifierKind::Username, username.to_owned())], secret);
    let looked_up = match service.core().look_up(request, client) {
        Ok(looked_up) => looked_up,
        Err(Error::Refusal(Refusal::Throttled(wait))) => return Outcome::Throttled(wait),
        Err(other) => panic!("{other:?}"),
    };
    match service.core().check_secret(looked_up, client) {
        Ok(verified) => {
            assert!(service.core().sign_in(&verified, &policy(), client).unwrap().is_some());
            Outcome::Right
        }
        Err(Error::Refusal(Refusal::InvalidCredentials | Refusal::Throttled(_))) => Outcome::Wrong,
        Err(other) => panic!("{other:?}"),
    }
}

fn throttle_never_delays_an_office_whose_people_mistype(backend: Backend) {
    const PEOPLE: usize = 200;
    let (service, office) = (service(backend), from(address(1)));
    (0..PEOPLE).for_each(|number| drop(register(&service, &format!("person{number}"))));
    // A working day of eight hours: each ten minutes five people mistype three times, and then sign in.
    for round in 0..48 {
        for person in 0..5 {
            let name = format!("person{}", (round * 5 + person) % PEOPLE);
            for _ in 0..3 {
                assert_eq!(
                    try_secret(&service, &office, &name, "wrong-wrong"),
                    Outcome::Wrong,
                    "round {round}, {name}"
                );
                service.advance(Duration::from_secs(10));
            }
            assert_eq!(try_secret(&service, &office, &name, PASSWORD), Outcome::Right, "round {round}, {name}");
        }
        service.advance(Duration::from_secs(600 - 150));
    }
}

fn throttle_checks_at_most_a_hundred_guesses_of_ten_thousand_addresses(backend: Backend) {
    for (account, attempts) in [("emily", 10_000), ("nobody", 1000), ("EMILY ", 1000)] {
        let service = service(backend);
        register(&service, "emily");
        let mut hashes = 0;
        for number in 0..attempts {
            let outcome = try_secret(&service, &from(address(number)), account, "wrong-wrong");
            hashes += usize::from(outcome == Outcome::Wrong);
            service.advance(Duration::from_mins(65));
            if number % 1000 == 0 {
                service.core().purge().unwrap();
            }
        }
        assert!((80..=100).contains(&hashes), "{account}: {hashes}");
    }
}

fn throttle_slows_an_address_that_sprays_ten_thousand_names_to_its_bucket(backend: Backend) {
    let (service, attacker) = (service(backend), from(address(1)));
    register(&service, "emily");
    let mut hashes = 0;
    // Over an hour, one each 360 ms.
    for number in 0..10_000 {
        match try_secret(&service, &attacker, &format!("name{number}"), "wrong-wrong") {
            Outcome::Wrong => hashes += 1,
            Outcome::Throttled(wait) => assert!(wait <= Duration::from_secs(36), "{wait:?}"),
            Outcome::Right => panic!("name{number}"),
        }
        service.advance(Duration::from_millis(360));
    }
    assert!((198..=201).contains(&hashes), "{hashes}: a burst of a hundred, and a hundred in the hour");
    let own = try_secret(&service, &attacker, "emily", PASSWORD);
    assert!(matches!(own, Outcome::Throttled(_) | Outcome::Right));
    assert_eq!(try_secret(&service, &from(address(2)), "emily", PASSWORD), Outcome::Right, "another address");
    service.advance(Duration::from_hours(1));
    let free = (0..200).filter(|n| try_secret(&service, &attacker, &format!("n{n}"), "wrong-wrong") == Outcome::Wrong);
    assert_eq!(free.count(), 100, "an hour later the bucket is full again");
    service.advance(Duration::from_hours(1));
    service.core().purge().unwrap();
    assert_eq!(try_secret(&service, &attacker, "emily", PASSWORD), Outcome::Right);
}

fn throttle_bucket_is_not_filled_by_success(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("THROTTLE_ADDRESS", "4/1h").start();
    register(&service, "mallory");
    for number in 0..4 {
        assert_eq!(attempt(&service, &format!("name{number}"), "wrong-wrong").status, 401);
        if number < 3 {
            assert_eq!(attempt(&service, "mallory", PASSWORD).status, 200);
        }
    }
    assert_eq!(wait_of(&attempt(&service, "name9", "wrong-wrong")), 900);
    assert_eq!(wait_of(&attempt(&service, "mallory", PASSWORD)), 900);
    service.advance(Duration::from_secs(899));
    assert_eq!(wait_of(&attempt(&service, "mallory", PASSWORD)), 1);
    service.advance(Duration::from_secs(1));
    assert_eq!(attempt(&service, "mallory", PASSWORD).status, 200);
    assert_eq!(attempt(&service, "name9", "wrong-wrong").status, 401, "the success has taken no token");
    assert_eq!(wait_of(&attempt(&service, "name9", "wrong-wrong")), 900);
}

fn throttle_bucket_lets_a_trusted_device_pass(backend: Backend) {
    let service = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("THROTTLE_ADDRESS", "3/1h").start();
    let device = register(&service, "emily").cookie("deviceToken").unwrap();
    (0..3).for_each(|number| assert_eq!(attempt(&service, &format!("name{number}"), "wrong-wrong").status, 401));
    assert_eq!(wait_of(&attempt(&service, "emily", PASSWORD)), 1200);
    let mut browser = Browser::new(service.address());
    browser.set_cookie("deviceToken", &device);
    let body = |password: &str| json!({ "username": "emily", "password": password }).to_string();
    let answers: Vec<u16> = (0..6).map(|_| browser.post("/auth/login", &body("wrong-wrong")).status).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 429], "its own allowance");
    service.advance(Duration::from_secs(60));
    assert_eq!(browser.post("/auth/login", &body(PASSWORD)).status, 200);
    let other = json!({ "username": "bob", "password": "wrong-wrong" }).to_string();
    assert_eq!(browser.post("/auth/login", &other).status, 429, "for another account it is a stranger");
    // The owner's session is no stranger either.
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another-long-one" }).to_string();
    assert_eq!(browser.post("/auth/change-password", &change).status, 200);
}

fn throttle_bucket_counts_an_ipv6_network_and_no_neighbour(backend: Backend) {
    let limits = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("THROTTLE_ADDRESS", "2/1h");
    let service = limits.set("TRUSTED_PROXIES", "127.0.0.1").start();
    let mut number = 0;
    let mut fail = |address: &str| {
        number += 1;
        let body = json!({ "username": format!("name{number}"), "password": "wrong-wrong" }).to_string();
        let request = Request::new("POST", "/auth/login").header("x-forwarded-for", address);
        request.json(&body).send(service.address()).status
    };
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3:0:0:3"].map(&mut fail), [401, 401, 429]);
    assert_eq!(
        ["2001:db8:0:1::1", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"].map(&mut fail),
        [401, 401, 401, 429, 401]
    );
}

fn throttle_bucket_is_shared_by_nodes_and_survives_a_restart(backend: Backend) {
    let limits = backend.service().set("THROTTLE_FREE_FAILURES", "5").set("THROTTLE_ADDRESS", "3/1h");
    let mut service = limits.start();
    let fail = |service: &TestService, name: &str| attempt(service, name, "wrong-wrong").status;
    assert_eq!(["a", "b"].map(|name| fail(&service, name)), [401, 401]);
    service.restart();
    assert_eq!(["c", "d"].map(|name| fail(&service, name)), [401, 429]);
    service.advance(Duration::from_mins(20));
    service.restart();
    assert_eq!(["e", "f"].map(|name| fail(&service, name)), [401, 429]);
}
