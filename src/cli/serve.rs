//! `doorward serve`: opens the service, prints the start-up lines with their warnings, and serves until SIGTERM or SIGINT.
//! SIGHUP reads rules, keys and log level again.

use std::path::Path;

use super::console::print_line;
use super::logs;
use crate::cli::error::CommandError;
use crate::core::account::demo;
use crate::core::startup::Opened;
use crate::settings::Settings;
use crate::web::dialects;
use crate::web::service::Doorward;
use crate::web::{Server, raise_open_files, too_few_open_files};

/// Run the service until SIGTERM or SIGINT.
#[derive(Debug, Default, clap::Args)]
pub struct ServeCommand {
    /// Add the sample accounts emilys (password emilyspass) and cooluser1 (PIN 0000), both ADMIN. Their secrets are public;
    /// refused with an https PUBLIC_URL.
    #[arg(long)]
    demo: bool,
}

impl ServeCommand {
    pub fn run(self, settings: &Settings, config: Option<&Path>) -> Result<(), CommandError> {
        if self.demo && settings.is_https() {
            return Err(CommandError::Other(
                "--demo: the secrets of the sample accounts are public; remove it, or use an http PUBLIC_URL".into(),
            ));
        }
        raise_open_files();
        let (service, opened) = Doorward::open(settings)?;
        if self.demo {
            demo::load(service.core())?;
        }
        let system = actix_web::rt::System::new();
        let outcome = system.block_on(async {
            let server = Server::bind(&service, settings, |_| {})?;
            announce(&server, settings, &service, &opened, self.demo);
            let (reloaded, config) = (service.clone(), config.map(Path::to_owned));
            server.run_until_signal(move || reload(&reloaded, config.as_deref()), abort).await
        });
        // Threads of the server may hold the service for a moment longer, so its end is not left to the last of them.
        service.core().leave();
        Ok(outcome?)
    }
}

/// Reads the settings again and takes what can change while requests run: rules, keys and log level. Invalid settings change
/// nothing.
fn reload(service: &Doorward, config: Option<&Path>) {
    match Settings::from_environment(&dialects::known(), config) {
        Ok(settings) => {
            logs::start(&settings, true);
            service.reload(&settings);
            let rules = settings.forward_auth.rules_file.as_ref().map_or(0, |file| file.rules.0.len());
            log::info!(rules, level = settings.web.rust_log.as_str(); "rules, keys and log level reloaded; other settings need a restart");
        }
        Err(errors) => {
            errors.0.iter().for_each(|error| log::error!(error:%; "invalid settings; the former stay in use"));
        }
    }
}

/// Ends the process when the shutdown timeout has passed: a client that keeps a request open must not keep the service
/// running.
fn abort() {
    log::warn!("shutdown timeout: requests still running were aborted");
    std::process::exit(0);
}

/// Prints the start-up lines: where the service listens, what it uses, and warnings.
fn announce(server: &Server, settings: &Settings, service: &Doorward, opened: &Opened, demo: bool) {
    print_line(&format!("doorward {}", env!("CARGO_PKG_VERSION")));
    print_line(&format!("listening on http://{}", server.address()));
    let migrated = match opened.migrations.len() {
        0 => String::new(),
        1 => " (1 migration applied)".to_owned(),
        count => format!(" ({count} migrations applied)"),
    };
    print_line(&format!("  database  {}{migrated}", settings.database.database_url));
    let created = if opened.keys_created { " (created; keep a backup)" } else { "" };
    let keys = settings.keys_file().display().to_string();
    let keys = if settings.keys.jwt_secret.is_some() && settings.keys.pepper.is_some() {
        "JWT_SECRET, PEPPER".into()
    } else {
        keys
    };
    print_line(&format!("  keys      {keys}{created}"));
    let mounts = service.mounts().iter().map(|mounted| format!("{} at {}", mounted.dialect.name, mounted.prefix));
    print_line(&format!("  mounts    {}", mounts.collect::<Vec<_>>().join(", ")));
    if settings.pages.pages {
        print_line("  pages     /login, /register, /account, /logout");
    }
    if let Some(server) = settings.mail.smtp_url.as_ref().filter(|_| settings.passwords.signup_confirm_email) {
        print_line(&format!("  mail      {server}, for sign-up confirmations"));
    }
    if let Some(file) = &settings.forward_auth.rules_file {
        print_line(&format!("  rules     {} in {}", file.rules.0.len(), file.path.display()));
    }
    if let Some(address) = server.metrics_address() {
        print_line(&format!("  metrics   http://{address}/metrics"));
    }
    if demo {
        print_line("  demo      emilys / emilyspass, cooluser1 / PIN 0000 (publicly known)");
    }
    if let Some(algorithm) = service.core().pending_algorithm() {
        let algorithm = algorithm.as_str();
        print_line(&format!(
            "  warning   no signing key for TOKEN_ALGORITHM={algorithm}; create one: doorward keys rotate"
        ));
    }
    let nodes = service.core().node_warnings();
    let warnings = too_few_open_files(settings).into_iter().chain(settings.security_warnings()).chain(nodes);
    warnings.for_each(|warning| print_line(&format!("  warning   {warning}")));
}
