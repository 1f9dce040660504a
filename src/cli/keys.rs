//! `doorward keys`: signing keys and peppers in the keys file. Running services follow the file; what each step comes to is
//! core/signing_key/rotation.rs's.

use clap::Subcommand;

use super::console::{print_line, table};
use crate::cli::error::CommandError;
use crate::core::Core;
use crate::core::keys::rotation::{KeyRotation, KeyState, ListedKey};
use crate::settings::TokenAlgorithm;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List signing keys and peppers: what each does now, and how many live sessions or accounts need it.
    List,
    /// Make a new signing key. Tokens of the old keys stay good, so nobody is signed out. Running services believe the new
    /// key at once and sign with it when every node has read it; one with a public key (eddsa, es256) when also everybody
    /// has it who keeps /.well-known/jwks.json, a minute later. Keys that no living token is under are removed.
    Rotate {
        /// What it signs access tokens with: hs256, eddsa or es256. Default: TOKEN_ALGORITHM, or as the newest key.
        #[arg(long)]
        algorithm: Option<TokenAlgorithm>,
    },
    /// Take a key away at once. Every token under it is refused on every running node within REVOCATION_MAX_STALE, refresh
    /// tokens too, and sessions whose refresh token is under it end: their people sign in again. (A service that checks
    /// tokens by itself follows when it reads the public keys again, within a minute.) Who had the key may have used it to
    /// refresh somebody's session under a newer one: if it was stolen, look through `doorward session list` too. A pepper
    /// goes once no account needs it.
    Retire {
        /// Its id, from `doorward keys list`.
        key: String,
        /// Say what it comes to, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a new pepper. New secrets are hashed with it when every node has read it; those hashed with an old one still
    /// work, and move to the new one at the next sign-in. `doorward keys list` shows how many accounts need an old one.
    RotatePepper,
}

impl Command {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::List => {
                let rows: Vec<Vec<String>> = core.list_keys()?.iter().map(row).collect();
                table(&["KEY", "KIND", "MADE", "STATE", "NEEDED BY"], &rows);
            }
            Self::Rotate { algorithm } => say_rotated(&core.rotate_signing_key(algorithm)?, "signs"),
            Self::Retire { key, dry_run } => retire(core, &key, dry_run)?,
            Self::RotatePepper => say_rotated(&core.rotate_pepper()?, "hashes new secrets"),
        }
        Ok(())
    }
}

fn row(key: &ListedKey) -> Vec<String> {
    let pepper = key.kind == "pepper";
    let state = match key.state {
        KeyState::Active => if pepper { "hashes" } else { "signs" }.to_owned(),
        KeyState::Pending(from) => format!("from {}", from.rfc3339()),
        KeyState::Trusted => "believed".to_owned(),
    };
    let made = key.created_at.map_or_else(|| "-".to_owned(), crate::clock::Timestamp::rfc3339);
    let in_use_by = counted(key.in_use_by, if pepper { "account" } else { "session" });
    vec![key.id.clone(), key.kind.to_owned(), made, state, in_use_by]
}

fn say_rotated(rotated: &KeyRotation, does: &str) {
    let (id, kind, from) = (&rotated.id, rotated.kind, rotated.active_from.rfc3339());
    print_line(&format!("{id} ({kind}) {does} from {from}, when everybody has read it"));
    for pruned in &rotated.pruned {
        print_line(&format!("{pruned} is removed; no living token is under it"));
    }
}

/// Says what goes before it goes.
fn retire(core: &Core, key: &str, dry_run: bool) -> Result<(), CommandError> {
    let retirement = core.plan_retirement(key)?;
    let would = if retirement.pepper {
        format!("no account needs {key}")
    } else {
        format!(
            "every token under {key} is refused from now on, and {} with it; their people sign in again",
            match retirement.sessions {
                1 => "1 live session ends".to_owned(),
                some => format!("{some} live sessions end"),
            }
        )
    };
    print_line(&would);
    if dry_run {
        return Ok(());
    }
    if !retirement.wait.is_zero() {
        print_line(&format!(
            "waiting {:.1} s until every node has read the key that takes its place",
            retirement.wait.as_secs_f32()
        ));
        std::thread::sleep(retirement.wait);
    }
    let ended = core.retire_key(key)?;
    let ended = if retirement.pepper { String::new() } else { format!("; {} ended", counted(ended, "session")) };
    print_line(&format!("{key} is retired{ended}"));
    Ok(())
}

fn counted(number: i64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
