//! `doorward serve`: opens, says where it listens and what is unsafe about it, answers until it is told to stop.

use super::console::print_line;
use crate::cli::error::CommandError;
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
    pub fn run(self, settings: &Settings) -> Result<(), CommandError> {
        if self.demo && settings.is_https() {
            return Err(CommandError::Other(
                "--demo: everybody knows the sample accounts' secrets; leave it out with an https PUBLIC_URL".into(),
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

fn announce(server: &Server, settings: &Settings, service: &Doorward, opened: &Opened, demo: bool) {
    print_line(&format!("doorward {}", env!("CARGO_PKG_VERSION")));
    print_line(&format!("listening on http://{}", server.address()));
    let migrated = match opened.migrations.len() {
        0 => String::new(),
        1 => " (1 migration ran)".to_owned(),
        some => format!(" ({some} migrations ran)"),
    };
    print_line(&format!("  database  {}{migrated}", settings.database.database_url));
    let made = if opened.keys_created { " (made now, keep it safe)" } else { "" };
    let keys = settings.keys_file().display().to_string();
    let keys = if settings.keys.jwt_secret.is_some() && settings.keys.pepper.is_some() {
        "JWT_SECRET, PEPPER".into()
    } else {
        keys
    };
    print_line(&format!("  keys      {keys}{made}"));
    let mounts = service.mounts().iter().map(|mounted| format!("{} at {}", mounted.dialect.name, mounted.prefix));
    print_line(&format!("  mounts    {}", mounts.collect::<Vec<_>>().join(", ")));
    if settings.pages.pages {
        print_line("  pages     /login, /register, /account, /logout");
    }
    if let Some(server) = settings.mail.smtp_url.as_ref().filter(|_| settings.passwords.signup_confirm_email) {
        print_line(&format!("  mail      {server}, for those who register"));
    }
    if let Some(file) = &settings.forward_auth.rules_file {
        print_line(&format!("  rules     {} in {}", file.rules.0.len(), file.path.display()));
    }
    if let Some(address) = server.metrics_address() {
        print_line(&format!("  metrics   http://{address}/metrics"));
    }
    if demo {
        print_line("  demo      emilys / emilyspass, cooluser1 / PIN 0000: everybody knows them");
    }
    if let Some(wanted) = service.core().pending_algorithm() {
        let wanted = wanted.as_str();
        print_line(&format!(
            "  tokens    the signing key is not of TOKEN_ALGORITHM={wanted}; make one: doorward keys rotate"
        ));
    }
    if let Some(point) = too_few_open_files(settings) {
        print_line(&format!("  limit     {point}"));
    }
    for point in settings.unsafe_points() {
        print_line(&format!("  unsafe    {point}"));
    }
}
