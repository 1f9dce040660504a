//! Which mail a silent sign-up gets, and when it goes: at once, and again while the server does not take it. Only here is it
//! looked up whether the address is taken, on a thread that no client waits for. How a mail leaves is crate::mail's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use url::Url;

use super::Core;
use super::letters::{self, About};
use super::refusal::{Error, Fault};
use super::sign_up::taken;
use super::silent_sign_up::account_text;
use super::worker::{Notify, Signal, Worker};
use crate::clock::Timestamp;
use crate::mail::{Mailer, NotTaken};
use crate::settings::Settings;
use crate::store::pending_sign_ups::{self, PendingRow};

/// How long a node has for handing over a mail before another one tries: longer than the server is waited for.
const LEASE: Duration = Duration::from_mins(5);

/// The first and the longest wait before the next attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// How many mails an address gets in the span before its reader confirms one, whoever asks for them: nobody's mailbox is
/// filled through here.
const MAILS_MAX: i64 = 3;
const SPAN: Duration = Duration::from_hours(1);

/// Mails of one round, so that an end is heard of in between.
const BATCH: usize = 50;

/// How often it is looked for mails that another node left.
const ROUND: Duration = Duration::from_secs(5);

/// How long a stop waits for a mail that is being handed over; what is not is tried again after its lease.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// What a node needs for mails.
#[derive(Debug)]
pub struct Mailing {
    mailer: Mailer,
    name: String,
    confirm_page: Url,
    sign_in_page: Url,
    register_page: Url,
    notify: Notify,
    troubled: AtomicBool,
}

impl Mailing {
    /// As the settings say; `None` unless sign-ups are silent.
    pub fn new(settings: &Settings) -> Result<Option<Self>, String> {
        let Some(confirm_page) = settings.confirm_page().filter(|_| settings.passwords.signup_silent) else {
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
            notify: Notify::default(),
            troubled: AtomicBool::new(false),
        }))
    }

    /// Starts the thread that hands mails over.
    pub(super) fn start(&self, core: Core) -> Result<Worker, Fault> {
        Worker::start("mail", &self.notify, SHUTDOWN_GRACE, move |signal| run(&core, signal))
    }

    /// One line when trouble begins and one when it is over.
    fn tell_trouble(&self, trouble: Option<&dyn std::fmt::Display>) {
        match (self.troubled.swap(trouble.is_some(), Ordering::Relaxed), trouble) {
            (false, Some(why)) => log::error!(why:%; "mails of sign-ups do not go out; they are tried again"),
            (true, None) => log::info!("mails of sign-ups go out again"),
            _ => {}
        }
    }
}

fn run(core: &Core, signal: &Signal) {
    loop {
        // A mail that makes it panic comes again after its lease; the others go on.
        let delivered = catch_unwind(AssertUnwindSafe(|| core.deliver_mails()))
            .unwrap_or_else(|_panic| Err(Fault::Broken("a mail panicked".to_owned()).into()));
        if let (Err(error), Some(mailing)) = (&delivered, &core.mailing) {
            mailing.tell_trouble(Some(error));
        }
        let pause = if matches!(delivered, Ok(BATCH..)) { Duration::ZERO } else { ROUND };
        if signal.wait(pause) {
            return;
        }
    }
}

impl Core {
    /// There is a mail to hand over.
    pub(super) fn mail_is_due(&self) {
        if let Some(mailing) = &self.mailing {
            mailing.notify.notify();
        }
    }

    /// Hands over the mails that are due, up to a batch; how many it dealt with.
    pub fn deliver_mails(&self) -> Result<usize, Error> {
        let Some(mailing) = &self.mailing else { return Ok(0) };
        for dealt_with in 0..BATCH {
            let now = self.now();
            if !self.store.read(|db| pending_sign_ups::is_due(db, now))? {
                return Ok(dealt_with);
            }
            let claimed = self.store.write(|db| pending_sign_ups::claim_due(db, now, now.plus(LEASE)))?;
            let Some(row) = claimed else { return Ok(dealt_with) };
            let (outcome, mailed_at, due_at) = self.deliver(mailing, &row, now)?;
            self.store.write(|db| pending_sign_ups::note_mail(db, &row, mailed_at, due_at))?;
            self.metrics.mails.with_label_values(&[outcome]).inc();
        }
        Ok(BATCH)
    }

    /// What became of a mail, when it went, and when to try again.
    fn deliver(
        &self,
        mailing: &Mailing,
        row: &PendingRow,
        now: Timestamp,
    ) -> Result<(&'static str, Option<Timestamp>, Option<Timestamp>), Error> {
        let (lately, taken) = self.store.read(|db| {
            let lately = pending_sign_ups::count_others_mailed(db, row, now.minus(SPAN))?;
            Ok((lately, taken(db, &account_text(row))?))
        })?;
        if lately >= MAILS_MAX {
            return Ok(("withheld", None, None));
        }
        let (about, mut link) = match (taken.email, taken.any()) {
            (true, _) => (About::HasAccount, mailing.sign_in_page.clone()),
            (false, true) => (About::NameTaken, mailing.register_page.clone()),
            (false, false) => (About::Confirm, mailing.confirm_page.clone()),
        };
        if about == About::Confirm {
            link.query_pairs_mut().append_pair("token", &self.confirmation_token(row.id));
        }
        let letter = letters::write(about, &row.language, &mailing.name, link.as_str());
        match mailing.mailer.send(&row.email_canonical, &letter, &row.id.to_string()) {
            Ok(()) => {
                mailing.tell_trouble(None);
                Ok(("sent", Some(now), None))
            }
            Err(NotTaken::Yet(why)) => {
                mailing.tell_trouble(Some(&why));
                Ok(("deferred", None, Some(now.plus(wait_after(row.mail_attempts)))))
            }
            Err(NotTaken::Ever(why)) => {
                log::warn!(why:%; "a mail of a sign-up was refused and is given up");
                Ok(("refused", None, None))
            }
        }
    }
}

/// How long after that many attempts the next one comes.
fn wait_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
    BACKOFF.0.saturating_mul(1 << doublings).min(BACKOFF.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_from_ten_seconds_to_ten_minutes() {
        let waits: Vec<u64> = (0..=9).map(|attempts| wait_after(attempts).as_secs()).collect();
        assert_eq!(waits, [10, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(wait_after(i64::MAX), BACKOFF.1);
    }
}
