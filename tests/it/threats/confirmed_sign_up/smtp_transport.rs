//! SMTP transport: mail and credentials go only to a server with a trusted certificate, or to one that the settings
//! exempt. And which settings are required, and what the log omits.

use doorward::testing::Builder;
use serde_json::json;

use crate::support::confirmed_sign_up::{OTHER, SignUpService, URL, mails_with_outcome};
use crate::support::process::WorkDir;
use crate::support::smtp::{MailServer, Offer};
use crate::support::{Backend, PASSWORD, on_both_backends, secret_scanner};

on_both_backends!(
    a_certificate_of_the_ca_file_is_trusted_and_no_other,
    mail_goes_to_the_domain_as_dns_has_it,
    an_unusable_ca_file_stops_the_start,
    a_server_without_starttls_gets_neither_mail_nor_password,
    a_server_with_an_untrusted_certificate_gets_neither_mail_nor_password,
    tls_is_not_required_on_loopback_or_where_the_url_disables_it,
    the_server_gets_the_credentials_of_the_url,
    refused_credentials_lose_no_mail,
    missing_settings_are_named_and_stop_the_start,
    no_log_contains_an_address_a_token_or_the_password,
);

const MAIL_PASSWORD: &str = "mooring-Xk4-of-the-mail-server";

/// A URL of this server under a name that is not loopback but resolves to this machine.
fn elsewhere(scheme: &str, mails: &MailServer, ending: &str) -> String {
    secret_scanner::used("SMTP_URL", MAIL_PASSWORD);
    format!("{scheme}://harbour:{MAIL_PASSWORD}@0.0.0.0:{}{ending}", mails.port())
}

/// Fails if the server received more than a greeting.
fn assert_received_nothing(setup: &SignUpService, what: &str) {
    setup.wait_for_outcome("deferred", 1);
    setup.advance(10);
    setup.wait_for_outcome("deferred", 2);
    let commands = setup.mails.commands();
    for verb in ["AUTH", "MAIL", "RCPT", "DATA"] {
        assert!(!commands.iter().any(|text| text.to_uppercase().starts_with(verb)), "{what}: {commands:?}");
    }
    let text = commands.join("\n");
    assert!(!text.contains("emily") && !text.contains(MAIL_PASSWORD), "{what}: {text}");
    assert!(setup.mails.mails().is_empty() && setup.mails.credentials().is_empty(), "{what}");
    assert_eq!(
        (mails_with_outcome(&setup.service, "sent"), mails_with_outcome(&setup.service, "refused")),
        (0, 0),
        "{what}"
    );
}

fn a_server_without_starttls_gets_neither_mail_nor_password(backend: Backend) {
    for auth in [false, true] {
        let mails = MailServer::offering(Offer { auth, ..Offer::default() });
        let url = elsewhere("smtp", &mails, "");
        let setup = SignUpService::over(backend, mails, url, |builder| builder);
        setup.must_sign_up("emily@mail.example", &json!({}));
        assert_received_nothing(&setup, "no STARTTLS");
        assert!(setup.mails.connections() >= 2, "it was asked, and asked again");
    }
}

fn a_server_with_an_untrusted_certificate_gets_neither_mail_nor_password(backend: Backend) {
    let (auth, starttls, tls) = (true, true, true);
    for (scheme, offer) in
        [("smtp", Offer { auth, starttls, ..Offer::default() }), ("smtps", Offer { auth, tls, ..Offer::default() })]
    {
        let mails = MailServer::offering(offer);
        let url = elsewhere(scheme, &mails, "");
        let setup = SignUpService::over(backend, mails, url, |builder| builder);
        setup.must_sign_up("emily@mail.example", &json!({}));
        assert_received_nothing(&setup, scheme);
        let sign_up = setup.mails.commands().iter().any(|text| text == "STARTTLS");
        assert_eq!(sign_up, scheme == "smtp", "{scheme}: {:?}", setup.mails.commands());
    }
    // TLS that the URL requires is required on loopback, too.
    let mails = MailServer::offering(Offer { auth, tls, ..Offer::default() });
    let url = format!("smtps://harbour:{MAIL_PASSWORD}@127.0.0.1:{}", mails.port());
    let setup = SignUpService::over(backend, mails, url, |builder| builder);
    setup.must_sign_up("emily@mail.example", &json!({}));
    assert_received_nothing(&setup, "smtps on this machine");
}

