//! `doorward import`: imports the accounts of another system from a file, and reports refused lines without secrets and
//! hashes. Lines are parsed in import/fields.rs; whether an account can be imported is decided in core/account/import.rs.

mod fields;
mod json_objects;
mod line;
mod records;
mod vendor_formats;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::console::{is_terminal, print_line, print_progress};
use crate::cli::error::{CommandError, explain};
use crate::core::Core;
use crate::core::account::import;
use crate::core::account::import::{ImportMode, ImportOutcome, ImportRecord};
use crate::secret::Secret;
use crate::settings::values::role;
use fields::RecordParser;
use line::{ImportLine, LineError};
use records::RecordReader;
use vendor_formats::{HashSecret, ImportFormat};

/// Accounts per transaction.
const IMPORT_BATCH_SIZE: usize = 200;

/// How many existing accounts are reported by name: the second run of a long file would list all of them.
const EXISTING_LISTED_MAX: usize = 10;

/// The minimum time between two updates of the progress line.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Import accounts. An import can be repeated: it adds missing accounts and leaves existing ones unchanged.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ImportCommand {
    /// The file; `-` reads standard input.
    file: String,
    /// The format of the file.
    #[arg(long, value_enum, default_value = "lines")]
    format: ImportFormat,
    /// Accept plain passwords and PINs. They are hashed, about 0.25 s each on each core.
    #[arg(long)]
    plain_secrets: bool,
    /// Report what would happen and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The role of accounts without one. Default: SIGNUP_ROLE.
    #[arg(long, value_parser = role)]
    role: Option<String>,
    /// Give all accounts new numbers instead of keeping those of the file.
    #[arg(long)]
    new_ids: bool,
    /// A file with what the hashes need beside the export: Firebase's hash_config, Devise's pepper, Ambrosia's secret.
    #[arg(long, value_name = "FILE")]
    hash_secret_file: Option<PathBuf>,
    /// The Devise app has no pepper.
    #[arg(long, conflicts_with = "hash_secret_file")]
    no_pepper: bool,
}

/// The counts of the report.
#[derive(Default)]
struct ImportSummary {
    lines: usize,
    added: usize,
    without_secret: usize,
    existing: usize,
    refused: usize,
    has_plain_secrets: bool,
}

impl ImportCommand {
    pub fn run(self, core: &Core) -> Result<(), CommandError> {
        let parser = RecordParser {
            hash_secret: self.hash_secret()?,
            format: self.format,
            plain_secrets: self.plain_secrets || self.format == ImportFormat::Flat,
            role: self.role,
            new_ids: self.new_ids,
        };
        let mode = if self.dry_run { ImportMode::DryRun } else { ImportMode::Write };
        let mut records = RecordReader::open(&self.file, parser.format)?;
        let mut import = import::Importer::new(core, mode);
        let mut summary = ImportSummary::default();
        loop {
            let batch: Vec<ImportLine> =
                records.take(IMPORT_BATCH_SIZE)?.into_iter().map(|record| parser.parse(record)).collect();
            let Some(first) = batch.first().map(|line| line.number) else { break };
            import_batch(&mut import, batch, &mut summary).map_err(|error| interrupted(first, &error))?;
        }
        summary.finish(self.dry_run)
    }
}

impl ImportCommand {
    /// Reads the secret that the format may need. Without the right one every password would be wrong, which only the
    /// first sign-in would show.
    fn hash_secret(&self) -> Result<HashSecret, CommandError> {
        let file = self.hash_secret_file.as_ref();
        let needs = |what: &str| CommandError::Other(format!("--format {what}"));
        match (self.format, file) {
            (ImportFormat::Devise, None) if !self.no_pepper => Err(needs(
                "devise needs --hash-secret-file with the pepper (config.pepper in config/initializers/devise.rb), or --no-pepper \
                 if the app has none",
            )),
            (ImportFormat::Firebase, None) => Err(needs(
                "firebase needs --hash-secret-file with the project's hash_config: Firebase console, Authentication, Users, \
                 Password hash parameters",
            )),
            (ImportFormat::Firebase | ImportFormat::Devise | ImportFormat::Ambrosia, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| CommandError::Other(format!("{} cannot be read: {error}", file.display())))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(HashSecret(Some(Secret::new(text.strip_suffix('\r').unwrap_or(text)))))
            }
            (_, Some(_)) => {
                Err(CommandError::Other("--hash-secret-file is for firebase, devise and ambrosia".to_owned()))
            }
            (_, None) => Ok(HashSecret::default()),
        }
    }
}

