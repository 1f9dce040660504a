//! The documents against the code: generated pages, error codes, commands, metrics, examples, links, and the tests that
//! docs/security.md names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::process::WorkDir;
use crate::support::project::{assert_none, document, root};

/// Codes that no refusal has: internal errors, and the one that only the checks of a proxy answer.
const FURTHER_CODES: [&str; 3] = ["unavailable", "internal_error", "invalid_forwarded_headers"];

/// The files below a folder with this extension, as paths from the project's root.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let (mut found, mut folders) = (vec![], vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every document for people, but for the tables of benchmark runs.
fn documents() -> Vec<String> {
    let top = root().read_dir().unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let top = top.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "md"));
    let found: Vec<String> = top.chain(files("docs", "md")).collect();
    assert!(found.len() > 12, "{found:?}");
    found
}

/// The code spans outside code blocks.
fn code_spans(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(|part| part.lines()).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

fn first_cells(document: &str) -> Vec<&str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once("` |")?.0)).collect()
}

fn has_row(document: &str, first: &str, also: &str) -> bool {
    let row = format!("| `{first}` |");
    document.lines().any(|line| line.starts_with(&row) && line.contains(also))
}

/// A document is exactly what a command prints.
fn assert_generated(file: &str, arguments: &[&str]) {
    let printed = WorkDir::new().run(arguments).stdout;
    assert!(printed == document(file), "{file} is not what doorward {arguments:?} prints: run ./scripts/generate");
}

#[test]
fn env_example_is_generated() {
    assert_generated(".env.example", &["settings"]);
}

#[test]
fn env_example_has_every_setting_with_its_default() {
    let example = document(".env.example");
    let lines: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#').trim()).collect();
    let settings = doorward::settings::describe();
    let wanted =
        settings.iter().map(|setting| format!("{}={}", setting.name, setting.default.as_deref().unwrap_or_default()));
    assert_none(&wanted.filter(|line| !lines.contains(&line.as_str())).collect::<Vec<_>>());
}

#[test]
fn settings_page_is_generated() {
    assert_generated("docs/settings.md", &["settings", "--markdown"]);
}

#[test]
fn settings_page_has_every_setting_with_its_default() {
    let page = document("docs/settings.md");
    let missing = doorward::settings::describe()
        .into_iter()
        .filter(|setting| !has_row(&page, &setting.name, setting.default.as_deref().unwrap_or_default()));
    assert_none(&missing.map(|setting| format!("{} {:?}", setting.name, setting.default)).collect::<Vec<_>>());
}

/// A renamed setting must not stay behind in a sentence.
#[test]
fn settings_that_documents_name_exist() {
    let page = document("docs/settings.md");
    let known: BTreeSet<&str> = first_cells(&page).into_iter().collect();
    let is_name = |text: &str| {
        text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let mut faults = vec![];
    // The changelog names former settings too.
    for name in documents().iter().filter(|name| *name != "CHANGELOG.md") {
        let text = document(name);
        let named = code_spans(&text).into_iter().filter_map(|span| span.split(['=', ' ']).next());
        let settings =
            named.filter(|word| is_name(word) && !word.starts_with("DOORWARD_") && !word.starts_with("NAME_"));
        let is_known = |word: &str| known.contains(word) || known.contains(word.trim_end_matches("_FILE"));
        let unknown = settings.filter(|word| !is_known(word));
        faults.extend(unknown.map(|word| format!("{name}: {word} is no setting")));
    }
    assert_none(&faults);
}

/// The values of the functions called `code`, in whatever file.
fn codes_of_refusals() -> BTreeSet<String> {
    let texts = files("src", "rs").into_iter().map(|file| document(&file)).collect::<Vec<_>>();
    let bodies = texts.iter().flat_map(|text| text.split(" fn code(&self").skip(1));
    let bodies = bodies.filter_map(|rest| Some(rest.split_once("\n    }\n")?.0));
    let lines = bodies.flat_map(str::lines).filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","));
    lines.map(ToOwned::to_owned).collect()
}

#[test]
fn error_codes_are_documented() {
    let mut codes = codes_of_refusals();
    assert!(codes.len() > 20 && codes.contains("token_invalid"), "{codes:?}");
    codes.extend(FURTHER_CODES.map(ToOwned::to_owned));
    let page = document("docs/errors.md");
    let table = page.split_once("## Codes").unwrap().1.split("## Rules of fields").next().unwrap();
    let documented: BTreeSet<String> = first_cells(table).into_iter().map(ToOwned::to_owned).collect();
    let undocumented = codes.difference(&documented).map(|code| format!("{code} is not documented"));
    let unknown = documented.difference(&codes).map(|code| format!("{code} is documented, and no code"));
    assert_none(&undocumented.chain(unknown).collect::<Vec<_>>());
}

