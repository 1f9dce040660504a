//! Accounts that another system kept: which are taken in, which are here already, and which are refused and why. Its files
//! are read by cli/import/; which imported hashes are allowed is password/imported_hash.rs's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::audit::{Event, Kind};
use crate::core::caller::Client;
use crate::core::credential::password::{Hasher, ImportedHash};
use crate::core::error::{Error, Field, FieldError, FieldRule, InternalError, Refusal, Taken};
use crate::core::registration::sign_up::{Hashed, Privileges, Registration, Validated, holders};
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::NewAccount;
use crate::store::{self, AccountId, AccountStatus, Db, Id128};

/// The longest plain secret that is taken in. Longer than ours may be, since it exists.
const SECRET_MAX: usize = 1024;

/// The highest number of an account: JavaScript counts on to twice as far.
const ID_MAX: i64 = 1 << 52;

/// What may be newer than this node's clock.
const MAX_CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(86_400);

/// An account as another system kept it. The policy for new passwords does not judge it: its password exists.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in Account")]
pub struct ImportRecord {
    /// Where it stands in its file.
    pub line: usize,
    pub id: Option<AccountId>,
    pub uuid: Option<Id128>,
    /// With plain secrets, if they are known.
    pub person: Registration,
    pub privileges: Privileges,
    /// Or with what the other system made of them.
    pub password_hash: Option<Secret>,
    pub pin_hash: Option<Secret>,
    pub stats: Option<String>,
    pub status: AccountStatus,
    pub must_change_password: bool,
    pub last_sign_in_at: Option<Timestamp>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is an account now, or would be; without a secret, nobody can sign in to it until one is set.
    Added {
        /// Whether it has a password or a PIN.
        has_secret: bool,
    },
    /// Everything that names it names one account that exists.
    AlreadyThere,
    /// Its fields break rules.
    Invalid(Vec<FieldError>),
    /// Another account has some of what names it.
    Taken(Taken),
    /// Its number or uuid is another account's.
    IdTaken,
    /// An earlier line has some of what names it.
    Repeats {
        /// That line.
        line: usize,
    },
}

/// One import: knows what stood in earlier lines.
#[derive(Debug)]
pub struct Import<'a> {
    core: &'a Core,
    dry_run: bool,
    lines: HashMap<String, usize>,
}

/// A newcomer whose fields fit.
struct Fitting {
    newcomer: ImportRecord,
    validated: Validated,
    password: Option<ImportedHash>,
    pin: Option<ImportedHash>,
}

impl<'a> Import<'a> {
    /// Begins one; a dry run decides the same and writes nothing.
    pub fn new(core: &'a Core, dry_run: bool) -> Self {
        Self { core, dry_run, lines: HashMap::new() }
    }

