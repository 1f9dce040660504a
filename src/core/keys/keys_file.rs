//! The keys file: lines of words, `KIND ID KEY CREATED`, the newest first. How it is read, made, and changed by one command
//! at a time while services read it. Which line to add or take away is decided in rotation.rs.
//!
//! KIND is `hs256`, `eddsa` or `es256` for a signing key (the last two hold PKCS#8), `pepper`, or `digest`: the first
//! pepper, once no password needs it; its key goes on naming the rows of the throttle.

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

use super::signing_key::{KeyRing, KeysError, PUBLIC_KEYS_MAX_AGE, SigningKey, short_id};
use crate::clock::Timestamp;
use crate::core::credential::password::{Pepper, Peppers};
use crate::secret::{MacKey, base64url, from_base64url, random_bytes};
use crate::settings::TokenAlgorithm;

const HEADER: &str =
    "# doorward's keys. Whoever reads this file can sign in as anybody; whoever loses it loses every password.";

/// How often a command looks for the file anew when another one has replaced it.
const LOCK_TRIES: usize = 100;

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core::keys) enum Kind {
    Signing(TokenAlgorithm),
    Pepper,
    Digest,
}

impl Kind {
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

/// One key.
pub(in crate::core::keys) struct Line {
    pub kind: Kind,
    pub id: String,
    pub key: Zeroizing<Vec<u8>>,
    pub made: Option<Timestamp>,
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (kind, id) = (Kind::parse(words.next()?)?, words.next()?.to_owned());
        let key = Zeroizing::new(from_base64url(words.next()?).filter(|key| key.len() >= 32)?);
        let made = match words.next() {
            Some(at) => Some(Timestamp::parse_rfc3339(at)?),
            None => None,
        };
        words.next().is_none().then_some(Self { kind, id, key, made })
    }

    /// A new signing key.
    pub(in crate::core::keys) fn signing(algorithm: TokenAlgorithm, now: Timestamp) -> Result<Self, KeysError> {
        let broken = |_unspecified| KeysError("the system makes no key pair".to_owned());
        let key = match algorithm {
            TokenAlgorithm::Hs256 => random_bytes::<48>()?.to_vec(),
            TokenAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(broken)?;
                pair.as_ref().to_vec()
            }
            TokenAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                pair.and_then(|pair| pair.to_pkcs8v1()).map_err(broken)?.as_ref().to_vec()
            }
        };
        let (kind, id) = (Kind::Signing(algorithm), format!("k-{}", short_id(&key)));
        Ok(Self { kind, id, key: Zeroizing::new(key), made: Some(now) })
    }

    /// A new pepper.
    pub(in crate::core::keys) fn pepper(now: Timestamp) -> Result<Self, KeysError> {
        let key = Zeroizing::new(random_bytes::<32>()?.to_vec());
        Ok(Self { kind: Kind::Pepper, id: format!("p-{}", short_id(&key)), key, made: Some(now) })
    }

    /// When everybody who may meet its work has read it: the nodes within `settle`, and of a public key also those who
    /// keep the JWKS. A line without a time is as old as the file.
    pub(in crate::core::keys) fn known_from(&self, settle: Duration) -> Timestamp {
        let public = matches!(self.kind, Kind::Signing(algorithm) if algorithm.has_public_key());
        // A node that had not read it yet may have answered without it until then, and that answer is kept.
        let wait = if public { settle + PUBLIC_KEYS_MAX_AGE } else { settle };
        self.made.map_or(Timestamp::from_millis(0), |made| made.plus(wait))
    }

    pub(in crate::core::keys) fn is_signing(&self) -> bool {
        matches!(self.kind, Kind::Signing(_))
    }

    pub(in crate::core::keys) fn is_pepper(&self) -> bool {
        self.kind == Kind::Pepper
    }

    fn as_pepper(&self) -> Pepper {
        Pepper { id: self.id.clone(), key: MacKey::new(&self.key) }
    }
}

/// Of lines of one kind, the newest first, the one that does the work: the newest that is known everywhere, or the oldest.
pub(in crate::core::keys) fn working<'a>(lines: &[&'a Line], now: Timestamp, settle: Duration) -> Option<&'a Line> {
    lines.iter().find(|line| line.known_from(settle) <= now).or(lines.last()).copied()
}

/// The whole file.
pub(in crate::core::keys) struct KeysFile {
    path: PathBuf,
    comments: Vec<String>,
    pub lines: Vec<Line>,
}

impl KeysFile {
    pub(in crate::core::keys) fn read(path: &Path) -> Result<Self, KeysError> {
        let text = Zeroizing::new(read_private(path)?);
        let (comments, lines): (Vec<&str>, Vec<&str>) =
            text.lines().filter(|line| !line.trim().is_empty()).partition(|line| line.starts_with('#'));
        let kind = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let parsed = lines.iter().map(|line| Line::parse(line).ok_or_else(|| unreadable(path, &kind(line))));
        let lines: Vec<Line> = parsed.collect::<Result<_, _>>()?;
        let mut ids = HashSet::new();
        if let Some(twice) = lines.iter().find(|line| !ids.insert(&line.id)) {
            let (path, id) = (path.display(), &twice.id);
            return Err(KeysError(format!("KEYS_FILE: {path} has two lines for {id}; give each key an id of its own")));
        }
        Ok(Self { path: path.to_owned(), comments: comments.iter().map(|&line| line.to_owned()).collect(), lines })
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for comment in &self.comments {
            let _ = writeln!(text, "{comment}");
        }
        for line in &self.lines {
            let made = line.made.map(|at| format!(" {}", at.rfc3339())).unwrap_or_default();
            let _ = writeln!(text, "{} {} {}{made}", line.kind.as_str(), line.id, base64url(&line.key));
        }
        text
    }