/// Every rule that a request's field can break; the others are of imports and of the command line.
#[test]
fn codes_of_field_rules_are_documented() {
    const NOT_OF_REQUESTS: [&str; 7] = [
        "no_password",
        "without_password",
        "beside_plain_secret",
        "id_out_of_range",
        "time_out_of_range",
        "unknown_hash_format",
        "hash_too_expensive",
    ];
    let source = document("src/web/response/field_error.rs");
    let body = source.split_once(" fn code(").unwrap().1.split_once("\n}\n").unwrap().0;
    let codes: BTreeSet<&str> =
        body.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    let codes: BTreeSet<&str> = codes.into_iter().filter(|code| !NOT_OF_REQUESTS.contains(code)).collect();
    let page = document("docs/errors.md");
    let table = page.split_once("## Rules of fields").unwrap().1.split("## Headers").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let documented: BTreeSet<&str> =
        rows.flat_map(|cell| cell.split(',')).map(|code| code.trim().trim_matches('`')).collect();
    assert_eq!(documented, codes);
}

#[test]
fn error_codes_of_faults_are_those_of_the_source() {
    let texts: Vec<String> = files("src", "rs").iter().map(|file| document(file)).collect();
    let missing = FURTHER_CODES.iter().filter(|code| !texts.iter().any(|text| text.contains(&format!("\"{code}\""))));
    assert_none(&missing.map(|code| (*code).to_owned()).collect::<Vec<_>>());
}

/// Names and labels of metrics in the documents are string literals of the source.
#[test]
fn metrics_that_documents_name_exist() {
    let source: String = files("src", "rs").iter().map(|file| document(file)).collect();
    let mut faults = vec![];
    for name in documents().iter().filter(|name| *name != "CHANGELOG.md") {
        let text = document(name);
        for metric in code_spans(&text).into_iter().filter_map(|span| span.strip_prefix("doorward_")) {
            let words = metric.split(|c: char| !c.is_alphanumeric() && c != '_');
            let unknown = words.filter(|word| word.contains('_') || word.ends_with("total") || word.len() > 3);
            let unknown = unknown.filter(|word| !source.contains(&format!("\"{word}\"")));
            faults.extend(unknown.map(|word| format!("{name}: {word} of doorward_{metric}")));
        }
    }
    assert_none(&faults);
}

/// The commands without subcommands, each with its help.
fn commands() -> Vec<(String, String)> {
    let workdir = WorkDir::new();
    let (mut leaves, mut waiting) = (vec![], vec![vec![]]);
    while let Some(command) = waiting.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = workdir.run(&arguments).stdout;
        let Some((_, list)) = help.split_once("\nCommands:\n") else {
            leaves.push((format!("doorward {}", command.join(" ")), help));
            continue;
        };
        let list = list.split("\n\n").next().unwrap().lines();
        let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let names = names.filter(|name| !name.is_empty() && *name != "help");
        waiting.extend(names.map(|name| command.iter().cloned().chain([name.to_owned()]).collect()));
    }
    assert!(leaves.len() > 20, "{leaves:?}");
    leaves
}

fn flags<'a>(words: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let flags = words.filter(|word| word.starts_with("--") && !["--help", "--version"].contains(word));
    flags.collect()
}

#[test]
fn commands_are_documented() {
    let page = document("docs/cli.md");
    let mut faults = vec![];
    let mut headings = BTreeSet::new();
    for (command, help) in commands() {
        let heading = format!("\n### `{command}`\n");
        let Some((_, section)) = page.split_once(&heading) else {
            faults.push(format!("{command} has no section"));
            continue;
        };
        headings.insert(heading);
        let section = section.split("\n##").next().unwrap();
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        // `--config` is every command's, and described once.
        let has_own = help.matches("\n      --").count() > 1;
        let usage = if has_own { usage.to_owned() } else { usage.replace(" [OPTIONS]", "") };
        if !section.contains(&format!("\n`{usage}`\n")) {
            faults.push(format!("{command}: the usage is {usage}"));
        }
        let options = help.split_once("\nOptions:\n").unwrap().1.lines();
        let named = options.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
        let real = flags(named.filter(|flag| *flag != "--config"));
        let rows =
            section.lines().filter(|line| line.starts_with("| `--")).map(|line| line.split(" | ").next().unwrap());
        let documented = flags(rows.flat_map(|cell| cell.split(['`', ' '])));
        if real != documented {
            faults.push(format!("{command}: {documented:?} are documented, there are {real:?}"));
        }
    }
    faults.extend((page.matches("\n### ").count() != headings.len()).then(|| "a section is no command's".to_owned()));
    assert_none(&faults);
}

