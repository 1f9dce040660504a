//! Column types that both backends store alike: ids, times, states. What a state means is for `core` to decide.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Text};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// An account's number, the `sub` of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = BigInt)]
pub struct AccountId(pub i64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Backend> FromSql<BigInt, DB> for AccountId
where
    i64: FromSql<BigInt, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        i64::from_sql(bytes).map(Self)
    }
}

impl<DB: Backend> ToSql<BigInt, DB> for AccountId
where
    i64: ToSql<BigInt, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.to_sql(out)
    }
}

/// A 16-byte id: a session's, or an account's `uuid`. Session ids are version 7, so that new rows land side by side in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = Binary)]
pub struct Id128(pub Uuid);

/// A session's id, the `sid` of its tokens. It names the session and opens nothing.
pub type SessionId = Id128;

impl fmt::Display for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Id128
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(bytes)?;
        Ok(Self(Uuid::from_slice(&bytes)?))
    }
}

impl<DB: Backend> ToSql<Binary, DB> for Id128
where
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.as_bytes().as_slice().to_sql(out)
    }
}

/// What an account may do at all. Only an active one signs in or refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = Text)]
pub enum AccountStatus {
    /// May sign in.
    Active,
    /// Switched off by an operator, or not yet switched on.
    Inactive,
    /// Shut because of what was tried on it.
    Locked,
    /// Shut because of what its owner did.
    Suspended,
}

impl AccountStatus {
    /// Every status, in the order the help lists them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Locked, Self::Suspended];

    /// The word that the table and the command line use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Locked => "locked",
            Self::Suspended => "suspended",
        }
    }
}

impl FromStr for AccountStatus {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| format!("{word:?} is no status; use active, inactive, locked or suspended"))
    }
}

impl<DB: Backend> FromSql<Text, DB> for AccountStatus
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(String::from_sql(bytes)?.parse::<Self>()?)
    }
}

impl<DB: Backend> ToSql<Text, DB> for AccountStatus
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.as_str().to_sql(out)
    }
}
