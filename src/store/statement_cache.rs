//! Prepared-statement cache for `UPDATE`s: each is parsed once per connection, as diesel does with every `SELECT`. Diesel
//! prepares an `UPDATE` for each call, because its changeset may omit columns; that is another parse on SQLite and another
//! round trip on PostgreSQL. Which statements are cached is decided in tables/: those without an optional column.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId, UpdateStatement};

/// A statement that diesel keeps in the connection's cache, under its SQL text.
#[derive(Debug, Clone, Copy)]
pub struct CachedStatement<S>(S);

/// Adds `cached` to statements.
pub trait CacheStatement: Sized {
    /// The same statement, cached. Its text must not depend on its values: an entry of the cache is never evicted.
    fn cached(self) -> CachedStatement<Self> {
        CachedStatement(self)
    }
}

impl<T: QuerySource, U, V, R> CacheStatement for UpdateStatement<T, U, V, R> {}

/// Without a static id diesel finds the statement by its text.
impl<S> QueryId for CachedStatement<S> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: Query> Query for CachedStatement<S> {
    type SqlType = S::SqlType;
}

impl<S, Conn> RunQueryDsl<Conn> for CachedStatement<S> {}

impl<DB: Backend, S: QueryFragment<DB>> QueryFragment<DB> for CachedStatement<S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    /// Diesel's own value for an `UPDATE` is `false`.
    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}
