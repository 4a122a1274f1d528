//! The list of known agents and what it matches.

use super::*;

fn seen<'a>(executable: &'a str, command: &'a str, command_line: &'a [u8]) -> Appearance<'a> {
    Appearance { executable: Some(executable), command, command_line }
}

#[test]
fn builtin_list_recognises_agents_and_spares_others() {
    let known = Recogniser::new(&KnownAgents::builtin()).unwrap();
    for (executable, command, line, expected) in [
        ("/home/a/.local/share/claude/versions/2.0.1", "2.0.1", "claude", Some("claude-code")),
        ("/usr/bin/node", "node", "node\0/usr/local/bin/claude\0-p", Some("claude-code")),
        ("/usr/bin/node", "claude", "node\0x", Some("claude-code")),
        ("/usr/bin/node", "node", "npm exec @anthropic-ai/claude-code", Some("claude-code")),
        ("/usr/bin/python3.11", "python3", "python3\0-m\0aider\0--model\0x", Some("aider")),
        ("/usr/bin/python3.11", "aider", "/usr/bin/python3\0/home/a/.local/bin/aider", Some("aider")),
        ("/usr/bin/codex (deleted)", "x", "x", Some("codex")),
        (
            "/usr/bin/node",
            "node",
            "npx\0-y\0@modelcontextprotocol/server-postgres\0postgresql://h/d",
            Some("mcp-server"),
        ),
        (
            "/usr/bin/node",
            "node",
            "node\0/app/node_modules/.bin/mcp-server-postgres\0postgresql://h/d",
            Some("mcp-server"),
        ),
        ("/usr/local/bin/postgres-mcp", "postgres-mcp", "postgres-mcp", Some("mcp-server")),
        ("/usr/bin/uv", "uv", "uvx\0postgres-mcp@0.3\0--access-mode=x", Some("mcp-server")),
        ("/opt/.devin/bin/run", "run", "run", Some("devin")),
        ("/usr/bin/psql", "psql", "psql\0-c\0select 1", None),
        ("/usr/bin/goose", "goose", "goose\0postgres\0up", None),
        ("/usr/bin/python3", "python3", "python3\0etl.py", None),
        ("/usr/bin/vim", "vim", "vim\0claude", None),
        ("/usr/lib/postgresql/15/bin/postgres", "postgres", "postgres: app shop [local] idle", None),
        ("/usr/bin/java", "java", "java\0-jar\0billing.jar", None),
        ("/bin/bash", "bash", "-bash", None),
    ] {
        let found = known.agent(seen(executable, command, line.as_bytes()));
        let name = found.as_deref().map(|text| text.split(": ").next().unwrap());
        assert_eq!(name, expected, "{executable} {line:?}: {found:?}");
    }
}

#[test]
fn builtin_markers_are_markers_not_settings() {
    let known = Recogniser::new(&KnownAgents::builtin()).unwrap();
    for marker in [
        "CLAUDECODE",
        "CURSOR_AGENT",
        "CODEX_SANDBOX",
        "CODEX_SANDBOX_NETWORK_DISABLED",
        "GEMINI_CLI",
        "AI_AGENT",
    ] {
        assert!(known.marker(marker).is_some(), "{marker}");
    }
    for setting in [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "AIDER_MODEL",
        "PATH",
        "CLAUDE",
        "XCLAUDECODE",
        "",
    ] {
        assert_eq!(known.marker(setting), None, "{setting}");
    }
}

#[test]
fn builtin_logins() {
    let known = Recogniser::new(&KnownAgents::builtin()).unwrap();
    assert!(known.login(seen("/usr/sbin/sshd", "sshd", b"sshd: alice@pts/0")).is_some());
    assert!(known.login(seen("/usr/bin/tmux", "tmux: server", b"tmux")).is_some());
    assert_eq!(known.login(seen("/usr/sbin/cron", "cron", b"cron\0-f")), None);
    assert_eq!(known.login_unit("ssh.service"), Some("ssh"));
    assert_eq!(known.login_unit("getty@tty1.service"), Some("console"));
    assert_eq!(known.login_unit("billing.service"), None);
}

#[test]
fn users_add_replace_and_disable() {
    let extra = KnownAgents::parse(
        "[[agent]]\nname = 'ours'\nenvironment = ['OUR_AGENT_*']\n\
         [[agent]]\nname = 'aider'\nenabled = false\n",
    )
    .unwrap();
    let known = Recogniser::new(&KnownAgents::builtin().extended(extra)).unwrap();
    assert_eq!(known.marker("OUR_AGENT_RUN"), Some("ours"));
    assert_eq!(known.agent(seen("/usr/bin/aider", "aider", b"aider")), None);
    assert!(known.agent(seen("/usr/bin/codex", "codex", b"codex")).is_some());
}

#[test]
fn strange_files_are_refused_with_the_reason() {
    for (text, expected) in [
        ("[[agent]]\nname = 'a'\nexecutable = ['x']\n", "line 3: unknown key `executable`"),
        ("[[agents]]\nname = 'a'\n", "line 1: unknown key `agents`"),
        ("[[agent]]\nexecutables = ['x']\n", "missing field `name`"),
        ("[[agent]]\nname = 'a'\n", "[[agent]] \"a\": give at least one"),
        ("[[agent]]\nname = ' '\nexecutables = ['x']\n", "must not be empty"),
        ("[[agent]]\nname = 'a'\nexecutables = ['**']\n", "line 3: a pattern of only wildcards"),
        ("[[agent]]\nname = 'a'\ncommand_line = ['']\n", "a pattern must not be empty"),
        ("[[agent]]\nname = 'a'\nenvironment = ['KEY=value']\n", "values are never read"),
        ("[[agent]]\nname = 'a'\nenvironment = ['*']\n", "write the name of a variable"),
        (
            "[[agent]]\nname = 'a'\nenvironment = ['A']\n[[agent]]\nname = 'a'\nenvironment = ['B']\n",
            "used twice",
        ),
        ("[[login]]\nname = 'a'\n", "[[login]] \"a\": give at least one"),
        ("[[agent]\n", "line 1"),
    ] {
        let error = KnownAgents::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}
