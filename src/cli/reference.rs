//! References generated from the definition of the command line: shell completions and the man page. The list of settings is
//! reference/settings.rs's.

pub mod settings;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::console::print_text;
use crate::cli::error::CommandError;

/// Print completions for a shell. Bash: `doorward completions bash > ~/.local/share/bash-completion/completions/doorward`
#[derive(Debug, Args)]
pub struct CompletionsCommand {
    /// The shell.
    shell: Shell,
}

impl CompletionsCommand {
    pub fn run(&self, mut definition: Command) {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "doorward", &mut text);
        print_text(&text);
    }
}

/// Prints the man page, with a section for each command.
pub fn print_man_page(mut definition: Command) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::Other(format!("the man page cannot be rendered: {error}"));
    definition.build();
    let (page, mut text) = (Man::new(definition.clone()).section("1"), Vec::new());
    let sections = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    sections.into_iter().try_for_each(|render| render(&page, &mut text)).map_err(failed)?;
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        render_command(command, "doorward", &mut text).map_err(failed)?;
    }
    print_text(&text);
    Ok(())
}

fn render_command(command: &Command, parent: &str, text: &mut Vec<u8>) -> std::io::Result<()> {
    let name = format!("{parent} {}", command.get_name());
    // Described once, at the top.
    let renamed = command.clone().name(name.clone()).display_name(name.clone()).mut_arg("config", |arg| arg.hide(true));
    text.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
    let page = Man::new(renamed);
    for render in [Man::render_synopsis_section, Man::render_description_section, Man::render_options_section] {
        let mut section = Vec::new();
        render(&page, &mut section)?;
        // Below the command's own heading.
        text.extend_from_slice(
            String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").replacen(".SH ", ".SS ", 1).as_bytes(),
        );
    }
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        render_command(child, &name, text)?;
    }
    Ok(())
}
