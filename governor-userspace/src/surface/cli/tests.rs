//! The command line describes itself completely.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn command_lines_of_users_are_read() {
    for line in [
        "governor run",
        "governor run --config a.toml --state-dir /tmp/x --profile observe --ready-fd 3",
        "governor --state-dir /tmp/x status --wait",
        "governor status --wait=5 --json",
        "governor doctor",
        "governor approvals list --all -n 5",
        "governor approvals show k7q --full",
        "governor approvals approve k7q2mx --note 'ticket'",
        "governor approvals deny k7q2mx -m no",
        "governor approvals refuse k7q2mx",
        "governor reveal --reason why tok_00ff00ff_AAAA tok_00ff00ff_BBBB",
        "governor keys list --json",
        "governor keys rotate",
        "governor keys hello --next",
        "governor keys hello --use-next",
        "governor reload --json",
        "governor completions zsh",
        "governor man --dir /tmp/man",
    ] {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    for line in [
        "governor run --profile loud",
        "governor run --ready-fd 1",
        "governor status --wait=soon",
        "governor status --wait 5",
        "governor approvals approve",
        "governor completions tcsh",
        "governor reveal tok_00ff00ff_AAAA",
        "governor reveal --reason why",
        "governor keys",
        "governor keys hello --next --use-next",
        "governor dance",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

/// Every verb explains itself, and the ones that a new user meets first show how.
#[test]
fn help_is_complete() {
    fn walk(command: &clap::Command) {
        for verb in command.get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
            walk(verb);
        }
        for option in command.get_arguments().filter(|option| option.get_long().is_some()) {
            assert!(option.get_help().is_some(), "{} --{:?}", command.get_name(), option.get_long());
        }
    }
    let mut command = Cli::command();
    walk(&command);
    for verb in ["run", "status", "doctor", "approvals", "completions", "man"] {
        let help = command.find_subcommand_mut(verb).unwrap().render_long_help().to_string();
        assert!(help.contains("Examples:"), "{verb}");
    }
}

#[test]
fn man_pages_and_completions_cover_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    man::run(man::ManArgs { dir: Some(dir.path().into()) }).unwrap();
    for page in ["governor", "governor-run", "governor-approvals", "governor-approvals-show", "governor-man"]
    {
        let text = std::fs::read_to_string(dir.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "governor", &mut script);
    let script = String::from_utf8(script).unwrap();
    for verb in ["approvals", "doctor", "status"] {
        assert!(script.contains(verb), "{verb}");
    }
}

#[test]
fn no_agent_is_told_with_the_socket_and_the_way_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let client = client::Client::new(dir.path().join("control.sock"));
    let error = client.get::<crate::app::handle::Status>("/v1/status").unwrap_err().to_string();
    let socket = dir.path().join("control.sock");
    assert!(error.contains("no governor is running") && error.contains(socket.to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("governor run --state-dir {}", dir.path().display())), "{error}");
}
