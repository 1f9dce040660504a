//! Outbox worker of email-confirmed registration: sends due mails under a lease, retries with backoff, and chooses each mail's template. The chosen
//! template alone depends on whether the address is taken, on a thread that no client waits for, so response times reveal
//! nothing. How a mail is transmitted is crate::mail's.
//!
//! A pending registration's mail is due (`mail_due_at` is set) until it is sent, withheld or refused. A node claims it by
//! moving `mail_due_at` ahead by the lease, so that no other node sends it at the same time; if the node dies, the mail is due
//! again after the lease.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::confirmed_sign_up::account_fields;
use super::mail_queue::MailQueue;
use super::mail_text::{self, Template};
use super::sign_up::taken;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::error::{Error, InternalError, Taken};
use crate::core::maintenance::worker::{Notify, Signal, Worker};
use crate::mail::{Email, SendError};
use crate::store::tables::pending_sign_ups::{self, PendingSignUpRow};

/// How long a node may take to send a mail before another node tries: longer than the timeouts of one SMTP conversation.
const SEND_LEASE: Duration = Duration::from_mins(5);

/// The delay before the second attempt; it doubles with each further one.
const RETRY_DELAY_MIN: Duration = Duration::from_secs(10);

/// The longest delay between attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_mins(10);

/// Mails to one address within `MAILS_WINDOW`, until its owner confirms one, so that an attacker cannot flood a mailbox through this service.
const MAILS_MAX: i64 = 3;

/// The time in which mails to one address are counted.
const MAILS_WINDOW: Duration = Duration::from_hours(1);

/// Mails of one batch; between batches the worker notices a stop.
const MAIL_BATCH: usize = 50;

/// How often the worker polls for mails that another node left.
const MAIL_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How long a stop waits for a mail that is being sent; after that it is sent again when its lease expires.
const MAIL_SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// The result of an attempt to deliver one mail.
enum Delivery {
    /// The server accepted it.
    Sent { at: Timestamp },
    /// The attempt failed; the next one is due at this time.
    Deferred { until: Timestamp },
    /// The server refused it for good.
    Refused,
    /// The address has received its share.
    Withheld,
}

impl Delivery {
    /// The value of the metric's label.
    const fn label(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "sent",
            Self::Deferred { .. } => "deferred",
            Self::Refused => "refused",
            Self::Withheld => "withheld",
        }
    }

    const fn mailed_at(&self) -> Option<Timestamp> {
        if let Self::Sent { at } = self { Some(*at) } else { None }
    }

    const fn due_at(&self) -> Option<Timestamp> {
        if let Self::Deferred { until } = self { Some(*until) } else { None }
    }
}

/// Starts the worker thread.
pub(in crate::core) fn start(core: Core) -> Result<Worker, InternalError> {
    let unused = Notify::default();
    let waiting = core.clone();
    let notify = waiting.mail_queue.as_ref().map_or(&unused, |mail_queue| &mail_queue.notify);
    Worker::start("mail", notify, MAIL_SHUTDOWN_GRACE, move |signal| run(&core, signal))
}

fn run(core: &Core, signal: &Signal) {
    loop {
        // A mail that causes a panic is due again after its lease; the others are sent meanwhile.
        let delivered = catch_unwind(AssertUnwindSafe(|| core.deliver_mails()))
            .unwrap_or_else(|_panic| Err(InternalError::broken("sending a mail panicked").into()));
        if let (Err(error), Some(mail_queue)) = (&delivered, &core.mail_queue) {
            mail_queue.log_transition(Some(error));
        }
        let pause = if matches!(delivered, Ok(MAIL_BATCH..)) { Duration::ZERO } else { MAIL_POLL_INTERVAL };
        if signal.wait(pause) {
            return;
        }
    }
}

impl Core {
    /// Wakes the worker: a mail is due.
    pub(in crate::core) fn notify_mail_worker(&self) {
        if let Some(mail_queue) = &self.mail_queue {
            mail_queue.notify.notify();
        }
    }

    /// Delivers due mails, up to one batch; returns the number of mails processed.
    pub fn deliver_mails(&self) -> Result<usize, Error> {
        let Some(mail_queue) = &self.mail_queue else { return Ok(0) };
        for processed in 0..MAIL_BATCH {
            let now = self.now();
            // Read first, so that an idle node takes no write lock every few seconds.
            if !self.store.read(|db| pending_sign_ups::has_due_mail(db, now))? {
                return Ok(processed);
            }
            let claimed = self.store.write(|db| pending_sign_ups::claim_due_mail(db, now, now.plus(SEND_LEASE)))?;
            let Some(row) = claimed else { return Ok(processed) };
            let delivery = self.deliver(mail_queue, &row, now)?;
            self.store
                .write(|db| pending_sign_ups::record_mail_outcome(db, &row, delivery.mailed_at(), delivery.due_at()))?;
            self.metrics.mails.with_label_values(&[delivery.label()]).inc();
        }
        Ok(MAIL_BATCH)
    }

    fn deliver(&self, mail_queue: &MailQueue, row: &PendingSignUpRow, now: Timestamp) -> Result<Delivery, Error> {
        let (recent, taken) = self.store.read(|db| {
            let recent = pending_sign_ups::count_others_mailed(db, row, now.minus(MAILS_WINDOW))?;
            Ok((recent, taken(db, &account_fields(row))?))
        })?;
        if recent >= MAILS_MAX {
            return Ok(Delivery::Withheld);
        }
        let email = self.compose(mail_queue, row, taken);
        Ok(match mail_queue.mailer.send(&row.email_canonical, &email, &row.id.to_string()) {
            Ok(()) => {
                mail_queue.log_transition(None);
                Delivery::Sent { at: now }
            }
            Err(SendError::Transient(failure)) => {
                mail_queue.log_transition(Some(&failure));
                Delivery::Deferred { until: now.plus(retry_delay(row.mail_attempts)) }
            }
            Err(SendError::Permanent(failure)) => {
                log::warn!(cause:% = failure; "the mail server refused a registration mail; it will not be retried");
                Delivery::Refused
            }
        })
    }

    /// Renders the mail that fits the accounts at the time of delivery: which identifiers of the registration are taken.
    fn compose(&self, mail_queue: &MailQueue, row: &PendingSignUpRow, taken: Taken) -> Email {
        let (template, mut link) = match (taken.email, taken.any()) {
            (true, _) => (Template::HasAccount, mail_queue.sign_in_page.clone()),
            (false, true) => (Template::NameTaken, mail_queue.register_page.clone()),
            (false, false) => (Template::Confirm, mail_queue.confirm_page.clone()),
        };
        if template == Template::Confirm {
            link.query_pairs_mut().append_pair("token", &self.confirmation_token(row.id));
        }
        mail_text::render(template, &row.language, &mail_queue.name, link.as_str())
    }
}

/// The delay after this number of attempts.
fn retry_delay(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
    RETRY_DELAY_MIN.saturating_mul(1 << doublings).min(RETRY_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_retry_delay_doubles_from_ten_seconds_to_ten_minutes() {
        let delays: Vec<u64> = (0..=9).map(|attempts| retry_delay(attempts).as_secs()).collect();
        assert_eq!(delays, [10, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(retry_delay(i64::MAX), RETRY_DELAY_MAX);
    }
}
