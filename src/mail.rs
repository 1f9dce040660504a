//! SMTP client: transmits an email to the mail server, and classifies its reply for the next attempt. Texts are
//! core/registration/mail_text.rs's; when a mail is sent is decided by core/registration/confirmation_mail.rs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};

use crate::settings::{MailSettings, MailTls, SmtpUrl};

/// How long the server may take for each reply.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// A plain-text email.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// The subject.
    pub subject: String,
    /// The text, with lines that end with `\n`.
    pub text: String,
    /// The language tag of the text (RFC 3282).
    pub language: &'static str,
}

impl std::fmt::Debug for Email {
    /// The subject alone: the text may contain a link with a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Email({})", self.subject)
    }
}

/// The settings describe no usable connection to the mail server.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// The server's name cannot be verified by TLS.
    #[error("SMTP_URL: {0}")]
    Tls(#[from] smtp::Error),
    /// The file of trusted certificates cannot be read.
    #[error("SMTP_CA_FILE: {} cannot be read: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("SMTP_CA_FILE: {} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
}

/// Why an email was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A later attempt may succeed.
    #[error(transparent)]
    Transient(SmtpFailure),
    /// No later attempt will succeed.
    #[error(transparent)]
    Permanent(SmtpFailure),
}

/// What failed between this node and the mail server. Its text contains no recipient and no text of the server, which may
/// quote one: it goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum SmtpFailure {
    /// A reply that refuses the email or the login.
    #[error("the server replied with code {0}")]
    Reply(u16),
    /// A reply that is no SMTP.
    #[error("the server's reply could not be parsed")]
    UnreadableReply,
    /// A server that answers and accepts no mail.
    #[error("the server does not accept mail")]
    NotReady,
    /// A recipient that is not an email address.
    #[error("the recipient's address is invalid")]
    Recipient,
    /// An email that cannot be built.
    #[error("the email cannot be built")]
    Message(#[source] lettre::error::Error),
    /// A failed connection, or an email that this server cannot carry.
    #[error(transparent)]
    Transport(smtp::Error),
}

/// A failed test of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {failure}")]
pub struct ConnectionError {
    server: String,
    #[source]
    failure: SmtpFailure,
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
    /// The mailer that the settings describe; `None` if they have no server or no sender.
    pub fn new(settings: &MailSettings) -> Result<Option<Self>, MailerError> {
        let Some((url, from)) = settings.smtp_url.as_ref().zip(settings.mail_from.clone()) else { return Ok(None) };
        let trusted = settings.smtp_ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let transport = transport(url, &from, &trusted).map_err(|error| match &settings.smtp_ca_file {
            Some(file) => MailerError::NoCertificate(file.clone()),
            None => MailerError::Tls(error),
        })?;
        Ok(Some(Self { transport, from, server: url.to_string() }))
    }

    /// Sends an email. `id` is the same for each attempt, so that a mailbox shows one copy if the server accepted an earlier
    /// attempt and its reply was lost (RFC 5322 section 3.6.4).
    pub fn send(&self, to: &str, email: &Email, id: &str) -> Result<(), SendError> {
        let message = self.message(to, email, id).map_err(SendError::Permanent)?;
        let sent = self.transport.send(&message).map(drop).map_err(classify);
        match sent {
            // A server that refuses every connection has not considered this email.
            Err(SendError::Permanent(failure)) if self.test_connection().is_err() => Err(SendError::Transient(failure)),
            sent => sent,
        }
    }

    fn message(&self, to: &str, email: &Email, id: &str) -> Result<Message, SmtpFailure> {
        // The parser's error may quote the address, so it is dropped.
        let to: Mailbox = to.parse().or(Err(SmtpFailure::Recipient))?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&email.subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(email.text.clone())
            .map_err(SmtpFailure::Message)?;
        for (name, value) in [
            (HeaderName::new_from_ascii_str("Content-Language"), email.language),
            // Suppresses out-of-office replies (RFC 3834 section 5).
            (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"),
        ] {
            message.headers_mut().insert_raw(HeaderValue::new(name, value.to_owned()));
        }
        Ok(message)
    }

    /// Whether the server is reachable and accepts the login; returns the server's URL without the password.
    pub fn test_connection(&self) -> Result<&str, ConnectionError> {
        let failure = match self.transport.test_connection() {
            Ok(true) => return Ok(&self.server),
            Ok(false) => SmtpFailure::NotReady,
            Err(error) => match classify(error) {
                SendError::Transient(failure) | SendError::Permanent(failure) => failure,
            },
        };
        Err(ConnectionError { server: self.server.clone(), failure })
    }
}

/// The certificates of a PEM file.
fn certificates(file: &Path) -> Result<Vec<Certificate>, MailerError> {
    let unreadable = |source| MailerError::Unreadable { file: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let end = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(end).filter_map(|part| part.get(part.find("-----BEGIN CERTIFICATE-----")?..));
    let found: Vec<Certificate> = blocks
        .map(|block| Certificate::from_pem(block.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|_unparsable| MailerError::NoCertificate(file.to_owned()))?;
    if found.is_empty() { Err(MailerError::NoCertificate(file.to_owned())) } else { Ok(found) }
}

fn transport(url: &SmtpUrl, from: &Mailbox, trusted: &[Certificate]) -> Result<SmtpTransport, smtp::Error> {
    let verified = || {
        let builder = TlsParameters::builder(url.host.clone());
        trusted.iter().fold(builder, |builder, one| builder.add_root_certificate(one.clone())).build()
    };
    let tls = match url.tls {
        MailTls::Implicit => Tls::Wrapper(verified()?),
        MailTls::StartTls => Tls::Required(verified()?),
        MailTls::None => Tls::None,
    };
    let mut transport = SmtpTransport::builder_dangerous(&url.host)
        .port(url.port)
        .tls(tls)
        .timeout(Some(SMTP_TIMEOUT))
        .hello_name(ClientId::Domain(from.email.domain().to_owned()));
    if let Some((user, password)) = &url.credentials {
        transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(transport.build())
}

/// Classifies by the reply's code alone: its text may contain the recipient's address.
fn classify(error: smtp::Error) -> SendError {
    match error.status().map(u16::from) {
        // 53x concerns this client and not the email: a login that the server does not accept, which an operator repairs.
        Some(code @ (500..=529 | 540..=599)) => SendError::Permanent(SmtpFailure::Reply(code)),
        Some(code) => SendError::Transient(SmtpFailure::Reply(code)),
        // A client error concerns what would be sent: an address with characters that this server does not support.
        None if error.is_client() => SendError::Permanent(SmtpFailure::Transport(error)),
        None if error.is_response() => SendError::Transient(SmtpFailure::UnreadableReply),
        None => SendError::Transient(SmtpFailure::Transport(error)),
    }
}
