//! Writing revocations: the rows that end a session, its older generations, or the older epochs of an account. Which act
//! revokes what is decided by the operations (session/end.rs, credential/, account.rs).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::tables::revocations::{self, NewRevocation, RevocationRow};
use crate::store::{self, AccountId, Db, SessionId};

/// How long a row is kept after the last token that it concerns: a clock set back by less revives nothing.
pub const SLACK: Duration = Duration::from_hours(24);

/// Revokes a whole session, or, given a generation, its tokens of lower ones.
pub fn revoke_session(
    db: &mut Db,
    session: SessionId,
    generation: Option<i64>,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::Error> {
    let row = NewRevocation {
        session_id: Some(session),
        generation,
        account_id: None,
        epoch: None,
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}

/// Revokes an account's tokens of epochs below this one.
pub fn revoke_account(
    db: &mut Db,
    account: AccountId,
    epoch: i64,
    now: Timestamp,
    until: Timestamp,
) -> Result<RevocationRow, store::Error> {
    let row = NewRevocation {
        session_id: None,
        generation: None,
        account_id: Some(account),
        epoch: Some(epoch),
        created_at: now,
        expires_at: until,
    };
    revocations::insert(db, &row)
}
