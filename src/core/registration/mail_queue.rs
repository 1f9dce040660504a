//! Mail queue state of a node: the mailer, the pages that mails link to, and whether delivery is failing. Which mail goes out
//! when is confirmation_mail.rs's; how a mail leaves is crate::mail's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use crate::core::background::Signal;
use crate::mail::Mailer;
use crate::settings::Settings;

/// What a node needs for mails.
#[derive(Debug)]
pub struct MailQueue {
    pub(super) mailer: Mailer,
    pub(super) name: String,
    pub(super) confirm_page: Url,
    pub(super) sign_in_page: Url,
    pub(super) register_page: Url,
    pub(super) signal: Arc<Signal>,
    troubled: AtomicBool,
}

impl MailQueue {
    /// As the settings say; `None` unless sign-ups are silent.
    pub fn new(settings: &Settings) -> Result<Option<Self>, String> {
        let Some(confirm_page) = settings.confirm_page().filter(|_| settings.passwords.signup_confirm_email) else {
            return Ok(None);
        };
        let Some(mailer) = Mailer::new(&settings.mail) else { return Ok(None) };
        // Never from a Host header: whoever sends one would choose where strangers' mails lead.
        let page = |path: &str| {
            let ours = settings.web.public_url.as_ref().filter(|_| settings.pages.pages);
            ours.and_then(|own| own.join(path).ok()).or_else(|| confirm_page.join("/").ok())
        };
        let page = |path: &str| page(path).unwrap_or_else(|| confirm_page.clone());
        Ok(Some(Self {
            mailer: mailer?,
            name: settings.pages.page_name.clone(),
            sign_in_page: page("/login"),
            register_page: page("/register"),
            confirm_page,
            signal: Arc::default(),
            troubled: AtomicBool::new(false),
        }))
    }

    /// One line when trouble begins and one when it is over.
    pub(super) fn tell_trouble(&self, trouble: Option<&dyn std::fmt::Display>) {
        match (self.troubled.swap(trouble.is_some(), Ordering::Relaxed), trouble) {
            (false, Some(why)) => log::error!(why:%; "mails of sign-ups do not go out; they are tried again"),
            (true, None) => log::info!("mails of sign-ups go out again"),
            _ => {}
        }
    }
}
