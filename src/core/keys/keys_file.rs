//! Keys file: one entry a line, `KIND ID KEY CREATED`, the newest first. How it is parsed, created, and replaced atomically by
//! one command at a time while services read it; and which entry is active. Which entry to add or remove is decided in
//! rotation.rs.
//!
//! KIND is `hs256`, `eddsa` or `es256` for a signing key (the last two hold PKCS#8), `pepper`, or `digest`: the first
//! pepper, once no password needs it: its key still derives the names of the throttle's rows.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use zeroize::Zeroizing;

use super::error::KeysError;
use super::signing_key::{KeyRing, PUBLIC_KEYS_MAX_AGE, SigningKey, short_id};
use crate::clock::Timestamp;
use crate::core::credential::password::{Pepper, Peppers};
use crate::secret::{MacKey, base64url, from_base64url, random_bytes};
use crate::settings::TokenAlgorithm;

const HEADER: &str = "# doorward keys. Whoever can read this file can sign in as any account. If it is lost, every password becomes invalid.";

/// How often a command opens the file again because another command has replaced it.
const LOCK_ATTEMPTS: usize = 100;

/// What the key of an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core::keys) enum KeyKind {
    Signing(TokenAlgorithm),
    Pepper,
    Digest,
}

impl KeyKind {
    pub(in crate::core::keys) const fn as_str(self) -> &'static str {
        match self {
            Self::Signing(algorithm) => algorithm.as_str(),
            Self::Pepper => "pepper",
            Self::Digest => "digest",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let signing = TokenAlgorithm::ALL.into_iter().map(Self::Signing);
        signing.chain([Self::Pepper, Self::Digest]).find(|kind| kind.as_str() == word)
    }
}

/// One line of the file: a signing key or a pepper.
pub(in crate::core::keys) struct KeyEntry {
    pub kind: KeyKind,
    pub id: String,
    pub key: Zeroizing<Vec<u8>>,
    pub created_at: Option<Timestamp>,
}

impl KeyEntry {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (kind, id) = (KeyKind::parse(words.next()?)?, words.next()?.to_owned());
        let key = Zeroizing::new(from_base64url(words.next()?).filter(|key| key.len() >= 32)?);
        let created_at = match words.next() {
            Some(at) => Some(Timestamp::parse_rfc3339(at)?),
            None => None,
        };
        words.next().is_none().then_some(Self { kind, id, key, created_at })
    }

    /// A new signing key.
    pub(in crate::core::keys) fn generate_signing(
        algorithm: TokenAlgorithm,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let key = match algorithm {
            TokenAlgorithm::Hs256 => random_bytes::<48>()?.to_vec(),
            TokenAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate()?;
                pair.to_pkcs8v1()?.as_ref().to_vec()
            }
            TokenAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                pair.to_pkcs8v1()?.as_ref().to_vec()
            }
        };
        let (kind, id) = (KeyKind::Signing(algorithm), format!("k-{}", short_id(&key)));
        Ok(Self { kind, id, key: Zeroizing::new(key), created_at: Some(now) })
    }

    /// A new pepper.
    pub(in crate::core::keys) fn generate_pepper(now: Timestamp) -> Result<Self, KeysError> {
        let key = Zeroizing::new(random_bytes::<32>()?.to_vec());
        Ok(Self { kind: KeyKind::Pepper, id: format!("p-{}", short_id(&key)), key, created_at: Some(now) })
    }

    /// From when it may be active: by then every node has read it (`propagation_delay`), and every service that caches the JWKS
    /// has its public key. An entry without a time counts as old.
    pub(in crate::core::keys) fn active_from(&self, propagation_delay: Duration) -> Timestamp {
        let has_public_key = matches!(self.kind, KeyKind::Signing(algorithm) if algorithm.has_public_key());
        // The delays add up: a node that had not read the key yet may have served a JWKS without it, which is then cached.
        let delay = if has_public_key { propagation_delay + PUBLIC_KEYS_MAX_AGE } else { propagation_delay };
        self.created_at.map_or(Timestamp::from_millis(0), |created_at| created_at.plus(delay))
    }

    pub(in crate::core::keys) fn is_signing(&self) -> bool {
        matches!(self.kind, KeyKind::Signing(_))
    }

    pub(in crate::core::keys) fn is_pepper(&self) -> bool {
        self.kind == KeyKind::Pepper
    }

    fn as_pepper(&self) -> Pepper {
        Pepper { id: self.id.clone(), key: MacKey::new(&self.key) }
    }
}

