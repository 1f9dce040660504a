//! Limits of mails: rate limits shared by nodes, refusing servers, and unusual addresses.

use serde_json::json;

use crate::multi_node::beside;
use crate::support::confirmed_sign_up::{SignUpService, mails_with_outcome, settings};
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, PASSWORD, on_both_backends, post};

on_both_backends!(
    a_mail_declares_its_mime_version,
    two_nodes_together_send_an_address_no_more_than_three_mails_an_hour,
    a_server_that_refuses_every_connection_loses_no_mail,
    a_lookalike_address_gets_no_mail,
    an_address_that_the_server_cannot_take_is_given_up,
);

/// RFC 2045, section 4: otherwise quoted-printable is plain text, and the link is broken at its `=3D`.
fn a_mail_declares_its_mime_version(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.must_sign_up("emily@mail.example", &json!({}));
    assert_eq!(setup.mails.wait_for_mail_to("emily@mail.example", 1).the("mime-version"), "1.0");
}

fn two_nodes_together_send_an_address_no_more_than_three_mails_an_hour(backend: Backend) {
    let setup = SignUpService::start(backend);
    let second = settings(beside(&setup.service, &setup.tables), setup.mails.url()).start();
    for number in 1..=2 {
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.mails.wait_for_mail_to("emily@mail.example", number);
        setup.wait_until_recorded();
    }
    // The third is in delivery while the other node counts for the fourth.
    setup.mails.hold();
    let connections = setup.mails.connections();
    setup.must_sign_up("emily@mail.example", &json!({}));
    setup.mails.wait_for_connections(connections + 1);
    let body = json!({ "email": "emily@mail.example", "password": PASSWORD });
    assert_eq!(post(&second, "/auth/register", &body).status, 202);
    until(PATIENCE, "the other node's mail or its end", || {
        let done = setup.mails.connections() > connections + 1
            || mails_with_outcome(&second, "withheld") + mails_with_outcome(&second, "deferred") > 0;
        done.then_some(())
    });
    setup.mails.let_go();
    until(PATIENCE, "what both nodes make of it", || {
        let ended = |outcome| mails_with_outcome(&setup.service, outcome) + mails_with_outcome(&second, outcome);
        (ended("sent") + ended("withheld") + ended("deferred") >= 4).then_some(())
    });
    assert_eq!(setup.mails.mails().len(), 3, "mails within the hour");
}

/// The refusal concerns us and not the mail: an operator may fix it within the day.
fn a_server_that_refuses_every_connection_loses_no_mail(backend: Backend) {
    for reply in ["550 5.7.1 we do not know you", "554 no service here", "502 not implemented"] {
        let setup = SignUpService::start(backend);
        setup.mails.refuse("EHLO", reply);
        setup.mails.refuse("HELO", reply);
        setup.must_sign_up("emily@mail.example", &json!({}));
        until(PATIENCE, "the mail's outcome", || {
            assert_eq!(mails_with_outcome(&setup.service, "refused"), 0, "{reply}");
            (mails_with_outcome(&setup.service, "deferred") == 1).then_some(())
        });
        setup.mails.refuse_nothing();
        setup.advance(10);
        setup.mails.wait_for_mail_to("emily@mail.example", 1);
    }
}

/// Accounts fold these letters to others; a mailbox does not, and may be another person's.
fn a_lookalike_address_gets_no_mail(backend: Backend) {
    let setup = SignUpService::start(backend);
    for address in ["stra\u{df}e@mail.example", "\u{17f}am@mail.example", "\u{ff45}mily@mail.example"] {
        let answer = setup.sign_up(address, &json!({}));
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (422, Some("email")), "{address}");
    }
    assert_eq!(setup.count("pending_sign_ups"), 0);
    setup.must_sign_up("Emily@Mail.Example", &json!({}));
    setup.mails.wait_for_mail_to("emily@mail.example", 1);
    // Other domains in DNS, with mailboxes of their own.
    setup.must_sign_up("emily@ma\u{131}l.example", &json!({}));
    setup.must_sign_up("emily@stra\u{df}e.example", &json!({}));
    setup.mails.wait_for_mail_to("emily@xn--mal-kua.example", 1);
    setup.mails.wait_for_mail_to("emily@xn--strae-oqa.example", 1);
}

fn an_address_that_the_server_cannot_take_is_given_up(backend: Backend) {
    let setup = SignUpService::start(backend);
    setup.must_sign_up("j\u{fc}rgen@mail.example", &json!({}));
    setup.wait_for_outcome("refused", 1);
    assert_eq!((mails_with_outcome(&setup.service, "deferred"), setup.mails.mails().len()), (0, 0));
}
