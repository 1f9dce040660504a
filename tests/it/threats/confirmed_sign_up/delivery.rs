//! The way of a mail to its server: nobody waits for it, what cannot be sent is tried again at longer and longer waits, and
//! each mail is sent once, whoever sends it.

use std::time::Duration;

use serde_json::json;

use crate::multi_node::beside;
use crate::support::confirmed_sign_up::{Silent, deliver, settings, told};
use crate::support::http::Request;
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, PASSWORD, on_both_backends, post, race};

on_both_backends!(
    a_sign_up_does_not_wait_for_the_mail_server,
    a_failed_mail_is_sent_once_when_the_server_is_back,
    the_retry_backoff_doubles_from_ten_seconds_to_ten_minutes,
    a_mail_is_retried_for_a_day_and_no_longer,
    a_permanent_refusal_is_not_retried,
    a_transient_refusal_is_retried,
    an_undeliverable_mail_delays_no_other,
    a_restart_loses_no_mail,
    two_nodes_on_one_database_send_each_mail_once,
    many_concurrent_sign_ups_get_one_mail_each,
);

fn a_sign_up_does_not_wait_for_the_mail_server(backend: Backend) {
    let silent = Silent::start(backend);
    silent.mails.hold();
    for number in 0..5 {
        silent.ask(&format!("emily-{number}@mail.example"), &json!({}));
    }
    silent.mails.wait_for_connections(1);
    silent.ask("late@mail.example", &json!({}));
    assert!(silent.mails.commands().is_empty() && silent.mails.mails().is_empty(), "and nothing has been said yet");
    silent.mails.let_go();
    for number in 0..5 {
        silent.mails.wait_for_mail_to(&format!("emily-{number}@mail.example"), 1);
    }
    silent.mails.wait_for_mail_to("late@mail.example", 1);
    silent.wait_until_told("sent", 6);
}

fn a_failed_mail_is_sent_once_when_the_server_is_back(backend: Backend) {
    let silent = Silent::start(backend);
    silent.mails.go_down();
    silent.ask("emily@mail.example", &json!({}));
    silent.wait_until_told("deferred", 1);
    silent.mails.come_up();
    silent.advance(10);
    let token = silent.mails.wait_for_mail_to("emily@mail.example", 1).token();
    silent.wait_until_told("sent", 1);
    for _ in 0..3 {
        silent.advance(600);
    }
    assert_eq!(silent.mails.mails().len(), 1, "once");
    assert_eq!((told(&silent.service, "sent"), told(&silent.service, "deferred")), (1, 1));
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201);
}

fn the_retry_backoff_doubles_from_ten_seconds_to_ten_minutes(backend: Backend) {
    let silent = Silent::start(backend);
    silent.mails.go_down();
    silent.ask("emily@mail.example", &json!({}));
    silent.wait_until_told("deferred", 1);
    for (number, wait) in (2..).zip([10, 20, 40, 80, 160, 320, 600, 600, 600]) {
        silent.advance(wait - 1);
        assert_eq!(told(&silent.service, "deferred"), number - 1, "a second before {wait} are over");
        silent.advance(1);
        silent.wait_until_told("deferred", number);
    }
    silent.mails.come_up();
    silent.advance(600);
    silent.mails.wait_for_mail_to("emily@mail.example", 1);
    silent.wait_until_told("sent", 1);
}

fn a_mail_is_retried_for_a_day_and_no_longer(backend: Backend) {
    let silent = Silent::start(backend);
    silent.mails.go_down();
    for email in ["early@mail.example", "other@mail.example"] {
        silent.ask(email, &json!({}));
    }
    silent.wait_until_told("deferred", 2);
    silent.advance(23 * 3600);
    silent.wait_until_told("deferred", 4);
    silent.mails.come_up();
    // A day and a second after it was asked for.
    silent.advance(3601);
    let asked = silent.mails.connections();
    for _ in 0..3 {
        silent.advance(600);
    }
    silent.service.core().purge().unwrap();
    silent.advance(600);
    assert_eq!((silent.mails.mails().len(), told(&silent.service, "sent")), (0, 0));
    assert_eq!(silent.mails.connections(), asked, "the server is not even asked");
    silent.ask("early@mail.example", &json!({}));
    silent.mails.wait_for_mail_to("early@mail.example", 1);
}

fn a_permanent_refusal_is_not_retried(backend: Backend) {
    for (command, reply) in [
        ("RCPT", "550 no such mailbox"),
        ("MAIL", "553 not from you"),
        ("DATA", "554 no"),
        (".", "550 we do not like it"),
        (".", "554 5.7.1 we do not like it\n554 5.7.1 at all"),
    ] {
        let silent = Silent::start(backend);
        silent.mails.refuse(command, reply);
        silent.ask("emily@mail.example", &json!({}));
        silent.wait_until_told("refused", 1);
        let asked = silent.mails.commands().iter().filter(|said| said.starts_with("MAIL")).count();
        assert_eq!(asked, 1);
        silent.mails.refuse_nothing();
        for seconds in [10, 600, 600, 3600] {
            silent.advance(seconds);
        }
        let asked = silent.mails.commands().iter().filter(|said| said.starts_with("MAIL")).count();
        assert_eq!((asked, silent.mails.mails().len()), (1, 0), "{command} {reply}");
        assert_eq!((told(&silent.service, "sent"), told(&silent.service, "deferred")), (0, 0), "{command} {reply}");
        // Nor is the next sign-up of the same address held against it.
        silent.ask("emily@mail.example", &json!({}));
        silent.mails.wait_for_mail_to("emily@mail.example", 1);
    }
}

