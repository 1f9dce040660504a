//! Schema migrations, embedded in the binary. Nodes that start together migrate one after the other, under a lock. Whether
//! a start migrates is core/startup.rs's to decide; the tables' meaning is in tables/.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::{Connection, PgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::connection::Db;
use crate::store::error::{BoxedError, StoreError};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// "doorward" in hexadecimal ASCII: the key of the advisory lock for migrations.
const ADVISORY_LOCK: i64 = 0x646f_6f72_7761_7264;

/// Runs the pending migrations; returns their names, oldest first.
pub fn run(db: &mut Db) -> Result<Vec<String>, StoreError> {
    match db {
        Db::Sqlite(db) => db.exclusive_transaction(|db| apply(db, SQLITE)),
        Db::Postgres(db) => {
            // Another node's migration may take longer than a request may.
            db.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0;")?;
            db.batch_execute(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})"))?;
            let outcome = apply_postgres(db);
            db.batch_execute(&format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})"))?;
            outcome
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "store's own transaction, on a connection that the pool never sees")]
fn apply_postgres(db: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    db.transaction(|db| apply(db, POSTGRES))
}

/// The number of migrations of this version that the database lacks.
pub fn pending(db: &mut Db) -> Result<usize, StoreError> {
    let pending = match db {
        Db::Sqlite(db) => count_pending::<_, diesel::sqlite::Sqlite>(db, SQLITE),
        Db::Postgres(db) => count_pending::<_, diesel::pg::Pg>(db, POSTGRES),
    };
    pending.map_err(StoreError::migration)
}

fn count_pending<C, B>(db: &mut C, source: EmbeddedMigrations) -> Result<usize, BoxedError>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    db.pending_migrations(source).map(|pending| pending.len())
}

fn apply<C, B>(db: &mut C, source: EmbeddedMigrations) -> Result<Vec<String>, StoreError>
where
    B: diesel::backend::Backend,
    C: MigrationHarness<B>,
    EmbeddedMigrations: MigrationSource<B>,
{
    let versions = db.run_pending_migrations(source).map_err(StoreError::migration)?;
    Ok(versions.iter().map(ToString::to_string).collect())
}
