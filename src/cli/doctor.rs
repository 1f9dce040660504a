//! `doorward doctor`: diagnostics. It checks the settings as the service would read them and, with a URL, a running service as
//! browsers behind the same proxies see it, up to the first problem. Only the URL check changes anything: with an account it signs
//! in and out.

mod app_check;
mod browser_app;
mod calibration;
mod configuration;
mod finding;
mod http_client;
mod url_check;

use std::path::{Path, PathBuf};

use clap::Args;
use url::Url;

use super::console::{print_line, read_secret};
use crate::cli::error::CommandError;
use crate::settings::Settings;
use crate::settings::values::origin;
use crate::web::dialects;
use finding::Finding;
use http_client::{CheckError, HttpClient};

/// Check the configuration and, with a URL, the running service there.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    /// Also check the running service at this URL, and the app behind it: what a stranger gets, and with --as a sign-in, a
    /// refresh and a sign-out.
    #[arg(value_parser = origin)]
    url: Option<Url>,
    /// Also name everything that would keep a page of this origin (a single-page app) from using the service at the URL.
    #[arg(long, value_name = "ORIGIN", requires = "url", value_parser = origin)]
    app: Option<Url>,
    /// The email, username or name to sign in with at the URL. The password is prompted for.
    #[arg(long = "as", value_name = "IDENTIFIER", requires = "url")]
    identifier: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// The path prefix of the native API at the URL.
    #[arg(long, default_value = "/")]
    prefix: String,
    /// Measure each BCRYPT_COST on this machine. Occupies all hashing threads for some seconds.
    #[arg(long)]
    calibrate: bool,
    /// A PEM file of certificates to trust instead of Mozilla's.
    #[arg(long)]
    ca: Option<PathBuf>,
}

impl DoctorCommand {
    pub fn run(self, config: Option<&Path>) -> Result<(), CommandError> {
        let findings = match Settings::from_environment(&dialects::known(), config) {
            Ok(settings) => {
                let mut findings = configuration::check(&settings, config);
                findings.extend(self.calibrate.then(|| calibration::calibrate(&settings.passwords)));
                findings
            }
            Err(errors) => errors.0.into_iter().map(Finding::Failed).collect(),
        };
        findings.iter().for_each(Finding::print_line);
        let mut problems = findings.iter().filter(|finding| matches!(finding, Finding::Failed(_))).count();
        if let Some(url) = &self.url
            && let Err(problem) = self.check_url(url)?
        {
            Finding::Failed(problem.to_string()).print_line();
            problems += 1;
        }
        if let Some((url, app)) = self.url.as_ref().zip(self.app.as_ref()) {
            let findings = HttpClient::new(url, &self.prefix, self.ca.as_deref())
                .and_then(|client| browser_app::check(&client, app))
                .unwrap_or_else(|problem| vec![Finding::Failed(problem.to_string())]);
            print_line(&format!("checking a page of {}", app.as_str().trim_end_matches('/')));
            findings.iter().for_each(Finding::print_line);
            problems += findings.iter().filter(|finding| matches!(finding, Finding::Failed(_))).count();
        }
        match problems {
            0 => {
                print_line("No problems found");
                Ok(())
            }
            1 => Err(CommandError::Other("1 problem found".to_owned())),
            count => Err(CommandError::Other(format!("{count} problems found"))),
        }
    }

    /// Walks through the service at the URL; the first problem.
    fn check_url(&self, url: &Url) -> Result<Result<(), CheckError>, CommandError> {
        let account = self.identifier.as_deref();
        let secret = account.map(|_| read_secret("password", self.password_stdin)).transpose()?;
        print_line(&format!("checking {}", url.as_str().trim_end_matches('/')));
        let client = HttpClient::new(url, &self.prefix, self.ca.as_deref())
            .map_err(|error| CommandError::Other(error.to_string()))?;
        let mut report = |step: &str| Finding::Passed(step.to_owned()).print_line();
        let walked = url_check::run_anonymous(&client, &mut report);
        Ok(match account.zip(secret) {
            Some((account, secret)) => {
                walked.and_then(|has_app| url_check::run_signed_in(&client, account, &secret, has_app, &mut report))
            }
            None => walked.map(drop),
        })
    }
}
