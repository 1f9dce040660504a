//! `doorward account`: adds, lists, shows and changes accounts. Secrets come from standard input or a prompt, never from
//! arguments, account every user of the machine can read. A running service applies a change within REVOCATION_MAX_STALE.

use clap::{Args, Subcommand};

use super::console::{print_line, print_table, read_secret};
use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::core::account::{Account, Profile};
use crate::core::credential::password::GivenSecret;
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::session::caller::Client;
use crate::core::{AccountId, AccountStatus, Core};
use crate::settings::values::{InvalidValue, role};

/// Accounts read per query of the list.
const PAGE_SIZE: i64 = 200;

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account. Prompts for its password, except with --password-stdin, --pin-stdin or --no-password.
    Add(Box<AddAccount>),
    /// List accounts, oldest first.
    List,
    /// Show one account.
    Show(AccountSelector),
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
            Self::List => list(core),
            Self::Show(selector) => {
                show(&selector.find(core)?);
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

fn list(core: &Core) -> Result<(), CommandError> {
    let mut rows = Vec::new();
    let mut after = AccountId(0);
    loop {
        let page = core.list_accounts(after, PAGE_SIZE)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        rows.extend(page.into_iter().map(row));
    }
    print_table(&["ID", "EMAIL", "USERNAME", "NAME", "ROLE", "STATUS", "LAST SIGN-IN"], &rows);
    Ok(())
}

/// A note after the account's status in the list, and after its password in `account show`.
fn must_change_note(account: &Account) -> &'static str {
    if account.must_change_password { " (must change password)" } else { "" }
}

fn row(account: Account) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = format!("{}{}", account.status.as_str(), must_change_note(&account));
    vec![
        account.id.to_string(),
        or_dash(account.email),
        or_dash(account.username),
        or_dash(account.name),
        account.role,
        status,
        or_dash(account.last_sign_in_at.map(Timestamp::rfc3339)),
    ]
}

fn show(account: &Account) {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let has = |has: bool| if has { "set" } else { "none" }.to_owned();
    for (name, value) in [
        ("id", account.id.to_string()),
        ("uuid", account.uuid.to_string()),
        ("email", format!("{}{}", or_dash(&account.email), if account.email_verified { " (verified)" } else { "" })),
        ("username", or_dash(&account.username)),
        ("name", or_dash(&account.name)),
        ("first name", or_dash(&account.first_name)),
        ("last name", or_dash(&account.last_name)),
        ("role", account.role.clone()),
        ("permissions", account.permissions.join(" ")),
        ("status", account.status.as_str().to_owned()),
        ("password", format!("{}{}", has(account.has_password), must_change_note(account))),
        ("PIN", has(account.has_pin)),
        ("last sign-in", or_dash(&account.last_sign_in_at.map(Timestamp::rfc3339))),
        ("created", account.created_at.rfc3339()),
        ("updated", account.updated_at.rfc3339()),
    ] {
        print_line(format!("{name:13} {value}").trim_end());
    }
}
