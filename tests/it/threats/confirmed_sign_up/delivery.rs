//! Mail delivery: no request waits for it, failures are retried with exponential backoff, and each mail is sent once,
//! whichever node sends it.

use std::time::Duration;

use serde_json::json;

use crate::multi_node::beside;
use crate::support::confirmed_sign_up::{SignUpService, deliver, mails_with_outcome, settings};
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
    let setup = SignUpService::start(backend);
    setup.mails.hold();
    for number in 0..5 {
        setup.must_sign_up(&format!("emily-{number}@mail.example"), &json!({}));
    }
    setup.mails.wait_for_connections(1);
    setup.must_sign_up("late@mail.example", &json!({}));
    assert!(setup.mails.commands().is_empty() && setup.mails.mails().is_empty(), "and nothing has been said yet");
    setup.mails.let_go();
    for number in 0..5 {
        setup.mails.wait_for_mail_to(&format!("emily-{number}@mail.example"), 1);
    }
    setup.mails.wait_for_mail_to("late@mail.example", 1);
    setup.wait_for_outcome("sent", 6);
}

fn a_failed_mail_is_sent_once_when_the_server_is_back(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.mails.go_down();
    setup.must_sign_up("emily@mail.example", &json!({}));
    setup.wait_for_outcome("deferred", 1);
    setup.mails.come_up();
    setup.advance(10);
    let token = setup.mails.wait_for_mail_to("emily@mail.example", 1).token();
    setup.wait_for_outcome("sent", 1);
    for _ in 0..3 {
        setup.advance(600);
    }
    assert_eq!(setup.mails.mails().len(), 1, "once");
    assert_eq!((mails_with_outcome(&setup.service, "sent"), mails_with_outcome(&setup.service, "deferred")), (1, 1));
    assert_eq!(setup.confirm(&token, PASSWORD).status, 201);
}

fn the_retry_backoff_doubles_from_ten_seconds_to_ten_minutes(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.mails.go_down();
    setup.must_sign_up("emily@mail.example", &json!({}));
    setup.wait_for_outcome("deferred", 1);
    for (number, wait) in (2..).zip([10, 20, 40, 80, 160, 320, 600, 600, 600]) {
        setup.advance(wait - 1);
        assert_eq!(mails_with_outcome(&setup.service, "deferred"), number - 1, "a second before {wait} are over");
        setup.advance(1);
        setup.wait_for_outcome("deferred", number);
    }
    setup.mails.come_up();
    setup.advance(600);
    setup.mails.wait_for_mail_to("emily@mail.example", 1);
    setup.wait_for_outcome("sent", 1);
}

fn a_mail_is_retried_for_a_day_and_no_longer(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.mails.go_down();
    for email in ["early@mail.example", "other@mail.example"] {
        setup.must_sign_up(email, &json!({}));
    }
    setup.wait_for_outcome("deferred", 2);
    setup.advance(23 * 3600);
    setup.wait_for_outcome("deferred", 4);
    setup.mails.come_up();
    // A day and a second after the sign-up.
    setup.advance(3601);
    let attempts = setup.mails.connections();
    for _ in 0..3 {
        setup.advance(600);
    }
    setup.service.core().purge().unwrap();
    setup.advance(600);
    assert_eq!((setup.mails.mails().len(), mails_with_outcome(&setup.service, "sent")), (0, 0));
    assert_eq!(setup.mails.connections(), attempts, "the server is not even asked");
    setup.must_sign_up("early@mail.example", &json!({}));
    setup.mails.wait_for_mail_to("early@mail.example", 1);
}

fn a_permanent_refusal_is_not_retried(backend: Backend) {
    for (command, reply) in [
        ("RCPT", "550 no such mailbox"),
        ("MAIL", "553 not from you"),
        ("DATA", "554 no"),
        (".", "550 we do not like it"),
        (".", "554 5.7.1 we do not like it\n554 5.7.1 at all"),
    ] {
        let setup = SignUpService::start(backend);
        setup.mails.refuse(command, reply);
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.wait_for_outcome("refused", 1);
        let attempts = setup.mails.commands().iter().filter(|shown| shown.starts_with("MAIL")).count();
        assert_eq!(attempts, 1);
        setup.mails.refuse_nothing();
        for seconds in [10, 600, 600, 3600] {
            setup.advance(seconds);
        }
        let attempts = setup.mails.commands().iter().filter(|shown| shown.starts_with("MAIL")).count();
        assert_eq!((attempts, setup.mails.mails().len()), (1, 0), "{command} {reply}");
        assert_eq!(
            (mails_with_outcome(&setup.service, "sent"), mails_with_outcome(&setup.service, "deferred")),
            (0, 0),
            "{command} {reply}"
        );
        // The next sign-up with the same address is not affected.
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.mails.wait_for_mail_to("emily@mail.example", 1);
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
        let setup = SignUpService::start(backend);
        setup.mails.refuse(command, reply);
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.wait_for_outcome("deferred", 1);
        setup.mails.refuse_nothing();
        setup.advance(10);
        setup.mails.wait_for_mail_to("emily@mail.example", 1);
        setup.wait_for_outcome("sent", 1);
        setup.advance(600);
        assert_eq!(
            (setup.mails.mails().len(), mails_with_outcome(&setup.service, "refused")),
            (1, 0),
            "{command} {reply}"
        );
    }
}

