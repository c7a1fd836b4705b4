//! The binary `nat`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nat_userspace::cli::main()
}
