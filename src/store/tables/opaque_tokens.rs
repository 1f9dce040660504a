//! The `opaque_tokens` table: refresh tokens that say nothing themselves, by their digest. They go with their session.

use diesel::prelude::*;

use super::schema::opaque_tokens;
use crate::store::connection::Db;
use crate::store::error::Error;
use crate::store::tables::columns::SessionId;

/// Which generation of which session a digest opens.
pub fn find(db: &mut Db, digest: &[u8]) -> Result<Option<(SessionId, i64)>, Error> {
    let row = opaque_tokens::table.find(digest).select((opaque_tokens::session_id, opaque_tokens::generation));
    Ok(row.get_result(db).optional()?)
}

/// Notes a token, unless it is noted. The multi-backend connection knows no ON CONFLICT, each backend does.
pub fn note(db: &mut Db, digest: &[u8], session: SessionId, generation: i64) -> Result<(), Error> {
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

/// Removes up to `limit` tokens of these sessions; how many there were, also where another node was removing them.
pub fn remove_of(db: &mut Db, sessions: &[SessionId], limit: i64) -> Result<usize, Error> {
    let query = opaque_tokens::table.filter(opaque_tokens::session_id.eq_any(sessions));
    let some: Vec<Vec<u8>> = query.select(opaque_tokens::digest).limit(limit).load(db)?;
    diesel::delete(opaque_tokens::table.filter(opaque_tokens::digest.eq_any(&some))).execute(db)?;
    Ok(some.len())
}
