//! `doorward account`: add, look at and change accounts. Secrets come from standard input or a prompt, never from
//! arguments. A running service hears of a change within REVOCATION_MAX_STALE.

use clap::{Args, Subcommand};

use super::console::{print_line, read_secret, table};
use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::core::account::{Account, Profile};
use crate::core::caller::Client;
use crate::core::credential::password::GivenSecret;
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::{AccountId, AccountStatus, Core};
use crate::settings::values::role;

const PAGE: i64 = 200;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an account. Asks for a password unless --password-stdin, --pin-stdin or --no-password says otherwise.
    Add(Box<Add>),
    /// List accounts, oldest first.
    List,
    /// Show one account.
    Show(Which),
    /// Change the role; every session of the account ends.
    SetRole {
        #[command(flatten)]
        which: Which,
        /// The new role: ADMIN, USER, …
        #[arg(value_parser = role)]
        role: String,
    },
    /// Change the status; every session of the account ends.
    SetStatus {
        #[command(flatten)]
        which: Which,
        /// active, inactive, locked or suspended.
        status: AccountStatus,
    },
    /// Set the password; every session of the account ends.
    SetPassword {
        #[command(flatten)]
        which: Which,
        /// Read it from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set the PIN; every session of the account ends.
    SetPin {
        #[command(flatten)]
        which: Which,
        /// Read it from standard input.
        #[arg(long)]
        pin_stdin: bool,
    },
    /// Let the account do nothing but change its password; every session of it ends.
    RequirePasswordChange {
        #[command(flatten)]
        which: Which,
        /// Require it no more; every session ends too.
        #[arg(long)]
        lift: bool,
    },
    /// Forget the account's failed sign-ins: it is throttled no more. Addresses that failed wait on.
    Unlock(Which),
}

#[derive(Debug, Args)]
pub struct Which {
    /// The account's number, email, username or name.
    account: String,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Email to sign in with.
    #[arg(long)]
    email: Option<String>,
    /// Username to sign in with.
    #[arg(long)]
    username: Option<String>,
    /// Name to sign in with, where a PIN is the secret.
    #[arg(long)]
    name: Option<String>,
    /// First name.
    #[arg(long)]
    first_name: Option<String>,
    /// Last name.
    #[arg(long)]
    last_name: Option<String>,
    /// Role. Default: SIGNUP_ROLE.
    #[arg(long, value_parser = role)]
    role: Option<String>,
    /// A permission; may be repeated.
    #[arg(long = "permission", value_parser = permission)]
    permissions: Vec<String>,
    /// Read the password from standard input.
    #[arg(long, conflicts_with_all = ["pin_stdin", "no_password"])]
    password_stdin: bool,
    /// Read a PIN from standard input; no password then.
    #[arg(long)]
    pin_stdin: bool,
    /// Neither password nor PIN: nobody signs in until one is set.
    #[arg(long, conflicts_with = "pin_stdin")]
    no_password: bool,
}

/// A permission stands in a header and in a list of lines, so it has no white space.
pub(super) fn permission(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_graphic() && c != ',';
    if text.is_empty() || text.len() > 100 || !text.chars().all(fits) {
        return Err(format!("{text:?} is no permission; use letters, digits and signs like : . _ -"));
    }
    Ok(text.to_owned())
}