/// An error in the middle of the file. Earlier batches are committed, and a second run skips their accounts.
fn interrupted(first: usize, error: &CommandError) -> CommandError {
    CommandError::Other(format!(
        "{error}; the lines before line {first} are done: run the same command again to continue"
    ))
}

/// Imports a batch in one transaction and adds its outcomes to the report.
fn import_batch(
    import: &mut import::Importer<'_>,
    batch: Vec<ImportLine>,
    summary: &mut ImportSummary,
) -> Result<(), CommandError> {
    let records: Vec<ImportRecord> = batch.iter().filter_map(|line| line.result.clone().ok()).collect();
    summary.has_plain_secrets |=
        records.iter().any(|record| record.registration.password.is_some() || record.registration.pin.is_some());
    let (shows_progress, before) = (is_terminal(), summary.lines);
    let (hashed, last_update) = (AtomicUsize::new(0), Mutex::new(Instant::now()));
    let update_progress = || {
        let done = before + hashed.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(mut last_update) = last_update.try_lock()
            && shows_progress
            && last_update.elapsed() > PROGRESS_INTERVAL
        {
            *last_update = Instant::now();
            print_progress(&format!("{done} accounts"));
        }
    };
    let outcomes = import.import_batch(records, &update_progress);
    if shows_progress {
        print_progress("");
    }
    let mut outcomes = outcomes?.into_iter();
    for ImportLine { number, label, result } in batch {
        let outcome = match result {
            Ok(_) => outcomes.next().map_or_else(|| Err(LineError::new("no outcome for this line")), Ok),
            Err(error) => Err(error),
        };
        summary.count(number, label.as_deref(), outcome);
    }
    Ok(())
}

impl ImportSummary {
    fn count(&mut self, number: usize, label: Option<&str>, outcome: Result<ImportOutcome, LineError>) {
        self.lines += 1;
        let report = |what: &str| match label {
            Some(label) => print_line(&format!("line {number} ({label}): {what}")),
            None => print_line(&format!("line {number}: {what}")),
        };
        let message = match outcome {
            Ok(ImportOutcome::Added { has_secret }) => {
                self.added += 1;
                self.without_secret += usize::from(!has_secret);
                return;
            }
            Ok(ImportOutcome::Exists) => {
                self.existing += 1;
                if self.existing <= EXISTING_LISTED_MAX {
                    report("already exists");
                }
                return;
            }
            Ok(ImportOutcome::Invalid(errors)) => LineError::from(errors.as_slice()).to_string(),
            Ok(ImportOutcome::Taken(taken)) => explain(&crate::core::error::Refusal::IdentifierTaken(taken).into()),
            Ok(ImportOutcome::IdTaken) => {
                "another account has this id or uuid; use --new-ids to assign new ones".to_owned()
            }
            Ok(ImportOutcome::Duplicate { line }) => format!("line {line} has the same email, username, name or id"),
            Err(error) => error.to_string(),
        };
        self.refused += 1;
        report(&format!("refused: {message}"));
    }

    /// Prints the totals. The command fails if a line was refused.
    fn finish(&self, dry_run: bool) -> Result<(), CommandError> {
        if self.existing > EXISTING_LISTED_MAX {
            print_line(&format!("and {} more that already exist", self.existing - EXISTING_LISTED_MAX));
        }
        let added = if dry_run { "would be added" } else { "added" };
        let Self { lines, existing, refused, .. } = self;
        print_line(&format!(
            "{lines} accounts read: {} {added}, {existing} already exist, {refused} refused",
            self.added
        ));
        if self.without_secret > 0 {
            print_line(&format!(
                "{} without password and PIN: a sign-in is not possible until one is set",
                self.without_secret
            ));
        }
        if self.has_plain_secrets && !dry_run {
            print_line("the file contains plain secrets: delete it after the import");
        }
        if self.refused > 0 {
            return Err(CommandError::Other(format!("{refused} of {lines} accounts were refused")));
        }
        Ok(())
    }
}
