//! `doorward import`: the accounts of another system, from a file. Says which lines were refused and why, never a secret or
//! a hash; which fit is core/import.rs's to decide, what a line holds import/fields.rs's.

mod fields;
mod line;
mod records;

use line::{Line, told};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::console::{is_watched, print_line, progress};
use crate::cli::error::{CommandError, explain};
use crate::core::Core;
use crate::core::account::import;
use crate::core::account::import::{ImportOutcome, ImportRecord};
use crate::settings::values::role;
use fields::Reading;
use records::Records;

/// Accounts in one transaction.
const BATCH: usize = 200;

/// How many accounts that were here already are named; a second run of a long file would name them all.
const NAMED: usize = 10;

/// How often the line that shows progress changes.
const REDRAW: Duration = Duration::from_millis(100);

/// A repeated import takes in what is missing. An account that exists is left as it is.
#[derive(Debug, Args)]
pub struct Import {
    /// The file; - reads standard input.
    file: String,
    /// How the file is written.
    #[arg(long, value_enum, default_value = "lines")]
    format: Format,
    /// Take plain passwords and PINs, which are hashed here: about 0.25 s each on each core.
    #[arg(long)]
    plain_secrets: bool,
    /// Say what would happen and change no account.
    #[arg(long)]
    dry_run: bool,
    /// The role of accounts that name none. Default: SIGNUP_ROLE.
    #[arg(long, value_parser = role)]
    role: Option<String>,
    /// Give new numbers to all instead of keeping those of the file.
    #[arg(long)]
    new_ids: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON object a line, with the fields that GET /auth/me shows, and passwordHash or password, pinHash or pin.
    Lines,
    /// A JSON list of users, plain passwords among their fields, as the system that the mount `flat` speaks like has it.
    Flat,
}

/// What came of the lines so far.
#[derive(Default)]
struct Tally {
    lines: usize,
    added: usize,
    without_secret: usize,
    already: usize,
    refused: usize,
    plain: bool,
}

impl Import {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        let reading = Reading {
            flat: self.format == Format::Flat,
            plain_secrets: self.plain_secrets || self.format == Format::Flat,
            role: self.role,
            new_ids: self.new_ids,
        };
        let mut records = Records::open(&self.file, reading.flat)?;
        let mut import = import::Importer::new(core, self.dry_run);
        let mut tally = Tally::default();
        loop {
            let batch: Vec<Line> = records.take(BATCH)?.into_iter().map(|record| reading.line(record)).collect();
            let Some(first) = batch.first().map(|line| line.number) else { break };
            take(&mut import, batch, &mut tally).map_err(|why| stopped(first, &why))?;
        }
        tally.conclude(self.dry_run)
    }
}

/// Whatever stood before is in, and a second run finds it so.
fn stopped(first: usize, why: &CommandError) -> CommandError {
    CommandError::Other(format!(
        "{why}; what stands before line {first} is done, and the same command goes on from there"
    ))
}

fn take(import: &mut import::Importer<'_>, batch: Vec<Line>, tally: &mut Tally) -> Result<(), CommandError> {
    let newcomers: Vec<ImportRecord> = batch.iter().filter_map(|line| line.read.clone().ok()).collect();
    tally.plain |= newcomers
        .iter()
        .any(|newcomer| newcomer.registration.password.is_some() || newcomer.registration.pin.is_some());
    let (watched, before) = (is_watched(), tally.lines);
    let (hashed, drawn) = (AtomicUsize::new(0), Mutex::new(Instant::now()));
    let draw = || {
        let done = before + hashed.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(mut drawn) = drawn.try_lock()
            && watched
            && drawn.elapsed() > REDRAW
        {
            *drawn = Instant::now();
            progress(&format!("{done} accounts"));
        }
    };
    let outcomes = import.import_batch(newcomers, &draw);
    if watched {
        progress("");
    }
    let mut outcomes = outcomes?.into_iter();
    for Line { number, label, read } in batch {
        let outcome = match read {
            Ok(_) => outcomes.next().map_or_else(|| Err("was not decided".to_owned()), Ok),
            Err(why) => Err(why),
        };
        tally.count(number, label.as_deref(), outcome);
    }
    Ok(())
}

impl Tally {
    fn count(&mut self, number: usize, label: Option<&str>, outcome: Result<ImportOutcome, String>) {
        self.lines += 1;
        let tell = |what: &str| match label {
            Some(label) => print_line(&format!("line {number} ({label}): {what}")),
            None => print_line(&format!("line {number}: {what}")),
        };
        let why = match outcome {
            Ok(ImportOutcome::Added { has_secret }) => {
                self.added += 1;
                self.without_secret += usize::from(!has_secret);
                return;
            }
            Ok(ImportOutcome::Exists) => {
                self.already += 1;
                if self.already <= NAMED {
                    tell("already there");
                }
                return;
            }
            Ok(ImportOutcome::Invalid(faults)) => told(&faults),
            Ok(ImportOutcome::Taken(taken)) => explain(&crate::core::error::Refusal::IdentifierTaken(taken).into()),
            Ok(ImportOutcome::IdTaken) => "another account has this id or uuid; --new-ids gives new ones".to_owned(),
            Ok(ImportOutcome::Duplicate { line }) => format!("line {line} has the same email, username, name or id"),
            Err(why) => why,
        };
        self.refused += 1;
        tell(&format!("refused: {why}"));
    }

    fn conclude(&self, dry_run: bool) -> Result<(), CommandError> {
        if self.already > NAMED {
            print_line(&format!("and {} more that are already there", self.already - NAMED));
        }
        let added = if dry_run { "would be added" } else { "added" };
        let Self { lines, already, refused, .. } = self;
        print_line(&format!(
            "{lines} accounts read: {} {added}, {already} already there, {refused} refused",
            self.added
        ));
        if self.without_secret > 0 {
            print_line(&format!("{} without a secret: nobody signs in there until one is set", self.without_secret));
        }
        if self.plain && !dry_run {
            print_line("the file holds plain secrets: remove it when you are done");
        }
        if self.refused > 0 {
            return Err(CommandError::Other(format!("{refused} of {lines} accounts were refused")));
        }
        Ok(())
    }
}