    pub(in crate::core::keys) fn signing(&self) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.is_signing()).collect()
    }

    pub(in crate::core::keys) fn pepper_lines(&self) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.is_pepper()).collect()
    }

    /// The ring, and whether a newer key waits for its time.
    pub(in crate::core::keys) fn ring(&self, now: Timestamp, settle: Duration) -> Result<(KeyRing, bool), KeysError> {
        let lines = self.signing();
        let signs = working(&lines, now, settle).ok_or_else(|| unreadable(&self.path, "hs256, eddsa or es256"))?;
        let mut keys = Vec::new();
        for line in &lines {
            let Kind::Signing(algorithm) = line.kind else { continue };
            let key = SigningKey::of(algorithm, &line.id, &line.key);
            keys.push(Arc::new(key.map_err(|_no_such_key| unreadable(&self.path, algorithm.as_str()))?));
        }
        let active = keys.iter().find(|key| key.id == signs.id).map(Arc::clone);
        let active = active.ok_or_else(|| unreadable(&self.path, signs.kind.as_str()))?;
        let waits = lines.first().is_some_and(|newest| newest.id != signs.id);
        Ok((KeyRing::of(active, keys), waits))
    }

    /// The peppers, and whether a newer one waits for its time.
    pub(in crate::core::keys) fn peppers(
        &self,
        now: Timestamp,
        settle: Duration,
    ) -> Result<(Peppers, bool), KeysError> {
        let lines = self.pepper_lines();
        let none = || unreadable(&self.path, "pepper");
        let works = working(&lines, now, settle).ok_or_else(none)?;
        let first = self.lines.iter().rfind(|line| line.kind == Kind::Digest);
        let first = first.or(lines.last().copied()).ok_or_else(none)?;
        let others = lines.iter().filter(|line| line.id != works.id).map(|line| line.as_pepper());
        let waits = lines.first().is_some_and(|newest| newest.id != works.id);
        let peppers =
            Peppers { active: works.as_pepper(), others: others.collect(), digest_key: MacKey::new(&first.key) };
        Ok((peppers, waits))
    }
}

/// Changes the file, one command at a time: who comes second waits, and sees what the first has done.
pub(in crate::core::keys) fn change<T>(
    path: &Path,
    edit: impl FnOnce(&mut KeysFile) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    let (path, _locked) = lock(path).map_err(|why| about(path, &why))?;
    let mut file = KeysFile::read(&path)?;
    let outcome = edit(&mut file)?;
    let beside = path.with_extension("keys.new");
    // A command that was killed leaves it; nobody else is at it while the lock is held.
    let _ = fs::remove_file(&beside);
    let replaced = write_private(&beside, &file.text()).and_then(|()| keep_owner(&path, &beside)).and_then(|()| {
        fs::rename(&beside, &path)?;
        sync_folder(&path)
    });
    replaced.map_err(|why| {
        let _ = fs::remove_file(&beside);
        about(&path, &why)
    })?;
    Ok(outcome)
}

/// The file itself, locked until it is dropped, and its path with links followed, so that a link stays one.
fn lock(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let path = fs::canonicalize(path)?;
    for _ in 0..LOCK_TRIES {
        let file = fs::File::open(&path)?;
        file.lock()?;
        // Whoever held the lock has put another file in this one's place.
        if fs::metadata(&path)?.ino() == file.metadata()?.ino() {
            return Ok((path, file));
        }
    }
    Err(io::Error::other("other commands change it all the time"))
}

/// Whether this call made it; another node that starts beside this one may be first.
pub(in crate::core::keys) fn create(path: &Path, algorithm: TokenAlgorithm, now: Timestamp) -> Result<bool, KeysError> {
    let lines = vec![Line::pepper(now)?, Line::signing(algorithm, now)?];
    let file = KeysFile { path: path.to_owned(), comments: vec![HEADER.to_owned()], lines };
    // A name by chance: what a killed start left behind must not stop the next one, which in a container has its number.
    let beside = path.with_extension(format!("keys.{}", base64url(&random_bytes::<9>()?)));
    write_private(&beside, &file.text()).map_err(|why| about(path, &why))?;
    // A link fails when the name is taken, where a rename would overwrite the other node's keys.
    let linked = fs::hard_link(&beside, path).and_then(|()| sync_folder(path));
    let _ = fs::remove_file(&beside);
    match linked {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(about(path, &why)),
    }
}

fn unreadable(path: &Path, kind: &str) -> KeysError {
    KeysError(format!(
        "KEYS_FILE: {} has no usable {kind} line; restore it from a backup (a new one would make every password useless)",
        path.display()
    ))
}

fn about(path: &Path, why: &io::Error) -> KeysError {
    KeysError(format!(
        "KEYS_FILE: {} cannot be used: {why}; set KEYS_FILE to a file this user may read and write",
        path.display()
    ))
}

fn read_private(path: &Path) -> Result<String, KeysError> {
    let mode = fs::metadata(path).map_err(|why| about(path, &why))?.mode();
    if mode & 0o007 != 0 {
        let path = path.display();
        return Err(KeysError(format!("KEYS_FILE: everybody on this machine can read {path}; run: chmod 600 {path}")));
    }
    fs::read_to_string(path).map_err(|why| about(path, &why))
}

/// A new file, never one that somebody else laid there.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// An operator may be another user than the service: what was the service's must stay readable to it.
fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    let metadata = fs::metadata(old)?;
    if fs::metadata(new)?.uid() != metadata.uid() {
        std::os::unix::fs::chown(new, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::set_permissions(new, metadata.permissions())
}

/// A name survives a power cut only once its folder is on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
