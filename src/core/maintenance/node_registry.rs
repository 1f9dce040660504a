//! Node registry: the processes that serve one database, and how the keys and the clock of each compare with the others'. A
//! process with other keys refuses everybody's tokens and passwords; one with another clock ends sessions too early. The
//! heartbeat that keeps the registry is heartbeat.rs's; a start with other keys is refused by core/startup.rs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::core::keys::key_source::LoadedKeys;
use crate::store::tables::columns::NodeId;
use crate::store::tables::nodes;
use crate::store::tables::nodes::NodeRow;
use crate::store::{Db, Store, StoreError};

/// A node that was seen within this time counts as running: three heartbeats, and a slow one.
pub const LIVE_WITHIN: Duration = Duration::from_secs(50);

/// Rows of stopped nodes are removed after this time.
pub(in crate::core::maintenance) const RETENTION: Duration = Duration::from_hours(24);

/// The ids of the keys that a node trusts. An id is derived from its key and reveals nothing about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyIds {
    pub(in crate::core::maintenance) signing_keys: String,
    pub(in crate::core::maintenance) peppers: String,
}

impl KeyIds {
    /// Of the keys that were loaded.
    pub fn of(keys: &LoadedKeys) -> Self {
        let signing: Vec<&str> = keys.ring.all().map(|key| key.id.as_str()).collect();
        Self { signing_keys: signing.join(" "), peppers: keys.peppers.ids().collect::<Vec<_>>().join(" ") }
    }
}

/// What a node's keys do not share with another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsharedKey {
    /// No signing key: each refuses the other's tokens.
    Signing,
    /// No pepper: each refuses the other's passwords.
    Pepper,
}

impl std::fmt::Display for UnsharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Signing => "signing key",
            Self::Pepper => "pepper",
        })
    }
}

/// The other nodes of the database, compared with this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Running nodes, without this one.
    pub live: usize,
    /// What this node does not share with a running node, and how long ago that one was seen.
    pub other_keys: Option<(UnsharedKey, Duration)>,
    /// Whether the node that was seen last, running or not, has none of this node's peppers.
    pub other_pepper_before: bool,
    /// Running nodes with none of this node's signing keys, or none of its peppers.
    pub with_other_keys: usize,
    /// The largest difference between this node's clock and another's or the database's, in milliseconds; positive if this
    /// node's is ahead.
    pub clock_difference: i64,
}

impl Comparison {
    pub(in crate::core::maintenance) fn new(own: &KeyIds, clock_offset: i64, rows: &[NodeRow], at: Timestamp) -> Self {
        let is_live = |row: &&NodeRow| at.since(row.seen_at) < LIVE_WITHIN;
        let live: Vec<&NodeRow> = rows.iter().filter(is_live).collect();
        let seen = |row: &NodeRow| at.since(row.seen_at);
        let differing: Vec<_> = live.iter().filter_map(|row| Some((other_keys(own, row)?, seen(row)))).collect();
        let differences = live.iter().map(|row| clock_offset.saturating_sub(row.clock_offset));
        Self {
            live: live.len(),
            other_keys: differing.first().copied(),
            other_pepper_before: rows.first().is_some_and(|row| !share(&own.peppers, &row.peppers)),
            with_other_keys: differing.len(),
            clock_difference: differences.chain([clock_offset]).max_by_key(|offset| offset.abs()).unwrap_or_default(),
        }
    }

    /// The difference of the clocks, if it is longer than `tolerated`.
    pub(in crate::core::maintenance) fn clocks_apart(&self, tolerated: Duration) -> bool {
        u128::from(self.clock_difference.unsigned_abs()) > tolerated.as_millis()
    }

    /// What an operator must know, one sentence each; nothing if all is well.
    pub fn warnings(&self, tolerated: Duration) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some((kind, _)) = self.other_keys {
            warnings.push(format!(
                "a running node of this database shares no {kind} with this one; use the same KEYS_FILE, JWT_SECRET and PEPPER on every node"
            ));
        }
        if self.clocks_apart(tolerated) {
            let seconds = Duration::from_millis(self.clock_difference.unsigned_abs()).as_secs_f32();
            let side = if self.clock_difference > 0 { "ahead of" } else { "behind" };
            warnings.push(format!(
                "this node's clock is {seconds:.1} s {side} that of the database or of another node; sessions end early there or here: synchronise the clocks (NTP)"
            ));
        }
        warnings
    }
}

fn other_keys(own: &KeyIds, row: &NodeRow) -> Option<UnsharedKey> {
    if !share(&own.peppers, &row.peppers) {
        return Some(UnsharedKey::Pepper);
    }
    (!share(&own.signing_keys, &row.signing_keys)).then_some(UnsharedKey::Signing)
}

fn share(one: &str, other: &str) -> bool {
    let ids: HashSet<&str> = one.split(' ').collect();
    other.split(' ').any(|id| ids.contains(id))
}

/// Compares keys with the rows of a database, without a row of one's own.
pub fn compare(store: &Store, own: &KeyIds, now: impl Fn() -> Timestamp) -> Result<Comparison, StoreError> {
    store.read(|db| {
        let (offset, at) = measure_clock(db, &now)?;
        Ok(Comparison::new(own, offset, &nodes::list_others(db, NodeId(Uuid::nil()))?, at))
    })
}

