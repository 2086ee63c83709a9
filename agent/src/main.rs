//! The `rientro-agent` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rientro_agent::cli::main()
}
