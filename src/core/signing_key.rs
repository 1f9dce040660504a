//! The keys that tokens are signed with, and the pepper: where they come from, which one signs, which ones are believed.
//! What is signed is token.rs's; JWKS is web's.
//!
//! The keys file is lines of words: `pepper ID KEY`, `hs256 ID KEY CREATED`. All signing keys are believed; the first that
//! every node has had time to read signs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::password::Pepper;
use crate::clock::Timestamp;
use crate::secret::{MacKey, NoRandomness, Secret, base64url, from_base64url, random_bytes, sha256};

/// What a line of the keys file can begin with.
const KINDS: [&str; 2] = ["pepper", "hs256"];

const HEADER: &str =
    "# doorward's keys. Whoever reads this file can sign in as anybody; whoever loses it loses every password.\n";

/// What is wrong with the keys, in a sentence with the way out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

impl From<NoRandomness> for KeysError {
    fn from(error: NoRandomness) -> Self {
        Self(error.to_string())
    }
}

/// One signing key with all that signing and checking need.
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// The algorithm, fixed by the key; no token chooses it.
    pub algorithm: Algorithm,
    /// For signing.
    pub encoding: EncodingKey,
    /// For checking.
    pub decoding: DecodingKey,
    /// For values that must be the same on every node and unguessable elsewhere.
    pub derive: MacKey,
}

