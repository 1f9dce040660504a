//! A service that answers every sign-up alike and tells the rest by mail, with the server that takes the mails, and what
//! nearly every test of it does. What should come of it is left to the tests.

use doorward::core::AccountId;
use doorward::core::caller::Client;
use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::secret::Secret;
use doorward::testing::{Builder, TestService};
use serde_json::{Value, json};

use super::http::Response;
use super::process::{PATIENCE, until};
use super::smtp::MailServer;
use super::{Backend, PASSWORD, Tables, post};

/// Where links of mails lead; nobody listens there.
pub const URL: &str = "http://auth.example";

/// A password that somebody else chose.
pub const OTHER: &str = "another-quiet-harbour";

/// The service and its mail server, which goes first: nobody waits for it any more.
pub struct Silent {
    pub mails: MailServer,
    pub service: TestService,
    pub tables: Tables,
}

/// The settings of a service that hands its mails to this server.
pub fn settings(builder: Builder, smtp_url: impl Into<String>) -> Builder {
    let builder = builder.set("SIGNUP_CONFIRM_EMAIL", "true").set("SMTP_URL", smtp_url);
    builder.set("MAIL_FROM", "Harbour <door@auth.example>").set("PUBLIC_URL", URL)
}

/// Does what the thread that hands mails over does, until nothing is due.
pub fn deliver(service: &TestService) {
    let rounds = (0..100).take_while(|_| service.core().deliver_mails().unwrap() > 0).count();
    assert!(rounds < 100, "mails without an end");
}

/// How many mails a service has told of by this outcome.
pub fn told(service: &TestService, outcome: &str) -> u64 {
    let text = service.core().metrics_text().unwrap();
    let name = format!("doorward_mails_total{{outcome=\"{outcome}\"}}");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// An answer to the octet, without what is new in every answer.
pub fn whole(answer: &Response) -> (u16, Vec<(String, String)>, String) {
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

/// Fails unless a confirmation is refused, whatever the reason, in the one way there is.
pub fn assert_invalid(answer: &Response) {
    super::assert_refused(answer, 401, "confirmation_invalid");
}

impl Silent {
    pub fn start(backend: Backend) -> Self {
        Self::with(backend, |builder| builder)
    }

    /// One that is told more.
    pub fn with(backend: Backend, more: impl FnOnce(Builder) -> Builder) -> Self {
        let mails = MailServer::start();
        let url = mails.url();
        Self::over(backend, mails, url, more)
    }

    /// One that hands its mails to this server, under this URL.
    pub fn over(
        backend: Backend,
        mails: MailServer,
        smtp_url: impl Into<String>,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let (builder, tables) = backend.service_and_tables();
        Self { mails, service: more(settings(builder, smtp_url)).start(), tables }
    }

    /// Signs up with this address and the usual password, beside what the body says.
    pub fn sign_up(&self, email: &str, more: &Value) -> Response {
        let mut body = json!({ "email": email, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.service, "/auth/register", &body)
    }

    /// Signs up and fails unless that is answered as it always is.
    pub fn ask(&self, email: &str, more: &Value) {
        let answer = self.sign_up(email, more);
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert!(answer.headers_named("Set-Cookie").is_empty(), "{:?}", answer.headers);
    }

    /// Signs up and gives the token of the mail, the first to this address.
    pub fn token_of(&self, email: &str) -> String {
        self.ask(email, &json!({}));
        let token = self.mails.wait_for_mail_to(email, 1).token();
        self.settle();
        token
    }

    pub fn confirm(&self, token: &str, password: &str) -> Response {
        self.confirm_with(token, password, &json!({}))
    }

    /// Confirms with what the body says beside.
    pub fn confirm_with(&self, token: &str, password: &str, more: &Value) -> Response {
        let mut body = json!({ "token": token, "password": password });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.service, "/auth/register/confirm", &body)
    }

    pub fn count(&self, table: &str) -> i64 {
        self.tables.number(&self.service, &format!("SELECT count(*) FROM {table}"))
    }

    /// Waits until so many mails have had this outcome.
    pub fn wait_until_told(&self, outcome: &str, count: u64) {
        until(PATIENCE, &format!("{count} mails {outcome}"), || {
            let told = told(&self.service, outcome);
            assert!(told <= count, "{told} mails {outcome}, not {count}");
            (told == count).then_some(())
        });
    }

    /// Waits until every mail that the server has taken is written down as sent, so that its lease does not end early.
    pub fn settle(&self) {
        until(PATIENCE, "what was sent to be noted", || {
            let taken = u64::try_from(self.mails.mails().len()).unwrap();
            (told(&self.service, "sent") >= taken).then_some(())
        });
    }

    /// Moves the clock, and delivers what is due then.
    pub fn advance(&self, seconds: u64) {
        self.settle();
        self.service.advance(std::time::Duration::from_secs(seconds));
        deliver(&self.service);
    }
}