/// Removes the rows of all nodes, if none is running; otherwise returns how long ago one was seen.
pub fn forget_stopped_nodes(store: &Store) -> Result<Option<Duration>, StoreError> {
    store.write(|db| {
        let at = nodes::database_time(db)?;
        let latest = nodes::list_others(db, NodeId(Uuid::nil()))?.first().map(|row| at.since(row.seen_at));
        let running = latest.filter(|ago| *ago < LIVE_WITHIN);
        if running.is_none() {
            nodes::purge(db, at.plus(RETENTION))?;
        }
        Ok(running)
    })
}

/// This node's clock minus the database's, in milliseconds, and the database's time. The node's time is taken in the middle
/// of the round trip, so a slow one moves it by half its duration at most.
pub(in crate::core::maintenance) fn measure_clock(
    db: &mut Db,
    now: &impl Fn() -> Timestamp,
) -> Result<(i64, Timestamp), StoreError> {
    let before = now();
    let at = nodes::database_time(db)?;
    let middle = before.plus(now().since(before) / 2);
    Ok((middle.as_millis() - at.as_millis(), at))
}

/// This process among the nodes of its database.
#[derive(Debug)]
pub struct NodeRegistry {
    pub(in crate::core::maintenance) id: NodeId,
    pub(in crate::core::maintenance) keys: Mutex<KeyIds>,
    keys_changed: AtomicBool,
    pub(in crate::core::maintenance) latest: Mutex<Comparison>,
    pub(in crate::core::maintenance) has_other_keys: AtomicBool,
    pub(in crate::core::maintenance) has_other_clock: AtomicBool,
}

impl NodeRegistry {
    /// A process with these keys.
    pub fn new(keys: KeyIds) -> Self {
        Self {
            id: NodeId(Uuid::new_v4()),
            keys: Mutex::new(keys),
            keys_changed: AtomicBool::new(false),
            latest: Mutex::default(),
            has_other_keys: AtomicBool::new(false),
            has_other_clock: AtomicBool::new(false),
        }
    }

    /// Replaces the keys after the file has changed. The next heartbeat is due immediately: until then a command with the changed file
    /// is compared with the former keys.
    pub fn set_keys(&self, keys: KeyIds) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        self.keys_changed.store(true, Ordering::Relaxed);
    }

    /// Whether the keys have changed since the last call.
    pub fn take_keys_changed(&self) -> bool {
        self.keys_changed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(signing_keys: &str, peppers: &str, seen_at: i64, clock_offset: i64) -> NodeRow {
        NodeRow {
            id: NodeId(Uuid::new_v4()),
            signing_keys: signing_keys.into(),
            peppers: peppers.into(),
            seen_at: Timestamp::from_seconds(seen_at),
            clock_offset,
        }
    }

    fn compared(rows: &[NodeRow], offset: i64) -> Comparison {
        let own = KeyIds { signing_keys: "k-2 k-1".into(), peppers: "p-1".into() };
        Comparison::new(&own, offset, rows, Timestamp::from_seconds(1000))
    }

    #[test]
    fn nodes_agree_while_they_share_a_key_of_each_kind() {
        let rotating = [row("k-1", "p-1 p-0", 999, 10), row("k-3 k-2 k-1", "p-1", 960, -20)];
        let comparison = compared(&rotating, 0);
        assert_eq!((comparison.live, comparison.with_other_keys, comparison.other_keys), (2, 0, None));
        assert!(comparison.warnings(Duration::from_secs(5)).is_empty());
    }

    #[test]
    fn a_running_node_with_other_keys_is_reported_and_a_stopped_one_is_not() {
        let signing = compared(&[row("k-9", "p-1", 999, 0)], 0);
        assert_eq!(signing.other_keys, Some((UnsharedKey::Signing, Duration::from_secs(1))));
        let pepper = compared(&[row("k-1", "p-9", 999, 0), row("k-1", "p-1", 999, 0)], 0);
        assert_eq!(
            (pepper.other_keys, pepper.with_other_keys),
            (Some((UnsharedKey::Pepper, Duration::from_secs(1))), 1)
        );
        let stopped = compared(&[row("k-9", "p-9", 0, 0), row("k-9", "p-9", 949, 0)], 0);
        assert_eq!((stopped.live, stopped.other_keys, stopped.other_pepper_before), (0, None, true));
        // An id that begins like another is another.
        assert_eq!(
            compared(&[row("k-11", "p-1", 999, 0)], 0).other_keys.map(|(kind, _)| kind),
            Some(UnsharedKey::Signing)
        );
    }

    #[test]
    fn clocks_are_compared_with_the_database_and_with_each_running_node() {
        for (offset, other, expected) in
            [(0, 0, 0), (6_000, 6_000, 6_000), (0, 61_000, -61_000), (-40_000, 30_000, -70_000)]
        {
            let comparison = compared(&[row("k-1", "p-1", 999, other), row("k-1", "p-1", 10, 900_000)], offset);
            assert_eq!(comparison.clock_difference, expected, "{offset} {other}");
            assert_eq!(comparison.warnings(Duration::from_secs(5)).len(), usize::from(expected != 0));
        }
    }
}
