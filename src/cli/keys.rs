//! `doorward keys`: lists, rotates and retires the signing keys and peppers of the keys file. Running services follow the file.
//! The effects of each step are decided in core/keys/rotation.rs.

use clap::Subcommand;
use serde_json::json;

use super::console::{print_line, print_table};
use crate::cli::error::CommandError;
use crate::core::keys::rotation::{KeyRotation, KeyState, ListedKey};
use crate::core::{Core, startup};
use crate::settings::{Settings, TokenAlgorithm};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List signing keys and peppers: the state of each, and how many live sessions or accounts need it.
    List {
        /// Only signing keys, or only peppers.
        #[arg(long, value_parser = ["signing", "pepper"])]
        kind: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Create a new signing key. Tokens of the old keys stay valid, so no session ends. Running services accept the new
    /// key immediately and sign with it once every node has read it; with a public key (eddsa, es256) a minute later, once
    /// every service that caches /.well-known/jwks.json has it too. Keys without live tokens are removed.
    Rotate {
        /// The algorithm for access tokens: hs256, eddsa or es256. Default: TOKEN_ALGORITHM, or that of the newest key.
        #[arg(long)]
        algorithm: Option<TokenAlgorithm>,
    },
    /// Withdraw a key immediately. Every running node refuses its tokens within REVOCATION_MAX_STALE, and sessions whose
    /// refresh token it signed end: these people sign in again. Services that verify tokens with the JWKS follow when they
    /// next read it, within a minute. A thief of the key may have refreshed sessions under a newer key: check
    /// `doorward session list` too. A pepper can be retired once no account needs it.
    Retire {
        /// The key's id, from `doorward keys list`.
        key: String,
        /// Report the consequences and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Create a new pepper. New passwords and PINs are hashed with it once every node has read it; existing ones stay valid
    /// and move to it at the next sign-in. `doorward keys list` shows how many accounts still need an old one.
    RotatePepper,
    /// Let the database be used with other keys than those of the nodes that ran last, after KEYS_FILE, JWT_SECRET or PEPPER
    /// was replaced on purpose. With another pepper every password and PIN becomes invalid. Stop every node first.
    Adopt,
}

/// Runs `keys adopt`, which needs no core: that would refuse the keys.
pub fn adopt(settings: &Settings) -> Result<(), CommandError> {
    match startup::adopt_keys(&settings.database.database_url)? {
        None => {
            print_line("the next start may have other keys");
            Ok(())
        }
        Some(ago) => Err(CommandError::Other(format!(
            "a node of this database runs: it was seen {} s ago; stop every node, and try again a minute after one was killed",
            ago.as_secs()
        ))),
    }
}

impl KeysCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::List { kind, json } => {
                let mut keys = core.list_keys()?;
                keys.retain(|key| kind.as_deref().is_none_or(|kind| (kind == "pepper") == (key.kind == "pepper")));
                if json {
                    keys.iter().for_each(|key| print_line(&json_line(key)));
                } else {
                    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
                    print_table(&["KEY", "KIND", "CREATED", "STATE", "NEEDED BY"], &rows);
                }
            }
            Self::Rotate { algorithm } => print_rotation(&core.rotate_signing_key(algorithm)?, "signs"),
            Self::Retire { key, dry_run } => retire(core, &key, dry_run)?,
            Self::RotatePepper => print_rotation(&core.rotate_pepper()?, "hashes new secrets"),
            // Dispatched by cli.rs, which opens no core for it.
            Self::Adopt => {}
        }
        Ok(())
    }
}

fn row(key: &ListedKey) -> Vec<String> {
    let pepper = key.kind == "pepper";
    let state = match key.state {
        KeyState::Active => if pepper { "hashes" } else { "signs" }.to_owned(),
        KeyState::Pending(from) => format!("from {}", from.rfc3339()),
        KeyState::Trusted => "accepted".to_owned(),
    };
    let created = key.created_at.map_or_else(|| "-".to_owned(), crate::clock::Timestamp::rfc3339);
    let in_use_by = with_unit(key.in_use_by, if pepper { "account" } else { "session" });
    vec![key.id.clone(), key.kind.to_owned(), created, state, in_use_by]
}

fn json_line(key: &ListedKey) -> String {
    let (state, from) = match key.state {
        KeyState::Active => ("active", None),
        KeyState::Pending(from) => ("pending", Some(from.rfc3339())),
        KeyState::Trusted => ("accepted", None),
    };
    let created = key.created_at.map(crate::clock::Timestamp::rfc3339);
    json!({ "id": key.id, "kind": key.kind, "createdAt": created, "state": state, "activeFrom": from, "neededBy": key.in_use_by })
        .to_string()
}

fn print_rotation(rotation: &KeyRotation, use_of_key: &str) {
    let (id, kind, from) = (&rotation.id, rotation.kind, rotation.active_from.rfc3339());
    print_line(&format!("{id} ({kind}) {use_of_key} from {from}, once every node has read it"));
    for pruned in &rotation.pruned {
        print_line(&format!("{pruned} is removed: it has no live tokens"));
    }
}

/// Prints the consequences before the key is retired.
fn retire(core: &Core, key: &str, dry_run: bool) -> Result<(), CommandError> {
    let retirement = core.plan_retirement(key)?;
    let consequences = if retirement.pepper {
        format!("no account needs {key}")
    } else {
        format!(
            "every token signed by {key} is refused, and {}: these people must sign in again",
            match retirement.sessions {
                1 => "1 live session ends".to_owned(),
                count => format!("{count} live sessions end"),
            }
        )
    };
    print_line(&consequences);
    if dry_run {
        return Ok(());
    }
    if !retirement.wait.is_zero() {
        print_line(&format!(
            "waiting {:.1} s until every node has read the key that replaces it",
            retirement.wait.as_secs_f32()
        ));
        std::thread::sleep(retirement.wait);
    }
    let ended = core.retire_key(key)?;
    let ended = if retirement.pepper { String::new() } else { format!("; {} ended", with_unit(ended, "session")) };
    print_line(&format!("{key} is retired{ended}"));
    Ok(())
}

fn with_unit(number: i64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
