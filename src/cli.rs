//! Command line: the commands, their dispatch, and the help. Each command is a file in cli/; the operations are core's.

mod account;
mod audit;
mod console;
mod doctor;
mod error;
mod import;
mod keys;
mod logs;
mod migrate;
mod reference;
mod serve;
mod session;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::Clock;
use crate::core::Core;
use crate::settings::{Settings, describe};
use crate::web::dialects;
use error::CommandError;
use reference::settings;

/// Authentication service: sign-in, sessions in HttpOnly cookies, and a logout that invalidates every token of the session
/// immediately.
#[derive(Debug, Parser)]
#[command(
    name = "doorward",
    version,
    after_help = "Without a command, doorward serves. Settings are read from the environment, and from .env or --config FILE: see `doorward serve --help`."
)]
struct Cli {
    /// Read the settings that the environment does not set from this file, not from .env: NAME=value lines. The service and
    /// every command need the same ones.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until SIGTERM or SIGINT.
    Serve(serve::ServeCommand),
    /// Run pending database migrations; create a missing database and keys file.
    Migrate,
    /// Add, list, show and change accounts.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Import the accounts of another system.
    Import(import::ImportCommand),
    /// List and revoke sessions.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// List audit events of accounts and sessions.
    Audit(audit::AuditCommand),
    /// Check the configuration; with a URL, also the running service there.
    Doctor(doctor::DoctorCommand),
    /// Print every setting with its meaning and default.
    Settings(settings::SettingsCommand),
    /// Print completions for a shell.
    Completions(reference::CompletionsCommand),
    /// Print the man page: doorward man | man -l -
    Man,
    /// List, rotate and retire signing keys and peppers.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let matches = Cli::command().mut_subcommand("serve", |serve| serve.after_long_help(settings_help())).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let command = cli.command.unwrap_or(Command::Serve(serve::ServeCommand::default()));
    match dispatch(command, cli.config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::print_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, config: Option<&Path>) -> Result<(), CommandError> {
    // These work without valid settings, and doctor reports what is wrong with them.
    match &command {
        Command::Settings(settings) => {
            settings.run();
            return Ok(());
        }
        Command::Completions(completions) => {
            completions.run(Cli::command());
            return Ok(());
        }
        Command::Man => return reference::print_man_page(Cli::command()),
        _ => {}
    }
    if let Command::Doctor(doctor) = command {
        return doctor.run(config);
    }
    let settings = Settings::from_environment(&dialects::known(), config)?;
    logs::start(&settings, matches!(command, Command::Serve(_)));
    match command {
        Command::Serve(serve) => serve.run(&settings, config),
        Command::Migrate => migrate::run(&settings),
        Command::Settings(_) | Command::Completions(_) | Command::Man | Command::Doctor(_) => Ok(()),
        Command::Account(account) => account.run(&open(&settings)?),
        Command::Import(import) => import.run(&open(&settings)?),
        Command::Session(session) => session.run(&open(&settings)?),
        Command::Audit(audit) => audit.run(&open(&settings)?),
        Command::Keys(keys::KeysCommand::Adopt) => keys::adopt(&settings),
        Command::Keys(keys) => keys.run(&open(&settings)?),
    }
}

/// For commands that change or list what a service has made: they create nothing.
fn open(settings: &Settings) -> Result<Core, CommandError> {
    Ok(Core::open_existing(settings, Clock::system())?)
}

/// The list of settings at the end of `serve --help`.
fn settings_help() -> String {
    let mut help = "Settings, from the environment, and from .env or --config FILE:".to_owned();
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
