//! A service with confirmed sign-up and the mail server that receives its mails, with shorthands for tests of it.

use doorward::core::AccountId;
use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::core::session::caller::Client;
use doorward::secret::Secret;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use super::http::Response;
use super::process::{PATIENCE, until};
use super::smtp::MailServer;
use super::{Backend, PASSWORD, Tables, post};

/// The base URL of links in mails; nothing listens there.
pub const URL: &str = "http://auth.example";

/// The password of another person.
pub const OTHER: &str = "another-quiet-harbour";

/// The service and its mail server, which is dropped first, so that no delivery is waited for.
pub struct SignUpService {
    pub mails: MailServer,
    pub service: TestService,
    pub tables: Tables,
}

/// The settings of a service that sends its mails to this server.
pub fn settings(builder: Builder, smtp_url: impl Into<String>) -> Builder {
    let builder = builder.set("SIGNUP_CONFIRM_EMAIL", "true").set("SMTP_URL", smtp_url);
    builder.set("MAIL_FROM", "Harbour <door@auth.example>").set("PUBLIC_URL", URL)
}

/// Delivers as the outbox worker does, until nothing is due.
pub fn deliver(service: &TestService) {
    let rounds = (0..100).take_while(|_| service.core().deliver_mails().unwrap() > 0).count();
    assert!(rounds < 100, "mails without an end");
}

/// The number of mails with this outcome, by the metrics.
pub fn mails_with_outcome(service: &TestService, outcome: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let name = format!("doorward_mails_total{{outcome=\"{outcome}\"}}");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// The exact answer without the values that are new in every answer.
pub fn exact_answer(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap_or_else(|| panic!("no id: {:?}", answer.headers));
    let headers = answer.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str())).collect();
    // The server writes them in an order that is random for each answer.
    headers.sort_unstable();
    (answer.status, headers, answer.text().replace(id, ""))
}

/// An account as an operator adds it, with the usual password.
pub fn add_account(service: &TestService, email: &str, username: Option<&str>) -> AccountId {
    let (email, username) = (Some(email.to_owned()), username.map(ToOwned::to_owned));
    let password = Some(Secret::new(PASSWORD));
    let person = Registration { email, username, password, ..Registration::default() };
    let core = service.core();
    let validated = core.validate_account(person, Privileges::default()).unwrap();
    core.add_account(&validated.hash(core.hasher()).unwrap(), &Client::operator()).unwrap().id
}

/// Fails unless a confirmation is refused in the one way that all refusals share.
pub fn assert_invalid(answer: &Response) {
    super::assert_refused(answer, 401, "confirmation_invalid");
}

impl SignUpService {
    pub fn start(backend: Backend) -> Self {
        Self::with(backend, |builder| builder)
    }

    /// A service with further settings.
    pub fn with(backend: Backend, more: impl FnOnce(Builder) -> Builder) -> Self {
        let mails = MailServer::start();
        let url = mails.url();
        Self::over(backend, mails, url, more)
    }

    /// A service that sends its mails to this server, under this URL.
    pub fn over(
        backend: Backend,
        mails: MailServer,
        smtp_url: impl Into<String>,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let (builder, tables) = backend.service_and_tables();
        Self { mails, service: more(settings(builder, smtp_url)).start(), tables }
    }

    /// Signs up with this address, the usual password and further fields.
    pub fn sign_up(&self, email: &str, more: &Value) -> Response {
        let mut body = json!({ "email": email, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.service, "/auth/register", &body)
    }

    /// Signs up; the answer must be the one that every sign-up gets.
    pub fn must_sign_up(&self, email: &str, more: &Value) {
        let answer = self.sign_up(email, more);
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert!(answer.headers_named("Set-Cookie").is_empty(), "{:?}", answer.headers);
    }

    /// Signs up; the token in the first mail to this address.
    pub fn token_of(&self, email: &str) -> String {
        self.must_sign_up(email, &json!({}));
        let token = self.mails.wait_for_mail_to(email, 1).token();
        self.wait_until_recorded();
        token
    }

    pub fn confirm(&self, token: &str, password: &str) -> Response {
        self.confirm_with(token, password, &json!({}))
    }

    /// Confirms with further fields.
    pub fn confirm_with(&self, token: &str, password: &str, more: &Value) -> Response {
        let mut body = json!({ "token": token, "password": password });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.service, "/auth/register/confirm", &body)
    }

    pub fn count(&self, table: &str) -> i64 {
        self.tables.number(&self.service, &format!("SELECT count(*) FROM {table}"))
    }

    /// Waits until this many mails have had this outcome.
    pub fn wait_for_outcome(&self, outcome: &str, count: u64) {
        until(PATIENCE, &format!("{count} mails {outcome}"), || {
            let mails_with_outcome = mails_with_outcome(&self.service, outcome);
            assert!(mails_with_outcome <= count, "{mails_with_outcome} mails {outcome}, not {count}");
            (mails_with_outcome == count).then_some(())
        });
    }

    /// Waits until every mail that the server has accepted is recorded as sent, so that its lease does not expire
    /// early.
    pub fn wait_until_recorded(&self) {
        until(PATIENCE, "what was sent to be noted", || {
            let taken = u64::try_from(self.mails.mails().len()).unwrap();
            (mails_with_outcome(&self.service, "sent") >= taken).then_some(())
        });
    }

    /// Moves the clock, and delivers what is due.
    pub fn advance(&self, seconds: u64) {
        self.wait_until_recorded();
        self.service.advance(std::time::Duration::from_secs(seconds));
        deliver(&self.service);
    }
}
