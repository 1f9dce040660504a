//! Import of accounts from another system: decides for each record whether it is added, exists already, or is refused and
//! why. The files are read by cli/import/; which hashes are allowed is decided by credential/password/imported_hash.rs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::{Hasher, ImportedHash};
use crate::core::error::{Error, Field, FieldError, FieldRule, InternalError, Refusal, Taken};
use crate::core::registration::sign_up::{
    FirstSignIn, HashedRegistration, NamedBy, Privileges, Registration, ValidatedRegistration, holders,
};
use crate::core::session::caller::Client;
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::NewAccount;
use crate::store::{self, AccountId, AccountStatus, AccountUuid, Db};

/// The longest plain secret. Longer than the password policy allows, since the account has it already.
const SECRET_MAX: usize = 1024;

/// The highest account id: JavaScript's numbers are exact to twice that, which leaves room for the ids of new accounts.
const ID_MAX: i64 = 1 << 52;

/// How far a timestamp may be ahead of this node's clock: time zones of the exporting system, and its clock skew.
const FUTURE_TOLERANCE: Duration = Duration::from_hours(24);

/// An account of another system. The policy for new passwords does not apply to it: the password exists already.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in Account")]
pub struct ImportRecord {
    /// The line of the file.
    pub line: usize,
    pub id: Option<AccountId>,
    pub uuid: Option<AccountUuid>,
    /// Its fields, with plain secrets if they are known.
    pub registration: Registration,
    pub privileges: Privileges,
    /// The hashes that the other system stored, instead of plain secrets.
    pub password_hash: Option<Secret>,
    pub pin_hash: Option<Secret>,
    pub stats: Option<String>,
    pub status: AccountStatus,
    pub must_change_password: bool,
    pub last_sign_in_at: Option<Timestamp>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

/// The result for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The account was added, or would be in a dry run. Without a secret, sign-in is impossible until one is set.
    Added {
        /// Whether it has a password or a PIN.
        has_secret: bool,
    },
    /// All its identifiers belong to one existing account.
    Exists,
    /// Its fields are invalid.
    Invalid(Vec<FieldError>),
    /// Some of its identifiers belong to another account.
    Taken(Taken),
    /// Its id or uuid belongs to another account.
    IdTaken,
    /// An earlier line has one of its identifiers or ids.
    Duplicate {
        /// The earlier line.
        line: usize,
    },
}

/// Whether an import writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// Accepted accounts are added.
    Write,
    /// Every line is validated and compared with the database, and nothing is written.
    DryRun,
}

/// The state of one import: the unique keys of all earlier lines.
#[derive(Debug)]
pub struct Importer<'a> {
    core: &'a Core,
    mode: ImportMode,
    lines: HashMap<String, usize>,
}

/// A record with valid fields.
struct AcceptedRecord {
    record: ImportRecord,
    validated: ValidatedRegistration,
    password: Option<ImportedHash>,
    pin: Option<ImportedHash>,
}

impl<'a> Importer<'a> {
    /// Starts an import.
    pub fn new(core: &'a Core, mode: ImportMode) -> Self {
        Self { core, mode, lines: HashMap::new() }
    }

