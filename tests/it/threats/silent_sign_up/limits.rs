//! Where the bounds of mails are, which nodes and confirmations share; and what a mail is to those who read it.

use serde_json::json;

use crate::support::silent::Silent;
use crate::support::{Backend, on_both_backends};

on_both_backends!(a_mail_says_that_it_is_mime,);

/// RFC 2045, section 4: else quoted-printable is text, and the link is broken at its `=3D`.
fn a_mail_says_that_it_is_mime(backend: Backend) {
    let silent = Silent::start(backend);
    silent.ask("emily@mail.example", &json!({}));
    assert_eq!(silent.mails.wait_for_mail_to("emily@mail.example", 1).the("mime-version"), "1.0");
}
