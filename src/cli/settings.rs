//! `doorward settings`: every setting with its default, as an `.env` file to start from or as the README's table.
//! `.env.example` and the README hold exactly this; a test compares.

use std::fmt::Write as _;

use super::console::say;
use crate::settings::describe;
use crate::web::dialects;

/// List every setting with its meaning and default, as a commented .env file.
#[derive(Debug, clap::Args)]
pub struct List {
    /// As a Markdown table.
    #[arg(long)]
    markdown: bool,
}

impl List {
    pub fn run(&self) {
        let text = if self.markdown { markdown() } else { env_file() };
        say(text.trim_end());
    }
}

fn env_file() -> String {
    let mut text = "# doorward's settings with their defaults. Copy to .env and change what you need; the environment wins over it.\n\
                    # Durations are seconds (90) or units (15m, 12h, 30d).\n"
        .to_owned();
    let mut heading = String::new();
    for setting in describe() {
        if setting.heading != heading {
            let _ = write!(text, "\n# --- {} ---\n", setting.heading);
            heading = setting.heading;
        }
        let default = setting.default.unwrap_or_default();
        let _ = write!(text, "\n# {}\n#{}={default}\n", setting.help, setting.name);
    }
    text.push_str("\n# --- Mounts ---\n");
    for dialect in dialects::ALL {
        let name = dialect.name.to_uppercase();
        let _ = write!(text, "\n# Lifetimes of tokens and sessions under the mount of {}.\n", dialect.name);
        let _ = write!(text, "#{name}_ACCESS_TTL=\n#{name}_REFRESH_TTL=\n");
    }
    text
}

fn markdown() -> String {
    let mut text = "| setting | default | what it does |\n|---|---|---|\n".to_owned();
    for setting in describe() {
        let default = setting.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let help = setting.help.replace('|', "\\|").replace('<', "&lt;");
        let _ = writeln!(text, "| `{}` | {default} | {help} |", setting.name);
    }
    text
}
