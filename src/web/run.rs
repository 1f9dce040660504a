//! The one bridge from async to core. Rows are asked on a bounded pool of threads, secrets are hashed on another, and
//! no web worker ever blocks. A full queue is a refusal at once; work that waited too long, or whose client has gone, is
//! not begun.

mod foresight;
mod together;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;

use super::Doorward;
use crate::core::Core;
use crate::core::account::PasswordChange;
use crate::core::caller::Client;
use crate::core::rate_limit::LimitedAction;
use crate::core::refresh::AtOnce;
use crate::core::refusal::{Error, Fault, Refusal};
use crate::core::session::{Issued, TokenPolicy};
use crate::core::sign_in::{SignIn, SignedIn};
use crate::core::sign_up::NewPerson;
use crate::core::silent_sign_up::{AskedFrom, Confirmed};
use crate::metrics::Metrics;
use crate::secret::{RefreshToken, Secret};

pub use foresight::Foresight;
pub use together::Together;

/// What a refused client is told to wait.
const COME_BACK: Duration = Duration::from_secs(1);

/// How often a sign-in begins again because the account changed while its secret was checked.
const SIGN_IN_TRIES: usize = 3;

/// How far the threads that hash stand back behind those that answer (setpriority(2)).
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Work, and whether anybody waits for it.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    client: Weak<()>,
}

impl Job {
    fn is_wanted(&self) -> bool {
        self.client.strong_count() > 0
    }
}

/// A fixed number of threads behind a queue of fixed length.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    capacity: usize,
    longest_wait: Duration,
    foresight: Option<Foresight>,
    waiting: IntGauge,
    turned_away: IntCounter,
}

/// How many may wait for a pool's threads, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// More are refused at once.
    pub places: usize,
    /// Whoever waited longer is refused when it is their turn: who served them would keep the next ones waiting for
    /// somebody who has given up.
    pub longest_wait: Duration,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts the threads; `prepare` is what each does first. With foresight, whoever would wait too long is refused at once.
    pub fn start(
        name: &str,
        threads: usize,
        room: Room,
        metrics: &Metrics,
        prepare: fn(),
        foresight: Option<Foresight>,
    ) -> Result<Self, Fault> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            capacity: room.places,
            longest_wait: room.longest_wait,
            foresight,
            waiting: metrics.queue_length.with_label_values(&[name]),
            turned_away: metrics.turned_away.with_label_values(&[name]),
        });
        for number in 0..threads.max(1) {
            let theirs = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                prepare();
                theirs.work();
            });
            thread.map_err(|cause| Fault::Broken(format!("no thread for {name}: {cause}")))?;
        }
        Ok(Self { shared })
    }

    /// Runs `work` on a thread of the pool.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, waiting) = oneshot::channel();
        let (shared, queued_at) = (Arc::clone(&self.shared), Instant::now());
        // Dropped with this future, when the client hangs up.
        let client = Arc::new(());
        let job = move || {
            if queued_at.elapsed() > shared.longest_wait {
                shared.turned_away.inc();
                let _ = answer.send(Err(Refusal::Busy(COME_BACK).into()));
                return;
            }
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(work));
            if let Some(foresight) = &shared.foresight {
                foresight.note(began.elapsed());
            }
            let _ = answer.send(outcome.unwrap_or_else(|_panic| Err(Fault::Broken("a job panicked".into()).into())));
        };
        if !self.shared.push(Job { work: Box::new(job), client: Arc::downgrade(&client) }) {
            return Err(Refusal::Busy(COME_BACK).into());
        }
        let answer = waiting.await;
        drop(client);
        answer.unwrap_or_else(|_gone| Err(Fault::Unavailable("the service is stopping".into()).into()))
    }
}

