//! The command line: what can be typed, and its help. Each subcommand is a file in cli/; what they do is core's.

mod account;
mod audit;
mod console;
mod doctor;
mod error;
mod import;
mod keys;
mod logs;
mod migrate;
mod serve;
mod session;
mod settings;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::Clock;
use crate::core::Core;
use crate::settings::{Settings, describe};
use crate::web::dialects;
use error::CommandError;

/// Sign-in for apps: sessions in HttpOnly cookies, and a logout that is a logout, at once.
#[derive(Debug, Parser)]
#[command(
    name = "doorward",
    version,
    after_help = "Without a command it serves. Settings come from the environment and from .env: `doorward serve --help` lists them."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests until SIGTERM or SIGINT.
    Serve(serve::Serve),
    /// Bring the database to this version's tables.
    Migrate,
    /// Add, look at and change accounts.
    #[command(subcommand)]
    Account(account::Command),
    /// Take in the accounts of another system.
    Import(import::Import),
    /// Look at and end sessions.
    #[command(subcommand)]
    Session(session::Command),
    /// Show what happened to accounts and sessions.
    Audit(audit::Audit),
    /// Say what will not work and why; given a URL, walk through the service there.
    Doctor(doctor::Doctor),
    /// List every setting with its meaning and default.
    Settings(settings::List),
    /// List, rotate and retire signing keys and peppers.
    #[command(subcommand)]
    Keys(keys::Command),
}

/// Runs what was typed.
pub fn run() -> ExitCode {
    let matches = Cli::command().mut_subcommand("serve", |serve| serve.after_long_help(settings_help())).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match dispatch(cli.command.unwrap_or(Command::Serve(serve::Serve::default()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::print_error(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<(), CommandError> {
    if let Command::Settings(list) = &command {
        list.run();
        return Ok(());
    }
    if let Command::Doctor(doctor) = command {
        return doctor.run();
    }
    let settings = Settings::from_environment(&dialects::known())?;
    logs::start(&settings, matches!(command, Command::Serve(_)));
    match command {
        Command::Serve(serve) => serve.run(&settings),
        Command::Migrate => migrate::run(&settings),
        Command::Settings(_) | Command::Doctor(_) => Ok(()),
        Command::Account(command) => command.run(&open(&settings)?),
        Command::Import(import) => import.run(&open(&settings)?),
        Command::Session(command) => command.run(&open(&settings)?),
        Command::Audit(audit) => audit.run(&open(&settings)?),
        Command::Keys(command) => command.run(&open(&settings)?),
    }
}

fn open(settings: &Settings) -> Result<Core, CommandError> {
    Ok(Core::open(settings, Clock::system())?.0)
}

/// Every setting, as `serve --help` shows it.
fn settings_help() -> String {
    let mut help = "Settings, from the environment or .env:".to_owned();
    let mut heading = String::new();
    for setting in describe() {
        if setting.heading != heading {
            heading = setting.heading;
            let _ = write!(help, "\n\n{heading}:");
        }
        let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        let _ = write!(help, "\n  {}\n      {}{default}", setting.name, setting.help);
    }
    help
}
