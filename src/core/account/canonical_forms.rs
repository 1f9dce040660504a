//! Canonical form migration: rewrites the stored canonical identifiers when the rule for comparing them has changed. Two accounts
//! that become one are reported, and nothing is changed: which of them keeps the identifier is for an operator to decide. The rule
//! is identifier.rs's.

use std::collections::HashMap;
use std::fmt;

use super::identifier::canonical;
use crate::store::tables::accounts::{self, IdentifierColumn};
use crate::store::tables::canonical_forms::{self, IdentifierRow};
use crate::store::{AccountId, Db, Store, StoreError};

/// The version of the rule. 1: the case folding of every character, domains included. 2: domains as DNS has them, and a
/// dotless ı of its own.
const VERSION: i64 = 2;

/// Accounts per query.
const PAGE: i64 = 1000;

/// Collisions that a message names.
const SHOWN_MAX: usize = 20;

/// Two accounts whose identifiers are the same by the new rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    accounts: [AccountId; 2],
    kind: &'static str,
    shown: [String; 2],
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collisions(Vec<Collision>);

impl fmt::Display for Collisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let describe = |Collision { accounts: [one, other], kind, shown: [first, second] }: &Collision| {
            format!("accounts {one} and {other} have the same {kind}, {first:?} and {second:?}")
        };
        f.write_str(&self.0.iter().take(SHOWN_MAX).map(describe).collect::<Vec<_>>().join("; "))?;
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Whether stored identifiers may follow an older rule.
pub fn is_pending(store: &Store) -> Result<bool, StoreError> {
    store.read(|db| Ok(!canonical_forms::has(db, VERSION)?))
}

/// Rewrites what the rule has changed, unless accounts collide. Returns the number of accounts that were changed.
pub fn adopt(store: &Store) -> Result<Result<usize, Collisions>, StoreError> {
    if !is_pending(store)? {
        return Ok(Ok(0));
    }
    let changed = store.read(find_changed)?;
    let collisions = store.read(|db| find_collisions(db, &changed))?;
    if !collisions.is_empty() {
        return Ok(Err(Collisions(collisions)));
    }
    let written = store.write(|db| {
        changed.iter().try_for_each(|row| canonical_forms::set(db, row))?;
        canonical_forms::record(db, VERSION)
    });
    match written {
        // Another node that starts now has done it.
        Err(StoreError::Taken) if !is_pending(store)? => Ok(Ok(0)),
        other => other.map(|()| Ok(changed.len())),
    }
}

/// The accounts whose canonical identifiers change, with the new ones.
fn find_changed(db: &mut Db) -> Result<Vec<IdentifierRow>, StoreError> {
    let (mut changed, mut after) = (Vec::new(), AccountId(i64::MIN));
    loop {
        let page = canonical_forms::list(db, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(changed) };
        after = last.id;
        changed.extend(page.into_iter().filter_map(|row| {
            let new = |shown: &Option<String>| shown.as_deref().map(canonical);
            let rewritten = IdentifierRow {
                email_canonical: new(&row.email),
                username_canonical: new(&row.username),
                name_canonical: new(&row.name),
                ..row.clone()
            };
            (rewritten != row).then_some(rewritten)
        }));
    }
}

/// Pairs of which at least one account has changed. A username and a name may not be the same either.
fn find_collisions(db: &mut Db, changed: &[IdentifierRow]) -> Result<Vec<Collision>, StoreError> {
    use IdentifierColumn::{Email, Name, Username};
    let by_id: HashMap<AccountId, &IdentifierRow> = changed.iter().map(|row| (row.id, row)).collect();
    let mut holders: HashMap<(bool, &str), (AccountId, &str)> = HashMap::new();
    let mut collisions = Vec::new();
    for row in changed {
        for (kind, columns, shown, canonical) in [
            ("email", &[Email][..], &row.email, &row.email_canonical),
            ("username", &[Username, Name], &row.username, &row.username_canonical),
            ("name", &[Name, Username], &row.name, &row.name_canonical),
        ] {
            let (Some(shown), Some(canonical)) = (shown, canonical) else { continue };
            let mut collide = |other: AccountId, with: &str| {
                let (accounts, shown) = ([other, row.id], [with.to_owned(), shown.clone()]);
                collisions.push(Collision { accounts, kind, shown });
            };
            match holders.insert((kind == "email", canonical), (row.id, shown)) {
                Some((other, with)) if other != row.id => collide(other, with),
                _ => {}
            }
            for column in columns {
                let holder = accounts::find_by(db, *column, canonical)?.filter(|holder| holder.id != row.id);
                // One that changes too is found by its new form.
                if let Some(holder) = holder.filter(|holder| !by_id.contains_key(&holder.id)) {
                    let with = match column {
                        Email => holder.email,
                        Username => holder.username,
                        Name => holder.name,
                    };
                    collide(holder.id, &with.unwrap_or_default());
                }
            }
        }
    }
    Ok(collisions)
}