fn an_undeliverable_mail_delays_no_other(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.mails.refuse("RCPT TO:<stuck@mail.example>", "451 not now");
    setup.mails.refuse("RCPT TO:<nobody@mail.example>", "550 no such mailbox");
    for name in ["stuck", "a", "nobody", "b"] {
        setup.must_sign_up(&format!("{name}@mail.example"), &json!({}));
    }
    for name in ["a", "b"] {
        setup.mails.wait_for_mail_to(&format!("{name}@mail.example"), 1);
    }
    setup.wait_for_outcome("sent", 2);
    setup.wait_for_outcome("refused", 1);
    setup.wait_for_outcome("deferred", 1);
    setup.must_sign_up("c@mail.example", &json!({}));
    setup.mails.wait_for_mail_to("c@mail.example", 1);
    setup.mails.refuse_nothing();
    setup.advance(10);
    setup.mails.wait_for_mail_to("stuck@mail.example", 1);
    setup.wait_for_outcome("sent", 4);
    assert_eq!(setup.mails.mails().len(), 4);
}

fn a_restart_loses_no_mail(backend: Backend) {
    let mut setup = SignUpService::start(backend);
    setup.mails.go_down();
    setup.must_sign_up("emily@mail.example", &json!({}));
    setup.wait_for_outcome("deferred", 1);
    setup.service.restart();
    setup.mails.come_up();
    setup.advance(10);
    let token = setup.mails.wait_for_mail_to("emily@mail.example", 1).token();
    setup.wait_for_outcome("sent", 1);
    setup.service.restart();
    setup.service.advance(Duration::from_secs(600));
    deliver(&setup.service);
    assert_eq!(setup.confirm(&token, PASSWORD).status, 201, "a link outlives the process that wrote it");
    assert_eq!(setup.mails.mails().len(), 1, "nor is one sent again");
}

fn two_nodes_on_one_database_send_each_mail_once(backend: Backend) {
    let setup = SignUpService::start(backend);
    let second = settings(beside(&setup.service, &setup.tables), setup.mails.url()).start();
    let email = |number: usize| format!("emily-{number}@mail.example");
    setup.mails.go_down();
    let nodes = [&setup.service, &second];
    for number in 0..8 {
        let body = json!({ "email": email(number), "password": PASSWORD });
        let answer = post(nodes[number % 2], "/auth/register", &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let deferred = || nodes.iter().map(|node| mails_with_outcome(node, "deferred")).sum::<u64>();
    until(PATIENCE, "eight deferred mails", || (deferred() >= 8).then_some(()));
    setup.mails.come_up();
    nodes.iter().for_each(|node| node.advance(Duration::from_secs(600)));
    for _ in 0..4 {
        std::thread::scope(|scope| {
            for node in nodes {
                scope.spawn(|| deliver(node));
            }
        });
    }
    let tokens: Vec<String> = (0..8).map(|number| setup.mails.wait_for_mail_to(&email(number), 1).token()).collect();
    let sent = || nodes.iter().map(|node| mails_with_outcome(node, "sent")).sum::<u64>();
    until(PATIENCE, "eight mails to be noted", || (sent() >= 8).then_some(()));
    nodes.iter().for_each(|node| {
        node.advance(Duration::from_secs(600));
        deliver(node);
    });
    assert_eq!((setup.mails.mails().len(), sent()), (8, 8), "each once");
    // A link works on either node.
    for (number, token) in tokens.iter().enumerate() {
        let body = json!({ "token": token, "password": PASSWORD });
        let answer = post(nodes[(number / 2) % 2], "/auth/register/confirm", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(setup.count("accounts"), 8);
}

fn many_concurrent_sign_ups_get_one_mail_each(backend: Backend) {
    let setup = SignUpService::with(backend, |builder| builder.set("HASH_QUEUE", "64"));
    let address = setup.service.address();
    let statuses = race(20, move |number| {
        let body = json!({ "email": format!("emily-{number}@mail.example"), "password": PASSWORD }).to_string();
        Request::new("POST", "/auth/register").json(&body).send(address).status
    });
    assert_eq!(statuses, [202; 20]);
    for number in 0..20 {
        setup.mails.wait_for_mail_to(&format!("emily-{number}@mail.example"), 1);
    }
    setup.wait_for_outcome("sent", 20);
    deliver(&setup.service);
    assert_eq!(setup.mails.mails().len(), 20);
}
