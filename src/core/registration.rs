//! Registration: sign-up, email-confirmed sign-up, and its mails with their queue and worker.

pub(crate) mod confirmation_mail;
pub mod confirmed_sign_up;
pub mod mail_queue;
pub mod mail_text;
pub mod sign_up;
