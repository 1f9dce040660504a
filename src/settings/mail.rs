//! Mail settings: the SMTP server, the sender, and the page that links lead to. The mails' texts are in
//! core/registration/mail_text.rs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::secret::Secret;

use super::values::InvalidValue;

/// Settings of mails.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Mail")]
pub struct MailSettings {
    /// The mail server: smtps://user:password@mail.example.com (implicit TLS, port 465), or smtp://… (STARTTLS required, port
    /// 587). Connections without TLS only to this machine, or with ?tls=none.
    #[arg(long)]
    pub smtp_url: Option<SmtpUrl>,

    /// A PEM file of certificates to trust for the mail server, beside Mozilla's: of a private certificate authority, or the
    /// server's own.
    #[arg(long)]
    pub smtp_ca_file: Option<PathBuf>,

    /// The sender of mails: Example <no-reply@example.com>.
    #[arg(long, value_parser = sender)]
    pub mail_from: Option<Mailbox>,

    /// The app's own page for the link that confirms a sign-up. It receives the token in the query parameter `token` and sends
    /// it with the password to `POST /auth/register/confirm`. Default: /register/confirm under PUBLIC_URL.
    #[arg(long, value_parser = confirm_page)]
    pub signup_confirm_url: Option<Url>,
}

/// The encryption of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS, and no mail without it (RFC 3207).
    StartTls,
    /// None.
    None,
}

/// A mail server and the credentials for it. `Display` and `Debug` omit the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The encryption.
    pub tls: MailTls,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpUrl({self})")
    }
}

impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for SmtpUrl {
    type Err = InvalidValue;

    /// No message quotes the value, nor a cause that might: it may contain a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            InvalidValue::new(
                "not a valid smtp:// or smtps:// URL; write smtps://user:password@mail.example.com, and percent-encode \
                 special characters of the password",
            )
        };
        let url = Url::parse(text).map_err(|_hidden| expected())?;
        // Parsed again as a scheme that the URL standard knows, so that hosts are read as everywhere else.
        let rest = text.split_once("://").map(|(_, rest)| rest).ok_or_else(expected)?;
        let web = Url::parse(&format!("http://{rest}")).map_err(|_hidden| expected())?;
        let is_implicit = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(expected()),
        };
        let host = web.host().ok_or_else(expected)?;
        let is_local = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let tls = match (is_implicit, web.query()) {
            (true, None) => MailTls::Implicit,
            (false, None) if is_local => MailTls::None,
            (false, Some("tls=none")) => MailTls::None,
            (false, None | Some("tls=required")) => MailTls::StartTls,
            _ => {
                return Err(InvalidValue::new(
                    "the query is not valid; use ?tls=none or ?tls=required with smtp://, and none with smtps://",
                ));
            }
        };
        if !matches!(web.path(), "" | "/") || web.fragment().is_some() {
            return Err(expected());
        }
        let decoded =
            |part: &str| percent_decode_str(part).decode_utf8().map(String::from).map_err(|_hidden| expected());
        let credentials = match (web.username(), web.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(expected()),
            (user, Some(password)) => Some((decoded(user)?, Secret::new(decoded(password)?))),
        };
        let host = match host {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        };
        Ok(Self { host, port: url.port().unwrap_or(if is_implicit { 465 } else { 587 }), tls, credentials })
    }
}

/// The domain in A-labels: a server that has no SMTPUTF8 (RFC 6531) would refuse every mail otherwise, and so would one asked
/// by a HELO with other letters.
fn sender(text: &str) -> Result<Mailbox, InvalidValue> {
    let advice = || format!("{text:?} is not a valid sender; write Example <no-reply@example.com>");
    let sender: Mailbox =
        text.parse().map_err(|error: lettre::address::AddressError| InvalidValue::caused_by(advice(), error))?;
    let domain = sender.email.domain();
    if domain.is_ascii() {
        return Ok(sender);
    }
    let domain = Host::parse(domain).map_err(|error| InvalidValue::caused_by(advice(), error))?.to_string();
    let address = Address::new(sender.email.user(), domain);
    Ok(Mailbox::new(sender.name, address.map_err(|error| InvalidValue::caused_by(advice(), error))?))
}

fn confirm_page(text: &str) -> Result<Url, InvalidValue> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none());
    url.ok_or_else(|| {
        InvalidValue::new(format!(
            "{text:?} is not a valid page; write a URL without #: https://app.example.com/confirm"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SmtpUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_mail_server_needs_tls_unless_it_is_local() {
        for (text, host, port, tls) in [
            ("smtps://mail.example.com", "mail.example.com", 465, MailTls::Implicit),
            ("smtp://mail.example.com", "mail.example.com", 587, MailTls::StartTls),
            ("smtp://mail.example.com:25?tls=none", "mail.example.com", 25, MailTls::None),
            ("smtp://localhost:1025", "localhost", 1025, MailTls::None),
            ("smtp://127.0.0.9:1025/", "127.0.0.9", 1025, MailTls::None),
            ("smtp://[::1]:1025?tls=required", "::1", 1025, MailTls::StartTls),
            ("smtp://localhost.example.com", "localhost.example.com", 587, MailTls::StartTls),
        ] {
            let url = parse(text);
            assert_eq!((url.host.as_str(), url.port, url.tls, url.credentials), (host, port, tls, None), "{text}");
        }
    }

    #[test]
    fn a_senders_domain_is_sent_as_dns_has_it() {
        let address = |text: &str| sender(text).map(|sender| sender.email.to_string());
        assert_eq!(address("Müller <post@müller.example>").unwrap(), "post@xn--mller-kva.example");
        assert_eq!(address("post@xn--mller-kva.example").unwrap(), "post@xn--mller-kva.example");
        assert_eq!(sender("Müller <post@müller.example>").unwrap().name.as_deref(), Some("Müller"));
        assert!(address("post@").is_err() && address("Müller").is_err());
    }

    #[test]
    fn a_password_may_contain_any_character_and_is_never_shown() {
        let url = parse("smtps://me%40x:p%40%3Ass%2F@mail.example.com");
        assert_eq!(url.credentials, Some(("me@x".to_owned(), Secret::new("p@:ss/"))));
        assert_eq!(format!("{url} {url:?}"), "mail.example.com:465 SmtpUrl(mail.example.com:465)");
        for invalid in [
            "hunter2",
            "https://me:hunter2@mail.example.com",
            "smtp://me:hunter2@mail.example.com?tls=maybe",
            "smtps://me:hunter2@mail.example.com?tls=none",
            "smtps://hunter2@mail.example.com",
            "smtps://:hunter2@mail.example.com",
            "smtps://me:hunter2@mail.example.com/inbox",
            "smtps://me:hunter2@",
        ] {
            let message = invalid.parse::<SmtpUrl>().unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
