//! Mail queue of a node: the mailer, the pages that mails link to, and the state of delivery. Which mail is sent when is
//! decided by confirmation_mail.rs; how a mail is transmitted by crate::mail.

use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use crate::core::maintenance::worker::Notify;
use crate::mail::{Mailer, MailerError};
use crate::settings::Settings;

/// The configuration and state that a node needs to send mails.
#[derive(Debug)]
pub struct MailQueue {
    pub(super) mailer: Mailer,
    pub(super) name: String,
    pub(super) confirm_page: Url,
    pub(super) sign_in_page: Url,
    pub(super) register_page: Url,
    pub(super) notify: Notify,
    /// Whether the last attempt failed, so that an outage is logged once and not with every attempt.
    failing: AtomicBool,
}

impl MailQueue {
    /// The queue that the settings describe; `None` unless registrations are confirmed by email.
    pub fn new(settings: &Settings) -> Result<Option<Self>, MailerError> {
        let Some(confirm_page) = settings.confirm_page().filter(|_| settings.passwords.signup_confirm_email) else {
            return Ok(None);
        };
        let Some(mailer) = Mailer::new(&settings.mail)? else { return Ok(None) };
        // Links are made of settings and never of a Host header, by which a client would choose where the mails of other people
        // lead.
        let page = |path: &str| {
            let public_url = settings.web.public_url.as_ref().filter(|_| settings.pages.pages);
            public_url.and_then(|url| url.join(path).ok()).or_else(|| confirm_page.join("/").ok())
        };
        let page = |path: &str| page(path).unwrap_or_else(|| confirm_page.clone());
        Ok(Some(Self {
            mailer,
            name: settings.pages.page_name.clone(),
            sign_in_page: page("/login"),
            register_page: page("/register"),
            confirm_page,
            notify: Notify::default(),
            failing: AtomicBool::new(false),
        }))
    }

    /// Logs when delivery starts to fail and when it works again.
    pub(super) fn log_transition(&self, failure: Option<&dyn std::fmt::Display>) {
        match (self.failing.swap(failure.is_some(), Ordering::Relaxed), failure) {
            (false, Some(cause)) => log::error!(cause:%; "registration mails cannot be delivered; delivery is retried"),
            (true, None) => log::info!("registration mails are delivered again"),
            _ => {}
        }
    }
}
