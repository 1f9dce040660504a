//! Schema migrations, embedded in the binary. Nodes that start together migrate one after the other, under a lock. Whether
//! a start migrates is core/startup.rs's to decide; the tables' meaning is in tables/.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::connection::{Db, on_backend};
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

/// The number of migrations of this version that the database lacks. Reads only: diesel's own list creates its table first, which
/// needs a right that a running service need not have.
pub fn pending(db: &mut Db) -> Result<usize, StoreError> {
    let applied = applied(db)?;
    let known = match db {
        Db::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
        Db::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES),
    };
    let known = known.map_err(StoreError::migration)?;
    Ok(known.iter().filter(|version| !applied.contains(version)).count())
}

/// Whether no migration was ever applied.
pub fn is_empty(db: &mut Db) -> Result<bool, StoreError> {
    Ok(applied(db)?.is_empty())
}

fn versions<B: diesel::backend::Backend>(source: &EmbeddedMigrations) -> Result<Vec<String>, BoxedError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    let migrations = MigrationSource::<B>::migrations(source)?;
    Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// The versions that were applied.
fn applied(db: &mut Db) -> Result<Vec<String>, StoreError> {
    let exists = match db {
        Db::Sqlite(_) => "SELECT count(*) AS value FROM sqlite_schema WHERE name = '__diesel_schema_migrations'",
        Db::Postgres(_) => {
            "SELECT count(*) AS value FROM (SELECT to_regclass('__diesel_schema_migrations') AS name) AS found WHERE name IS NOT NULL"
        }
    };
    let found: Count = on_backend!(db, |db| diesel::sql_query(exists).get_result(db))?;
    if found.value == 0 {
        return Ok(Vec::new());
    }
    let query = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let rows: Vec<Applied> = on_backend!(db, |db| query.load(db))?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
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
