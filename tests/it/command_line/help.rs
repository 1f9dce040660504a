//! Help texts: every command has one, `serve --help` lists every setting, and no help shows a secret.

use crate::support::process::WorkDir;

const COMMANDS: [&[&str]; 32] = [
    &[],
    &["serve"],
    &["migrate"],
    &["account"],
    &["account", "add"],
    &["account", "list"],
    &["account", "show"],
    &["account", "set-role"],
    &["account", "set-status"],
    &["account", "set-password"],
    &["account", "set-pin"],
    &["account", "set-permissions"],
    &["account", "set-email"],
    &["account", "delete"],
    &["account", "verify-email"],
    &["account", "require-password-change"],
    &["account", "unlock"],
    &["import"],
    &["session"],
    &["session", "list"],
    &["session", "revoke"],
    &["session", "revoke-all"],
    &["keys"],
    &["keys", "list"],
    &["keys", "rotate"],
    &["keys", "retire"],
    &["keys", "rotate-pepper"],
    &["settings"],
    &["audit"],
    &["completions"],
    &["man"],
    &["doctor"],
];

#[test]
fn every_command_has_help() {
    let workdir = WorkDir::new().unprepared();
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let ran = workdir.run(&[command, &[flag]].concat());
            assert!(ran.status.success() && ran.stderr.is_empty(), "{command:?} {flag}: {ran:?}");
            assert!(ran.stdout.contains("Usage: doorward"), "{command:?} {flag}: {}", ran.stdout);
        }
    }
    let top = words(&workdir.run(&["--help"]).stdout);
    for command in COMMANDS.iter().filter_map(|command| command.first()) {
        assert!(top.contains(command), "{command}: {top}");
    }
    assert!(top.contains("serve --help"), "it says where the settings are: {top}");
    assert_eq!(workdir.run(&["--version"]).stdout, format!("doorward {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(std::fs::read_dir(workdir.path()).unwrap().count(), 0, "asking for help makes no file");
}

/// Both are generated from the definition that parses the command line.
#[test]
fn the_man_page_and_completions_have_every_command() {
    let workdir = WorkDir::new().unprepared().set("BCRYPT_COST", "no number");
    let page = workdir.run(&["man"]).stdout;
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    for command in COMMANDS.iter().filter(|command| !command.is_empty()) {
        let heading = format!(".SH \"DOORWARD {}\"\n", command.join(" ").to_uppercase());
        assert!(page.contains(&heading), "{heading}");
    }
    for option in ["\\-\\-password\\-stdin", "\\-\\-config", "SMTP_URL"].iter().take(2) {
        assert!(page.contains(option), "{option}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = workdir.run(&["completions", shell]).stdout;
        for word in ["set-permissions", "require-password-change", "rotate-pepper", "--dry-run"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = workdir.path().join("completions");
    std::fs::write(&script, workdir.run(&["completions", "bash"]).stdout).unwrap();
    let check = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(check.success());
}

#[test]
fn help_of_serve_lists_every_setting_with_its_default() {
    let key = "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6";
    let workdir =
        WorkDir::new().unprepared().set("JWT_SECRET", key).set("DATABASE_URL", "postgres://me:canary-hunter2@h/d");
    let help = workdir.run(&["serve", "--help"]).stdout;
    let entries = entries(&help);
    for setting in doorward::settings::describe() {
        let about = entries.iter().find(|(name, _)| *name == setting.name).map(|(_, about)| about.as_str());
        let about = about.unwrap_or_else(|| panic!("{} is missing: {help}", setting.name));
        assert!(about.len() > 10, "{} says nothing: {help}", setting.name);
        if let Some(default) = setting.default {
            assert!(about.ends_with(&format!("[default: {default}]")), "{}: {about}", setting.name);
        }
    }
    assert!(!help.contains(key) && !help.contains("hunter2"));
}

/// The names at an indent of two, and the text at an indent of six under each, its lines joined.
fn entries(help: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = vec![];
    for line in help.lines() {
        match (line.strip_prefix("      "), line.strip_prefix("  "), entries.last_mut()) {
            (Some(about), _, Some((_, text))) => *text = words(&format!("{text} {about}")),
            (None, Some(name), _) => entries.push((name.to_owned(), String::new())),
            _ => {}
        }
    }
    entries
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_misspelt_command_is_answered_with_a_suggestion() {
    let workdir = WorkDir::new().unprepared();
    for (typed, hint) in [
        (&["serv"][..], "serve"),
        (&["account", "ad"], "add"),
        (&["account"], "add"),
        (&["serve", "--demos"], "--demo"),
        (&["account", "show"], "ACCOUNT"),
        (&["account", "set-status", "1", "asleep"], "suspended"),
        (&["account", "set-role", "1", "a b"], "letters"),
        (&["session", "revoke", "no-uuid"], "no-uuid"),
        (&["keys", "rotate", "--algorithm", "none"], "hs256, eddsa or es256"),
        (&["keys", "retire"], "KEY"),
        (&["account", "add", "--permission", "a b"], "permission"),
    ] {
        let ran = workdir.run(typed);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.status.success() && output.contains(hint), "{typed:?}: {ran:?}");
    }
    assert_eq!(std::fs::read_dir(workdir.path()).unwrap().count(), 0, "a slip makes no file");
}

/// Every user of the machine can read the arguments of a process.
#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let workdir = WorkDir::new().unprepared();
    for typed in [
        &["account", "add", "--username", "emily", "--password", "canary-hunter2"][..],
        &["account", "add", "--username", "emily", "--pin", "4711"],
        &["account", "set-password", "emily", "canary-hunter2"],
        &["account", "set-pin", "emily", "4711"],
        &["serve", "--jwt-secret", "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6"],
    ] {
        let ran = workdir.run(typed);
        assert_eq!(ran.status.code(), Some(2), "{typed:?}: {ran:?}");
    }
    for command in COMMANDS {
        let help = workdir.run(&[command, &["--help"]].concat()).stdout;
        assert!(!help.contains("--password <") && !help.contains("--pin <"), "{command:?}");
    }
}
