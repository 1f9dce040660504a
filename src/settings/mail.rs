//! How mails leave: through which server, from whom, and where their links lead. What they say is core/letters.rs's.

use std::fmt;
use std::str::FromStr;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::secret::Secret;

/// Settings of mails.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Mail")]
pub struct Mail {
    /// The server that takes mails: smtps://user:password@mail.example.com (TLS from the start, port 465), or smtp://…
    /// (STARTTLS or nothing, port 587). Without TLS on this machine only, or with ?tls=none.
    #[arg(long)]
    pub smtp_url: Option<SmtpUrl>,

    /// Whom mails are from: Example <no-reply@example.com>
    #[arg(long, value_parser = sender)]
    pub mail_from: Option<Mailbox>,

    /// A page of the app's own that a sign-up's link leads to, which gets the token as `token` and sends it with the password
    /// to `POST /auth/register/confirm`. Default: /register/confirm under PUBLIC_URL.
    #[arg(long, value_parser = confirm_page)]
    pub signup_confirm_url: Option<Url>,
}

/// How the connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From the first octet (RFC 8314).
    FromTheStart,
    /// By STARTTLS, and no mail without it (RFC 3207).
    StartTls,
    /// Not at all.
    None,
}

/// A mail server, and who we are to it. Prints itself without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// User and password.
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
    type Err = String;

    /// Never says what stands there: it may be a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            "it is no smtp:// or smtps:// URL; write smtps://user:password@mail.example.com, with the signs of \
             a password percent-encoded"
                .to_owned()
        };
        let url = Url::parse(text).map_err(|_hidden| expected())?;
        // Parsed again as a scheme that the URL standard knows, so that hosts are read as everywhere else.
        let rest = text.split_once("://").map(|(_, rest)| rest).ok_or_else(expected)?;
        let web = Url::parse(&format!("http://{rest}")).map_err(|_hidden| expected())?;
        let implicit = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(expected()),
        };
        let host = web.host().ok_or_else(expected)?;
        let here = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let tls = match (implicit, web.query()) {
            (true, None) => MailTls::FromTheStart,
            (false, None) if here => MailTls::None,
            (false, Some("tls=none")) => MailTls::None,
            (false, None | Some("tls=required")) => MailTls::StartTls,
            _ => return Err("after ? only tls=none or tls=required may stand, and nothing with smtps://".to_owned()),
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
        Ok(Self { host, port: url.port().unwrap_or(if implicit { 465 } else { 587 }), tls, credentials })
    }
}

fn sender(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_why| format!("{text:?} is no sender; write Example <no-reply@example.com>"))
}

fn confirm_page(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none());
    url.ok_or_else(|| format!("{text:?} is no page; write https://app.example.com/confirm, without #"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SmtpUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_mail_server_is_spoken_to_over_tls_unless_it_is_this_machine() {
        for (text, host, port, tls) in [
            ("smtps://mail.example.com", "mail.example.com", 465, MailTls::FromTheStart),
            ("smtp://mail.example.com", "mail.example.com", 587, MailTls::StartTls),
            ("smtp://mail.example.com:25?tls=none", "mail.example.com", 25, MailTls::None),
            ("smtp://localhost:1025", "localhost", 1025, MailTls::None),
            ("smtp://127.0.0.9:1025/", "127.0.0.9", 1025, MailTls::None),
            ("smtp://[::1]:1025?tls=required", "::1", 1025, MailTls::StartTls),
            ("smtp://localhost.example.com", "localhost.example.com", 587, MailTls::StartTls),
        ] {
            let url = read(text);
            assert_eq!((url.host.as_str(), url.port, url.tls, url.credentials), (host, port, tls, None), "{text}");
        }
    }

    #[test]
    fn a_password_may_hold_any_sign_and_is_never_shown() {
        let url = read("smtps://me%40x:p%40%3Ass%2F@mail.example.com");
        assert_eq!(url.credentials, Some(("me@x".to_owned(), Secret::new("p@:ss/"))));
        assert_eq!(format!("{url} {url:?}"), "mail.example.com:465 SmtpUrl(mail.example.com:465)");
        for wrong in [
            "hunter2",
            "https://me:hunter2@mail.example.com",
            "smtp://me:hunter2@mail.example.com?tls=maybe",
            "smtps://me:hunter2@mail.example.com?tls=none",
            "smtps://hunter2@mail.example.com",
            "smtps://:hunter2@mail.example.com",
            "smtps://me:hunter2@mail.example.com/inbox",
            "smtps://me:hunter2@",
        ] {
            let why = wrong.parse::<SmtpUrl>().unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
