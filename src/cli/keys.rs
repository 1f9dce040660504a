//! `doorward keys`: signing keys in the keys file.

use clap::Subcommand;

use super::Failure;
use super::console::say;
use crate::core::{Core, OpenError};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new signing key. Tokens of the old keys stay good; running services sign with it within REVOCATION_MAX_STALE.
    Rotate,
}

impl Command {
    pub fn run(self, core: &Core) -> Result<(), Failure> {
        match self {
            Self::Rotate => {
                let id = core.rotate_signing_key().map_err(OpenError::Keys)?;
                say(&format!("{id} signs as soon as every node has read it"));
            }
        }
        Ok(())
    }
}
