//! The operations of `Doorward` that block, as sequences of steps on the worker pools: database work and password hashing
//! never share a thread. This file decides which step runs where and how long a request waits for the database; the rules
//! are core's, and its types force the order of the steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::core::credential::password_change::PasswordChange;
use crate::core::credential::sign_in::{NewSession, SignIn, SignedIn};
use crate::core::defence::rate_limit::LimitedAction;
use crate::core::defence::work_share::WorkShare;
use crate::core::error::{Error, InternalError, Refusal};
use crate::core::registration::confirmed_sign_up::{ConfirmedSignUp, SignUpConfirmation, SignUpOrigin};
use crate::core::registration::sign_up::Registration;
use crate::core::session::caller::Client;
use crate::core::session::refresh::fast_path::FastRotation;
use crate::core::session::refresh::request::RefreshRequest;
use crate::core::session::{Issued, TokenPolicy};
use crate::web::blocking::retry_after::RETRY_AFTER;
use crate::web::service::Doorward;

/// How often a sign-in starts again because the account changed while its secret was checked.
const SIGN_IN_ATTEMPTS: usize = 3;

/// Runs a future with a timeout of `budget`, and takes the time that it needed off the budget. `None` when it timed out.
async fn spend<T>(budget: &mut Duration, future: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let outcome = tokio::time::timeout(*budget, future).await.ok();
    *budget = budget.saturating_sub(started.elapsed());
    outcome
}

