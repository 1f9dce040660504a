//! What an operator does to keys and peppers: list, rotate, retire. Running services follow the file, so nothing restarts.
//!
//! A retired key takes every token under it along, refresh tokens included. A session whose refresh token is under it could
//! not go on anyway, so it ends here and now, and its access tokens under a newer key with it.

use std::collections::HashMap;
use std::time::Duration;

use super::key_source::{KeySource, configured_key, configured_pepper};
use super::keys_file::{self, KeysFile, Kind, Line, working};
use super::signing_key::KeysError;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{Event, Kind as AuditKind};
use crate::core::caller::Client;
use crate::core::credential::password;
use crate::core::error::{Error, InternalError};
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::settings::TokenAlgorithm;
use crate::store::tables::{accounts, sessions};

/// Sessions ended in one transaction: few enough that no sign-in waits long behind it.
const BATCH: i64 = 500;

/// Why keys could not be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyAdminError {
    /// The file, or what was asked of it.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The rows.
    #[error(transparent)]
    Core(#[from] Error),
}

impl From<crate::store::Error> for KeyAdminError {
    fn from(error: crate::store::Error) -> Self {
        Self::Core(InternalError::from(error).into())
    }
}

/// What a key does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It signs new tokens, or hashes new secrets.
    Works,
    /// It will, from then on.
    Waits(Timestamp),
    /// What it did before is believed.
    Believed,
}

/// A key or a pepper, without itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The `kid`, or what stands in the hashes.
    pub id: String,
    /// `hs256`, `eddsa`, `es256` or `pepper`.
    pub kind: &'static str,
    /// When it was made, if the file says so.
    pub made: Option<Timestamp>,
    /// What it does now.
    pub state: KeyState,
    /// How many live sessions have their refresh token under it; of a pepper, how many accounts a secret.
    pub needed_by: i64,
}

impl ListedKey {
    fn configured(id: String, kind: Kind) -> Self {
        Self { id, kind: kind.as_str(), made: None, state: KeyState::Works, needed_by: 0 }
    }

    fn is_pepper(&self) -> bool {
        self.kind == Kind::Pepper.as_str()
    }
}

/// A rotation that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    /// The new key.
    pub id: String,
    /// What it signs access tokens with, or `pepper`.
    pub kind: &'static str,
    /// When it begins to work.
    pub works_from: Timestamp,
    /// Keys that no living token is under; they are gone from the file.
    pub pruned: Vec<String>,
}

/// What a retirement comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    /// Whether it is a pepper.
    pub pepper: bool,
    /// How many live sessions end.
    pub sessions: i64,
    /// How long to wait until every node has read the key that takes its place.
    pub wait: Duration,
}

impl KeySource {
    fn listed(&self, now: Timestamp) -> Result<Vec<ListedKey>, KeysError> {
        let mut listed = Vec::new();
        let file = if self.uses_file() { Some(KeysFile::read(&self.file)?) } else { None };
        let of_file = |lines: Vec<&Line>| {
            let works = working(&lines, now, self.settle).map(|line| line.id.clone());
            let state = |line: &Line| match line.known_from(self.settle) {
                _ if works.as_ref() == Some(&line.id) => KeyState::Works,
                from if from > now => KeyState::Waits(from),
                _ => KeyState::Believed,
            };
            let entry = |line: &Line| {
                let (id, kind) = (line.id.clone(), line.kind.as_str());
                ListedKey { id, kind, made: line.made, state: state(line), needed_by: 0 }
            };
            lines.iter().map(|line| entry(line)).collect::<Vec<_>>()
        };
        match (&self.jwt_secret, &file) {
            (Some(secret), _) => {
                listed.push(ListedKey::configured(configured_key(secret).id, Kind::Signing(TokenAlgorithm::Hs256)));
            }
            (None, Some(file)) => listed.extend(of_file(file.signing())),
            (None, None) => {}
        }
        match (&self.pepper, &file) {
            (Some(secret), _) => listed.push(ListedKey::configured(configured_pepper(secret).id, Kind::Pepper)),
            (None, Some(file)) => listed.extend(of_file(file.pepper_lines())),
            (None, None) => {}
        }
        Ok(listed)
    }

