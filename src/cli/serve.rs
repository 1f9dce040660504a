//! `doorward serve`: opens, says where it listens and what is unsafe about it, answers until it is told to stop.

use super::console::say;
use crate::cli::error::Failure;
use crate::core::account::demo;
use crate::core::startup::Opened;
use crate::settings::Settings;
use crate::web::service::Doorward;
use crate::web::{Server, raise_open_files, too_few_open_files};

/// Answer requests until SIGTERM or SIGINT.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// Add the sample accounts emilys (password emilyspass) and cooluser1 (PIN 0000), both ADMIN. Refused with an https
    /// `PUBLIC_URL`: everybody knows their secrets.
    #[arg(long)]
    demo: bool,
}

impl Serve {
    pub fn run(self, settings: &Settings) -> Result<(), Failure> {
        if self.demo && settings.is_https() {
            return Err(Failure::Other(
                "--demo: everybody knows the sample accounts' secrets; leave it out with an https PUBLIC_URL".into(),
            ));
        }
        raise_open_files();
        let (door, opened) = Doorward::open(settings)?;
        if self.demo {
            demo::load(door.core())?;
        }
        let system = actix_web::rt::System::new();
        let outcome = system.block_on(async {
            let server = Server::bind(&door, settings, |_| {})?;
            announce(&server, settings, &door, &opened, self.demo);
            server.run_until_signal(cut).await
        });
        Ok(outcome?)
    }
}

/// A client that holds a request open must not hold the service.
fn cut() {
    log::warn!("requests were still running; they are cut");
    std::process::exit(0);
}

fn announce(server: &Server, settings: &Settings, door: &Doorward, opened: &Opened, demo: bool) {
    say(&format!("doorward {}", env!("CARGO_PKG_VERSION")));
    say(&format!("listening on http://{}", server.address()));
    let migrated = match opened.migrations.len() {
        0 => String::new(),
        1 => " (1 migration ran)".to_owned(),
        some => format!(" ({some} migrations ran)"),
    };
    say(&format!("  database  {}{migrated}", settings.database.database_url));
    let made = if opened.keys_created { " (made now, keep it safe)" } else { "" };
    let keys = settings.keys_file().display().to_string();
    let keys = if settings.keys.jwt_secret.is_some() && settings.keys.pepper.is_some() {
        "JWT_SECRET, PEPPER".into()
    } else {
        keys
    };
    say(&format!("  keys      {keys}{made}"));
    let mounts = door.mounts().iter().map(|mounted| format!("{} at {}", mounted.dialect.name, mounted.prefix));
    say(&format!("  mounts    {}", mounts.collect::<Vec<_>>().join(", ")));
    if settings.pages.pages {
        say("  pages     /login, /register, /account, /logout");
    }
    if let Some(server) = settings.mail.smtp_url.as_ref().filter(|_| settings.passwords.signup_silent) {
        say(&format!("  mail      {server}, for those who register"));
    }
    if let Some(file) = &settings.forward_auth.rules_file {
        say(&format!("  rules     {} in {}", file.rules.0.len(), file.path.display()));
    }
    if let Some(address) = server.metrics_address() {
        say(&format!("  metrics   http://{address}/metrics"));
    }
    if demo {
        say("  demo      emilys / emilyspass, cooluser1 / PIN 0000: everybody knows them");
    }
    if let Some(wanted) = door.core().algorithm_in_waiting() {
        let wanted = wanted.as_str();
        say(&format!("  tokens    the signing key is not of TOKEN_ALGORITHM={wanted}; make one: doorward keys rotate"));
    }
    if let Some(point) = too_few_open_files(settings) {
        say(&format!("  limit     {point}"));
    }
    for point in settings.unsafe_points() {
        say(&format!("  unsafe    {point}"));
    }
}
