//! `doorward account list` and `account show`: accounts as a table or as JSON, page by page, in constant memory.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::console::{Table, print_line};
use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::core::account::Account;
use crate::core::{AccountId, AccountStatus, Core};

/// Accounts per query.
const PAGE_SIZE: i64 = 500;

/// Which accounts are listed, and how.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ListAccounts {
    /// Only accounts with this role.
    #[arg(long)]
    role: Option<String>,
    /// Only accounts with this status: active, inactive, locked or suspended.
    #[arg(long)]
    status: Option<AccountStatus>,
    /// Only accounts with this permission.
    #[arg(long)]
    permission: Option<String>,
    /// Only accounts with a verified email.
    #[arg(long)]
    verified: bool,
    /// Only accounts with an unverified email.
    #[arg(long, conflicts_with = "verified")]
    unverified: bool,
    /// Only accounts that must change their password.
    #[arg(long)]
    must_change_password: bool,
    /// The maximum number of accounts.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only accounts with a number above this one.
    #[arg(long, default_value_t = 0)]
    after: i64,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl ListAccounts {
    fn selects(&self, account: &Account) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let has = |wanted: &String| account.permissions.contains(wanted);
        let (verified, has_email) = (account.email_verified, account.email.is_some());
        is(&self.role, &account.role)
            && self.status.is_none_or(|status| status == account.status)
            && self.permission.as_ref().is_none_or(has)
            && (!self.verified || (has_email && verified))
            && (!self.unverified || (has_email && !verified))
            && (!self.must_change_password || account.must_change_password)
    }

    pub fn run(&self, core: &Core) -> Result<(), CommandError> {
        let mut table = Table::new(&["ID", "EMAIL", "USERNAME", "NAME", "ROLE", "STATUS", "LAST SIGN-IN"]);
        let (mut after, mut left) = (AccountId(self.after), self.limit.unwrap_or(u64::MAX));
        loop {
            let page = core.list_accounts(after, PAGE_SIZE)?;
            let Some(last) = page.last().map(|account| account.id) else { break };
            after = last;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            let selected: Vec<Account> =
                page.into_iter().filter(|account| self.selects(account)).take(wanted).collect();
            left -= selected.len() as u64;
            if self.json {
                selected.iter().for_each(|account| print_line(&json_line(account)));
            } else if !selected.is_empty() {
                table.print(&selected.into_iter().map(row).collect::<Vec<_>>());
            }
            if left == 0 {
                return Ok(());
            }
        }
        if !self.json {
            table.print(&[]);
        }
        Ok(())
    }
}

/// The account as an object, with the API's names and what operators see beside them.
fn json_line(account: &Account) -> String {
    let object = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": account.id.0,
        "uuid": account.uuid.to_string(),
        "email": account.email,
        "emailVerified": account.email_verified,
        "username": account.username,
        "name": account.name,
        "firstName": account.first_name,
        "lastName": account.last_name,
        "gender": account.gender,
        "image": account.image,
        "phone": account.phone,
        "role": account.role,
        "permissions": account.permissions,
        "stats": object(&account.stats),
        "profile": object(&account.profile),
        "status": account.status.as_str(),
        "hasPassword": account.has_password,
        "hasPin": account.has_pin,
        "mustChangePassword": account.must_change_password,
        "lastSignIn": account.last_sign_in_at.map(Timestamp::rfc3339),
        "createdAt": account.created_at.rfc3339(),
        "updatedAt": account.updated_at.rfc3339(),
    })
    .to_string()
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

/// Prints one account.
pub fn show(account: &Account, json: bool) {
    if json {
        print_line(&json_line(account));
        return;
    }
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
