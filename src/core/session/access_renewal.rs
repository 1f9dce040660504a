//! Access renewal: a new access token without spending the refresh token, for a forward-auth check, whose response may never
//! reach the browser. The generation stays; when a refresh token is spent is refresh.rs's.

use super::opaque_refresh_token::{ExpiryCheck, is_opaque};
use super::{Issued, TokenPolicy};
use crate::core::Core;
use crate::core::error::{Error, Refusal};
use crate::core::session;
use crate::core::session::caller::Caller;
use crate::core::session::refresh::MAX_ATTEMPTS;
use crate::core::session::refresh::decide::{RotationRules, Verdict, decide, first_confirmation};
use crate::secret::{RefreshToken, random_token_id};
use crate::store::tables::sessions::{self, AccountState, SessionRow};

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

    /// Issues an access token to the holder of a valid refresh token. `policy_of` returns a dialect's policy by its name. A
    /// reused token ends nothing here: requests that waited in a proxy carry old cookies, and change no row. No token is issued
    /// for an account that must change its password: it would be refused everywhere.
    pub fn renew_access_token(
        &self,
        token: &RefreshToken,
        policy_of: &dyn Fn(&str) -> TokenPolicy,
    ) -> Result<Renewed, Error> {
        let token = self.resolve_refresh_token(token, ExpiryCheck::Enforce)?;
        for _ in 0..MAX_ATTEMPTS {
            let found = self.store.read(|db| sessions::find(db, token.session))?;
            let (row, account) =
                found.filter(|(row, _)| row.account_id == token.account).ok_or(Refusal::SessionEnded)?;
            let (now, policy) = (self.now(), policy_of(&row.dialect));
            self.require_renewable(token.generation, &row, &account, &policy)?;
            // A revocation is kept as long as the access tokens that the row records, so the row comes first. Concurrent
            // renewals within the same second need one write.
            let access = session::access_end(now, &policy, row.expires_at);
            let is_recorded = access <= row.access_expires_at;
            if !is_recorded
                && !self.store.write_one_statement(|db| sessions::touch(db, row.id, row.generation, now, access))?
            {
                continue;
            }
            // Of the generation that was presented: an access token of a later one would confirm a delivery that did not happen.
            let presented = SessionRow { generation: token.generation, ..row };
            let issued = self.issue(&presented, &account, &policy, now, random_token_id()?)?;
            self.metrics.refreshes.with_label_values(&["renewed"]).inc();
            let caller = Caller {
                account: presented.account_id,
                session: presented.id,
                generation: presented.generation,
                role: account.role,
                expires_at: access,
                must_change_password: account.must_change_password,
            };
            return Ok(Renewed { caller, issued });
        }
        Err(Refusal::Busy(session::refresh::CONTENTION_RETRY_AFTER).into())
    }

    /// Refuses unless the presented generation may have an access token without a rotation.
    fn require_renewable(
        &self,
        presented: i64,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
    ) -> Result<(), Error> {
        let now = self.now();
        let confirmed = first_confirmation(row, self.confirmations.first_seen(row.id, row.generation));
        let rules = RotationRules { rotates: false, grace: self.rules.refresh_grace };
        match decide(now, presented, row, account, confirmed, &rules) {
            Verdict::Keep => self.confirmations.record(row.id, row.generation, now),
            Verdict::Replay if !policy.revokes_on_rotation => {}
            Verdict::Refuse(refusal) => return Err(refusal.into()),
            Verdict::Replay | Verdict::Rotate | Verdict::Reuse => return Err(Refusal::TokenInvalid.into()),
        }
        if account.must_change_password { Err(Refusal::PasswordChangeRequired.into()) } else { Ok(()) }
    }
}
