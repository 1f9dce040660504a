//! The `pending_sign_ups` table: sign-ups that wait for confirmation by email, and the state of each one's email. How a
//! sign-up is confirmed is decided in core/registration/confirmed_sign_up.rs, when its email is sent in confirmation_mail.rs.

use diesel::prelude::*;

use super::schema::pending_sign_ups;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::tables::columns::PendingSignUpId;

/// One row, column by column. `password` is the stored form of a secret.
#[derive(Clone, Queryable, Insertable)]
#[diesel(table_name = pending_sign_ups)]
#[expect(missing_docs, reason = "as in AccountRow, unless documented")]
pub struct PendingSignUpRow {
    pub id: PendingSignUpId,
    pub email: String,
    pub email_canonical: String,
    pub username: Option<String>,
    pub username_canonical: Option<String>,
    pub name: Option<String>,
    pub name_canonical: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub gender: Option<String>,
    pub image: Option<String>,
    pub phone: Option<String>,
    pub profile: String,
    pub password: String,
    /// The language of the email.
    pub language: String,
    /// The URL to return to after the confirmation.
    pub return_to: Option<String>,
    /// The number of passwords that were entered with its link.
    pub tries: i64,
    /// The number of attempts to send its email.
    pub mail_attempts: i64,
    /// When the next attempt to send its email is due; `None` once it is sent or abandoned.
    pub mail_due_at: Option<Timestamp>,
    /// When the mail server accepted its email, or, during an attempt, when that began.
    pub mailed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// When it can no longer be confirmed.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for PendingSignUpRow {
    /// The id only, as for an account.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingSignUpRow({})", self.id)
    }
}

/// Inserts a row.
pub fn insert(db: &mut Db, row: &PendingSignUpRow) -> Result<(), StoreError> {
    diesel::insert_into(pending_sign_ups::table).values(row).execute(db)?;
    Ok(())
}

/// Counts an attempt to confirm the sign-up. Returns its row, or `None` if it has expired or had `max_attempts` already.
pub fn count_confirmation_attempt(
    db: &mut Db,
    id: PendingSignUpId,
    now: Timestamp,
    max_attempts: i64,
) -> Result<Option<PendingSignUpRow>, StoreError> {
    let open = pending_sign_ups::expires_at.gt(now).and(pending_sign_ups::tries.lt(max_attempts));
    let row = diesel::update(pending_sign_ups::table.find(id).filter(open))
        .set(pending_sign_ups::tries.eq(pending_sign_ups::tries + 1))
        .returning(pending_sign_ups::all_columns)
        .get_result(db);
    Ok(row.optional()?)
}

/// Deletes the row; returns whether it still existed. Of two concurrent confirmations one gets `true`.
pub fn delete(db: &mut Db, id: PendingSignUpId) -> Result<bool, StoreError> {
    Ok(diesel::delete(pending_sign_ups::table.find(id)).execute(db)? == 1)
}

/// Whether any email is due.
pub fn has_due_mail(db: &mut Db, now: Timestamp) -> Result<bool, StoreError> {
    let due = pending_sign_ups::table.filter(pending_sign_ups::mail_due_at.le(now));
    Ok(due.filter(pending_sign_ups::expires_at.gt(now)).count().get_result::<i64>(db)? > 0)
}

/// Claims the row whose email has been due longest: no other node claims it before `lease_end`.
pub fn claim_due_mail(
    db: &mut Db,
    now: Timestamp,
    lease_end: Timestamp,
) -> Result<Option<PendingSignUpRow>, StoreError> {
    let due = pending_sign_ups::mail_due_at.le(now).and(pending_sign_ups::expires_at.gt(now));
    let next = pending_sign_ups::table.filter(due).order(pending_sign_ups::mail_due_at).select(pending_sign_ups::id);
    let Some(id) = next.limit(1).get_result::<PendingSignUpId>(db).optional()? else { return Ok(None) };
    // Another node may have claimed it in the meantime: then the row holds its lease.
    let claimed = diesel::update(pending_sign_ups::table.find(id).filter(pending_sign_ups::mail_due_at.le(now)))
        .set((
            pending_sign_ups::mail_due_at.eq(lease_end),
            // Counted before it is sent, so that two nodes do not both send the last email that the limit allows.
            pending_sign_ups::mailed_at.eq(now),
            pending_sign_ups::mail_attempts.eq(pending_sign_ups::mail_attempts + 1),
        ))
        .returning(pending_sign_ups::all_columns)
        .get_result(db);
    Ok(claimed.optional()?)
}

/// The number of emails of other rows that were sent to the row's address since then, or are being sent.
pub fn count_others_mailed(db: &mut Db, row: &PendingSignUpRow, since: Timestamp) -> Result<i64, StoreError> {
    let mailed = pending_sign_ups::table
        .filter(pending_sign_ups::email_canonical.eq(&row.email_canonical))
        .filter(pending_sign_ups::id.ne(row.id))
        .filter(pending_sign_ups::mailed_at.gt(since));
    Ok(mailed.count().get_result(db)?)
}

/// Records the outcome of sending a row's email: accepted at `mailed_at`, or due again at `due_at`, or abandoned. Changes
/// nothing if another node has claimed the row since: this attempt outlasted its lease.
pub fn record_mail_outcome(
    db: &mut Db,
    row: &PendingSignUpRow,
    mailed_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let own_claim = pending_sign_ups::mail_attempts.eq(row.mail_attempts);
    diesel::update(pending_sign_ups::table.find(row.id).filter(own_claim))
        .set((pending_sign_ups::mailed_at.eq(mailed_at), pending_sign_ups::mail_due_at.eq(due_at)))
        .execute(db)?;
    Ok(())
}

/// Deletes up to `limit` rows that expired before `before`; returns the number of deleted rows.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = pending_sign_ups::table.filter(pending_sign_ups::expires_at.lt(before));
    let expired: Vec<PendingSignUpId> =
        query.order(pending_sign_ups::expires_at).select(pending_sign_ups::id).limit(limit).load(db)?;
    Ok(diesel::delete(pending_sign_ups::table.filter(pending_sign_ups::id.eq_any(expired))).execute(db)?)
}