    fn require_file_signing_keys(&self) -> Result<(), KeysError> {
        let says = "the signing key comes from JWT_SECRET; change that, or leave it out to use the keys file";
        if self.jwt_secret.is_some() { Err(KeysError(says.to_owned())) } else { Ok(()) }
    }

    fn require_file_peppers(&self) -> Result<(), KeysError> {
        let says = "the pepper comes from PEPPER; only one in the keys file can be rotated";
        if self.pepper.is_some() { Err(KeysError(says.to_owned())) } else { Ok(()) }
    }

    /// The ids of keys so old that nothing under them can be alive: the successor signs for longer than any token lives,
    /// a day more in case a clock was wrong, and no session names it.
    fn prunable(&self, file: &KeysFile, in_use: &HashMap<String, i64>, now: Timestamp) -> Vec<String> {
        let lines = file.signing();
        let over = |line: &Line| {
            let replaced = line.known_from(self.settle);
            line.made.is_some()
                && replaced.plus(self.settle + self.longest_life + crate::core::revocation::write::SLACK) < now
        };
        let pairs = lines.iter().zip(lines.iter().skip(1));
        let old = pairs.filter(|(newer, older)| over(newer) && !in_use.contains_key(&older.id));
        old.map(|(_, older)| older.id.clone()).collect()
    }
}

impl Core {
    /// Every key and pepper, the newest of each first.
    pub fn list_keys(&self) -> Result<Vec<ListedKey>, KeyAdminError> {
        let now = self.now();
        let mut listed = self.keys.listed(now)?;
        let in_use: HashMap<String, i64> =
            self.store.read(|db| sessions::count_live_by_key(db, now))?.into_iter().collect();
        for key in &mut listed {
            key.needed_by = if key.is_pepper() {
                let stored = password::stored_prefix(&key.id);
                self.store.read(|db| accounts::count_secrets_with_prefix(db, &stored))?
            } else {
                in_use.get(&key.id).copied().unwrap_or(0)
            };
        }
        Ok(listed)
    }

    /// Puts a new signing key in front of the file's; tokens of the old ones live on. Without an algorithm it is the
    /// setting's, or that of the newest key.
    pub fn rotate_signing_key(&self, algorithm: Option<TokenAlgorithm>) -> Result<KeyRotation, KeyAdminError> {
        self.keys.require_file_signing_keys()?;
        let now = self.now();
        let in_use: HashMap<String, i64> =
            self.store.read(|db| sessions::count_live_by_key(db, now))?.into_iter().collect();
        let rotated = keys_file::change(&self.keys.file, |file| {
            let newest = file.lines.iter().find_map(|line| match line.kind {
                Kind::Signing(algorithm) => Some(algorithm),
                Kind::Pepper | Kind::Digest => None,
            });
            let algorithm = algorithm.or(self.keys.algorithm).or(newest).unwrap_or(TokenAlgorithm::Hs256);
            let line = Line::signing(algorithm, now)?;
            let rotated = self.prepend(file, line);
            let pruned = self.keys.prunable(file, &in_use, now);
            file.lines.retain(|line| !pruned.contains(&line.id));
            Ok(KeyRotation { pruned, ..rotated })
        })?;
        self.audit_key_change(&format!("rotated {} {}", rotated.id, rotated.kind))?;
        Ok(rotated)
    }

    /// Puts a new pepper in front of the file's. Hashes under the old one are still checked, and made anew at sign-in.
    pub fn rotate_pepper(&self) -> Result<KeyRotation, KeyAdminError> {
        self.keys.require_file_peppers()?;
        let now = self.now();
        let rotated = keys_file::change(&self.keys.file, |file| Ok(self.prepend(file, Line::pepper(now)?)))?;
        self.audit_key_change(&format!("rotated {} {}", rotated.id, rotated.kind))?;
        Ok(rotated)
    }

    fn prepend(&self, file: &mut KeysFile, line: Line) -> KeyRotation {
        let works_from = line.known_from(self.keys.settle);
        let rotated = KeyRotation { id: line.id.clone(), kind: line.kind.as_str(), works_from, pruned: Vec::new() };
        file.lines.insert(0, line);
        rotated
    }