/// The active one of entries of one kind, the newest first: the newest that is known everywhere, or else the oldest.
pub(in crate::core::keys) fn active_key<'a>(
    entries: &[&'a KeyEntry],
    now: Timestamp,
    propagation_delay: Duration,
) -> Option<&'a KeyEntry> {
    entries.iter().find(|entry| entry.active_from(propagation_delay) <= now).or(entries.last()).copied()
}

/// The whole file.
pub(in crate::core::keys) struct KeysFile {
    path: PathBuf,
    comments: Vec<String>,
    pub entries: Vec<KeyEntry>,
}

impl KeysFile {
    pub(in crate::core::keys) fn read(path: &Path) -> Result<Self, KeysError> {
        let text = Zeroizing::new(read_private(path)?);
        let (comments, lines): (Vec<&str>, Vec<&str>) =
            text.lines().filter(|line| !line.trim().is_empty()).partition(|line| line.starts_with('#'));
        let kind = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let parsed = lines.iter().map(|line| KeyEntry::parse(line).ok_or_else(|| unusable(path, &kind(line))));
        let entries: Vec<KeyEntry> = parsed.collect::<Result<_, _>>()?;
        let mut ids = HashSet::new();
        if let Some(duplicate) = entries.iter().find(|entry| !ids.insert(&entry.id)) {
            return Err(KeysError::DuplicateId { path: path.to_owned(), id: duplicate.id.clone() });
        }
        Ok(Self { path: path.to_owned(), comments: comments.iter().map(|&line| line.to_owned()).collect(), entries })
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for comment in &self.comments {
            let _ = writeln!(text, "{comment}");
        }
        for entry in &self.entries {
            let created_at = entry.created_at.map(|at| format!(" {}", at.rfc3339())).unwrap_or_default();
            let _ = writeln!(text, "{} {} {}{created_at}", entry.kind.as_str(), entry.id, base64url(&entry.key));
        }
        text
    }

    pub(in crate::core::keys) fn signing_entries(&self) -> Vec<&KeyEntry> {
        self.entries.iter().filter(|entry| entry.is_signing()).collect()
    }

    pub(in crate::core::keys) fn pepper_entries(&self) -> Vec<&KeyEntry> {
        self.entries.iter().filter(|entry| entry.is_pepper()).collect()
    }

    /// The signing keys, and whether a newer one is not active yet.
    pub(in crate::core::keys) fn ring(
        &self,
        now: Timestamp,
        propagation_delay: Duration,
    ) -> Result<(KeyRing, bool), KeysError> {
        let entries = self.signing_entries();
        let chosen = active_key(&entries, now, propagation_delay)
            .ok_or_else(|| unusable(&self.path, "hs256, eddsa or es256"))?;
        let mut keys = Vec::new();
        for entry in &entries {
            let KeyKind::Signing(algorithm) = entry.kind else { continue };
            let key = SigningKey::of(algorithm, &entry.id, &entry.key);
            let key = key.map_err(|cause| KeysError::UnusableEntry {
                path: self.path.clone(),
                kind: algorithm.as_str().to_owned(),
                source: Some(Box::new(cause)),
            });
            keys.push(Arc::new(key?));
        }
        let active = keys.iter().find(|key| key.id == chosen.id).map(Arc::clone);
        let active = active.ok_or_else(|| unusable(&self.path, chosen.kind.as_str()))?;
        let pending = entries.first().is_some_and(|newest| newest.id != chosen.id);
        Ok((KeyRing::of(active, keys), pending))
    }

