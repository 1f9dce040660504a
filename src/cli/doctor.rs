//! `doorward doctor`: what will not work, and why. First the settings, as the service would read them; then, given a URL,
//! a walk through a running service as its browsers see it, proxies included, up to the first thing that differs.
//! Nothing is changed but by the walk, which signs in and out.

mod calibration;
mod client;
mod configuration;
mod finding;
mod walk;

use finding::Finding;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::console::{print_line, read_secret};
use crate::cli::error::CommandError;
use crate::settings::Settings;
use crate::settings::values::origin;
use crate::web::dialects;

/// Say what will not work and why.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also walk through the service that answers here: https://auth.example.com. Needs --as.
    #[arg(value_parser = origin, requires = "identifier")]
    url: Option<Url>,
    /// Whose email, username or name to sign in with. The password is asked for.
    #[arg(long = "as", value_name = "IDENTIFIER")]
    identifier: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// Where native is mounted at the URL.
    #[arg(long, default_value = "/")]
    prefix: String,
    /// Measure what each BCRYPT_COST takes on this machine; takes some seconds of all hashing threads.
    #[arg(long)]
    calibrate: bool,
    /// A file of certificates to trust instead of Mozilla's: PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
}

impl Doctor {
    pub fn run(self) -> Result<(), CommandError> {
        let findings = match Settings::from_environment(&dialects::known()) {
            Ok(settings) => {
                let mut findings = configuration::examine(&settings);
                findings.extend(self.calibrate.then(|| calibration::calibrate(&settings.passwords)));
                findings
            }
            Err(faults) => faults.0.into_iter().map(Finding::Failed).collect(),
        };
        findings.iter().for_each(Finding::print_line);
        let mut wrong = findings.iter().filter(|finding| matches!(finding, Finding::Failed(_))).count();
        if let (Some(url), Some(identifier)) = (&self.url, &self.identifier) {
            let secret = read_secret("password", self.password_stdin)?;
            print_line(&format!("walking through {}", url.as_str().trim_end_matches('/')));
            let client = client::Client::new(url, &self.prefix, self.ca.as_deref()).map_err(CommandError::Other)?;
            if let Err(difference) =
                walk::walk(&client, identifier, &secret, |step| Finding::Passed(step.into()).print_line())
            {
                Finding::Failed(difference).print_line();
                wrong += 1;
            }
        }
        match wrong {
            0 => {
                print_line("nothing was found that will not work");
                Ok(())
            }
            1 => Err(CommandError::Other("1 thing will not work".to_owned())),
            many => Err(CommandError::Other(format!("{many} things will not work"))),
        }
    }
}
