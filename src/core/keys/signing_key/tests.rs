//! Keys file and signing keys: order, activation, concurrent commands; and the keys of the RFCs' examples.

use crate::clock::Timestamp;
use crate::core::keys::key_source::KeySource;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::core::keys::keys_file::{KeyEntry, KeyKind, change};

fn source(folder: &tempfile::TempDir) -> KeySource {
    KeySource {
        file: folder.path().join("a.keys"),
        jwt_secret: None,
        pepper: None,
        algorithm: None,
        propagation_delay: Duration::from_secs(1),
        max_token_lifetime: Duration::from_secs(3600),
    }
}

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn add(folder: &tempfile::TempDir, algorithm: TokenAlgorithm, now: Timestamp) -> String {
    let entry = KeyEntry::generate_signing(algorithm, now).unwrap();
    let id = entry.id.clone();
    change(&source(folder).file, |file| {
        file.entries.insert(0, entry);
        Ok(())
    })
    .unwrap();
    id
}

#[test]
fn the_file_is_created_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let first = source(&folder).load_or_create(at(1_795_253_640)).unwrap();
    assert!(first.created);
    assert_eq!(fs::metadata(folder.path().join("a.keys")).unwrap().mode() & 0o777, 0o600);
    let second = source(&folder).load_or_create(at(1_795_253_640)).unwrap();
    assert!(!second.created);
    assert_eq!(first.ring.active().id, second.ring.active().id);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_first_key_has_the_configured_algorithm() {
    for (configured, algorithm) in [
        (None, TokenAlgorithm::Hs256),
        (Some(TokenAlgorithm::Hs256), TokenAlgorithm::Hs256),
        (Some(TokenAlgorithm::EdDsa), TokenAlgorithm::EdDsa),
        (Some(TokenAlgorithm::Es256), TokenAlgorithm::Es256),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = KeySource { algorithm: configured, ..source(&folder) };
        let loaded = source.load_or_create(at(0)).unwrap();
        assert_eq!(loaded.ring.active().algorithm, algorithm);
        assert_eq!(loaded.ring.active().public.is_some(), algorithm.has_public_key());
        assert!(!loaded.pending, "the only key is active");
    }
}

#[test]
fn a_new_key_is_trusted_immediately_and_active_when_every_node_has_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let old = source(&folder).load_or_create(at(0)).unwrap();
    let version = source(&folder).version();
    let id = add(&folder, TokenAlgorithm::Hs256, at(1));
    let loaded = |seconds| source(&folder).load(at(seconds)).unwrap();
    let pending = loaded(1);
    assert!(pending.pending && pending.ring.get(&id).is_some(), "trusted immediately");
    assert_eq!(pending.ring.active().id, old.ring.active().id, "and active once every node has read it");
    let active = loaded(2);
    assert!(!active.pending && active.ring.get(&old.ring.active().id).is_some());
    assert_eq!((active.ring.active().id.clone(), active.peppers.active.id), (id, old.peppers.active.id));
    assert_ne!(version, source(&folder).version());
}

#[test]
fn a_key_pair_is_active_when_cached_key_sets_have_it_too() {
    for algorithm in [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256] {
        let folder = tempfile::tempdir().unwrap();
        source(&folder).load_or_create(at(0)).unwrap();
        let id = add(&folder, algorithm, at(1));
        let signs = |seconds| source(&folder).load(at(seconds)).unwrap().ring.active().id == id;
        assert_eq!([61, 62].map(signs), [false, true]);
    }
}

#[test]
fn a_pepper_is_pending_like_a_key_and_the_digest_key_stays() {
    let folder = tempfile::tempdir().unwrap();
    let old = source(&folder).load_or_create(at(0)).unwrap().peppers;
    let entry = KeyEntry::generate_pepper(at(1)).unwrap();
    let id = entry.id.clone();
    let put = change(&source(&folder).file, |file| {
        file.entries.insert(0, entry);
        Ok(())
    });
    put.unwrap();
    let loaded = |seconds| source(&folder).load(at(seconds)).unwrap();
    assert!(loaded(1).pending && loaded(1).peppers.active.id == old.active.id);
    let mut peppers = vec![loaded(2).peppers];
    assert!(!loaded(2).pending);
    assert_eq!((&peppers[0].active.id, &peppers[0].others[0].id), (&id, &old.active.id));
    let retired = change(&source(&folder).file, |file| {
        let oldest = file.entries.iter_mut().rfind(|entry| entry.is_pepper()).unwrap();
        oldest.kind = KeyKind::Digest;
        Ok(())
    });
    retired.unwrap();
    peppers.push(loaded(2).peppers);
    assert!(peppers[1].others.is_empty());
    for peppers in peppers {
        assert_eq!(peppers.digest_key.sign(b"x"), old.active.key.sign(b"x"));
    }
}

