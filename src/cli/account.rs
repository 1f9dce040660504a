//! `doorward account`: adds, lists, shows, changes and deletes accounts. Secrets come from standard input or a prompt, never from
//! arguments, which every user of the machine can read. A running service applies a change within REVOCATION_MAX_STALE. What is
//! listed and shown is account/list.rs's.

mod list;

use clap::{Args, Subcommand};

use super::console::{print_line, read_line, read_secret};
use crate::cli::error::CommandError;
use crate::core::account::{Account, Profile};
use crate::core::credential::password::GivenSecret;
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::session::caller::Client;
use crate::core::{AccountStatus, Core};
use crate::settings::values::{InvalidValue, role};

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account. Prompts for its password, except with --password-stdin, --pin-stdin or --no-password.
    Add(Box<AddAccount>),
    /// List accounts, oldest first.
    List(list::ListAccounts),
    /// Show one account.
    Show {
        #[command(flatten)]
        selector: AccountSelector,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Change the role. Ends every session of the account.
    SetRole {
        #[command(flatten)]
        selector: AccountSelector,
        /// The new role: ADMIN, USER, …
        #[arg(value_parser = role)]
        role: String,
    },
    /// Change the status. Ends every session of the account.
    SetStatus {
        #[command(flatten)]
        selector: AccountSelector,
        /// The new status: active, inactive, locked or suspended.
        status: AccountStatus,
    },
    /// Set the password. Ends every session of the account.
    SetPassword {
        #[command(flatten)]
        selector: AccountSelector,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set the PIN. Ends every session of the account.
    SetPin {
        #[command(flatten)]
        selector: AccountSelector,
        /// Read the PIN from standard input.
        #[arg(long)]
        pin_stdin: bool,
    },
    /// Require a password change before any other use of the account. Ends every session of the account.
    RequirePasswordChange {
        #[command(flatten)]
        selector: AccountSelector,
        /// Withdraw the requirement. Ends every session too.
        #[arg(long)]
        lift: bool,
    },
    /// Replace the permissions. Ends no session; the next check shows them.
    SetPermissions {
        #[command(flatten)]
        selector: AccountSelector,
        /// The permissions, separated by blanks.
        #[arg(value_parser = permission, required_unless_present = "none")]
        permissions: Vec<String>,
        /// Remove them all.
        #[arg(long, conflicts_with = "permissions")]
        none: bool,
    },
    /// Replace the email. Ends no session.
    SetEmail {
        #[command(flatten)]
        selector: AccountSelector,
        /// The new email.
        email: String,
        /// Nobody has verified it: apps behind a proxy do not receive it.
        #[arg(long)]
        unverified: bool,
    },
    /// Delete the account and its sessions. Audit events stay. Asks for the account's number again, except with --yes.
    Delete {
        #[command(flatten)]
        selector: AccountSelector,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Record that the account's email is verified, so that apps behind a proxy receive it. Ends no session.
    VerifyEmail {
        #[command(flatten)]
        selector: AccountSelector,
        /// Record that it is not known to be.
        #[arg(long)]
        withdraw: bool,
    },
    /// Reset the account's failed sign-in counter. Per-address limits stay in force.
    Unlock(AccountSelector),
}

#[derive(Debug, Args)]
pub struct AccountSelector {
    /// The account's number, email, username or name.
    account: String,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct AddAccount {
    /// The email to sign in with.
    #[arg(long)]
    email: Option<String>,
    /// The email is not verified: apps behind a proxy do not receive it.
    #[arg(long, requires = "email")]
    email_unverified: bool,
    /// The username to sign in with.
    #[arg(long)]
    username: Option<String>,
    /// The name to sign in with by PIN.
    #[arg(long)]
    name: Option<String>,
    /// The first name.
    #[arg(long)]
    first_name: Option<String>,
    /// The last name.
    #[arg(long)]
    last_name: Option<String>,
    /// The role. Default: SIGNUP_ROLE.
    #[arg(long, value_parser = role)]
    role: Option<String>,
    /// A permission; can be repeated.
    #[arg(long = "permission", value_parser = permission)]
    permissions: Vec<String>,
    /// Read the password from standard input.
    #[arg(long, conflicts_with_all = ["pin_stdin", "no_password"])]
    password_stdin: bool,
    /// Read a PIN from standard input; the account has no password then.
    #[arg(long)]
    pin_stdin: bool,
    /// Add the account without password and PIN: a sign-in is not possible until one is set.
    #[arg(long, conflicts_with = "pin_stdin")]
    no_password: bool,
}

/// Parses a permission. It becomes part of a comma-separated header and of rule files, so it contains no white space and no
/// comma.
pub(super) fn permission(text: &str) -> Result<String, InvalidValue> {
    let is_allowed = |c: char| c.is_ascii_graphic() && c != ',';
    if text.is_empty() || text.len() > 100 || !text.chars().all(is_allowed) {
        return Err(InvalidValue::new(format!(
            "{text:?} is not a valid permission; use up to 100 letters, digits and characters like : . _ -"
        )));
    }
    Ok(text.to_owned())
}

impl AccountCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::Add(add) => add.run(core),
            Self::List(list) => list.run(core),
            Self::Show { selector, json } => {
                list::show(&selector.find(core)?, json);
                Ok(())
            }
            Self::SetRole { selector, role } => {
                let account = selector.find(core)?;
                core.set_role(account.id, &role)?;
                print_line(&format!("account {} has the role {role}; its sessions have ended", account.id));
                Ok(())
            }
            Self::SetStatus { selector, status } => {
                let account = selector.find(core)?;
                core.set_status(account.id, status)?;
                print_line(&format!("account {} is {}; its sessions have ended", account.id, status.as_str()));
                Ok(())
            }
            Self::SetPassword { selector, password_stdin } => {
                set_secret(core, &selector, "password", password_stdin, GivenSecret::Password)
            }
            Self::SetPin { selector, pin_stdin } => set_secret(core, &selector, "pin", pin_stdin, GivenSecret::Pin),
            Self::RequirePasswordChange { selector, lift } => require_password_change(core, &selector, lift),
            Self::SetPermissions { selector, permissions, none: _ } => set_permissions(core, &selector, &permissions),
            Self::SetEmail { selector, email, unverified } => set_email(core, &selector, &email, unverified),
            Self::Delete { selector, yes } => delete(core, &selector, yes),
            Self::VerifyEmail { selector, withdraw } => verify_email(core, &selector, withdraw),
            Self::Unlock(selector) => {
                let account = selector.find(core)?;
                core.unlock(account.id)?;
                print_line(&format!("the failed sign-in counter of account {} is reset", account.id));
                Ok(())
            }
        }
    }
}