fn a_certificate_of_the_ca_file_is_trusted_and_no_other(backend: Backend) {
    let (auth, starttls, tls) = (true, true, true);
    for (scheme, offer) in
        [("smtp", Offer { auth, starttls, ..Offer::default() }), ("smtps", Offer { auth, tls, ..Offer::default() })]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem").display().to_string();
        let (mails, stranger) = (MailServer::offering(offer), MailServer::offering(offer));
        // With texts around and between, as bundles have them.
        let bundle = format!("# ours\n{}\n# another\n{}", stranger.certificate(), mails.certificate());
        std::fs::write(&file, bundle).unwrap();
        let url = elsewhere(scheme, &mails, "");
        let setup = SignUpService::over(backend, mails, url, |builder| builder.set("SMTP_CA_FILE", file.clone()));
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.wait_for_outcome("sent", 1);
        assert_eq!(setup.mails.mails().len(), 1, "{scheme}");

        let untrusted = MailServer::offering(offer);
        let url = elsewhere(scheme, &untrusted, "");
        let setup = SignUpService::over(backend, untrusted, url, |builder| builder.set("SMTP_CA_FILE", file.clone()));
        setup.must_sign_up("emily@mail.example", &json!({}));
        assert_received_nothing(&setup, scheme);
    }
}

/// The server has no SMTPUTF8.
fn mail_goes_to_the_domain_as_dns_has_it(backend: Backend) {
    let mails = MailServer::offering(Offer::default());
    let url = format!("smtp://127.0.0.1:{}", mails.port());
    let sender = "Müller <post@müller.example>";
    let setup = SignUpService::over(backend, mails, url, |builder| builder.set("MAIL_FROM", sender));
    setup.must_sign_up("ada@müller.example", &json!({}));
    setup.wait_for_outcome("sent", 1);
    let commands = setup.mails.commands();
    for part in
        ["RCPT TO:<ada@xn--mller-kva.example>", "MAIL FROM:<post@xn--mller-kva.example>", "EHLO xn--mller-kva.example"]
    {
        assert!(commands.iter().any(|command| command.starts_with(part)), "{part}: {commands:?}");
    }
}

fn an_unusable_ca_file_stops_the_start(backend: Backend) {
    let workdir = WorkDir::on(backend).set("SIGNUP_CONFIRM_EMAIL", "true").set("SMTP_URL", "smtps://mail.example.com");
    let workdir =
        workdir.set("MAIL_FROM", "no-reply@mail.example").set("PUBLIC_URL", URL).set("SMTP_CA_FILE", "ca.pem");
    for (content, words) in [
        (None, "SMTP_CA_FILE: ca.pem cannot be read"),
        (Some(""), "SMTP_CA_FILE: ca.pem holds no certificate in PEM"),
        (Some("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"), "holds no certificate in PEM"),
    ] {
        if let Some(content) = content {
            std::fs::write(workdir.file("ca.pem"), content).unwrap();
        }
        let ran = workdir.run(&["serve"]);
        assert!(!ran.status.success() && ran.stderr.contains(words), "{words}: {ran:?}");
    }
}

fn tls_is_not_required_on_loopback_or_where_the_url_disables_it(backend: Backend) {
    for (host, ending) in [("127.0.0.1", ""), ("localhost", ""), ("LOCALHOST", ""), ("0.0.0.0", "?tls=none")] {
        let mails = MailServer::offering(Offer { auth: true, ..Offer::default() });
        let url = format!("smtp://{host}:{}{ending}", mails.port());
        let setup = SignUpService::over(backend, mails, url, |builder| builder);
        setup.must_sign_up("emily@mail.example", &json!({}));
        setup.mails.wait_for_mail_to("emily@mail.example", 1);
        assert!(setup.mails.credentials().is_empty(), "{host}: where there is no password, none is given");
    }
}