    /// Takes some in, in one transaction: all that are fit, or none when the database fails. Plain secrets are hashed
    /// before it, on every core of the machine; `tick` is called after each.
    pub fn take(&mut self, newcomers: Vec<ImportRecord>, tick: &(dyn Fn() + Sync)) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::new();
        let mut fitting = Vec::new();
        for newcomer in newcomers {
            match self.judge(newcomer)? {
                Ok(fit) => {
                    outcomes.push(None);
                    fitting.push(fit);
                }
                Err(outcome) => outcomes.push(Some(outcome)),
            }
        }
        let look = |db: &mut Db| fitting.iter().map(|fit| self.look_ahead(db, fit)).collect::<Result<Vec<_>, _>>();
        let found = self.core.store.read(look)?;
        let missing: Vec<&Fitting> =
            fitting.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(fit, _)| fit).collect();
        let added =
            if self.dry_run { missing.iter().map(|fit| fit.added()).collect() } else { self.add(&missing, tick)? };
        let mut added = added.into_iter();
        let mut decided = found.into_iter().map(|found| found.or_else(|| added.next()));
        Ok(outcomes.into_iter().filter_map(|outcome| outcome.or_else(|| decided.next().flatten())).collect())
    }

    /// What can be said without the database.
    fn judge(&mut self, newcomer: ImportRecord) -> Result<Result<Fitting, Outcome>, Error> {
        let mut faults = faults(&newcomer, self.core.now());
        let mut read = |field: Field, hash: &Option<Secret>| {
            let read = hash.as_ref().map(|hash| ImportedHash::parse(hash.expose())).transpose();
            read.map_err(|rule| faults.push(FieldError::new(field, rule))).ok().flatten()
        };
        let (password, pin) =
            (read(Field::PasswordHash, &newcomer.password_hash), read(Field::PinHash, &newcomer.pin_hash));
        let privileges = Privileges { any_secret: true, ..newcomer.privileges.clone() };
        let validated = match self.core.validate(newcomer.person.clone(), privileges) {
            Ok(validated) if faults.is_empty() => validated,
            Ok(_) => return Ok(Err(Outcome::Invalid(faults))),
            Err(Error::Refusal(Refusal::InvalidFields(more))) => {
                faults.extend(more);
                return Ok(Err(Outcome::Invalid(faults)));
            }
            Err(other) => return Err(other),
        };
        let names = names(&newcomer, &validated);
        if let Some(line) = names.iter().find_map(|name| self.lines.get(name)) {
            return Ok(Err(Outcome::Repeats { line: *line }));
        }
        self.lines.extend(names.into_iter().map(|name| (name, newcomer.line)));
        Ok(Ok(Fitting { newcomer, validated, password, pin }))
    }

    /// A dry run looks no further; and an account that exists need not cost a bcrypt.
    fn look_ahead(&self, db: &mut Db, fit: &Fitting) -> Result<Option<Outcome>, store::Error> {
        if self.dry_run || fit.is_plain() { find(db, fit) } else { Ok(None) }
    }

    /// What decides is what stands in the table under the lock.
    fn add(&self, fitting: &[&Fitting], tick: &(dyn Fn() + Sync)) -> Result<Vec<Outcome>, Error> {
        let client = Client::operator();
        let rows = self.rows(fitting, tick)?;
        let now = self.core.now();
        let (outcomes, events) = self.core.store.write(|db| {
            let highest = rows.iter().filter_map(|row| row.id).max();
            accounts::lock_and_advance_id_sequence(db, highest)?;
            let (mut outcomes, mut events) = (Vec::new(), Vec::new());
            for (fit, row) in fitting.iter().zip(&rows) {
                if let Some(outcome) = find(db, fit)? {
                    outcomes.push(outcome);
                    continue;
                }
                let account = accounts::insert(db, row)?;
                let event = Event::new(Kind::SignUp, &client).account(account.id).detail("import");
                event.write(db, now)?;
                events.push(event);
                outcomes.push(fit.added());
            }
            Ok((outcomes, events))
        })?;
        events.iter().for_each(|event| self.core.tell(event));
        Ok(outcomes)
    }

    fn rows(&self, fitting: &[&Fitting], tick: &(dyn Fn() + Sync)) -> Result<Vec<NewAccount>, Error> {
        let now = self.core.now();
        let hashes = hash_all(fitting, &self.core.hasher, tick)?;
        let row = |(fit, hashes): (&&Fitting, Hashed)| {
            let newcomer = &fit.newcomer;
            let row = self.core.new_row(&hashes, false, now)?;
            let stored = |hash: &Option<ImportedHash>| hash.as_ref().map(ImportedHash::stored);
            Ok(NewAccount {
                id: newcomer.id,
                uuid: newcomer.uuid.unwrap_or(row.uuid),
                stats: newcomer.stats.clone().unwrap_or(row.stats),
                status: newcomer.status,
                password: stored(&fit.password).or(row.password),
                pin: stored(&fit.pin).or(row.pin),
                last_sign_in_at: newcomer.last_sign_in_at,
                created_at: newcomer.created_at.unwrap_or(row.created_at),
                updated_at: newcomer.updated_at.unwrap_or(row.updated_at),
                must_change_password: newcomer.must_change_password,
                ..row
            })
        };
        fitting.iter().zip(hashes).map(row).collect()
    }
}

impl Fitting {
    fn is_plain(&self) -> bool {
        self.newcomer.person.password.is_some() || self.newcomer.person.pin.is_some()
    }

    fn added(&self) -> Outcome {
        let (person, newcomer) = (&self.newcomer.person, &self.newcomer);
        let secrets = [&person.password, &person.pin, &newcomer.password_hash, &newcomer.pin_hash];
        Outcome::Added { has_secret: secrets.iter().any(|secret| secret.is_some()) }
    }
}

