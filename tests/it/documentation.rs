//! The documents against the code: settings, error codes, and the tests that docs/security.md names.

use std::path::PathBuf;

use crate::support::project::{assert_none, document, root};

fn has_row(document: &str, first: &str, also: &str) -> bool {
    let cell = format!("`{first}`");
    document.lines().filter(|line| line.starts_with('|')).any(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.contains(&cell.as_str()) && line.contains(also)
    })
}

#[test]
fn the_example_of_an_env_file_has_every_setting_with_its_default() {
    let example = document(".env.example");
    let lines: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#').trim()).collect();
    let settings = doorward::settings::describe();
    let wanted =
        settings.iter().map(|setting| format!("{}={}", setting.name, setting.default.as_deref().unwrap_or_default()));
    assert_none(&wanted.filter(|line| !lines.contains(&line.as_str())).collect::<Vec<_>>());
}

#[test]
fn the_readme_has_every_setting_with_its_default() {
    let readme = document("README.md");
    let missing = doorward::settings::describe()
        .into_iter()
        .filter(|setting| !has_row(&readme, &setting.name, setting.default.as_deref().unwrap_or_default()));
    assert_none(&missing.map(|setting| format!("{} {:?}", setting.name, setting.default)).collect::<Vec<_>>());
}

#[test]
fn the_readme_has_every_code_of_a_refusal() {
    let (readme, source) = (document("README.md"), document("src/core/refusal.rs"));
    let codes = source.split_once("const fn code(").unwrap().1.split_once("\n    }\n").unwrap().0;
    let codes: Vec<&str> = codes.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    assert!(codes.len() > 20 && codes.contains(&"token_invalid"), "{codes:?}");
    let missing = codes.into_iter().chain(["unavailable", "broken"]).filter(|code| !has_row(&readme, code, ""));
    assert_none(&missing.map(ToOwned::to_owned).collect::<Vec<_>>());
}

/// Where the module of a test may stand: in the suite, in a test binary named by the first module, or beside the code as
/// `tests`.
fn files_of(modules: &[&str]) -> Vec<PathBuf> {
    let path = modules.join("/");
    let unit = modules.split_last().filter(|(last, _)| **last == "tests").map(|(_, rest)| rest.join("/"));
    let suites = [format!("tests/it/{path}.rs"), format!("tests/{path}.rs"), format!("src/{path}.rs")];
    let candidates = suites.into_iter().chain(unit.map(|of| format!("src/{of}.rs")));
    candidates.map(|name| root().join(name)).filter(|file| file.exists()).collect()
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let text = document("docs/security.md");
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
    let empty = text.lines().filter(|line| line.starts_with("| ") && !line.contains('`') && !line.contains("the same"));
    assert_none(&empty.filter(|line| *line != "| what is asked | test |").map(ToOwned::to_owned).collect::<Vec<_>>());
}