fn the_server_gets_the_credentials_of_the_url(backend: Backend) {
    for (written, name, password) in [
        ("harbour:mooring-Xk4-of-the-mail-server", "harbour", MAIL_PASSWORD),
        ("harbour%40auth.example:p%40ss%2Fw%3Ard%25mooring-Xk4", "harbour@auth.example", "p@ss/w:rd%mooring-Xk4"),
        ("harbour:m%C3%A1laga-mooring-Xk4", "harbour", "málaga-mooring-Xk4"),
    ] {
        secret_scanner::used("SMTP_URL", password);
        let mails = MailServer::offering(Offer { auth: true, ..Offer::default() });
        let url = format!("smtp://{written}@127.0.0.1:{}", mails.port());
        let setup = SignUpService::over(backend, mails, url, |builder| builder);
        setup.must_sign_up("emily@mail.example", &json!({}));
        let mail = setup.mails.wait_for_mail_to("emily@mail.example", 1);
        assert_eq!(setup.mails.credentials(), [(name.to_owned(), password.to_owned())]);
        assert!(!mail.raw.contains(password), "{}", mail.raw);
    }
}

/// The refusal concerns the credentials and not the mail: an operator may fix it within the day.
fn refused_credentials_lose_no_mail(backend: Backend) {
    let mails = MailServer::offering(Offer { auth: true, ..Offer::default() });
    let url = format!("smtp://harbour:{MAIL_PASSWORD}@127.0.0.1:{}", mails.port());
    let setup = SignUpService::over(backend, mails, url, |builder| builder);
    setup.mails.refuse("AUTH", "535 5.7.8 wrong");
    setup.must_sign_up("emily@mail.example", &json!({}));
    setup.wait_for_outcome("deferred", 1);
    assert!(!setup.mails.commands().iter().any(|text| text.starts_with("MAIL")), "{:?}", setup.mails.commands());
    setup.mails.refuse_nothing();
    setup.advance(10);
    setup.mails.wait_for_mail_to("emily@mail.example", 1);
    assert_eq!(mails_with_outcome(&setup.service, "refused"), 0);
}

const GIVEN: [(&str, &str); 4] = [
    ("SIGNUP_CONFIRM_EMAIL", "true"),
    ("SMTP_URL", "smtp://harbour:canary-hunter2@mail.example"),
    ("MAIL_FROM", "door@auth.example"),
    ("PUBLIC_URL", URL),
];

fn missing_settings_are_named_and_stop_the_start(backend: Backend) {
    let set = |builder: Builder, more: &[(&str, &str)], without: &str| {
        let all = GIVEN.iter().chain(more).filter(|(name, _)| *name != without);
        all.fold(builder, |builder, (name, value)| builder.set(name, *value))
    };
    assert!(set(backend.service(), &[], "").try_start().is_ok(), "nothing is missing");
    let app = ("SIGNUP_CONFIRM_URL", "https://app.example/welcome");
    assert!(set(backend.service(), &[app, ("PAGES", "false")], "PUBLIC_URL").try_start().is_ok());
    for (more, without, named) in [
        (&[][..], "SMTP_URL", "SMTP_URL"),
        (&[], "MAIL_FROM", "MAIL_FROM"),
        (&[("SMTP_URL", "")], "", "SMTP_URL"),
        (&[("MAIL_FROM", "")], "", "MAIL_FROM"),
        (&[], "PUBLIC_URL", "PUBLIC_URL"),
        (&[("PAGES", "false")], "", "SIGNUP_CONFIRM_URL"),
        (&[app], "SMTP_URL", "SMTP_URL"),
        (&[app], "MAIL_FROM", "MAIL_FROM"),
    ] {
        let why = set(backend.service(), more, without).try_start().err();
        let why = why.unwrap_or_else(|| panic!("{more:?} without {without:?} was taken")).to_string();
        assert!(why.contains(named), "{more:?} without {without:?}: {why}");
        assert!(!why.contains("hunter2"), "{why}");
        for other in ["SMTP_URL", "MAIL_FROM"].iter().filter(|other| **other != named) {
            assert!(!why.contains(other), "{other} is there: {why}");
        }
    }
    // Without confirmed sign-up none of them is required.
    for (name, _) in &GIVEN[1..] {
        assert!(set(backend.service(), &[("SIGNUP_CONFIRM_EMAIL", "false")], name).try_start().is_ok(), "{name}");
    }
}

