//! Shares of the hashing queue: a client that keeps it busy with right passwords, from one account or one address, keeps no other
//! client out. How many places a share has is tested beside web/blocking/work_shares.rs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::{Backend, PASSWORD, on_both_backends, race, register};

on_both_backends!(
    throttle_shares_the_queue_with_an_account_that_signs_in_over_forty_connections,
    throttle_shares_the_queue_with_an_address_that_signs_in_to_many_accounts,
    throttle_shares_the_queue_with_an_address_that_signs_up,
    throttle_shares_the_queue_with_an_account_that_changes_its_password,
    throttle_lets_an_account_sign_in_from_many_devices_at_once,
);

const CONNECTIONS: usize = 40;

fn send(address: SocketAddr, path: &str, from: &str, body: &Value) -> Response {
    Request::new("POST", path).header("x-forwarded-for", from).json(&body.to_string()).send(address)
}

fn login(username: &str) -> Value {
    json!({ "username": username, "password": PASSWORD })
}

/// A service whose queue of eight is full as soon as one client may fill it; `bother` runs in forty threads until everybody
/// else has signed in, each once, from an address of their own.
fn assert_nobody_is_kept_out(
    backend: Backend,
    bother: impl Fn(SocketAddr, usize, usize) -> u16 + Sync,
    accounts: usize,
) {
    let service = backend.service().set("TRUSTED_PROXIES", "127.0.0.1").set("BCRYPT_COST", "9");
    let service = service.set("HASH_THREADS", "1").set("HASH_QUEUE", "8").set("HASH_QUEUE_TIME", "60s").start();
    (0..accounts).for_each(|number| drop(register(&service, &format!("mallory{number}"))));
    let others: Vec<String> = (0..12).map(|number| format!("emily{number}")).collect();
    others.iter().for_each(|name| drop(register(&service, name)));
    let (address, over, answered) = (service.address(), AtomicBool::new(false), AtomicUsize::new(0));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (bother, over, answered) = (&bother, &over, &answered);
            scope.spawn(move || {
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    let status = bother(address, number, round);
                    assert!([200, 201, 403, 503].contains(&status), "{status}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    round += 1;
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 10 {
            std::thread::yield_now();
        }
        let sign_in = |(number, name): (usize, &String)| {
            send(address, "/auth/login", &format!("198.51.100.{number}"), &login(name)).status
        };
        let statuses = others.iter().enumerate().map(sign_in).collect();
        over.store(true, Ordering::Relaxed);
        statuses
    });
    assert_eq!(statuses, [200; 12]);
}

fn throttle_shares_the_queue_with_an_account_that_signs_in_over_forty_connections(backend: Backend) {
    let bother = |address, number, _| {
        // From as many addresses, so that the account alone is what they share.
        send(address, "/auth/login", &format!("192.0.2.{number}"), &login("mallory0")).status
    };
    assert_nobody_is_kept_out(backend, bother, 1);
}

fn throttle_shares_the_queue_with_an_address_that_signs_in_to_many_accounts(backend: Backend) {
    let bother = |address, number, _| {
        // Of IPv6, from all over the network of one client.
        let from = format!("2001:db8::{number:x}");
        send(address, "/auth/login", &from, &login(&format!("mallory{number}"))).status
    };
    assert_nobody_is_kept_out(backend, bother, CONNECTIONS);
}

fn throttle_shares_the_queue_with_an_address_that_signs_up(backend: Backend) {
    let bother = |address, number, round| {
        let body = login(&format!("new-{number}-{round}"));
        send(address, "/auth/register", "192.0.2.1", &body).status
    };
    assert_nobody_is_kept_out(backend, bother, 0);
}

fn throttle_shares_the_queue_with_an_account_that_changes_its_password(backend: Backend) {
    let bother = |address, number, round| {
        // A wrong current password costs a hash and leaves the session be.
        let from = format!("192.0.2.{number}");
        if round == 0 {
            return send(address, "/auth/login", &from, &login("mallory0")).status;
        }
        let sign_in = json!({ "username": "mallory0", "password": PASSWORD, "tokens": "body" });
        let signed_in = send(address, "/auth/login", &from, &sign_in);
        let Some(access) = signed_in.json()["accessToken"].as_str().map(ToOwned::to_owned) else {
            return signed_in.status;
        };
        let change = json!({ "currentPassword": "wrong-wrong", "newPassword": "another-long-one" }).to_string();
        let request = Request::new("POST", "/auth/change-password").header("x-forwarded-for", from);
        request.bearer(&access).json(&change).send(address).status
    };
    assert_nobody_is_kept_out(backend, bother, 1);
}

/// What is beyond a share waits for its turn and is not refused.
fn throttle_lets_an_account_sign_in_from_many_devices_at_once(backend: Backend) {
    let service = backend.service().set("HASH_THREADS", "2").start();
    register(&service, "emily");
    register(&service, "bob");
    let address = service.address();
    let answers = race(16, move |number| {
        let name = if number % 4 == 0 { "bob" } else { "emily" };
        send(address, "/auth/login", "192.0.2.1", &login(name)).status
    });
    assert_eq!(answers, [200; 16]);
}