/// What threads do whose work takes long: whoever only asks something goes first.
pub fn stand_back() {
    // Elsewhere a priority is the whole process's, which should keep its.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let thread = Some(rustix::thread::gettid());
        let stood_back = getpriority_process(thread).and_then(|nice| setpriority_process(thread, nice.max(NICE)));
        if let Err(why) = stood_back {
            log::warn!(why:%; "the threads that hash cannot stand back");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room.
    fn push(&self, job: Job) -> bool {
        let mut queue = self.lock();
        if !self.has_room(queue.jobs.len()) {
            // Whoever has gone takes nobody's place.
            let all = queue.jobs.len();
            queue.jobs.retain(Job::is_wanted);
            self.waiting.sub(i64::try_from(all - queue.jobs.len()).unwrap_or_default());
        }
        if queue.closed || !self.has_room(queue.jobs.len()) {
            self.turned_away.inc();
            return false;
        }
        queue.jobs.push_back(job);
        self.waiting.inc();
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// Whether one more may wait behind so many.
    fn has_room(&self, before: usize) -> bool {
        let in_vain = self.foresight.as_ref().is_some_and(|foresight| before > 0 && foresight.is_too_long(before));
        before < self.capacity && !in_vain
    }

    fn work(&self) {
        loop {
            let mut queue = self.lock();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            self.waiting.dec();
            if job.is_wanted() {
                (job.work)();
            }
        }
    }
}

/// Waits no longer than what is left, and takes what it waited off that.
async fn patiently<T>(left: &mut Duration, answer: impl Future<Output = T>) -> Option<T> {
    let began = Instant::now();
    let answer = tokio::time::timeout(*left, answer).await.ok();
    *left = left.saturating_sub(began.elapsed());
    answer
}

impl Doorward {
    /// Asks the core something that reads or changes rows.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_within(&mut self.database_patience(), question).await
    }

    /// As `ask`, for requests that ask more than once: what is left of their patience is all that the next one gets.
    async fn ask_within<T: Send + 'static>(
        &self,
        left: &mut Duration,
        question: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = self.core().clone();
        self.within(left, self.rows_pool().run(move || question(&core))).await
    }

    /// The client gets its answer in time even if we do not get ours; the thread finishes by itself.
    async fn within<T>(&self, left: &mut Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        patiently(left, asked).await.unwrap_or_else(|| {
            self.core().note_silence();
            Err(Fault::Unavailable("the database did not answer in time".into()).into())
        })
    }

    /// Spends a refresh token. On SQLite, those that wait together are written together, and the tokens are made here.
    pub async fn refresh(&self, token: RefreshToken, policy: TokenPolicy, client: Client) -> Result<Issued, Error> {
        self.core().check_rate_limit(LimitedAction::Refresh, &client)?;
        let rotatable = match self.rotations() {
            Some(rotations) => self.core().rotatable_by_text(&token, &policy)?.map(|rotatable| (rotations, rotatable)),
            None => None,
        };
        let Some((rotations, rotatable)) = rotatable else {
            return self.ask(move |core| core.rotate_refresh_token(&token, &policy, &client)).await;
        };
        let (mut left, named) = (self.database_patience(), rotatable.named);
        match self.within(&mut left, rotations.ask(rotatable)).await? {
            rotated @ AtOnce::Rotated(_) => self.core().settle_refresh(&named, rotated, &policy, &client),
            undecided => {
                self.ask_within(&mut left, move |core| core.settle_refresh(&named, undecided, &policy, &client)).await
            }
        }
    }

    /// Runs what hashes or checks a secret.
    async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = self.core().clone();
        let work = move || {
            let _timed = core.metrics().hash_seconds.start_timer();
            work(&core)
        };
        self.hash_pool().run(work).await
    }

    /// Signs in: rows, hash, rows; again from the beginning when the account changed in between.
    pub async fn sign_in(&self, wish: SignIn, policy: TokenPolicy, client: Client) -> Result<SignedIn, Error> {
        let mut left = self.database_patience();
        for _ in 0..SIGN_IN_TRIES {
            let (wish, asking) = (wish.clone(), client.clone());
            let looked_up = self.ask_within(&mut left, move |core| core.look_up(wish, &asking)).await?;
            let asking = client.clone();
            let checked = self.hash(move |core| core.check_secret(looked_up, &asking)).await?;
            let (policy, asking) = (policy.clone(), client.clone());
            if let Some(signed_in) =
                self.ask_within(&mut left, move |core| core.sign_in(&checked, &policy, &asking)).await?
            {
                return Ok(signed_in);
            }
        }
        Err(Refusal::Busy(COME_BACK).into())
    }

    /// Signs up: rules, hash, rows. `wish` says how the first session begins.
    pub async fn sign_up(
        &self,
        person: NewPerson,
        role: Option<&'static str>,
        wish: SignIn,
        policy: TokenPolicy,
        client: Client,
    ) -> Result<SignedIn, Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let mut left = self.database_patience();
        let validated = self.ask_within(&mut left, move |core| core.validate_sign_up(person, role)).await?;
        let hashed = self.hash(move |core| Ok(validated.hash(core.hasher())?)).await?;
        self.ask_within(&mut left, move |core| core.sign_up(&hashed, &wish, &policy, &client)).await
    }

    /// Notes a sign-up whose outcome a mail tells: rules, hash, rows.
    pub async fn sign_up_silently(&self, person: NewPerson, from: AskedFrom, client: Client) -> Result<(), Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let mut left = self.database_patience();
        let validated = self.core().validate_silent_sign_up(person)?;
        let hashed = self.hash(move |core| Ok(validated.hash(core.hasher())?)).await?;
        self.ask_within(&mut left, move |core| core.note_sign_up(hashed, &from, &client)).await
    }

    /// Confirms a sign-up: rows, hash, rows. `wish` has the password, and how the first session begins.
    pub async fn confirm_sign_up(
        &self,
        token: Secret,
        wish: SignIn,
        policy: TokenPolicy,
        client: Client,
    ) -> Result<Confirmed, Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let (mut left, password) = (self.database_patience(), wish.secret.secret().clone());
        let found = self.ask_within(&mut left, move |core| core.find_pending(&token)).await?;
        let checked = self.hash(move |core| core.check_pending(found, &password)).await?;
        self.ask_within(&mut left, move |core| core.confirm_sign_up(checked, &wish, &policy, &client)).await
    }

    /// Changes a password: rules, two hashes, rows.
    pub async fn change_password(
        &self,
        wish: PasswordChange,
        policy: TokenPolicy,
        client: Client,
    ) -> Result<Option<Issued>, Error> {
        let (mut left, asking) = (self.database_patience(), client.clone());
        let prepared = self.ask_within(&mut left, move |core| core.prepare_password_change(wish, &asking)).await?;
        let asking = client.clone();
        let checked = self.hash(move |core| core.check_password_change(prepared, &asking)).await?;
        self.ask_within(&mut left, move |core| core.change_password(&checked, &policy, &client)).await
    }
}

#[cfg(test)]
mod tests;