/// The commands of docs/import.md, with the file shown there.
#[test]
fn import_example_prints_what_its_page_says() {
    let page = document("docs/import.md");
    let example = page.split("```").find(|block| block.contains("$ cat people.jsonl")).unwrap();
    let mut steps = example.split("\n$ ").skip(1).map(|step| step.split_once('\n').unwrap());
    let (_, people) = steps.next().unwrap();
    let workdir = WorkDir::new();
    std::fs::write(workdir.file("people.jsonl"), people).unwrap();
    for (command, printed) in steps {
        let ran = workdir.run(&command.split(' ').skip(1).collect::<Vec<_>>());
        assert_eq!(format!("{}{}", ran.stdout, ran.stderr).trim_end(), printed.trim_end(), "{command}");
    }
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// Why a link of a document does not work.
fn broken(from: &str, target: &str) -> Option<String> {
    let (file, section) = target.split_once('#').unwrap_or((target, ""));
    let path = Path::new(from).parent().unwrap().join(file);
    let path = if file.is_empty() { PathBuf::from(from) } else { path };
    if !root().join(&path).exists() {
        return Some(format!("{from}: {target} does not exist"));
    }
    let has_section = || {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == section)
    };
    (!section.is_empty() && !has_section()).then(|| format!("{from}: {target} has no such section"))
}

#[test]
fn links_lead_somewhere() {
    let mut faults = vec![];
    for name in documents() {
        let text = document(&name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let inside = targets.filter(|target| !target.contains("://"));
        faults.extend(inside.filter_map(|target| broken(&name, target)));
    }
    assert_none(&faults);
}

#[test]
fn paths_that_documents_name_exist() {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "docs/", "deploy/", "scripts/", "benches/", "migrations/", "templates/", "examples/"];
    let mut faults = vec![];
    for name in documents() {
        let text = document(&name);
        let named = code_spans(&text).into_iter().map(|span| span.trim_start_matches("./").split(' ').next().unwrap());
        let paths = named.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
        // Without placeholders and patterns.
        let exact =
            paths.filter(|path| !path.contains("NAME") && !path.contains("DATE") && !path.contains(['{', '…', '*']));
        faults.extend(exact.filter(|path| !root().join(path).exists()).map(|path| format!("{name}: {path}")));
    }
    assert_none(&faults);
}

/// The files that may hold the module of a test: in the suite, or beside the code as `tests`.
fn files_of(modules: &[&str]) -> Vec<PathBuf> {
    let path = modules.join("/");
    let unit = modules.split_last().filter(|(last, _)| **last == "tests").map(|(_, rest)| rest.join("/"));
    let candidates = [
        Some(format!("tests/it/{path}.rs")),
        Some(format!("tests/{path}.rs")),
        unit.map(|of| format!("src/{of}.rs")),
        Some(format!("src/{path}.rs")),
    ];
    candidates.into_iter().flatten().map(|name| root().join(name)).filter(|file| file.exists()).collect()
}

#[test]
fn security_page_names_tests_that_exist() {
    let text = document("docs/security.md");
    let (_, text) = text.split_once("## Requirements and tests").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named: Vec<&str> =
        rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| name.contains("::")).collect();
    assert!(named.len() > 100, "{}", named.len());
    let exists = |path: &&str| {
        let parts: Vec<&str> = path.split("::").collect();
        let (last, modules) = parts.split_last().unwrap();
        let holds = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains(&format!("fn {last}("));
        files_of(modules).iter().any(holds)
    };
    assert_none(&named.into_iter().filter(|name| !exists(name)).map(ToOwned::to_owned).collect::<Vec<_>>());
    let empty = text.lines().filter(|line| line.starts_with("| ") && !line.contains("::"));
    assert_none(&empty.filter(|line| *line != "| Requirement | Tests |").map(ToOwned::to_owned).collect::<Vec<_>>());
}

#[test]
fn readme_is_short() {
    let lines = document("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines; each fact stands in one page of docs/");
}

/// The settings of every command in a text that starts a service behind a proxy.
fn start_commands(text: &str) -> Vec<Vec<(String, String)>> {
    let starts = |line: &&str| line.contains("TRUSTED_PROXIES=") && line.contains("doorward serve");
    let settings = |line: &str| {
        // A placeholder, `<Envoy's address>`, is one word.
        let line = line.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?.1)));
        line.map(|(before, after)| format!("{before}127.0.0.1{after}"))
    };
    let commands = text.lines().filter(starts).map(|line| settings(line).unwrap_or_else(|| line.to_owned()));
    let words = |line: String| line.split(' ').filter_map(|word| word.split_once('=')).map(owned).collect();
    commands.map(words).collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn sign_up_is_closed_in_every_start_command_behind_a_proxy() {
    let deployed = ["", "yaml", "yml", "cfg", "conf"].map(|extension| files("deploy", extension)).concat();
    let deployed = [deployed, vec!["deploy/caddy/Caddyfile".to_owned()]].concat();
    let mut commands = 0;
    for name in documents().into_iter().chain(deployed) {
        for command in start_commands(&document(&name)) {
            commands += 1;
            let builder = doorward::settings::Settings::builder();
            let builder = command.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
            let settings = builder.build().unwrap_or_else(|why| panic!("{name}: {command:?}: {why}"));
            assert!(!settings.passwords.allows_signup(), "{name}: {command:?}");
        }
    }
    assert!(commands >= 6, "README and five proxies: {commands}");
}
