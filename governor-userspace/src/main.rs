//! The `governor` command.

fn main() -> std::process::ExitCode {
    governor::surface::cli::main()
}