    /// The peppers, and whether a newer one is not active yet.
    pub(in crate::core::keys) fn peppers(
        &self,
        now: Timestamp,
        propagation_delay: Duration,
    ) -> Result<(Peppers, bool), KeysError> {
        let entries = self.pepper_entries();
        let missing = || unusable(&self.path, "pepper");
        let chosen = active_key(&entries, now, propagation_delay).ok_or_else(missing)?;
        let first = self.entries.iter().rfind(|entry| entry.kind == KeyKind::Digest);
        let first = first.or(entries.last().copied()).ok_or_else(missing)?;
        let others = entries.iter().filter(|entry| entry.id != chosen.id).map(|entry| entry.as_pepper());
        let pending = entries.first().is_some_and(|newest| newest.id != chosen.id);
        let peppers =
            Peppers { active: chosen.as_pepper(), others: others.collect(), digest_key: MacKey::new(&first.key) };
        Ok((peppers, pending))
    }
}

/// Changes the file under an exclusive lock: a concurrent command waits, and reads the result of the first. The new contents
/// are written beside the file and renamed over it, so that a service always reads a complete file.
pub(in crate::core::keys) fn change<T>(
    path: &Path,
    edit: impl FnOnce(&mut KeysFile) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    let (path, _locked) = lock(path).map_err(|cause| unusable_file(path, cause))?;
    let mut file = KeysFile::read(&path)?;
    let outcome = edit(&mut file)?;
    let temporary = path.with_extension("keys.new");
    // Left by a command that was killed; no other command can be using it, since the lock is held.
    let _ = fs::remove_file(&temporary);
    let replaced =
        write_private(&temporary, &file.text()).and_then(|()| keep_owner(&path, &temporary)).and_then(|()| {
            fs::rename(&temporary, &path)?;
            sync_folder(&path)
        });
    replaced.map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        unusable_file(&path, cause)
    })?;
    Ok(outcome)
}

/// Locks the file until the handle is dropped. The returned path has symbolic links resolved, so that a change replaces the
/// file and not the link.
fn lock(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let path = fs::canonicalize(path)?;
    for _ in 0..LOCK_ATTEMPTS {
        let file = fs::File::open(&path)?;
        file.lock()?;
        // The previous holder of the lock may have renamed another file over this one: then this lock protects nothing.
        if fs::metadata(&path)?.ino() == file.metadata()?.ino() {
            return Ok((path, file));
        }
    }
    Err(io::Error::other("other commands keep replacing it"))
}

/// Creates the file with a new pepper and signing key. Returns `false` if another node that starts at the same time was first.
pub(in crate::core::keys) fn create(path: &Path, algorithm: TokenAlgorithm, now: Timestamp) -> Result<bool, KeysError> {
    let entries = vec![KeyEntry::generate_pepper(now)?, KeyEntry::generate_signing(algorithm, now)?];
    let file = KeysFile { path: path.to_owned(), comments: vec![HEADER.to_owned()], entries };
    // A random name: a file that a killed start left must not block the next one, which in a container has the same process id.
    let temporary = path.with_extension(format!("keys.{}", base64url(&random_bytes::<9>()?)));
    write_private(&temporary, &file.text()).map_err(|cause| unusable_file(path, cause))?;
    // A link fails if the name exists, where a rename would overwrite the keys of the other node.
    let linked = fs::hard_link(&temporary, path).and_then(|()| sync_folder(path));
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(unusable_file(path, cause)),
    }
}

fn unusable(path: &Path, kind: &str) -> KeysError {
    KeysError::UnusableEntry { path: path.to_owned(), kind: kind.to_owned(), source: None }
}

fn unusable_file(path: &Path, source: io::Error) -> KeysError {
    KeysError::File { path: path.to_owned(), source }
}

fn read_private(path: &Path) -> Result<String, KeysError> {
    let mode = fs::metadata(path).map_err(|cause| unusable_file(path, cause))?.mode();
    if mode & 0o007 != 0 {
        return Err(KeysError::WorldReadable(path.to_owned()));
    }
    fs::read_to_string(path).map_err(|cause| unusable_file(path, cause))
}

/// Writes a new file, and fails if the name exists: another user may have placed a link there.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Copies owner and mode. An operator may be another user than the service, which must still be able to read the file.
fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    let metadata = fs::metadata(old)?;
    if fs::metadata(new)?.uid() != metadata.uid() {
        std::os::unix::fs::chown(new, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::set_permissions(new, metadata.permissions())
}

/// Flushes the folder: only then does the new name survive a power failure.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