    /// What it would come to, or why it cannot be.
    pub fn consider_retirement(&self, id: &str) -> Result<Retirement, KeyAdminError> {
        let now = self.now();
        let listed = self.keys.listed(now)?;
        let sessions = self.store.read(|db| sessions::count_live_by_key(db, now))?;
        let sessions = sessions.into_iter().find(|(key, _)| key == id).map_or(0, |(_, count)| count);
        let Some(key) = listed.iter().find(|key| key.id == id) else {
            if sessions > 0 {
                // An earlier command was cut off between the file and the rows.
                return Ok(Retirement { pepper: false, sessions, wait: Duration::ZERO });
            }
            return Err(KeysError(format!("there is no key {id}; `doorward keys list` shows them")).into());
        };
        if key.is_pepper() {
            self.keys.require_file_peppers()?;
            self.refuse_needed_pepper(key)?;
            return Ok(Retirement { pepper: true, sessions: 0, wait: Duration::ZERO });
        }
        self.keys.require_file_signing_keys()?;
        let file = KeysFile::read(&self.keys.file)?;
        let left: Vec<&Line> = file.signing().into_iter().filter(|line| line.id != id).collect();
        // The nodes only: an emergency does not wait for those who keep the JWKS.
        let known = left.iter().map(|line| line.made.map_or(now, |made| made.plus(self.keys.settle))).min();
        let Some(known) = known else { return Err(only_key(id).into()) };
        Ok(Retirement { pepper: false, sessions, wait: known.since(now) })
    }

    /// Takes a key away: its tokens are dead on every node as soon as that has read the file. How many sessions ended.
    pub fn retire_key(&self, id: &str) -> Result<i64, KeyAdminError> {
        let considered = self.consider_retirement(id)?;
        keys_file::change(&self.keys.file, |file| {
            let last = !file.lines.iter().any(|line| line.is_signing() && line.id != id);
            if !considered.pepper && last {
                return Err(only_key(id));
            }
            let digest = file.lines.iter().any(|line| line.kind == Kind::Digest);
            for line in file.lines.iter_mut().filter(|line| line.id == id && line.is_pepper()) {
                line.kind = Kind::Digest;
            }
            // The first pepper's key stays, and no other's: failures would be counted anew under each.
            file.lines.retain(|line| line.id != id || (line.kind == Kind::Digest && !digest));
            Ok(())
        })?;
        let ended = if considered.pepper { 0 } else { self.end_sessions_under(id)? };
        self.audit_key_change(&format!("retired {id} sessions={ended}"))?;
        Ok(ended)
    }

    fn refuse_needed_pepper(&self, key: &ListedKey) -> Result<(), KeyAdminError> {
        let id = &key.id;
        if key.state != KeyState::Believed {
            let says = format!("{id} is the pepper of new hashes; make another one first: doorward keys rotate-pepper");
            return Err(KeysError(says).into());
        }
        let stored = password::stored_prefix(id);
        match self.store.read(|db| accounts::count_secrets_with_prefix(db, &stored))? {
            0 => Ok(()),
            needed => Err(KeysError(format!(
                "{needed} accounts have a secret under {id}, which nobody could use any more; each moves to the new pepper \
                 at its next sign-in, or give it a new secret: doorward account set-password"
            ))
            .into()),
        }
    }

    fn end_sessions_under(&self, id: &str) -> Result<i64, KeyAdminError> {
        let (now, why) = (self.now(), EndReason::KeyRetired.as_str());
        let mut count = 0;
        loop {
            let revoked = self.store.write(|db| {
                let ended = sessions::end_signed_by_key(db, id, now, why, BATCH)?;
                revoke_ended(db, &ended, now)
            })?;
            revoked.iter().for_each(|row| self.view.apply(row));
            match i64::try_from(revoked.len()) {
                Ok(0) | Err(_) => return Ok(count),
                Ok(batch) => count += batch,
            }
        }
    }

    fn audit_key_change(&self, detail: &str) -> Result<(), KeyAdminError> {
        let event = Event::new(AuditKind::KeysChange, &Client::operator()).detail(detail);
        self.store.write(|db| event.write(db, self.now()))?;
        self.tell(&event);
        Ok(())
    }
}

fn only_key(id: &str) -> KeysError {
    KeysError(format!("{id} is the only signing key; make another one first: doorward keys rotate"))
}
