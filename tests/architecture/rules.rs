//! The walls: which module may use which and which crates, what a dialect may see, and the files that alone may do what an
//! attacker would like done elsewhere.

use std::path::Path;

use crate::assert_none;
use crate::dependencies::{Dependency, Resolver, Target};
use crate::source::{Source, SourceFile, root};

/// A module of the crate's root, with the modules and the crates that it does without.
struct Storey {
    name: &'static str,
    modules: &'static [&'static str],
    crates: &'static [&'static str],
}

const STOREYS: &[Storey] = &[
    Storey { name: "store", modules: &["core", "web", "cli"], crates: &["actix_web", "actix_http", "actix_cors"] },
    Storey {
        name: "core",
        modules: &["web", "cli"],
        crates: &["actix_web", "actix_http", "actix_cors", "serde_json", "tokio"],
    },
    Storey { name: "web", modules: &["store", "cli"], crates: &["diesel"] },
    Storey { name: "cli", modules: &["store"], crates: &["diesel"] },
    Storey { name: "settings", modules: &["core", "web", "cli"], crates: &["actix_web", "diesel"] },
];

/// Core knows no JSON but what a token's payload is by RFC 7519.
const READS_JSON_IN_CORE: &str = "core/token/signature.rs";

/// A client's view of the service: it sees cookies from the other side.
const CLIENT: &str = "cli/doctor/";
const COOKIES: &str = "web/http/session_cookie.rs";
/// Where a check is answered with "allowed".
const ALLOWS_A_CHECK: [&str; 2] = ["web/forward_auth.rs", "web/forward_auth/fast_path.rs"];

/// Whether a storey may not use what a dependency leads to.
fn is_forbidden(source: &Source, storey: &Storey, file: &SourceFile, target: &Target) -> bool {
    match target {
        Target::File(index) => storey.modules.iter().any(|module| source.files[*index].is_in(module)),
        Target::External(name) => {
            let is_exempt = name == "serde_json" && file.path == READS_JSON_IN_CORE;
            storey.crates.contains(&name.as_str()) && !is_exempt
        }
    }
}

#[test]
fn no_storey_uses_one_above_or_beside_it() {
    let source = Source::project();
    source.file(READS_JSON_IN_CORE);
    let resolver = Resolver::new(source);
    let mut faults = vec![];
    for storey in STOREYS {
        let files: Vec<&SourceFile> = source.files.iter().filter(|file| file.is_in(storey.name)).collect();
        assert!(files.len() > 5, "src/{} is read", storey.name);
        for file in files {
            let dependencies = resolver.dependencies(file).into_iter();
            let forbidden = dependencies.filter(|used| is_forbidden(source, storey, file, &used.target));
            faults.extend(forbidden.map(|Dependency { path, line, .. }| format!("{}:{line} uses {path}", file.path)));
        }
    }
    assert_none(&faults);
}

/// The name of the dialect that a file belongs to.
fn dialect_of(file: &SourceFile) -> Option<&str> {
    Some(file.path.strip_prefix("web/dialects/")?.split_once('/')?.0)
}

#[test]
fn no_dialect_uses_another() {
    let source = Source::project();
    let resolver = Resolver::new(source);
    assert!(source.files.iter().any(|file| dialect_of(file) == Some("native")));
    let mut faults = vec![];
    for file in &source.files {
        let Some(own) = dialect_of(file) else { continue };
        for Dependency { target, path, line } in resolver.dependencies_with_tests(file) {
            let Target::File(index) = target else { continue };
            if dialect_of(&source.files[index]).is_some_and(|other| other != own) {
                faults.push(format!("{}:{line} uses {path}", file.path));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let unsaid = Source::project().files.iter().filter(|file| !file.text.starts_with("//! "));
    assert_none(&unsaid.map(|file| format!("{} does not begin with //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn cookies_are_read_and_written_in_one_file() {
    let source = Source::project();
    source.file(COOKIES);
    let mut faults = vec![];
    for file in source.files.iter().filter(|file| file.path != COOKIES && !file.path.starts_with(CLIENT)) {
        let lines = file.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').collect();
            let cookie = ["SET_COOKIE", "COOKIE", "Set-Cookie", "set-cookie", "Cookie"];
            if words.iter().any(|word| cookie.contains(word)) || line.contains("\"cookie\"") {
                faults.push(format!("{}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn a_check_is_allowed_in_two_files() {
    let source = Source::project();
    for path in ALLOWS_A_CHECK {
        source.file(path);
    }
    let mut faults = vec![];
    for file in source.service_files().filter(|file| !ALLOWS_A_CHECK.contains(&file.path.as_str())) {
        let allows =
            file.lines.iter().filter(|line| line.text.contains("Allowed {") || line.text.contains("HTTP/1.1 200"));
        faults.extend(allows.map(|line| format!("{}:{} {}", file.path, line.number, line.text)));
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
    let mut found = vec![];
    for suite in ["tests/it", "tests/architecture"] {
        let folder = root().join(suite);
        orphans(&folder, &folder.join("main.rs"), &mut found);
    }
    assert_none(&found);
}