impl AccountSelector {
    fn find(&self, core: &Core) -> Result<Account, CommandError> {
        Ok(core.find_account_by(&self.account)?)
    }
}

fn set_secret(
    core: &Core,
    selector: &AccountSelector,
    name: &str,
    from_stdin: bool,
    to_given: fn(crate::secret::Secret) -> GivenSecret,
) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    let secret = read_secret(name, from_stdin)?;
    core.set_secret(&account, &to_given(secret))?;
    print_line(&format!("account {} has a new {name}; its sessions have ended", account.id));
    Ok(())
}

fn require_password_change(core: &Core, selector: &AccountSelector, lift: bool) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    core.require_password_change(&account, !lift)?;
    let must = if lift { "is no longer required to change its password" } else { "must change its password" };
    print_line(&format!("account {} {must}; its sessions have ended", account.id));
    Ok(())
}

fn set_permissions(core: &Core, selector: &AccountSelector, permissions: &[String]) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    core.set_permissions(&account, permissions)?;
    let now = if permissions.is_empty() { "no permissions".to_owned() } else { permissions.join(" ") };
    print_line(&format!("account {} has {now}", account.id));
    Ok(())
}

fn set_email(core: &Core, selector: &AccountSelector, email: &str, unverified: bool) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    core.set_email(&account, email, !unverified)?;
    let note = if unverified { ", unverified" } else { "" };
    print_line(&format!("account {} has the email {}{note}", account.id, email.trim()));
    Ok(())
}

/// The number is asked for because a name that was mistyped may be another account's.
fn delete(core: &Core, selector: &AccountSelector, yes: bool) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    if !yes {
        list::show(&account, false);
        let typed = read_line(&format!("Delete this account for good? Enter its number, {}: ", account.id))?;
        if typed.trim() != account.id.to_string() {
            return Err(CommandError::Other("the number differs; nothing was deleted".into()));
        }
    }
    core.delete_account(&account)?;
    print_line(&format!("account {} is deleted, and its sessions have ended", account.id));
    Ok(())
}

fn verify_email(core: &Core, selector: &AccountSelector, withdraw: bool) -> Result<(), CommandError> {
    let account = selector.find(core)?;
    core.set_email_verified(&account, !withdraw)?;
    let outcome = if withdraw { "unverified" } else { "verified" };
    print_line(&format!("the email of account {} is {outcome}", account.id));
    Ok(())
}

impl AddAccount {
    fn run(self, core: &Core) -> Result<(), CommandError> {
        let pin = self.pin_stdin.then(|| read_secret("pin", true)).transpose()?;
        let needs_password = !self.pin_stdin && !self.no_password;
        let password = needs_password.then(|| read_secret("password", self.password_stdin)).transpose()?;
        let profile = Profile {
            first_name: self.first_name.map(Some),
            last_name: self.last_name.map(Some),
            ..Profile::default()
        };
        let email_verified = self.email.is_some() && !self.email_unverified;
        let registration =
            Registration { email: self.email, username: self.username, name: self.name, password, pin, profile };
        let (role, permissions) = (self.role, self.permissions);
        let privileges = Privileges { role, permissions, email_verified, ..Privileges::default() };
        let validated = core.validate_account(registration, privileges)?;
        let hashed = validated.hash(core.hasher()).map_err(crate::core::error::Error::from)?;
        let account = core.add_account(&hashed, &Client::operator())?;
        print_line(&format!("account {} added", account.id));
        Ok(())
    }
}
