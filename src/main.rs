//! Hands the command line over to `doorward::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorward::cli::run()
}