impl Doorward {
    /// Runs database work of the core on the worker pool for it.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run_with_deadline(&mut self.database_timeout(), work).await
    }

    /// As `run_blocking`, for requests of several steps: all of them together have the budget, so that a slow database
    /// does not cost a request one timeout a step. Hashing in between does not count.
    async fn run_with_deadline<T: Send + 'static>(
        &self,
        budget: &mut Duration,
        work: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = self.core().clone();
        self.with_deadline(budget, self.database_pool().run(move || work(&core))).await
    }

    /// The client gets its answer in time, whatever the database does; work that has started finishes by itself.
    async fn with_deadline<T>(
        &self,
        budget: &mut Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        spend(budget, work).await.unwrap_or_else(|| {
            self.core().record_database_timeout();
            Err(InternalError::unavailable("the database did not answer in time").into())
        })
    }

    /// Hashes or verifies a secret on the worker pool for that, once the request's account and address have a place.
    async fn run_hashing<T: Send + 'static>(
        &self,
        share: WorkShare,
        work: impl FnOnce(&Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (core, arrived) = (self.core().clone(), Instant::now());
        let places = self.work_shares().acquire(share, arrived).await?;
        let work = move || {
            // Held until the work is done, also if the client has gone meanwhile: the thread is still taken.
            let _places = places;
            let _timer = core.metrics().password_hash_seconds.start_timer();
            work(&core)
        };
        self.hash_pool().run_since(arrived, work).await
    }

    /// Rotates a refresh token. On SQLite the rotation goes through the batcher, and the tokens are signed on the caller's
    /// thread. What the batcher could not decide is decided by the session's row.
    pub async fn refresh(&self, request: RefreshRequest) -> Result<Issued, Error> {
        self.core().check_rate_limit(LimitedAction::Refresh, &request.client)?;
        let one_statement = match self.batcher() {
            Some(batcher) => self.core().rotation_attempt_for(&request)?.map(|rotation| (batcher, rotation)),
            None => None,
        };
        let Some((batcher, rotation)) = one_statement else {
            return self.run_blocking(move |core| core.rotate_refresh_token(&request)).await;
        };
        let (mut budget, named) = (self.database_timeout(), rotation.token);
        match self.with_deadline(&mut budget, batcher.submit(rotation)).await? {
            rotated @ FastRotation::Rotated(_) => self.core().finish_refresh(&request, &named, rotated),
            undecided => {
                let finish = move |core: &Core| core.finish_refresh(&request, &named, undecided);
                self.run_with_deadline(&mut budget, finish).await
            }
        }
    }

    /// Signs in: database, hash, database; from the beginning if the account changed in between.
    pub async fn sign_in(&self, request: SignIn, policy: TokenPolicy, client: Client) -> Result<SignedIn, Error> {
        let mut budget = self.database_timeout();
        for _ in 0..SIGN_IN_ATTEMPTS {
            let (request, attempt_client) = (request.clone(), client.clone());
            let looked_up =
                self.run_with_deadline(&mut budget, move |core| core.look_up(request, &attempt_client)).await?;
            let attempt_client = client.clone();
            let share = looked_up.work_share(&client);
            let checked = self.run_hashing(share, move |core| core.check_secret(looked_up, &attempt_client)).await?;
            let (policy, attempt_client) = (policy.clone(), client.clone());
            let signed_in = self
                .run_with_deadline(&mut budget, move |core| core.sign_in(&checked, &policy, &attempt_client))
                .await?;
            if let Some(signed_in) = signed_in {
                return Ok(signed_in);
            }
        }
        Err(Refusal::Busy(RETRY_AFTER).into())
    }

    /// Registers an account and signs it in: rules, hash, database.
    pub async fn sign_up(
        &self,
        registration: Registration,
        role: Option<&'static str>,
        session: NewSession,
        policy: TokenPolicy,
        client: Client,
    ) -> Result<SignedIn, Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let mut budget = self.database_timeout();
        let validated =
            self.run_with_deadline(&mut budget, move |core| core.validate_sign_up(registration, role)).await?;
        let share = WorkShare::of_address(&client);
        let hashed = self.run_hashing(share, move |core| Ok(validated.hash(core.hasher())?)).await?;
        let insert = move |core: &Core| core.sign_up(&hashed, &session, &policy, &client);
        self.run_with_deadline(&mut budget, insert).await
    }

    /// Stores a registration whose outcome is only sent by email: rules, hash, database.
    pub async fn sign_up_with_confirmation(
        &self,
        registration: Registration,
        origin: SignUpOrigin,
        client: Client,
    ) -> Result<(), Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let mut budget = self.database_timeout();
        let validated = self.core().validate_confirmed_sign_up(registration)?;
        let share = WorkShare::of_address(&client);
        let hashed = self.run_hashing(share, move |core| Ok(validated.hash(core.hasher())?)).await?;
        self.run_with_deadline(&mut budget, move |core| core.store_pending_sign_up(hashed, &origin, &client)).await
    }

    /// Confirms a registration: database, hash, database.
    pub async fn confirm_sign_up(
        &self,
        confirmation: SignUpConfirmation,
        session: NewSession,
        policy: TokenPolicy,
        client: Client,
    ) -> Result<ConfirmedSignUp, Error> {
        self.core().check_rate_limit(LimitedAction::SignUp, &client)?;
        let SignUpConfirmation { token, password } = confirmation;
        let mut budget = self.database_timeout();
        let found = self.run_with_deadline(&mut budget, move |core| core.find_pending_sign_up(&token)).await?;
        let share = WorkShare::of_address(&client);
        let checked = self.run_hashing(share, move |core| core.check_pending_sign_up(found, &password)).await?;
        let insert = move |core: &Core| core.confirm_sign_up(checked, &session, &policy, &client);
        self.run_with_deadline(&mut budget, insert).await
    }

    /// Changes a password: rules, two hashes, database.
    pub async fn change_password(&self, change: PasswordChange, client: Client) -> Result<Option<Issued>, Error> {
        let (mut budget, of) = (self.database_timeout(), client.clone());
        let share = WorkShare::of_owner(change.caller.account, &client);
        let prepare = move |core: &Core| core.prepare_password_change(change, &of);
        let prepared = self.run_with_deadline(&mut budget, prepare).await?;
        let of = client.clone();
        let checked = self.run_hashing(share, move |core| core.check_password_change(prepared, &of)).await?;
        let policies = Arc::clone(self.policies());
        self.run_with_deadline(&mut budget, move |core| core.change_password(&checked, &policies, &client)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_request_share_one_timeout() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut budget = Duration::from_secs(60);
            let slow = tokio::time::sleep(Duration::from_millis(20));
            assert_eq!(spend(&mut budget, slow).await, Some(()));
            assert!(budget <= Duration::from_millis(59_980), "{budget:?}");
            budget = Duration::from_millis(1);
            assert_eq!(spend(&mut budget, std::future::pending::<()>()).await, None);
            assert_eq!(budget, Duration::ZERO);
        });
    }
}