    /// Imports a batch in one transaction: all accepted records, or none if the database fails. Plain secrets are hashed
    /// before it, on every core of the machine; `on_hashed` is called after each.
    pub fn import_batch(
        &mut self,
        records: Vec<ImportRecord>,
        on_hashed: &(dyn Fn() + Sync),
    ) -> Result<Vec<ImportOutcome>, Error> {
        let mut outcomes = Vec::new();
        let mut accepted = Vec::new();
        for record in records {
            match self.validate_record(record)? {
                Ok(accepted_record) => {
                    outcomes.push(None);
                    accepted.push(accepted_record);
                }
                Err(outcome) => outcomes.push(Some(outcome)),
            }
        }
        let find = |db: &mut Db| {
            accepted.iter().map(|accepted_record| self.find_early(db, accepted_record)).collect::<Result<Vec<_>, _>>()
        };
        let found = self.core.store.read(find)?;
        let missing: Vec<&AcceptedRecord> = accepted
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(accepted_record, _)| accepted_record)
            .collect();
        let added = if self.mode == ImportMode::DryRun {
            missing.iter().map(|accepted_record| accepted_record.added()).collect()
        } else {
            self.add(&missing, on_hashed)?
        };
        let mut added = added.into_iter();
        let mut decided = found.into_iter().map(|found| found.or_else(|| added.next()));
        Ok(outcomes.into_iter().filter_map(|outcome| outcome.or_else(|| decided.next().flatten())).collect())
    }

    /// The checks that need no database: fields, hashes, and duplicates within the import.
    fn validate_record(&mut self, record: ImportRecord) -> Result<Result<AcceptedRecord, ImportOutcome>, Error> {
        let mut errors = errors(&record, self.core.now());
        let mut parse = |field: Field, hash: &Option<Secret>| {
            let parsed = hash.as_ref().map(|hash| ImportedHash::parse(hash.expose())).transpose();
            parsed.map_err(|rule| errors.push(FieldError::new(field, rule))).ok().flatten()
        };
        let (password, pin) =
            (parse(Field::PasswordHash, &record.password_hash), parse(Field::PinHash, &record.pin_hash));
        let privileges = Privileges { skip_secret_policy: true, ..record.privileges.clone() };
        let validated = match self.core.validate(record.registration.clone(), privileges, NamedBy::Operator) {
            Ok(validated) if errors.is_empty() => validated,
            Ok(_) => return Ok(Err(ImportOutcome::Invalid(errors))),
            Err(Error::Refusal(Refusal::InvalidFields(more))) => {
                errors.extend(more);
                return Ok(Err(ImportOutcome::Invalid(errors)));
            }
            Err(other) => return Err(other),
        };
        let keys = unique_keys(&record, &validated);
        if let Some(line) = keys.iter().find_map(|key| self.lines.get(key)) {
            return Ok(Err(ImportOutcome::Duplicate { line: *line }));
        }
        self.lines.extend(keys.into_iter().map(|key| (key, record.line)));
        Ok(Ok(AcceptedRecord { record, validated, password, pin }))
    }

    /// The outcome that the existing rows decide, before hashing: an existing account should not cost a bcrypt. A dry run has
    /// no later look-up.
    fn find_early(
        &self,
        db: &mut Db,
        accepted_record: &AcceptedRecord,
    ) -> Result<Option<ImportOutcome>, store::StoreError> {
        if self.mode == ImportMode::DryRun || accepted_record.has_plain_secret() {
            find(db, accepted_record)
        } else {
            Ok(None)
        }
    }

    /// Adds the records. The rows are looked up again under the lock on the id sequence: accounts may have been added since.
    fn add(&self, accepted: &[&AcceptedRecord], on_hashed: &(dyn Fn() + Sync)) -> Result<Vec<ImportOutcome>, Error> {
        let client = Client::operator();
        let rows = self.rows(accepted, on_hashed)?;
        let now = self.core.now();
        let (outcomes, events) = self.core.store.write(|db| {
            let highest = rows.iter().filter_map(|row| row.id).max();
            accounts::lock_and_advance_id_sequence(db, highest)?;
            let (mut outcomes, mut events) = (Vec::new(), Vec::new());
            for (accepted_record, row) in accepted.iter().zip(&rows) {
                if let Some(outcome) = find(db, accepted_record)? {
                    outcomes.push(outcome);
                    continue;
                }
                let account = accounts::insert(db, row)?;
                let event = AuditEvent::new(EventKind::SignUp, &client).account(account.id).detail("import");
                event.write(db, now)?;
                events.push(event);
                outcomes.push(accepted_record.added());
            }
            Ok((outcomes, events))
        })?;
        events.iter().for_each(|event| self.core.log_event(event));
        Ok(outcomes)
    }

    fn rows(&self, accepted: &[&AcceptedRecord], on_hashed: &(dyn Fn() + Sync)) -> Result<Vec<NewAccount>, Error> {
        let now = self.core.now();
        let hashes = hash_all(accepted, &self.core.hasher, on_hashed)?;
        let row = |(accepted_record, hashes): (&&AcceptedRecord, HashedRegistration)| {
            let record = &accepted_record.record;
            let row = self.core.new_account(&hashes, FirstSignIn::Later, now)?;
            let stored = |hash: &Option<ImportedHash>| hash.as_ref().map(ImportedHash::stored);
            Ok(NewAccount {
                id: record.id,
                uuid: record.uuid.unwrap_or(row.uuid),
                stats: record.stats.clone().unwrap_or(row.stats),
                status: record.status,
                password: stored(&accepted_record.password).or(row.password),
                pin: stored(&accepted_record.pin).or(row.pin),
                last_sign_in_at: record.last_sign_in_at,
                created_at: record.created_at.unwrap_or(row.created_at),
                updated_at: record.updated_at.unwrap_or(row.updated_at),
                must_change_password: record.must_change_password,
                ..row
            })
        };
        accepted.iter().zip(hashes).map(row).collect()
    }
}

impl AcceptedRecord {
    fn has_plain_secret(&self) -> bool {
        self.record.registration.password.is_some() || self.record.registration.pin.is_some()
    }

