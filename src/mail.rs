//! Hands a letter to the mail server: how that is reached, and what its answer means for the next attempt. What a letter says
//! is core/letters.rs's, when it goes is core/sign_up_mails.rs's.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};

use crate::settings::{MailSettings, MailTls, SmtpUrl};

/// How long the server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a person reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// Its subject.
    pub subject: String,
    /// Its text; lines end with `\n`.
    pub text: String,
    /// The language, as mails name it (RFC 3282).
    pub language: &'static str,
}

impl std::fmt::Debug for Email {
    /// The subject only: the text may hold a link that opens something.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter({})", self.subject)
    }
}

/// Why a letter was not taken. Says nothing of whom it was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Another attempt may do.
    #[error("{0}")]
    Yet(String),
    /// The server will not take it, however often it is asked.
    #[error("{0}")]
    Ever(String),
}

/// A mail server and a sender.
#[derive(Clone)]
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
    server: String,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailer({})", self.server)
    }
}

impl Mailer {
    /// As the settings say; `None` if they name no server or no sender.
    pub fn new(settings: &MailSettings) -> Option<Result<Self, String>> {
        let (url, from) = (settings.smtp_url.as_ref()?, settings.mail_from.clone()?);
        let transport = transport(url, &from);
        Some(transport.map(|transport| Self { transport, from, server: url.to_string() }))
    }

    /// Hands a letter over. `id` is the same for each attempt at it, so that a mailbox shows it once (RFC 5322 section 3.6.4).
    pub fn send(&self, to: &str, letter: &Email, id: &str) -> Result<(), SendError> {
        let unfit = |what: &str| SendError::Ever(format!("it makes no mail: {what}"));
        let to: Mailbox = to.parse().map_err(|_names_somebody| unfit("the address is none"))?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&letter.subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_names_somebody| unfit("its parts do not fit together"))?;
        for (name, value) in [
            (HeaderName::new_from_ascii_str("Content-Language"), letter.language),
            // No out-of-office answers (RFC 3834 section 5).
            (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"),
        ] {
            message.headers_mut().insert_raw(HeaderValue::new(name, value.to_owned()));
        }
        let judged = self.transport.send(&message).map(drop).map_err(|error| judge(&error));
        match judged {
            // A server that turns everybody away has not looked at this letter.
            Err(SendError::Ever(why)) if self.reach().is_err() => Err(SendError::Yet(why)),
            judged => judged,
        }
    }

    /// Whether the server is there and takes our name and password; says which server.
    pub fn reach(&self) -> Result<&str, String> {
        match self.transport.test_connection() {
            Ok(true) => Ok(&self.server),
            Ok(false) => Err(format!("{} answers and takes no mail", self.server)),
            Err(error) => Err(format!("{}: {}", self.server, judge(&error))),
        }
    }
}

fn transport(url: &SmtpUrl, from: &Mailbox) -> Result<SmtpTransport, String> {
    let verified = || TlsParameters::new(url.host.clone()).map_err(|why| why.to_string());
    let tls = match url.tls {
        MailTls::Implicit => Tls::Wrapper(verified()?),
        MailTls::StartTls => Tls::Required(verified()?),
        MailTls::None => Tls::None,
    };
    let mut transport = SmtpTransport::builder_dangerous(&url.host)
        .port(url.port)
        .tls(tls)
        .timeout(Some(PATIENCE))
        .hello_name(ClientId::Domain(from.email.domain().to_owned()));
    if let Some((user, password)) = &url.credentials {
        transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(transport.build())
}

/// By the code alone: the words of a server may hold the address.
fn judge(error: &lettre::transport::smtp::Error) -> SendError {
    match error.status().map(u16::from) {
        // 53x is about us and not about the letter: a password that the server does not take.
        Some(code @ (500..=529 | 540..=599)) => SendError::Ever(format!("the server said {code}")),
        Some(code) => SendError::Yet(format!("the server said {code}")),
        // What was said, or asked of us, cannot be said to this server: an address in letters that it does not take.
        None if error.is_client() => SendError::Ever(error.to_string()),
        None if error.is_response() => SendError::Yet("the server's answer could not be read".to_owned()),
        None => SendError::Yet(error.to_string()),
    }
}