fn no_log_contains_an_address_a_token_or_the_password(backend: Backend) {
    let mails = MailServer::offering(Offer { auth: true, ..Offer::default() });
    secret_scanner::used("SMTP_URL", MAIL_PASSWORD);
    let workdir = [("MAIL_FROM", "Harbour <door@auth.example>"), ("PUBLIC_URL", URL), ("SIGNUP_CONFIRM_EMAIL", "true")]
        .iter()
        .fold(WorkDir::on(backend), |workdir, (name, value)| workdir.set(name, *value));
    let workdir = workdir.set("SMTP_URL", format!("smtp://harbour:{MAIL_PASSWORD}@127.0.0.1:{}", mails.port()));
    let mut node = workdir.serve(&["serve"]);
    let (sign_up, confirm) = ("/auth/register", "/auth/register/confirm");
    // Addresses that not every server accepts.
    for odd in ["ünder-logged@mail.example", "\"a b-logged\"@mail.example", "a!#$%&'*+/=?^_`{|}~-logged@mail.example"]
    {
        let status = node.post(sign_up, &json!({ "email": odd, "password": PASSWORD })).status;
        assert!([202, 422].contains(&status), "{odd}: {status}");
    }
    let free = json!({ "email": "free-logged@mail.example", "username": "logged-name", "password": PASSWORD });
    assert_eq!(node.post(sign_up, &free).status, 202);
    let token = mails.wait_for_mail_to("free-logged@mail.example", 1).token();
    assert_eq!(node.get(&format!("/register/confirm?token={token}")).status, 200);
    assert_eq!(node.post(confirm, &json!({ "token": token, "password": OTHER })).status, 401);
    assert_eq!(node.post(confirm, &json!({ "token": token, "password": PASSWORD })).status, 201);
    // A taken address, a permanent and a transient refusal, and a server that goes down.
    assert_eq!(node.post(sign_up, &free).status, 202);
    mails.wait_for_mail_to("free-logged@mail.example", 2);
    mails.refuse("RCPT TO:<refused", "550 no mailbox refused-logged@mail.example here");
    mails.refuse("RCPT TO:<deferred", "451 deferred-logged@mail.example is not now");
    for name in ["refused", "deferred"] {
        let body = json!({ "email": format!("{name}-logged@mail.example"), "password": PASSWORD });
        assert_eq!(node.post(sign_up, &body).status, 202);
        mails.wait_for_command(&format!("RCPT TO:<{name}-logged@mail.example>"));
    }
    mails.refuse("AUTH", &format!("535 {MAIL_PASSWORD} is wrong for door-logged@mail.example"));
    let connections = mails.connections();
    assert_eq!(node.post(sign_up, &json!({ "email": "away-logged@mail.example", "password": PASSWORD })).status, 202);
    mails.wait_for_connections(connections + 1);
    mails.go_down();
    let connections = mails.connections();
    assert_eq!(node.post(sign_up, &json!({ "email": "gone-logged@mail.example", "password": PASSWORD })).status, 202);
    mails.wait_for_connections(connections + 1);
    node.signal("TERM");
    assert!(node.wait().success(), "it stops in time");
    let text = node.stdout() + &node.stderr();
    assert!(text.contains("sign_up_requested"), "it logs: {text}");
    for typed in ["-logged@", "logged-name", &token, MAIL_PASSWORD] {
        assert!(!text.contains(typed), "{typed} in {text}");
    }
    for arguments in [&["settings"][..], &["serve", "--help"], &["doctor"]] {
        let ran = workdir.run(arguments);
        assert!(!format!("{ran:?}").contains(MAIL_PASSWORD), "{arguments:?}: {ran:?}");
    }
}
