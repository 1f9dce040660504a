//! Program entry point: runs the command line of `doorward::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorward::cli::run()
}
