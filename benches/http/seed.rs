//! Seed databases as after years of use: accounts, sessions and revocations written by a statement, and known keys, so
//! that tokens for any session exist without a sign-in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use doorward::clock::{Clock, Timestamp};
use doorward::core::keys::signing_key::{KeyRing, SigningKey};
use doorward::core::token::claims::{AccessClaims, RefreshClaims};
use doorward::core::token::{TokenAuthority, TokenRules};
use doorward::core::{AccountUuid, SessionId};
use doorward::secret::base64url;
use doorward::settings::TokenAlgorithm;
use uuid::Uuid;

use super::{machine, postgres};

/// The password of every account.
pub const PASSWORD: &str = "correct horse battery";

/// The number of accounts that own the sessions.
pub const ACCOUNTS: u64 = 1000;

/// The age of everything: long enough not to be in the future, short enough not to be purged.
const AGE: Duration = Duration::from_secs(3600);

/// A browser's user agent.
const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The keys, and the tokens that they sign.
pub struct Keys {
    authority: TokenAuthority,
    made: Timestamp,
}

/// The id of the n-th session: in order, as version 7 ids are.
pub fn session(n: u64) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(n)))
}

/// The UUID of that account.
pub fn account_uuid(n: u64) -> AccountUuid {
    AccountUuid(Uuid::from_u128(u128::from(n % ACCOUNTS)))
}

impl Keys {
    /// Writes a keys file and signs with what is in it.
    pub fn write(folder: &Path, algorithm: TokenAlgorithm) -> Self {
        let key = match algorithm {
            TokenAlgorithm::Hs256 => b"0kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4xCv6zAe5rTy7uI9".to_vec(),
            TokenAlgorithm::EdDsa => Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref().to_vec(),
            TokenAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                pair.to_pkcs8v1().unwrap().as_ref().to_vec()
            }
        };
        let (kind, at) = (algorithm.as_str(), "2026-01-01T00:00:00Z");
        let pepper = base64url(b"a pepper for benchmarks, 32 bytes long");
        let text = format!("{kind} bench {} {at}\npepper bench-pepper {pepper} {at}\n", base64url(&key));
        let file = folder.join("bench.keys");
        std::fs::write(&file, text).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, private).unwrap();
        let rules = TokenRules {
            issuer: "doorward".to_owned(),
            audience: "doorward".to_owned(),
            clock_skew: Duration::from_secs(5),
        };
        let ring = KeyRing::new(SigningKey::of(algorithm, "bench", &key).unwrap(), []);
        Self { authority: TokenAuthority::new(rules, &ring).unwrap(), made: made() }
    }

    /// A unique access token of the n-th session.
    pub fn access(&self, n: u64, serial: u64) -> String {
        let claims = AccessClaims {
            account: account_uuid(n),
            session: session(n),
            generation: 0,
            epoch: 0,
            role: "USER".to_owned(),
            must_change_password: false,
            issued_at: self.made,
            expires_at: self.made.plus(Duration::from_secs(12 * 3600)),
            id: base64url(&u128::from(serial).to_be_bytes()),
        };
        self.authority.mint_access(&claims, "bench").unwrap().expose().to_owned()
    }

    /// The first refresh token of the n-th session.
    pub fn refresh(&self, n: u64) -> String {
        let claims = RefreshClaims {
            account: account_uuid(n),
            session: session(n),
            generation: 0,
            issued_at: self.made,
            expires_at: self.made.plus(Duration::from_secs(30 * 86_400)),
        };
        self.authority.mint_refresh(&claims, "bench").unwrap().expose().to_owned()
    }

    /// A file of header lines for wrk: one access token each, of sessions from 0 on.
    pub fn access_cookies(&self, folder: &Path, tokens: u64) -> PathBuf {
        let mut text = String::new();
        (0..tokens).for_each(|n| writeln!(text, "Cookie: accessToken={}", self.access(n % ACCOUNTS, n)).unwrap());
        let file = folder.join(format!("cookies-{tokens}"));
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// A whole second, so that rows and tokens agree.
fn made() -> Timestamp {
    Timestamp::from_seconds(Clock::system().now().minus(AGE).seconds())
}

/// The number of rows in a database.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// Live sessions.
    pub sessions: u64,
    /// Revocations of other sessions, whose tokens have not expired.
    pub revocations: u64,
    /// Sessions that are due for the purge.
    pub over: u64,
}

