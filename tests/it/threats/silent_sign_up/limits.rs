//! What a mail is to those who read it, and what is no answer to one.

use serde_json::json;

use crate::support::process::{PATIENCE, until};
use crate::support::silent::{Silent, told};
use crate::support::{Backend, on_both_backends};

on_both_backends!(a_mail_says_that_it_is_mime, a_server_that_turns_everybody_away_gives_no_mail_up,);

/// RFC 2045, section 4: else quoted-printable is text, and the link is broken at its `=3D`.
fn a_mail_says_that_it_is_mime(backend: Backend) {
    let silent = Silent::start(backend);
    silent.ask("emily@mail.example", &json!({}));
    assert_eq!(silent.mails.wait_for_mail_to("emily@mail.example", 1).the("mime-version"), "1.0");
}

/// Its refusal is an answer to us and to no mail: an operator may mend it within the day.
fn a_server_that_turns_everybody_away_gives_no_mail_up(backend: Backend) {
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