/// Hashes whatever is plain, in order, on as many threads as the machine runs at a time.
fn hash_all(fitting: &[&Fitting], hasher: &Hasher, tick: &(dyn Fn() + Sync)) -> Result<Vec<Hashed>, InternalError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        while let Some((number, fit)) = take_next(fitting, &next) {
            made.push((number, fit.validated.clone().hash(hasher)));
            tick();
        }
        made
    };
    let threads = std::thread::available_parallelism().map_or(1, Into::into).min(fitting.len());
    let mut made: Vec<(usize, Result<Hashed, InternalError>)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    made.sort_by_key(|(number, _)| *number);
    if made.len() < fitting.len() {
        return Err(InternalError::Broken("a hashing thread panicked".to_owned()));
    }
    made.into_iter().map(|(_, hashed)| hashed).collect()
}

fn take_next<'a>(fitting: &[&'a Fitting], next: &AtomicUsize) -> Option<(usize, &'a Fitting)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    fitting.get(number).map(|fit| (number, *fit))
}

/// Rules that only an import has.
fn faults(newcomer: &ImportRecord, now: Timestamp) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut refuse = |broken: bool, field: Field, rule: FieldRule| {
        if broken {
            faults.push(FieldError::new(field, rule));
        }
    };
    let outside = newcomer.id.is_some_and(|AccountId(id)| !(1..=ID_MAX).contains(&id));
    refuse(outside, Field::Id, FieldRule::IdOutOfRange(ID_MAX));
    let times = [
        (Field::CreatedAt, newcomer.created_at),
        (Field::UpdatedAt, newcomer.updated_at),
        (Field::LastSignIn, newcomer.last_sign_in_at),
    ];
    for (field, at) in times {
        let ahead = at.is_some_and(|at| at > now.plus(MAX_CLOCK_SKEW) || at < Timestamp::from_seconds(0));
        refuse(ahead, field, FieldRule::TimeOutOfRange);
    }
    let password = newcomer.person.password.as_ref().map(|secret| secret.expose().len());
    refuse(password == Some(0), Field::Password, FieldRule::TooShort(1));
    refuse(password > Some(SECRET_MAX), Field::Password, FieldRule::TooLong(SECRET_MAX));
    let nothing = newcomer.person.password.is_none() && newcomer.password_hash.is_none();
    refuse(newcomer.must_change_password && nothing, Field::MustChangePassword, FieldRule::WithoutPassword);
    let both = |plain: &Option<Secret>, hash: &Option<Secret>| plain.is_some() && hash.is_some();
    let one = FieldRule::BesidePlainSecret;
    refuse(both(&newcomer.person.password, &newcomer.password_hash), Field::PasswordHash, one);
    refuse(both(&newcomer.person.pin, &newcomer.pin_hash), Field::PinHash, one);
    faults
}

/// What no other line may have: a username is no other's name either, so the two share one space.
fn names(newcomer: &ImportRecord, validated: &Validated) -> Vec<String> {
    let [email, username, name] = validated.canonical();
    let email = email.map(|email| format!("email {email}"));
    let others = [username, name].into_iter().flatten().map(|name| format!("name {name}"));
    let id = newcomer.id.map(|id| format!("id {id}"));
    let uuid = newcomer.uuid.map(|uuid| format!("uuid {uuid}"));
    let mut names: Vec<String> = email.into_iter().chain(others).chain(id).chain(uuid).collect();
    names.dedup();
    names
}

/// What the rows that exist say to one; `None` when it is new.
fn find(db: &mut Db, fit: &Fitting) -> Result<Option<Outcome>, store::Error> {
    let held = holders(db, &fit.validated)?;
    let first = held.given.first().copied().flatten();
    if first.is_some() && held.given.iter().all(|holder| *holder == first) {
        return Ok(Some(Outcome::AlreadyThere));
    }
    if held.taken.any() {
        return Ok(Some(Outcome::Taken(held.taken)));
    }
    let id_taken = fit.newcomer.id.map(|id| accounts::find(db, id)).transpose()?.flatten().is_some();
    let uuid_taken = fit.newcomer.uuid.map(|uuid| accounts::has_uuid(db, uuid)).transpose()?.unwrap_or(false);
    Ok((id_taken || uuid_taken).then_some(Outcome::IdTaken))
}