impl SigningKey {
    /// An HS256 key.
    pub fn hs256(id: impl Into<String>, key: &[u8]) -> Self {
        Self {
            id: id.into(),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
            derive: MacKey::new(key),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys that are believed; one of them signs.
#[derive(Debug, Clone)]
pub struct KeyRing {
    active: Arc<SigningKey>,
    by_id: HashMap<String, Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring of these keys, the first of which signs.
    pub fn new(active: SigningKey, others: impl IntoIterator<Item = SigningKey>) -> Self {
        let active = Arc::new(active);
        let mut by_id: HashMap<_, _> = others.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect();
        by_id.insert(active.id.clone(), Arc::clone(&active));
        Self { active, by_id }
    }

    /// The key that signs now.
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// The key of this id, if it is believed.
    pub fn get(&self, id: &str) -> Option<&Arc<SigningKey>> {
        self.by_id.get(id)
    }

    /// All believed keys.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.by_id.values()
    }
}

/// Where keys come from: what is configured wins over the file.
#[derive(Debug, Clone)]
pub struct KeySource {
    /// The file.
    pub file: PathBuf,
    /// `JWT_SECRET`.
    pub jwt_secret: Option<Secret>,
    /// `PEPPER`.
    pub pepper: Option<Secret>,
    /// How old a key must be to sign: by then every node has read it, so none meets a token of a key that it lacks.
    pub settle: Duration,
}

/// What the sources hold.
#[derive(Debug)]
pub struct LoadedKeys {
    /// The signing keys.
    pub ring: KeyRing,
    /// The pepper.
    pub pepper: Pepper,
    /// Whether the file was made just now.
    pub created: bool,
    /// Whether the newest key waits until every node knows it.
    pub pending: bool,
}

impl KeySource {
    /// Whether the file is needed at all.
    pub fn uses_file(&self) -> bool {
        self.jwt_secret.is_none() || self.pepper.is_none()
    }

    /// Reads the keys; makes the file when it is needed and missing.
    pub fn load_or_create(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let mut created = false;
        if self.uses_file() && !self.file.exists() {
            created = create(&self.file, now)?;
        }
        Ok(LoadedKeys { created, ..self.load(now)? })
    }

    /// Reads the keys.
    pub fn load(&self, now: Timestamp) -> Result<LoadedKeys, KeysError> {
        let file = if self.uses_file() { Some(KeysFile::read(&self.file)?) } else { None };
        let (ring, pending) = match (&self.jwt_secret, &file) {
            (Some(secret), _) => (KeyRing::new(configured_key(secret), []), false),
            (None, Some(file)) => file.ring(&self.file, now.minus(self.settle))?,
            (None, None) => return Err(KeysError("there is no signing key".to_owned())),
        };
        let pepper = match (&self.pepper, file) {
            (Some(secret), _) => Pepper { id: digest_id(secret), key: MacKey::new(secret.expose().as_bytes()) },
            (None, Some(file)) => file.pepper(&self.file)?,
            (None, None) => return Err(KeysError("there is no pepper".to_owned())),
        };
        Ok(LoadedKeys { ring, pepper, created: false, pending })
    }

    /// Puts a new signing key in front of the file's; tokens of the old ones live on. Its id.
    pub fn rotate(&self, now: Timestamp) -> Result<String, KeysError> {
        if self.jwt_secret.is_some() {
            return Err(KeysError(
                "the signing key comes from JWT_SECRET; change that, or leave it out to use the keys file".to_owned(),
            ));
        }
        // Through a link, so that the link stays one.
        let file = fs::canonicalize(&self.file).map_err(|why| about(&self.file, &why))?;
        let text = read_private(&file)?;
        let (id, line) = new_key_line(now)?;
        let (comments, keys): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let whole = format!("{}\n{line}{}\n", comments.join("\n"), keys.join("\n"));
        // Fails when another rotation is under way, so that neither key is lost.
        let beside = file.with_extension("keys.new");
        let replaced = write_private(&beside, &whole).and_then(|()| keep_owner(&file, &beside)).and_then(|()| {
            fs::rename(&beside, &file)?;
            sync_folder(&file)
        });
        if let Err(why) = replaced {
            let _ = fs::remove_file(&beside);
            return Err(about(&file, &why));
        }
        Ok(id)
    }

    /// Changes whenever the file does.
    pub fn version(&self) -> Option<(u64, i64, i64)> {
        let metadata = fs::metadata(&self.file).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

/// The file's lines, split into words.
struct KeysFile(Vec<Vec<String>>);

impl KeysFile {
    fn read(path: &Path) -> Result<Self, KeysError> {
        let text = read_private(path)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        if let Some(odd) =
            lines.clone().filter_map(|line| line.split_whitespace().next()).find(|kind| !KINDS.contains(kind))
        {
            return Err(unreadable(path, odd));
        }
        Ok(Self(lines.map(|line| line.split_whitespace().map(ToOwned::to_owned).collect()).collect()))
    }

    fn keys(&self, kind: &str) -> impl Iterator<Item = Option<(String, Vec<u8>, Option<Timestamp>)>> {
        let of_kind = self.0.iter().filter(move |words| words.first().is_some_and(|word| word == kind));
        of_kind.map(|words| {
            let key = from_base64url(words.get(2)?).filter(|key| key.len() >= 32)?;
            Some((words.get(1)?.clone(), key, words.get(3).and_then(|at| Timestamp::parse_rfc3339(at))))
        })
    }

    /// All are believed. The first that was made by `settled` signs, or the oldest if none was; and whether a newer one
    /// waits for its time.
    fn ring(&self, path: &Path, settled: Timestamp) -> Result<(KeyRing, bool), KeysError> {
        let keys: Option<Vec<_>> = self.keys("hs256").collect();
        let mut keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| unreadable(path, "hs256"))?;
        let signs = keys.iter().position(|(_, _, made)| made.is_none_or(|made| made <= settled));
        let signs = signs.unwrap_or(keys.len() - 1);
        let (id, key, _) = keys.remove(signs);
        let others = keys.iter().map(|(id, key, _)| SigningKey::hs256(id, key));
        Ok((KeyRing::new(SigningKey::hs256(id, &key), others), signs > 0))
    }

    fn pepper(&self, path: &Path) -> Result<Pepper, KeysError> {
        let (id, key, _) = self.keys("pepper").next().flatten().ok_or_else(|| unreadable(path, "pepper"))?;
        Ok(Pepper { id, key: MacKey::new(&key) })
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

/// Whether this call made it; another node that starts beside this one may be first.
fn create(path: &Path, now: Timestamp) -> Result<bool, KeysError> {
    let (_, line) = new_key_line(now)?;
    let mut text = HEADER.to_owned();
    let pepper = base64url(&random_bytes::<32>()?);
    let _ = writeln!(text, "pepper p-{} {pepper}", short_id(pepper.as_bytes()));
    text.push_str(&line);
    // A name by chance: what a killed start left behind must not stop the next one, which in a container has its number.
    let beside = path.with_extension(format!("keys.{}", base64url(&random_bytes::<9>()?)));
    write_private(&beside, &text).map_err(|why| about(path, &why))?;
    // A link fails when the name is taken, where a rename would overwrite the other node's keys.
    let linked = fs::hard_link(&beside, path).and_then(|()| sync_folder(path));
    let _ = fs::remove_file(&beside);
    match linked {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(about(path, &why)),
    }
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

fn new_key_line(now: Timestamp) -> Result<(String, String), KeysError> {
    let key = random_bytes::<48>()?;
    let id = format!("k-{}", short_id(&key));
    let line = format!("hs256 {id} {} {}\n", base64url(&key), now.rfc3339());
    Ok((id, line))
}

fn configured_key(secret: &Secret) -> SigningKey {
    SigningKey::hs256(digest_id(secret), secret.expose().as_bytes())
}

fn digest_id(secret: &Secret) -> String {
    format!("env-{}", short_id(secret.expose().as_bytes()))
}

/// Names a key without telling anything about it.
fn short_id(key: &[u8]) -> String {
    let digest = sha256(&[b"doorward key id", key].concat());
    base64url(digest.first_chunk::<6>().map_or(&[], |six| six))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(folder: &tempfile::TempDir) -> KeySource {
        KeySource { file: folder.path().join("a.keys"), jwt_secret: None, pepper: None, settle: Duration::from_secs(1) }
    }

    #[test]
    fn the_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_seconds(1_795_253_640);
        let first = source(&folder).load_or_create(now).unwrap();
        assert!(first.created);
        assert_eq!(fs::metadata(folder.path().join("a.keys")).unwrap().mode() & 0o777, 0o600);
        let second = source(&folder).load_or_create(now).unwrap();
        assert!(!second.created);
        assert_eq!(first.ring.active().id, second.ring.active().id);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn rotation_signs_with_a_new_key_and_believes_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let old = source(&folder).load_or_create(Timestamp::from_seconds(0)).unwrap();
        let version = source(&folder).version();
        let id = source(&folder).rotate(Timestamp::from_seconds(1)).unwrap();
        let loaded = |seconds| source(&folder).load(Timestamp::from_seconds(seconds)).unwrap();
        let waiting = loaded(1);
        assert!(waiting.pending && waiting.ring.get(&id).is_some(), "believed at once");
        assert_eq!(waiting.ring.active().id, old.ring.active().id, "and signing once every node has read it");
        let settled = loaded(2);
        assert!(!settled.pending && settled.ring.get(&old.ring.active().id).is_some());
        assert_eq!((settled.ring.active().id.clone(), settled.pepper.id), (id, old.pepper.id));
        assert_ne!(version, source(&folder).version());
    }

    #[test]
    fn a_file_that_others_read_or_that_is_torn_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        source(&folder).load_or_create(Timestamp::from_seconds(0)).unwrap();
        let path = folder.path().join("a.keys");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("pepper", "popper")).unwrap();
        assert!(source(&folder).load(Timestamp::from_seconds(0)).unwrap_err().to_string().contains("no usable popper"));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(source(&folder).load(Timestamp::from_seconds(0)).unwrap_err().to_string().contains("chmod 600"));
    }
}