fn a_transient_refusal_is_retried(backend: Backend) {
    for (command, reply) in [
        ("EHLO", "421 too busy"),
        ("MAIL", "452 no room"),
        ("RCPT", "450 greylisted"),
        ("DATA", "451 not now"),
        (".", "451 4.3.0 not now"),
    ] {
        let silent = Silent::start(backend);
        silent.mails.refuse(command, reply);
        silent.ask("emily@mail.example", &json!({}));
        silent.wait_until_told("deferred", 1);
        silent.mails.refuse_nothing();
        silent.advance(10);
        silent.mails.wait_for_mail_to("emily@mail.example", 1);
        silent.wait_until_told("sent", 1);
        silent.advance(600);
        assert_eq!((silent.mails.mails().len(), told(&silent.service, "refused")), (1, 0), "{command} {reply}");
    }
}

fn an_undeliverable_mail_delays_no_other(backend: Backend) {
    let silent = Silent::start(backend);
    silent.mails.refuse("RCPT TO:<stuck@mail.example>", "451 not now");
    silent.mails.refuse("RCPT TO:<nobody@mail.example>", "550 no such mailbox");
    for name in ["stuck", "a", "nobody", "b"] {
        silent.ask(&format!("{name}@mail.example"), &json!({}));
    }
    for name in ["a", "b"] {
        silent.mails.wait_for_mail_to(&format!("{name}@mail.example"), 1);
    }
    silent.wait_until_told("sent", 2);
    silent.wait_until_told("refused", 1);
    silent.wait_until_told("deferred", 1);
    silent.ask("c@mail.example", &json!({}));
    silent.mails.wait_for_mail_to("c@mail.example", 1);
    silent.mails.refuse_nothing();
    silent.advance(10);
    silent.mails.wait_for_mail_to("stuck@mail.example", 1);
    silent.wait_until_told("sent", 4);
    assert_eq!(silent.mails.mails().len(), 4);
}

fn a_restart_loses_no_mail(backend: Backend) {
    let mut silent = Silent::start(backend);
    silent.mails.go_down();
    silent.ask("emily@mail.example", &json!({}));
    silent.wait_until_told("deferred", 1);
    silent.service.restart();
    silent.mails.come_up();
    silent.advance(10);
    let token = silent.mails.wait_for_mail_to("emily@mail.example", 1).token();
    silent.wait_until_told("sent", 1);
    silent.service.restart();
    silent.service.advance(Duration::from_secs(600));
    deliver(&silent.service);
    assert_eq!(silent.confirm(&token, PASSWORD).status, 201, "a link outlives the process that wrote it");
    assert_eq!(silent.mails.mails().len(), 1, "nor is one sent again");
}

fn two_nodes_on_one_database_send_each_mail_once(backend: Backend) {
    let silent = Silent::start(backend);
    let second = settings(beside(&silent.service, &silent.tables), silent.mails.url()).start();
    let email = |number: usize| format!("emily-{number}@mail.example");
    silent.mails.go_down();
    let nodes = [&silent.service, &second];
    for number in 0..8 {
        let body = json!({ "email": email(number), "password": PASSWORD });
        let answer = post(nodes[number % 2], "/auth/register", &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let deferred = || nodes.iter().map(|node| told(node, "deferred")).sum::<u64>();
    until(PATIENCE, "eight deferred mails", || (deferred() >= 8).then_some(()));
    silent.mails.come_up();
    nodes.iter().for_each(|node| node.advance(Duration::from_secs(600)));
    for _ in 0..4 {
        std::thread::scope(|scope| {
            for node in nodes {
                scope.spawn(|| deliver(node));
            }
        });
    }
    let tokens: Vec<String> = (0..8).map(|number| silent.mails.wait_for_mail_to(&email(number), 1).token()).collect();
    let sent = || nodes.iter().map(|node| told(node, "sent")).sum::<u64>();
    until(PATIENCE, "eight mails to be noted", || (sent() >= 8).then_some(()));
    nodes.iter().for_each(|node| {
        node.advance(Duration::from_secs(600));
        deliver(node);
    });
    assert_eq!((silent.mails.mails().len(), sent()), (8, 8), "each once");
    // A link may lead to either node.
    for (number, token) in tokens.iter().enumerate() {
        let body = json!({ "token": token, "password": PASSWORD });
        let answer = post(nodes[(number / 2) % 2], "/auth/register/confirm", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(silent.count("accounts"), 8);
}

fn many_concurrent_sign_ups_get_one_mail_each(backend: Backend) {
    let silent = Silent::with(backend, |builder| builder.set("HASH_QUEUE", "64"));
    let address = silent.service.address();
    let statuses = race(20, move |number| {
        let body = json!({ "email": format!("emily-{number}@mail.example"), "password": PASSWORD }).to_string();
        Request::new("POST", "/auth/register").json(&body).send(address).status
    });
    assert_eq!(statuses, [202; 20]);
    for number in 0..20 {
        silent.mails.wait_for_mail_to(&format!("emily-{number}@mail.example"), 1);
    }
    silent.wait_until_told("sent", 20);
    deliver(&silent.service);
    assert_eq!(silent.mails.mails().len(), 20);
}
