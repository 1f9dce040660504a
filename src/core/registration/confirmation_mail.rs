//! Which mail a silent sign-up gets, and when it goes: at once, and again while the server does not take it. Only here is it
//! looked up whether the address is taken, on a thread that no client waits for. How a mail leaves is crate::mail's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::confirmed_sign_up::account_text;
use super::mail_queue::MailQueue;
use super::mail_text::{self, Template};
use super::sign_up::taken;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, InternalError};
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::mail::SendError;
use crate::store::tables::pending_sign_ups::{self, PendingSignUpRow};

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

/// Starts the thread that hands mails over.
pub(in crate::core) fn start(core: Core) -> Result<Worker, InternalError> {
    let unused = Notify::default();
    let waiting = core.clone();
    let notify = waiting.mail_queue.as_ref().map_or(&unused, |mail_queue| &mail_queue.notify);
    Worker::start("mail", notify, SHUTDOWN_GRACE, move |signal| run(&core, signal))
}

fn run(core: &Core, signal: &Signal) {
    loop {
        // A mail that makes it panic comes again after its lease; the others go on.
        let delivered = catch_unwind(AssertUnwindSafe(|| core.deliver_mails()))
            .unwrap_or_else(|_panic| Err(InternalError::broken("a mail panicked").into()));
        if let (Err(error), Some(mail_queue)) = (&delivered, &core.mail_queue) {
            mail_queue.tell_trouble(Some(error));
        }
        let pause = if matches!(delivered, Ok(BATCH..)) { Duration::ZERO } else { ROUND };
        if signal.wait(pause) {
            return;
        }
    }
}

impl Core {
    /// There is a mail to hand over.
    pub(in crate::core) fn mail_is_due(&self) {
        if let Some(mail_queue) = &self.mail_queue {
            mail_queue.notify.notify();
        }
    }

    /// Hands over the mails that are due, up to a batch; how many it dealt with.
    pub fn deliver_mails(&self) -> Result<usize, Error> {
        let Some(mail_queue) = &self.mail_queue else { return Ok(0) };
        for dealt_with in 0..BATCH {
            let now = self.now();
            if !self.store.read(|db| pending_sign_ups::has_due_mail(db, now))? {
                return Ok(dealt_with);
            }
            let claimed = self.store.write(|db| pending_sign_ups::claim_due_mail(db, now, now.plus(LEASE)))?;
            let Some(row) = claimed else { return Ok(dealt_with) };
            let (outcome, mailed_at, due_at) = self.deliver(mail_queue, &row, now)?;
            self.store.write(|db| pending_sign_ups::record_mail_outcome(db, &row, mailed_at, due_at))?;
            self.metrics.mails.with_label_values(&[outcome]).inc();
        }
        Ok(BATCH)
    }

    /// What became of a mail, when it went, and when to try again.
    fn deliver(
        &self,
        mail_queue: &MailQueue,
        row: &PendingSignUpRow,
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
            (true, _) => (Template::HasAccount, mail_queue.sign_in_page.clone()),
            (false, true) => (Template::NameTaken, mail_queue.register_page.clone()),
            (false, false) => (Template::Confirm, mail_queue.confirm_page.clone()),
        };
        if about == Template::Confirm {
            link.query_pairs_mut().append_pair("token", &self.confirmation_token(row.id));
        }
        let email = mail_text::write(about, &row.language, &mail_queue.name, link.as_str());
        match mail_queue.mailer.send(&row.email_canonical, &email, &row.id.to_string()) {
            Ok(()) => {
                mail_queue.tell_trouble(None);
                Ok(("sent", Some(now), None))
            }
            Err(SendError::Yet(why)) => {
                mail_queue.tell_trouble(Some(&why));
                Ok(("deferred", None, Some(now.plus(wait_after(row.mail_attempts)))))
            }
            Err(SendError::Ever(why)) => {
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
