//! Key rotation: how an operator lists, rotates and retires signing keys and peppers. Running services read the changed file
//! (`Core::reload_keys_if_changed`), so no restart is needed. How the file is written is keys_file.rs's.
//!
//! A signing key passes through these states:
//!
//! **Pending.** It is in the file, and every node that has read it accepts its tokens, but none signs with it until
//! `propagation_delay` is over, plus the time for which other services cache the JWKS.
//!
//! **Active.** It signs new tokens. The newest key that is no longer pending is active.
//!
//! **Trusted.** A newer key has replaced it; its tokens are still accepted until they expire. A rotation prunes it once no
//! token under it can be valid any more.
//!
//! **Retired.** It is no longer in the file, and every token under it is rejected, refresh tokens included. A session whose
//! refresh token is under it could not be refreshed again, so it is ended and revoked, which also invalidates its access
//! tokens under a newer key.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::error::KeysError;
use super::key_source::{KeySource, configured_key, configured_pepper};
use super::keys_file::{self, KeyEntry, KeyKind, KeysFile, active_key};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password;
use crate::core::error::{Error, InternalError};
use crate::core::maintenance::adaptive_batch::AdaptiveBatch;
use crate::core::revocation::write::RETENTION_MARGIN;
use crate::core::session::caller::Client;
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::settings::TokenAlgorithm;
use crate::store::tables::{accounts, sessions};

/// Why keys could not be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyAdminError {
    /// The keys file or the requested change.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database.
    #[error(transparent)]
    Core(#[from] Error),
}

impl From<crate::store::StoreError> for KeyAdminError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Core(InternalError::from(error).into())
    }
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It signs new tokens, or hashes new secrets.
    Active,
    /// It becomes active at this time.
    Pending(Timestamp),
    /// Its earlier tokens or hashes are still accepted.
    Trusted,
}

/// A key or a pepper in a list, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The `kid`, or the id in the hashes.
    pub id: String,
    /// `hs256`, `eddsa`, `es256` or `pepper`.
    pub kind: &'static str,
    /// When it was created, if the file records it.
    pub created_at: Option<Timestamp>,
    /// Its state.
    pub state: KeyState,
    /// The number of live sessions whose refresh token is under it; for a pepper, of accounts whose secret is.
    pub in_use_by: i64,
}

impl ListedKey {
    fn configured(id: String, kind: KeyKind) -> Self {
        Self { id, kind: kind.as_str(), created_at: None, state: KeyState::Active, in_use_by: 0 }
    }

    fn is_pepper(&self) -> bool {
        self.kind == KeyKind::Pepper.as_str()
    }
}

/// The result of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    /// The new key.
    pub id: String,
    /// The algorithm of its access tokens, or `pepper`.
    pub kind: &'static str,
    /// When it becomes active.
    pub active_from: Timestamp,
    /// The keys that were removed from the file, since no token under them can be valid.
    pub pruned: Vec<String>,
}

/// The effect of a retirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    /// Whether the key is a pepper.
    pub pepper: bool,
    /// The number of live sessions that end.
    pub sessions: i64,
    /// How long to wait until every node has read the key that replaces it.
    pub wait: Duration,
}

impl KeySource {
    fn list(&self, now: Timestamp) -> Result<Vec<ListedKey>, KeysError> {
        let mut listed = Vec::new();
        let file = if self.uses_file() { Some(KeysFile::read(&self.file)?) } else { None };
        let of_file = |entries: Vec<&KeyEntry>| {
            let active = active_key(&entries, now, self.propagation_delay).map(|entry| entry.id.clone());
            let state = |entry: &KeyEntry| match entry.active_from(self.propagation_delay) {
                _ if active.as_ref() == Some(&entry.id) => KeyState::Active,
                from if from > now => KeyState::Pending(from),
                _ => KeyState::Trusted,
            };
            let listed = |entry: &KeyEntry| {
                let (id, kind) = (entry.id.clone(), entry.kind.as_str());
                ListedKey { id, kind, created_at: entry.created_at, state: state(entry), in_use_by: 0 }
            };
            entries.iter().map(|entry| listed(entry)).collect::<Vec<_>>()
        };
        match (&self.jwt_secret, &file) {
            (Some(secret), _) => {
                listed.push(ListedKey::configured(configured_key(secret).id, KeyKind::Signing(TokenAlgorithm::Hs256)));
            }
            (None, Some(file)) => listed.extend(of_file(file.signing_entries())),
            (None, None) => {}
        }
        match (&self.pepper, &file) {
            (Some(secret), _) => listed.push(ListedKey::configured(configured_pepper(secret).id, KeyKind::Pepper)),
            (None, Some(file)) => listed.extend(of_file(file.pepper_entries())),
            (None, None) => {}
        }
        Ok(listed)
    }

