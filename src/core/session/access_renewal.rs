//! A new access token for a session whose refresh token is not spent by it: what a forward-auth check may do, since its
//! answer cannot be relied on to reach the browser. The generation stays; when a refresh token is spent is refresh.rs's.

use super::opaque_refresh_token::is_opaque;
use super::refresh;
use super::{Issued, TokenPolicy};
use crate::core::Core;
use crate::core::caller::Caller;
use crate::core::error::{Error, Refusal};
use crate::core::session;
use crate::core::session::refresh::decide::{RotationRules, Verdict, decide, first_confirmation};
use crate::secret::RefreshToken;
use crate::store::tables::sessions;

/// A renewed session.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Who it speaks for.
    pub caller: Caller,
    /// The tokens; only the access token is new, and only it may go out.
    pub issued: Issued,
}

impl Core {
    /// Whether a refresh token is worth a try: by its signature and times alone, or its shape where it says no more.
    pub fn may_be_refreshed(&self, token: &RefreshToken) -> bool {
        is_opaque(token.expose()) || self.gate().check_refresh(token.expose(), self.now()).is_ok()
    }

    /// Makes an access token for the holder of a live refresh token. `policy_of` gives a dialect's policy by its name. A
    /// spent token ends nothing here: requests that wait in a proxy bring cookies of yesterday, and they change no row. Nor
    /// is one made for an account that must change its password: it would open nothing.
    pub fn renew_access_token(
        &self,
        token: &RefreshToken,
        policy_of: &dyn Fn(&str) -> TokenPolicy,
    ) -> Result<Renewed, Error> {
        let named = self.resolve_refresh_token(token, true)?;
        for _ in 0..refresh::ROUNDS {
            let found = self.store.read(|db| sessions::find(db, named.session))?;
            let (row, account) =
                found.filter(|(row, _)| row.account_id == named.account).ok_or(Refusal::SessionEnded)?;
            let (now, policy) = (self.now(), policy_of(&row.dialect));
            let confirmed = first_confirmation(&row, self.confirmations.seen(row.id, row.generation));
            let rules = RotationRules { rotates: false, grace: self.rules.refresh_grace };
            match decide(now, named.generation, &row, &account, confirmed, &rules) {
                Verdict::Keep => self.confirmations.mark(row.id, row.generation, now),
                Verdict::Replay if !policy.revokes_on_rotation => {}
                Verdict::Refuse(refusal) => return Err(refusal.into()),
                Verdict::Replay | Verdict::Rotate | Verdict::Reuse => return Err(Refusal::TokenInvalid.into()),
            }
            if account.must_change_password {
                return Err(Refusal::PasswordChangeRequired.into());
            }
            // Revocations last as long as the access tokens that the row has noted: many at once note it once.
            let access = session::access_end(now, &policy, row.expires_at);
            let noted = access <= row.access_expires_at;
            if !noted
                && !self.store.write_one_statement(|db| sessions::touch(db, row.id, row.generation, now, access))?
            {
                continue;
            }
            // Of the generation that was presented: a later one would prove a receipt that did not happen.
            let held = sessions::SessionRow { generation: named.generation, ..row };
            let issued = self.issue(&held, &account, &policy, now, crate::secret::random_token_id()?)?;
            self.metrics.refreshes.with_label_values(&["renewed"]).inc();
            let caller = Caller {
                account: held.account_id,
                session: held.id,
                generation: held.generation,
                role: account.role,
                expires_at: access,
                must_change_password: account.must_change_password,
            };
            return Ok(Renewed { caller, issued });
        }
        Err(Refusal::Busy(std::time::Duration::from_secs(1)).into())
    }
}
