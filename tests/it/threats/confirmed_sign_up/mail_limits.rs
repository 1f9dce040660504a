//! Where the bounds of mails are, which nodes share; and what a mail is to those who read it.

use serde_json::json;

use crate::multi_node::beside;
use crate::support::confirmed_sign_up::{Silent, settings, told};
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, PASSWORD, on_both_backends, post};

on_both_backends!(
    a_mail_declares_its_mime_version,
    two_nodes_together_send_an_address_no_more_than_three_mails_an_hour,
    a_server_that_refuses_every_connection_loses_no_mail,
    a_lookalike_address_gets_no_mail,
    an_address_that_the_server_cannot_take_is_given_up,
);

/// RFC 2045, section 4: else quoted-printable is text, and the link is broken at its `=3D`.
fn a_mail_declares_its_mime_version(backend: Backend) {
    let silent = Silent::start(backend);
    silent.ask("emily@mail.example", &json!({}));
    assert_eq!(silent.mails.wait_for_mail_to("emily@mail.example", 1).the("mime-version"), "1.0");
}

fn two_nodes_together_send_an_address_no_more_than_three_mails_an_hour(backend: Backend) {
    let silent = Silent::start(backend);
    let second = settings(beside(&silent.service, &silent.tables), silent.mails.url()).start();
    for number in 1..=2 {
        silent.ask("emily@mail.example", &json!({}));
        silent.mails.wait_for_mail_to("emily@mail.example", number);
        silent.settle();
    }
    // The third is on its way when the other node looks at the fourth.
    silent.mails.hold();
    let connections = silent.mails.connections();
    silent.ask("emily@mail.example", &json!({}));
    silent.mails.wait_for_connections(connections + 1);
    let body = json!({ "email": "emily@mail.example", "password": PASSWORD });
    assert_eq!(post(&second, "/auth/register", &body).status, 202);
    until(PATIENCE, "the other node's mail or its end", || {
        let done =
            silent.mails.connections() > connections + 1 || told(&second, "withheld") + told(&second, "deferred") > 0;
        done.then_some(())
    });
    silent.mails.let_go();
    until(PATIENCE, "what both nodes make of it", || {
        let ended = |outcome| told(&silent.service, outcome) + told(&second, outcome);
        (ended("sent") + ended("withheld") + ended("deferred") >= 4).then_some(())
    });
    assert_eq!(silent.mails.mails().len(), 3, "mails within the hour");
}

/// Its refusal is an answer to us and to no mail: an operator may mend it within the day.
fn a_server_that_refuses_every_connection_loses_no_mail(backend: Backend) {
    for reply in ["550 5.7.1 we do not know you", "554 no service here", "502 not implemented"] {
        let silent = Silent::start(backend);
        silent.mails.refuse("EHLO", reply);
        silent.mails.refuse("HELO", reply);
        silent.ask("emily@mail.example", &json!({}));
        until(PATIENCE, "the mail's outcome", || {
            assert_eq!(told(&silent.service, "refused"), 0, "{reply}");
            (told(&silent.service, "deferred") == 1).then_some(())
        });
        silent.mails.refuse_nothing();
        silent.advance(10);
        silent.mails.wait_for_mail_to("emily@mail.example", 1);
    }
}

/// An account takes these letters for others; a mailbox does not, and may be somebody else's.
fn a_lookalike_address_gets_no_mail(backend: Backend) {
    let silent = Silent::start(backend);
    for address in ["emily@ma\u{131}l.example", "emily@stra\u{df}e.example", "\u{ff45}mily@mail.example"] {
        let answer = silent.sign_up(address, &json!({}));
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (422, Some("email")), "{address}");
    }
    assert_eq!(silent.count("pending_sign_ups"), 0);
    silent.ask("Emily@Mail.Example", &json!({}));
    silent.mails.wait_for_mail_to("emily@mail.example", 1);
}

fn an_address_that_the_server_cannot_take_is_given_up(backend: Backend) {
    let silent = Silent::start(backend);
    silent.ask("j\u{fc}rgen@mail.example", &json!({}));
    silent.wait_until_told("refused", 1);
    assert_eq!((told(&silent.service, "deferred"), silent.mails.mails().len()), (0, 0));
}
