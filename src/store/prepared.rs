//! Changes whose text is always the same: parsed once a connection, as every `SELECT` is. Diesel prepares each `UPDATE`
//! anew, since a changeset may leave columns out; that is another parse on SQLite and another round trip on PostgreSQL.
//! Which changes these are is their own files' to say: those of no optional column.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId, UpdateStatement};

/// A change that keeps its place in the connection's cache, by its text.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<S>(S);

/// Gives `prepared` to changes.
pub trait Prepare: Sized {
    /// The same change, parsed once. Its text must not depend on its values.
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

impl<T: QuerySource, U, V, R> Prepare for UpdateStatement<T, U, V, R> {}

impl<S> QueryId for Prepared<S> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: Query> Query for Prepared<S> {
    type SqlType = S::SqlType;
}

impl<S, Conn> RunQueryDsl<Conn> for Prepared<S> {}

impl<DB: Backend, S: QueryFragment<DB>> QueryFragment<DB> for Prepared<S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}
