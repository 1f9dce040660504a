//! The architecture test: which module may use which, how long a file may be, and which files alone may handle cookies or
//! allow a check; read from the text of src.

use std::path::{Path, PathBuf};

use crate::support::project::{assert_none, root};

const LONGEST: usize = 400;

/// Every source file: its path under src/ and its text.
fn sources() -> Vec<(String, String)> {
    let (mut found, mut folders) = (vec![], vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 40, "the sources are read");
    found.sort();
    found
}

/// The text without comments, and without white space, so that a name is found however its line is broken.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

/// What becomes of the service; a unit test may stand on more.
fn without_tests<'a>(name: &str, text: &'a str) -> &'a str {
    if name.ends_with("/tests.rs") { "" } else { text.split("#[cfg(test)]").next().unwrap_or_default() }
}

#[test]
fn every_file_says_what_it_is_for_and_ends_in_time() {
    let mut faults = vec![];
    for (name, text) in sources() {
        if !text.starts_with("//! ") {
            faults.push(format!("{name} does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > LONGEST && name != "store/schema.rs" {
            faults.push(format!("{name} has {lines} lines, at most {LONGEST}"));
        }
    }
    assert_none(&faults);
}

/// Whether a text without white space uses a module of this crate, in a group of imports too.
fn uses_module(code: &str, module: &str) -> bool {
    let group = |rest: &str| {
        let mut depth = 0_usize;
        let mut item = String::new();
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item.clear(),
                c => item.push(c),
            }
            if depth == 0 && item == module {
                return true;
            }
        }
        false
    };
    code.contains(&format!("crate::{module}::"))
        || code.contains(&format!("crate::{module};"))
        || code.contains(&format!("crate::{module}as"))
        || code.split("crate::{").skip(1).any(group)
}

fn uses_crate(code: &str, name: &str) -> bool {
    let inside_a_word = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    let uses = [format!("{name}::"), format!("use{name};")];
    uses.iter().any(|form| {
        code.match_indices(form).any(|(at, _)| {
            let before = &code[..at];
            before.ends_with("use") || before.ends_with("pubuse") || !inside_a_word(before)
        })
    })
}

#[test]
fn nobody_uses_a_storey_above_or_beside_its_own() {
    let mut faults = vec![];
    for (storey, modules, crates) in [
        ("store", &["core", "web", "cli"][..], &["actix_web", "actix_http", "actix_cors"][..]),
        ("core", &["web", "cli"], &["actix_web", "actix_http", "actix_cors", "serde_json", "tokio"]),
        ("web", &["store", "cli"], &["diesel"]),
        ("cli", &["store"], &["diesel"]),
        ("settings", &["core", "web", "cli"], &["actix_web", "diesel"]),
    ] {
        for (name, text) in sources() {
            if name != format!("{storey}.rs") && !name.starts_with(&format!("{storey}/")) {
                continue;
            }
            let code = code(without_tests(&name, &text));
            let modules =
                modules.iter().filter(|module| uses_module(&code, module)).map(|module| format!("crate::{module}"));
            // Core knows no JSON but what a token's payload is by RFC 7519.
            let own = |other: &str| other == "serde_json" && name == "core/token/signature.rs";
            let crates = crates.iter().filter(|other| uses_crate(&code, other) && !own(other));
            let crates = crates.map(|other| (*other).to_owned());
            faults.extend(modules.chain(crates).map(|used| format!("{name} uses {used}")));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_reader_of_imports_sees_what_it_should() {
    let seen = |text: &str| uses_module(&code(text), "store");
    for text in [
        "use crate::store::Db;",
        "use crate::store;",
        "use crate::{\n    clock::Clock,\n    store::{Db, Error},\n};",
        "use crate::{store, web};",
        "fn f() { crate::store::open() }",
    ] {
        assert!(seen(text), "{text}");
    }
    for text in
        ["// use crate::store::Db;", "use crate::{clock::{store}, core};", "use crate::storehouse::X;", "use super::x;"]
    {
        assert!(!seen(text), "{text}");
    }
    assert!(uses_crate(&code("use diesel::Connection;"), "diesel") && uses_crate(&code("diesel::table! {}"), "diesel"));
    assert!(!uses_crate(&code("use not_diesel::X;"), "diesel"));
}

#[test]
fn no_dialect_names_another() {
    let sources = sources();
    let dialect_of = |name: &str| Some(name.strip_prefix("web/dialects/")?.split_once('/')?.0.to_owned());
    let mut dialects: Vec<String> = sources.iter().filter_map(|(name, _)| dialect_of(name)).collect();
    dialects.dedup();
    assert!(dialects.contains(&"native".to_owned()));
    let mut faults = vec![];
    for (name, text) in &sources {
        let Some(own) = dialect_of(name) else { continue };
        let code = code(text);
        for other in dialects.iter().filter(|other| **other != own) {
            if code.contains(&format!("dialects::{other}")) || code.contains(&format!("super::{other}::")) {
                faults.push(format!("{name} names {other}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn cookies_are_read_and_written_in_one_file() {
    let mut faults = vec![];
    // The doctor is a client: it sees cookies from the other side.
    let allowed = |name: &str| name == "web/session_cookie.rs" || name.starts_with("cli/doctor/");
    for (name, text) in sources().iter().filter(|(name, _)| !allowed(name)) {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').collect();
            let cookie = ["SET_COOKIE", "COOKIE", "Set-Cookie", "set-cookie", "Cookie"];
            if words.iter().any(|word| cookie.contains(word)) || line.contains("\"cookie\"") {
                faults.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn a_yes_to_a_check_is_said_in_two_files() {
    let allowed = ["web/forward_auth.rs", "web/forward_auth/at_once.rs"];
    let mut faults = vec![];
    for (name, text) in sources().iter().filter(|(name, _)| !allowed.contains(&name.as_str())) {
        let says_so = |line: &&str| line.contains("Allowed {") || line.contains("HTTP/1.1 200");
        faults.extend(without_tests(name, text).lines().filter(says_so).map(|line| format!("{name}: {line}")));
    }
    assert_none(&faults);
}

/// The files of a folder of tests, and of those in it, that no file above names: the compiler never sees them.
fn orphans(folder: &Path, parent: &Path, found: &mut Vec<String>) {
    let named = std::fs::read_to_string(parent).unwrap();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() && path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_named = |line: &str| line.strip_prefix("pub ").unwrap_or(line) == format!("mod {name};");
        let above = if path.is_dir() { path.with_extension("rs") } else { parent.to_owned() };
        if path != parent && !named.lines().any(is_named) {
            found.push(path.display().to_string());
        } else if path.is_dir() {
            let above = if above.exists() { above } else { path.join("mod.rs") };
            orphans(&path, &above, found);
        }
    }
}

#[test]
fn every_file_of_tests_is_compiled() {
    let (folder, mut found) = (root().join("tests/it"), vec![]);
    orphans(&folder, &folder.join("main.rs"), &mut found);
    assert_none(&found);
}
