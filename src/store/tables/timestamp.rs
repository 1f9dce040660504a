//! Column mapping of `Timestamp`: a `BIGINT` of milliseconds since 1970-01-01 UTC, on both backends. Written by hand instead
//! of derived, so that clock.rs does not depend on diesel. What a time means is decided by `core`.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Nullable, SingleValue};

use crate::clock::Timestamp;

impl<DB: Backend> FromSql<BigInt, DB> for Timestamp
where
    i64: FromSql<BigInt, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        i64::from_sql(bytes).map(Self::from_millis)
    }
}

/// A timestamp is one column of a row.
impl<ST: SingleValue, DB: Backend> Queryable<ST, DB> for Timestamp
where
    Self: FromSql<ST, DB>,
{
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

/// For `Option<Timestamp>`, which diesel binds by this; a plain timestamp is bound as its number, below.
impl<DB: Backend> ToSql<BigInt, DB> for Timestamp
where
    i64: ToSql<BigInt, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.to_sql(out)
    }
}

impl AsExpression<BigInt> for Timestamp {
    type Expression = <i64 as AsExpression<BigInt>>::Expression;

    fn as_expression(self) -> Self::Expression {
        AsExpression::<BigInt>::as_expression(self.0)
    }
}

impl<'a> AsExpression<BigInt> for &'a Timestamp {
    type Expression = <&'a i64 as AsExpression<BigInt>>::Expression;

    fn as_expression(self) -> Self::Expression {
        AsExpression::<BigInt>::as_expression(&self.0)
    }
}

impl AsExpression<Nullable<BigInt>> for Timestamp {
    type Expression = <i64 as AsExpression<Nullable<BigInt>>>::Expression;

    fn as_expression(self) -> Self::Expression {
        AsExpression::<Nullable<BigInt>>::as_expression(self.0)
    }
}

impl<'a> AsExpression<Nullable<BigInt>> for &'a Timestamp {
    type Expression = <&'a i64 as AsExpression<Nullable<BigInt>>>::Expression;

    fn as_expression(self) -> Self::Expression {
        AsExpression::<Nullable<BigInt>>::as_expression(&self.0)
    }
}