    fn added(&self) -> ImportOutcome {
        let (registration, record) = (&self.record.registration, &self.record);
        let secrets = [&registration.password, &registration.pin, &record.password_hash, &record.pin_hash];
        ImportOutcome::Added { has_secret: secrets.iter().any(|secret| secret.is_some()) }
    }
}

/// Hashes all plain secrets, on as many threads as the machine has cores. The result has the order of the records.
fn hash_all(
    accepted: &[&AcceptedRecord],
    with: &Hasher,
    on_hashed: &(dyn Fn() + Sync),
) -> Result<Vec<HashedRegistration>, InternalError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((number, accepted_record)) = take_next(accepted, &next) {
            done.push((number, accepted_record.validated.clone().hash(with)));
            on_hashed();
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, Into::into).min(accepted.len());
    let mut hashes: Vec<(usize, Result<HashedRegistration, InternalError>)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    hashes.sort_by_key(|(number, _)| *number);
    if hashes.len() < accepted.len() {
        return Err(InternalError::broken("a hashing thread panicked"));
    }
    hashes.into_iter().map(|(_, hashed)| hashed).collect()
}

fn take_next<'a>(accepted: &[&'a AcceptedRecord], next: &AtomicUsize) -> Option<(usize, &'a AcceptedRecord)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    accepted.get(number).map(|accepted_record| (number, *accepted_record))
}

/// The rules that apply to imports alone.
fn errors(record: &ImportRecord, now: Timestamp) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |is_invalid: bool, field: Field, rule: FieldRule| {
        if is_invalid {
            errors.push(FieldError::new(field, rule));
        }
    };
    let out_of_range = record.id.is_some_and(|AccountId(id)| !(1..=ID_MAX).contains(&id));
    check(out_of_range, Field::Id, FieldRule::IdOutOfRange(ID_MAX));
    let times = [
        (Field::CreatedAt, record.created_at),
        (Field::UpdatedAt, record.updated_at),
        (Field::LastSignIn, record.last_sign_in_at),
    ];
    for (field, at) in times {
        let implausible = at.is_some_and(|at| at > now.plus(FUTURE_TOLERANCE) || at < Timestamp::from_seconds(0));
        check(implausible, field, FieldRule::TimeOutOfRange);
    }
    let password = record.registration.password.as_ref().map(|secret| secret.expose().len());
    check(password == Some(0), Field::Password, FieldRule::TooShort(1));
    check(password > Some(SECRET_MAX), Field::Password, FieldRule::TooLong(SECRET_MAX));
    let has_none = record.registration.password.is_none() && record.password_hash.is_none();
    check(record.must_change_password && has_none, Field::MustChangePassword, FieldRule::WithoutPassword);
    let both = |plain: &Option<Secret>, hash: &Option<Secret>| plain.is_some() && hash.is_some();
    let rule = FieldRule::BesidePlainSecret;
    check(both(&record.registration.password, &record.password_hash), Field::PasswordHash, rule);
    check(both(&record.registration.pin, &record.pin_hash), Field::PinHash, rule);
    errors
}

/// The keys that no other line may have. Usernames and names share one namespace, since a username may not be another
/// account's name.
fn unique_keys(record: &ImportRecord, validated: &ValidatedRegistration) -> Vec<String> {
    let [email, username, name] = validated.canonical();
    let email = email.map(|email| format!("email {email}"));
    let others = [username, name].into_iter().flatten().map(|name| format!("name {name}"));
    let id = record.id.map(|id| format!("id {id}"));
    let uuid = record.uuid.map(|uuid| format!("uuid {uuid}"));
    let mut keys: Vec<String> = email.into_iter().chain(others).chain(id).chain(uuid).collect();
    keys.dedup();
    keys
}

/// The outcome that existing accounts decide; `None` if the record is new.
fn find(db: &mut Db, accepted_record: &AcceptedRecord) -> Result<Option<ImportOutcome>, store::StoreError> {
    let holders = holders(db, &accepted_record.validated)?;
    let first = holders.given.first().copied().flatten();
    if first.is_some() && holders.given.iter().all(|holder| *holder == first) {
        return Ok(Some(ImportOutcome::Exists));
    }
    if holders.taken.any() {
        return Ok(Some(ImportOutcome::Taken(holders.taken)));
    }
    let id_taken = accepted_record.record.id.map(|id| accounts::find(db, id)).transpose()?.flatten().is_some();
    let uuid_taken = accepted_record.record.uuid.map(|uuid| accounts::has_uuid(db, uuid)).transpose()?.unwrap_or(false);
    Ok((id_taken || uuid_taken).then_some(ImportOutcome::IdTaken))
}