    fn require_file_signing_keys(&self) -> Result<(), KeysError> {
        if self.jwt_secret.is_some() { Err(KeysError::ConfiguredSigningKey) } else { Ok(()) }
    }

    fn require_file_peppers(&self) -> Result<(), KeysError> {
        if self.pepper.is_some() { Err(KeysError::ConfiguredPepper) } else { Ok(()) }
    }

    /// The ids of keys under which no token can be valid: the successor has been active for longer than any token's lifetime,
    /// and a day more in case a clock was wrong, and no session names the key.
    fn prunable(&self, file: &KeysFile, in_use: &HashMap<String, i64>, now: Timestamp) -> Vec<String> {
        let entries = file.signing_entries();
        let margin = self.propagation_delay + self.max_token_lifetime + RETENTION_MARGIN;
        let has_outlasted = |successor: &KeyEntry| {
            successor.created_at.is_some() && successor.active_from(self.propagation_delay).plus(margin) < now
        };
        let pairs = entries.iter().zip(entries.iter().skip(1));
        let old = pairs.filter(|(newer, older)| has_outlasted(newer) && !in_use.contains_key(&older.id));
        old.map(|(_, older)| older.id.clone()).collect()
    }
}

impl Core {
    /// All keys and peppers, the newest of each first.
    pub fn list_keys(&self) -> Result<Vec<ListedKey>, KeyAdminError> {
        let now = self.now();
        let mut listed = self.keys.list(now)?;
        let in_use: HashMap<String, i64> =
            self.store.read(|db| sessions::count_live_by_key(db, now))?.into_iter().collect();
        for key in &mut listed {
            key.in_use_by = if key.is_pepper() {
                let stored = password::stored_prefix(&key.id);
                self.store.read(|db| accounts::count_secrets_with_prefix(db, &stored))?
            } else {
                in_use.get(&key.id).copied().unwrap_or(0)
            };
        }
        Ok(listed)
    }

    /// Adds a new signing key; tokens of the older ones stay valid. The algorithm defaults to that of the settings, and then to
    /// that of the newest key.
    pub fn rotate_signing_key(&self, algorithm: Option<TokenAlgorithm>) -> Result<KeyRotation, KeyAdminError> {
        self.keys.require_file_signing_keys()?;
        let now = self.now();
        let in_use: HashMap<String, i64> =
            self.store.read(|db| sessions::count_live_by_key(db, now))?.into_iter().collect();
        let rotated = keys_file::change(&self.keys.file, |file| {
            let newest = file.entries.iter().find_map(|entry| match entry.kind {
                KeyKind::Signing(algorithm) => Some(algorithm),
                KeyKind::Pepper | KeyKind::Digest => None,
            });
            let algorithm = algorithm.or(self.keys.algorithm).or(newest).unwrap_or(TokenAlgorithm::Hs256);
            let rotated = self.prepend(file, KeyEntry::generate_signing(algorithm, now)?);
            let pruned = self.keys.prunable(file, &in_use, now);
            file.entries.retain(|entry| !pruned.contains(&entry.id));
            Ok(KeyRotation { pruned, ..rotated })
        })?;
        self.audit_key_change(&format!("rotated {} {}", rotated.id, rotated.kind))?;
        Ok(rotated)
    }

    /// Adds a new pepper. Hashes under the old one are still accepted, and replaced at the next sign-in.
    pub fn rotate_pepper(&self) -> Result<KeyRotation, KeyAdminError> {
        self.keys.require_file_peppers()?;
        let now = self.now();
        let rotated =
            keys_file::change(&self.keys.file, |file| Ok(self.prepend(file, KeyEntry::generate_pepper(now)?)))?;
        self.audit_key_change(&format!("rotated {} {}", rotated.id, rotated.kind))?;
        Ok(rotated)
    }

    fn prepend(&self, file: &mut KeysFile, entry: KeyEntry) -> KeyRotation {
        let active_from = entry.active_from(self.keys.propagation_delay);
        let rotated = KeyRotation { id: entry.id.clone(), kind: entry.kind.as_str(), active_from, pruned: Vec::new() };
        file.entries.insert(0, entry);
        rotated
    }