#[test]
fn a_world_readable_or_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    source(&folder).load_or_create(at(0)).unwrap();
    let path = folder.path().join("a.keys");
    let text = fs::read_to_string(&path).unwrap();
    let refused = |text: &str| {
        fs::write(&path, text).unwrap();
        source(&folder).load(at(0)).unwrap_err().to_string()
    };
    assert!(refused(&text.replace("pepper", "popper")).contains("no usable popper"));
    assert!(refused(&text.replace("hs256", "eddsa")).contains("no usable eddsa"), "bytes that are no key pair");
    assert!(refused(&text.replace("hs256", "es256")).contains("no usable es256"), "bytes that are no key pair");
    assert!(refused(&text.replace("Z\n", "\n")).contains("no usable"), "a time that is none");
    let line = text.lines().find(|line| line.starts_with("hs256")).unwrap();
    assert!(refused(&format!("{text}{line}\n")).contains("two lines for k-"));
    assert!(refused("").contains("no usable hs256, eddsa or es256 line"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(source(&folder).load(at(0)).unwrap_err().to_string().contains("chmod 600"));
}

#[test]
fn a_change_keeps_comments_mode_link_and_every_other_line() {
    let folder = tempfile::tempdir().unwrap();
    source(&folder).load_or_create(at(0)).unwrap();
    let (path, target) = (folder.path().join("a.keys"), folder.path().join("elsewhere.keys"));
    fs::rename(&path, &target).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let before = fs::read_to_string(&path).unwrap() + "# of 2026\n";
    fs::write(&path, &before).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    // Left by a command that was killed.
    fs::write(folder.path().join("elsewhere.keys.new"), "x").unwrap();
    let id = add(&folder, TokenAlgorithm::Es256, at(1));
    let after = fs::read_to_string(&path).unwrap();
    assert!(before.lines().all(|line| after.contains(line)), "{before} {after}");
    assert_eq!(after.lines().filter(|line| line.starts_with(&format!("es256 {id} "))).count(), 1);
    assert_eq!(after.lines().count(), before.lines().count() + 1);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_failed_change_leaves_the_file_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    source(&folder).load_or_create(at(0)).unwrap();
    let version = source(&folder).version();
    let refused = change(&source(&folder).file, |file| {
        file.entries.clear();
        Err::<(), _>(KeysError::NoKey("key"))
    });
    assert!(refused.is_err());
    assert_eq!(source(&folder).version(), version);
}

#[test]
fn concurrent_commands_lose_no_key() {
    let folder = tempfile::tempdir().unwrap();
    source(&folder).load_or_create(at(0)).unwrap();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let folder = &folder;
        let adding = |second| scope.spawn(move || add(folder, TokenAlgorithm::EdDsa, at(second)));
        let adding: Vec<_> = (1..=16).map(adding).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let loaded = source(&folder).load(at(100)).unwrap();
    assert!(ids.iter().all(|id| loaded.ring.get(id).is_some()), "{ids:?}");
    assert_eq!(loaded.ring.all().count(), 17);
}

fn base64url_of(text: &str) -> Vec<u8> {
    crate::secret::from_base64url(text).unwrap()
}

#[test]
fn an_ed25519_key_is_that_of_rfc_8037() {
    let seed = base64url_of("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    for pkcs8 in [pair.to_pkcs8v1().unwrap(), pair.to_pkcs8().unwrap()] {
        let key = SigningKey::eddsa("k", pkcs8.as_ref()).unwrap();
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        assert_eq!(key.public, Some(PublicKey::Ed25519 { x }));
    }
}

#[test]
fn a_p_256_key_is_that_of_rfc_7515() {
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let d = base64url_of("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
    let point = [&[4][..], &base64url_of(x), &base64url_of(y)].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point).unwrap();
    let key = SigningKey::es256("k", pair.to_pkcs8v1().unwrap().as_ref()).unwrap();
    assert_eq!(key.public, Some(PublicKey::P256 { x: x.to_owned(), y: y.to_owned() }));
}

#[test]
fn a_key_pair_of_one_algorithm_is_rejected_by_another() {
    let key = |algorithm| KeyEntry::generate_signing(algorithm, at(0)).unwrap().key;
    let (eddsa, es256) = (key(TokenAlgorithm::EdDsa), key(TokenAlgorithm::Es256));
    assert!(SigningKey::eddsa("k", &es256).is_err() && SigningKey::es256("k", &eddsa).is_err());
    assert!(SigningKey::eddsa("k", &[7; 32]).is_err() && SigningKey::es256("k", &[0; 32]).is_err());
}

#[test]
fn the_companion_of_a_pair_is_derived_from_its_private_key_alone() {
    let entry = KeyEntry::generate_signing(TokenAlgorithm::EdDsa, at(0)).unwrap();
    let (one, again) = (SigningKey::eddsa("a", &entry.key).unwrap(), SigningKey::eddsa("b", &entry.key).unwrap());
    assert_eq!(one.derive.sign(b"x"), again.derive.sign(b"x"));
    assert_eq!(one.refresh_encoding.as_bytes(), again.refresh_encoding.as_bytes());
    assert_eq!(one.refresh_encoding.as_bytes().len(), 32);
    let public = Ed25519KeyPair::from_pkcs8(&entry.key).unwrap().public_key().as_ref().to_vec();
    for known in [&public[..], &entry.key[..]] {
        assert_ne!(one.refresh_encoding.as_bytes(), known);
        assert_ne!(one.derive.sign(b"x"), MacKey::new(known).sign(b"x"));
    }
}