impl Command {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        match self {
            Self::Add(add) => add.run(core),
            Self::List => list(core),
            Self::Show(which) => {
                show(&which.find(core)?);
                Ok(())
            }
            Self::SetRole { which, role } => {
                let account = which.find(core)?;
                core.set_role(account.id, &role)?;
                print_line(&format!("account {} has the role {role}; its sessions have ended", account.id));
                Ok(())
            }
            Self::SetStatus { which, status } => {
                let account = which.find(core)?;
                core.set_status(account.id, status)?;
                print_line(&format!("account {} is {}; its sessions have ended", account.id, status.as_str()));
                Ok(())
            }
            Self::SetPassword { which, password_stdin } => {
                set_secret(core, &which, "password", password_stdin, GivenSecret::Password)
            }
            Self::SetPin { which, pin_stdin } => set_secret(core, &which, "pin", pin_stdin, GivenSecret::Pin),
            Self::RequirePasswordChange { which, lift } => {
                let account = which.find(core)?;
                core.require_password_change(&account, !lift)?;
                let must = if lift { "need not change its password any more" } else { "must change its password" };
                print_line(&format!("account {} {must}; its sessions have ended", account.id));
                Ok(())
            }
            Self::Unlock(which) => {
                let account = which.find(core)?;
                core.unlock(account.id)?;
                print_line(&format!("account {} has its free tries again", account.id));
                Ok(())
            }
        }
    }
}

impl Which {
    fn find(&self, core: &Core) -> Result<Account, CommandError> {
        Ok(core.find_account_by(&self.account)?)
    }
}

fn set_secret(
    core: &Core,
    which: &Which,
    what: &str,
    from_stdin: bool,
    given: fn(crate::secret::Secret) -> GivenSecret,
) -> Result<(), CommandError> {
    let account = which.find(core)?;
    let secret = read_secret(what, from_stdin)?;
    core.set_secret(&account, &given(secret))?;
    print_line(&format!("account {} has a new {what}; its sessions have ended", account.id));
    Ok(())
}

impl Add {
    fn run(self, core: &Core) -> Result<(), CommandError> {
        let pin = self.pin_stdin.then(|| read_secret("pin", true)).transpose()?;
        let wants_password = !self.pin_stdin && !self.no_password;
        let password = wants_password.then(|| read_secret("password", self.password_stdin)).transpose()?;
        let profile = Profile {
            first_name: self.first_name.map(Some),
            last_name: self.last_name.map(Some),
            ..Profile::default()
        };
        let person =
            Registration { email: self.email, username: self.username, name: self.name, password, pin, profile };
        let privileges = Privileges { role: self.role, permissions: self.permissions, ..Privileges::default() };
        let validated = core.validate_account(person, privileges)?;
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
        let page = core.list_accounts(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        rows.extend(page.into_iter().map(row));
    }
    table(&["ID", "EMAIL", "USERNAME", "NAME", "ROLE", "STATUS", "LAST SIGN-IN"], &rows);
    Ok(())
}

/// After its status in the list, after its password when it is shown alone.
fn must_change(account: &Account) -> &'static str {
    if account.must_change_password { " (must change password)" } else { "" }
}

fn row(account: Account) -> Vec<String> {
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = format!("{}{}", account.status.as_str(), must_change(&account));
    vec![
        account.id.to_string(),
        shown(account.email),
        shown(account.username),
        shown(account.name),
        account.role,
        status,
        shown(account.last_sign_in_at.map(Timestamp::rfc3339)),
    ]
}

fn show(account: &Account) {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let has = |has: bool| if has { "set" } else { "none" }.to_owned();
    for (name, value) in [
        ("id", account.id.to_string()),
        ("uuid", account.uuid.to_string()),
        ("email", format!("{}{}", shown(&account.email), if account.email_verified { " (verified)" } else { "" })),
        ("username", shown(&account.username)),
        ("name", shown(&account.name)),
        ("first name", shown(&account.first_name)),
        ("last name", shown(&account.last_name)),
        ("role", account.role.clone()),
        ("permissions", account.permissions.join(" ")),
        ("status", account.status.as_str().to_owned()),
        ("password", format!("{}{}", has(account.has_password), must_change(account))),
        ("PIN", has(account.has_pin)),
        ("last sign-in", shown(&account.last_sign_in_at.map(Timestamp::rfc3339))),
        ("created", account.created_at.rfc3339()),
        ("updated", account.updated_at.rfc3339()),
    ] {
        print_line(format!("{name:13} {value}").trim_end());
    }
}