/// The statements that fill the tables; `counted` generates numbers in the backend's SQL.
fn statements(rows: Rows, counted: impl Fn(u64) -> String, id: &dyn Fn(&str) -> String) -> String {
    let at = made().as_millis();
    let (month, quarter) = (at + 30 * 86_400_000, at + 90 * 86_400_000);
    let (access, long_ago) = (at + 12 * 3_600_000, at - 7 * 86_400_000);
    let columns = "id, account_id, dialect, epoch, generation, key_id, rotated_at, created_at, last_seen_at, \
        idle_expires_at, expires_at, access_expires_at, persistent, user_agent, address";
    let sessions = |from: &str, end: i64, offset: u64, count: u64| {
        let id = id(&format!("(n + {offset})"));
        format!(
            "INSERT INTO sessions ({columns}) SELECT {id}, 1 + n % {ACCOUNTS}, 'native', 0, 0, 'bench', {at}, {at}, {at}, \
             {from}, {end}, {access}, TRUE, '{AGENT}', '203.0.113.7' FROM {};\n",
            counted(count)
        )
    };
    let mut sql = format!(
        "INSERT INTO accounts (uuid, username, username_canonical, role, status, created_at, updated_at) \
         SELECT {}, 'emily' || n, 'emily' || n, 'USER', 'active', {at}, {at} FROM {};\n",
        id("n"),
        counted(ACCOUNTS)
    );
    sql += &sessions(&month.to_string(), quarter, 0, rows.sessions);
    sql += &sessions(&long_ago.to_string(), long_ago, 1 << 40, rows.over);
    let _ = writeln!(
        sql,
        "INSERT INTO revocations (session_id, created_at, expires_at) SELECT {}, {at}, {access} FROM {};",
        id(&format!("(n + {})", 1_u64 << 41)),
        counted(rows.revocations)
    );
    sql
}

/// A SQLite file with the tables of this version and these rows.
pub fn sqlite(file: &Path, rows: Rows) {
    let url = format!("sqlite://{}", file.display()).parse().unwrap();
    doorward::core::startup::migrate_database(&url).unwrap();
    let mut db = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let counted = |count: u64| {
        format!(
            "(WITH RECURSIVE c(n) AS (SELECT 0 WHERE {count} > 0 UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {count}) \
             SELECT n FROM c)"
        )
    };
    // Big-endian, as in PostgreSQL; in SQLite through the hexadecimal text.
    let id = |n: &str| format!("unhex(printf('%032x', {n}))");
    let sql = statements(rows, counted, &id);
    // The process that migrated may still be closing its last connection.
    db.batch_execute(&format!(
        "PRAGMA busy_timeout = 20000; PRAGMA synchronous = OFF; BEGIN; {sql} COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .unwrap();
    machine::settle();
}

/// A new PostgreSQL database of the same kind; its URL.
pub fn postgres(cluster: &postgres::Cluster, name: &str, rows: Rows) -> String {
    cluster.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    let url = cluster.url(name);
    doorward::core::startup::migrate_database(&url.parse().unwrap()).unwrap();
    let counted = |count: u64| format!("generate_series(0::bigint, {count}::bigint - 1) AS c(n)");
    let id = |n: &str| format!("decode(lpad(to_hex({n}), 32, '0'), 'hex')");
    cluster.psql(name, &statements(rows, counted, &id));
    cluster.psql(name, "VACUUM ANALYZE");
    cluster.psql(name, "CHECKPOINT");
    machine::settle();
    url
}
