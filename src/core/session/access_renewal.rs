//! Access renewal: a new access token without spending the refresh token, for a forward-auth check, whose response may never
//! reach the browser. The generation stays; when a refresh token is spent is refresh.rs's.

use super::opaque_refresh_token::{ExpiryCheck, RefreshTokenRef, is_opaque};
use super::{Issued, MountPolicies, TokenPolicy};
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::error::{Error, Refusal};
use crate::core::session;
use crate::core::session::caller::{Caller, Client};
use crate::core::session::refresh::MAX_ATTEMPTS;
use crate::core::session::refresh::decide::Verdict;
use crate::secret::{RefreshToken, random_token_id};
use crate::store::Db;
use crate::store::tables::sessions::{self, AccountState, SessionRow, rotation};

/// A renewed session.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The caller that the access token identifies.
    pub caller: Caller,
    /// The tokens. Only the access token is new, and only it may be sent.
    pub issued: Issued,
}

impl Core {
    /// Whether a refresh token may be valid, without the database: by signature and times, or by its form if it is opaque.
    pub fn may_be_refreshed(&self, token: &RefreshToken) -> bool {
        is_opaque(token.expose()) || self.tokens().verify_refresh(token.expose(), self.now()).is_ok()
    }

    /// Issues an access token to the holder of the current refresh token. A spent one ends nothing here: requests that waited in
    /// a proxy carry old cookies. No token is issued for an account that must change its password: it would be refused
    /// everywhere.
    pub fn renew_access_token(
        &self,
        token: &RefreshToken,
        policies: &MountPolicies,
        client: &Client,
    ) -> Result<Renewed, Error> {
        let token = self.resolve_refresh_token(token, ExpiryCheck::Enforce)?;
        self.renew_session(&token, policies, client)
    }

    /// The same for a token that has been verified.
    pub(super) fn renew_session(
        &self,
        token: &RefreshTokenRef,
        policies: &MountPolicies,
        client: &Client,
    ) -> Result<Renewed, Error> {
        for _ in 0..MAX_ATTEMPTS {
            let found = self.store.read(|db| sessions::find(db, token.session))?;
            let (row, account) =
                found.filter(|(_, account)| account.uuid == token.account).ok_or(Refusal::SessionEnded)?;
            let (now, policy) = (self.now(), policies.of_dialect(&row.dialect));
            self.require_renewable(token.generation, (&row, &account), policy, client)?;
            // A revocation is kept as long as the access tokens that the row records, so the row comes first. Concurrent
            // renewals within the same second need one write.
            let access = session::access_end(now, policy, row.expires_at);
            let is_recorded = access <= row.access_expires_at;
            let touch = |db: &mut Db| rotation::touch(db, row.id, row.generation, now, access, None);
            if !is_recorded && !self.store.write_one_statement(touch)? {
                continue;
            }
            let issued = self.issue(&row, &account, policy, now, random_token_id()?)?;
            self.metrics.refreshes.with_label_values(&["renewed"]).inc();
            let caller = Caller {
                account: account.uuid,
                session: row.id,
                generation: row.generation,
                role: account.role,
                expires_at: access,
                must_change_password: account.must_change_password,
            };
            return Ok(Renewed { caller, issued: Issued { refresh_is_new: false, ..issued } });
        }
        Err(Refusal::Busy(session::refresh::CONTENTION_RETRY_AFTER).into())
    }

    /// Refuses unless the presented generation is the current one, and was made not too long ago: without a rotation a
    /// copy of it would go undetected.
    fn require_renewable(
        &self,
        presented: i64,
        (row, account): (&SessionRow, &AccountState),
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<(), Error> {
        match self.verdict(presented, row, account, policy) {
            Verdict::Rotate | Verdict::Reissue => {}
            Verdict::Reuse => {
                self.record_spent_token(presented, row, client)?;
                return Err(Refusal::TokenInvalid.into());
            }
            Verdict::Refuse(refusal) => return Err(refusal.into()),
            Verdict::Replay | Verdict::ReissueParent | Verdict::ReplaceUnconfirmed => {
                return Err(Refusal::TokenInvalid.into());
            }
        }
        let now = self.now();
        if policy.rotates && now > row.rotated_at.plus(self.rules.verify_renew_max) {
            return Err(Refusal::TokenInvalid.into());
        }
        self.confirmations.record(row.id, row.generation, now);
        if account.must_change_password { Err(Refusal::PasswordChangeRequired.into()) } else { Ok(()) }
    }

    fn record_spent_token(&self, presented: i64, row: &SessionRow, client: &Client) -> Result<(), Error> {
        let detail = format!("presented={presented} current={}", row.generation);
        let event = AuditEvent::new(EventKind::SpentTokenAtCheck, client).account(row.account_id).session(row.id);
        let event = event.detail(detail);
        self.store.write(|db| event.write(db, self.now()))?;
        self.log_event(&event);
        Ok(())
    }
}
