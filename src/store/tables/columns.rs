//! Column types, stored alike by both backends: the newtypes of ids, times, and states that are stored as words. What a
//! state implies is decided in core/.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Text};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The number of an account: what rows refer to it by, inside the database. A restored backup may give it to another account,
/// so no token holds it.
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

/// Declares the newtype of a 16-byte id, stored as its bytes on both backends. Each kind of id is a type of its own, so that
/// the id of an account cannot be passed where a session's is expected.
macro_rules! uuid_id {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow, AsExpression)]
        #[diesel(sql_type = Binary)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<DB: Backend> FromSql<Binary, DB> for $name
        where
            Vec<u8>: FromSql<Binary, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                let bytes = Vec::<u8>::from_sql(bytes)?;
                Ok(Self(Uuid::from_slice(&bytes)?))
            }
        }

        impl<DB: Backend> ToSql<Binary, DB> for $name
        where
            [u8]: ToSql<Binary, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                self.0.as_bytes().as_slice().to_sql(out)
            }
        }
    };
}

uuid_id! {
    /// A running process of this database: random, for each start.
    NodeId
}

uuid_id! {
    /// The id of a session, the `sid` of its tokens. It names the session and grants nothing. Version 7, so that new rows are
    /// neighbours in the index.
    SessionId
}

uuid_id! {
    /// The UUID of an account, the `sub` of its tokens. It is never given to another account.
    AccountUuid
}

uuid_id! {
    /// The id of a sign-up that waits for its confirmation by mail.
    PendingSignUpId
}

/// A stored or typed word that names no value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a valid {kind}; use {}", .allowed.join(", "))]
pub struct UnknownWord {
    kind: &'static str,
    word: String,
    allowed: Vec<&'static str>,
}

/// The conversions of an enum that is stored as one word: `FromStr` and the column on both backends. A word that this version
/// does not know is an error: a state that cannot be interpreted must not count as a permissive one.
macro_rules! word_column {
    ($name:ident, $kind:literal) => {
        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|value| value.as_str() == word);
                found.ok_or_else(|| UnknownWord {
                    kind: $kind,
                    word: word.to_owned(),
                    allowed: Self::ALL.map(Self::as_str).to_vec(),
                })
            }
        }

        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(String::from_sql(bytes)?.parse::<Self>()?)
            }
        }

        impl<DB: Backend> ToSql<Text, DB> for $name
        where
            str: ToSql<Text, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                self.as_str().to_sql(out)
            }
        }
    };
}

/// Whether an account may be used. Only an active account can sign in or refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = Text)]
pub enum AccountStatus {
    /// May sign in.
    Active,
    /// Disabled by an operator, or not enabled yet.
    Inactive,
    /// Locked because of attempts to misuse it.
    Locked,
    /// Suspended because of its owner's conduct.
    Suspended,
}

impl AccountStatus {
    /// Every status, in the order of the help.
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

word_column!(AccountStatus, "status");

/// Why a session ended. What the audit trail calls each is core/session/end_reason.rs's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = Text)]
pub enum EndReason {
    /// Its owner signed out.
    SignOut,
    /// Its owner signed out everywhere.
    SignOutEverywhere,
    /// Its owner ended it from another session.
    EndedByOwner,
    /// A sign-in from the same browser or device replaced it.
    Replaced,
    /// The account's secret was changed from another session.
    SecretChange,
    /// A spent refresh token was presented again.
    RefreshReuse,
    /// An operator ended it.
    Operator,
    /// The key of its refresh token was retired.
    KeyRetired,
    /// The account had more than SESSIONS_MAX, and this one was seen least recently.
    TooMany,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::SignOut,
        Self::SignOutEverywhere,
        Self::EndedByOwner,
        Self::Replaced,
        Self::SecretChange,
        Self::RefreshReuse,
        Self::Operator,
        Self::KeyRetired,
        Self::TooMany,
    ];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::EndedByOwner => "ended_by_owner",
            Self::Replaced => "replaced",
            Self::SecretChange => "secret_change",
            Self::RefreshReuse => "refresh_reuse",
            Self::Operator => "operator",
            Self::KeyRetired => "key_retired",
            Self::TooMany => "too_many",
        }
    }
}

word_column!(EndReason, "end reason");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_word_is_parsed_back_and_no_other() {
        assert!(AccountStatus::ALL.into_iter().all(|status| status.as_str().parse() == Ok(status)));
        assert!(EndReason::ALL.into_iter().all(|reason| reason.as_str().parse() == Ok(reason)));
        let unknown = "Active".parse::<AccountStatus>().unwrap_err();
        assert_eq!(unknown.to_string(), "\"Active\" is not a valid status; use active, inactive, locked, suspended");
        assert!("".parse::<EndReason>().is_err());
    }
}
