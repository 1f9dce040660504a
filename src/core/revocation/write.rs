//! Revocation rows: inserts those that revoke a session, its older generations, or the older epochs of an account. Which act
//! revokes what is decided by the operations (session/end.rs, credential/, account.rs).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::tables::revocations::{self, NewRevocation, RevocationRow};
use crate::store::{self, AccountUuid, Db, SessionId};

/// How long a row is kept after the last token that it applies to has expired. A clock set back by less makes no revoked
/// token valid again.
pub const RETENTION_MARGIN: Duration = Duration::from_hours(24);

/// Revokes all tokens of a session, or, with a generation, those of lower generations. `until` is when the last of them
/// expires.
pub fn revoke_session(
    db: &mut Db,
    session: SessionId,
    generation: Option<i64>,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::StoreError> {
    let row = NewRevocation {
        session_id: Some(session),
        generation,
        account_uuid: None,
        epoch: None,
        except_session_id: None,
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}

/// Makes every node drop the account from its identity cache, and revokes nothing: no token has an epoch below 0. At the
/// account's current epoch it would take part in which session is excepted.
pub fn announce_change(db: &mut Db, account: AccountUuid, now: Timestamp) -> Result<RevocationRow, store::StoreError> {
    revoke_account(db, (account, 0), None, now, now)
}

/// Revokes the tokens of an account whose epoch is lower than this one, except those of one session if it is given.
pub fn revoke_account(
    db: &mut Db,
    (account, epoch): (AccountUuid, i64),
    except: Option<SessionId>,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::StoreError> {
    let row = NewRevocation {
        session_id: None,
        generation: None,
        account_uuid: Some(account),
        epoch: Some(epoch),
        except_session_id: except,
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}
