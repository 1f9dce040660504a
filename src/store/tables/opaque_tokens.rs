//! The `opaque_tokens` table: digests of opaque refresh tokens (without claims of their own), with the session and the
//! generation of each. The rows of a session are deleted with it. Which mounts use such tokens is web/mount.rs's.

use diesel::prelude::*;

use super::schema::opaque_tokens;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::tables::columns::SessionId;

/// The session and the generation of the token with this digest.
pub fn find(db: &mut Db, digest: &[u8]) -> Result<Option<(SessionId, i64)>, StoreError> {
    let row = opaque_tokens::table.find(digest).select((opaque_tokens::session_id, opaque_tokens::generation));
    Ok(row.get_result(db).optional()?)
}

/// Inserts a token unless it is stored already. diesel has ON CONFLICT for each backend, and not for `Db`.
pub fn insert_if_absent(db: &mut Db, digest: &[u8], session: SessionId, generation: i64) -> Result<(), StoreError> {
    let row = (
        opaque_tokens::digest.eq(digest),
        opaque_tokens::session_id.eq(session),
        opaque_tokens::generation.eq(generation),
    );
    let insert = diesel::insert_into(opaque_tokens::table).values(row).on_conflict_do_nothing();
    match db {
        Db::Sqlite(db) => insert.execute(db)?,
        Db::Postgres(db) => insert.execute(db)?,
    };
    Ok(())
}

/// Deletes up to `limit` tokens of these sessions. Returns the number that was found, also where another node was deleting
/// them at the same time.
pub fn delete_of_sessions(db: &mut Db, sessions: &[SessionId], limit: i64) -> Result<usize, StoreError> {
    let query = opaque_tokens::table.filter(opaque_tokens::session_id.eq_any(sessions));
    let digests: Vec<Vec<u8>> = query.select(opaque_tokens::digest).limit(limit).load(db)?;
    diesel::delete(opaque_tokens::table.filter(opaque_tokens::digest.eq_any(&digests))).execute(db)?;
    Ok(digests.len())
}