    /// The effect that `retire_key` would have, or why it is refused.
    pub fn plan_retirement(&self, id: &str) -> Result<Retirement, KeyAdminError> {
        let now = self.now();
        let listed = self.keys.list(now)?;
        let sessions = self.store.read(|db| sessions::count_live_by_key(db, now))?;
        let sessions = sessions.into_iter().find(|(key, _)| key == id).map_or(0, |(_, count)| count);
        let Some(key) = listed.iter().find(|key| key.id == id) else {
            if sessions > 0 {
                // An earlier command was interrupted after the file and before the rows: this one completes it.
                return Ok(Retirement { pepper: false, sessions, wait: Duration::ZERO });
            }
            return Err(KeysError::UnknownKey(id.to_owned()).into());
        };
        if key.is_pepper() {
            self.keys.require_file_peppers()?;
            self.refuse_needed_pepper(key)?;
            return Ok(Retirement { pepper: true, sessions: 0, wait: Duration::ZERO });
        }
        self.keys.require_file_signing_keys()?;
        let file = KeysFile::read(&self.keys.file)?;
        // The delay of the nodes only: an emergency does not wait for caches of the JWKS.
        let known_at = |entry: &KeyEntry| entry.created_at.map_or(now, |at| at.plus(self.keys.propagation_delay));
        let others = file.signing_entries().into_iter().filter(|entry| entry.id != id);
        let Some(known_at) = others.map(known_at).min() else {
            return Err(KeysError::OnlySigningKey(id.to_owned()).into());
        };
        Ok(Retirement { pepper: false, sessions, wait: known_at.since(now) })
    }

    /// Removes a key: a node rejects its tokens as soon as it has read the file. Returns how many sessions ended.
    pub fn retire_key(&self, id: &str) -> Result<i64, KeyAdminError> {
        let plan = self.plan_retirement(id)?;
        keys_file::change(&self.keys.file, |file| {
            // Checked again under the lock: another command may have changed the file since the plan.
            let is_last = !file.entries.iter().any(|entry| entry.is_signing() && entry.id != id);
            if !plan.pepper && is_last {
                return Err(KeysError::OnlySigningKey(id.to_owned()));
            }
            let has_digest = file.entries.iter().any(|entry| entry.kind == KeyKind::Digest);
            for entry in file.entries.iter_mut().filter(|entry| entry.id == id && entry.is_pepper()) {
                entry.kind = KeyKind::Digest;
            }
            // Only the first pepper is kept as the digest key: with another one the throttle's counters would start anew.
            file.entries.retain(|entry| entry.id != id || (entry.kind == KeyKind::Digest && !has_digest));
            Ok(())
        })?;
        let ended = if plan.pepper { 0 } else { self.end_sessions_under(id)? };
        self.audit_key_change(&format!("retired {id} sessions={ended}"))?;
        Ok(ended)
    }

    fn refuse_needed_pepper(&self, key: &ListedKey) -> Result<(), KeyAdminError> {
        let id = &key.id;
        if key.state != KeyState::Trusted {
            return Err(KeysError::ActivePepper(id.clone()).into());
        }
        let stored = password::stored_prefix(id);
        match self.store.read(|db| accounts::count_secrets_with_prefix(db, &stored))? {
            0 => Ok(()),
            accounts => Err(KeysError::PepperInUse { id: id.clone(), accounts }.into()),
        }
    }

    fn end_sessions_under(&self, id: &str) -> Result<i64, KeyAdminError> {
        let (now, reason) = (self.now(), EndReason::KeyRetired);
        let (mut batch, mut count, mut after) = (AdaptiveBatch::default(), 0, None);
        loop {
            let found = self.store.read(|db| sessions::list_signed_by_key(db, id, now, after, batch.rows()))?;
            let Some(last) = found.last().copied() else {
                // Again from the beginning: a node that had not read the file yet may have signed behind the cursor.
                if after.take().is_none() {
                    return Ok(count);
                }
                continue;
            };
            after = Some(last);
            let began = Instant::now();
            let revoked = self.store.write(|db| {
                let ended = sessions::end_signed_by_key(db, id, &found, now, reason)?;
                revoke_ended(db, &ended, now)
            })?;
            revoked.iter().for_each(|row| self.revocation_cache.apply(row));
            count += i64::try_from(revoked.len()).unwrap_or(0);
            batch.record(began.elapsed());
            // The other half of the time belongs to requests.
            std::thread::sleep(began.elapsed());
        }
    }

    fn audit_key_change(&self, detail: &str) -> Result<(), KeyAdminError> {
        let event = AuditEvent::new(EventKind::KeysChange, &Client::operator()).detail(detail);
        self.store.write(|db| event.write(db, self.now()))?;
        self.log_event(&event);
        Ok(())
    }
}
