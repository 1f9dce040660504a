//! The `pending_sign_ups` table: sign-ups that wait for their confirmation, and the mails that ask for it. What a
//! confirmation takes is core/silent_sign_up.rs's, when a mail goes core/sign_up_mails.rs's.

use diesel::prelude::*;

use super::schema::pending_sign_ups;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::Error;
use crate::store::tables::columns::PendingSignUpId;

/// One row, column by column. `password` is the stored form of a secret.
#[derive(Clone, Queryable, Insertable)]
#[diesel(table_name = pending_sign_ups)]
#[expect(missing_docs, reason = "as in AccountRow, but for what is said")]
pub struct PendingRow {
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
    /// Which language the mail is in.
    pub language: String,
    /// Where the person came from and wants to go back to.
    pub return_to: Option<String>,
    /// How often a password was tried with its link.
    pub tries: i64,
    /// How often its mail was tried.
    pub mail_attempts: i64,
    /// When its mail is to be tried next; empty once it is sent or given up.
    pub mail_due_at: Option<Timestamp>,
    /// When its mail was taken, or while it is on its way, when that began.
    pub mailed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// From when on it cannot be confirmed.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for PendingRow {
    /// The id only, as of an account.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingRow({})", self.id)
    }
}

/// Adds a row.
pub fn insert(db: &mut Db, row: &PendingRow) -> Result<(), Error> {
    diesel::insert_into(pending_sign_ups::table).values(row).execute(db)?;
    Ok(())
}

/// The row, if its time is not over and it has been tried less than `most` times; counts one try.
pub fn try_once(db: &mut Db, id: PendingSignUpId, now: Timestamp, most: i64) -> Result<Option<PendingRow>, Error> {
    let alive = pending_sign_ups::expires_at.gt(now).and(pending_sign_ups::tries.lt(most));
    let row = diesel::update(pending_sign_ups::table.find(id).filter(alive))
        .set(pending_sign_ups::tries.eq(pending_sign_ups::tries + 1))
        .returning(pending_sign_ups::all_columns)
        .get_result(db);
    Ok(row.optional()?)
}

/// Removes the row; whether it was still there. Of two who do, one hears yes.
pub fn take(db: &mut Db, id: PendingSignUpId) -> Result<bool, Error> {
    Ok(diesel::delete(pending_sign_ups::table.find(id)).execute(db)? == 1)
}

/// Whether a mail is due.
pub fn is_due(db: &mut Db, now: Timestamp) -> Result<bool, Error> {
    let due = pending_sign_ups::table.filter(pending_sign_ups::mail_due_at.le(now));
    Ok(due.filter(pending_sign_ups::expires_at.gt(now)).count().get_result::<i64>(db)? > 0)
}

/// The row whose mail has been due longest, for this caller alone until `lease`.
pub fn claim_due(db: &mut Db, now: Timestamp, lease: Timestamp) -> Result<Option<PendingRow>, Error> {
    let due = pending_sign_ups::mail_due_at.le(now).and(pending_sign_ups::expires_at.gt(now));
    let next = pending_sign_ups::table.filter(due).order(pending_sign_ups::mail_due_at).select(pending_sign_ups::id);
    let Some(id) = next.limit(1).get_result::<PendingSignUpId>(db).optional()? else { return Ok(None) };
    // Another node may have been quicker: then its lease is in the row.
    let claimed = diesel::update(pending_sign_ups::table.find(id).filter(pending_sign_ups::mail_due_at.le(now)))
        .set((
            pending_sign_ups::mail_due_at.eq(lease),
            // It counts from here on, lest two nodes each send the last of so many.
            pending_sign_ups::mailed_at.eq(now),
            pending_sign_ups::mail_attempts.eq(pending_sign_ups::mail_attempts + 1),
        ))
        .returning(pending_sign_ups::all_columns)
        .get_result(db);
    Ok(claimed.optional()?)
}

/// How many mails the address of a row was sent since then, or will have been, but for the row's own.
pub fn count_others_mailed(db: &mut Db, row: &PendingRow, since: Timestamp) -> Result<i64, Error> {
    let mailed = pending_sign_ups::table
        .filter(pending_sign_ups::email_canonical.eq(&row.email_canonical))
        .filter(pending_sign_ups::id.ne(row.id))
        .filter(pending_sign_ups::mailed_at.gt(since));
    Ok(mailed.count().get_result(db)?)
}

/// Notes what became of a row's mail: taken at `mailed_at`, or to be tried at `due_at`, or neither. Nothing, if another node
/// has tried since: this one was later than its lease.
pub fn note_mail(
    db: &mut Db,
    row: &PendingRow,
    mailed_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
) -> Result<(), Error> {
    let last = pending_sign_ups::mail_attempts.eq(row.mail_attempts);
    diesel::update(pending_sign_ups::table.find(row.id).filter(last))
        .set((pending_sign_ups::mailed_at.eq(mailed_at), pending_sign_ups::mail_due_at.eq(due_at)))
        .execute(db)?;
    Ok(())
}

/// Removes up to `limit` rows whose time was over before `before`; how many went.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, Error> {
    let query = pending_sign_ups::table.filter(pending_sign_ups::expires_at.lt(before));
    let over: Vec<PendingSignUpId> =
        query.order(pending_sign_ups::expires_at).select(pending_sign_ups::id).limit(limit).load(db)?;
    Ok(diesel::delete(pending_sign_ups::table.filter(pending_sign_ups::id.eq_any(over))).execute(db)?)
}
