//! Layers: which module may use which and which crates, what a dialect may see, and the files that alone may do what an
//! attacker would like done elsewhere.

use std::path::Path;

use crate::assert_none;
use crate::dependencies::{Dependency, Resolver, Target};
use crate::source::{Source, SourceFile, root};

/// A module of the crate's root, with the modules and the crates that it does without.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    crates: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { name: "store", modules: &["core", "web", "cli"], crates: &["actix_web", "actix_http", "actix_cors"] },
    Layer {
        name: "core",
        modules: &["web", "cli"],
        crates: &["actix_web", "actix_http", "actix_cors", "serde_json", "tokio"],
    },
    Layer { name: "web", modules: &["store", "cli"], crates: &["diesel"] },
    Layer { name: "cli", modules: &["store"], crates: &["diesel"] },
    Layer { name: "settings", modules: &["core", "web", "cli"], crates: &["actix_web", "diesel"] },
];

/// Core knows no JSON but what a token's payload is by RFC 7519.
const READS_JSON_IN_CORE: &str = "core/token/signature.rs";

/// A client's view of the service: it sees cookies from the other side.
const CLIENT: &str = "cli/doctor/";
const COOKIES: &str = "web/request/session_cookie.rs";
/// The only file that makes the proof that a check is allowed.
const AUTHORIZES_A_CHECK: &str = "web/forward_auth/decision.rs";
/// The only files that write the 200 of a check: the handler, and the constant parts of the fast path's response.
const WRITES_A_CHECKS_200: [&str; 2] = ["web/forward_auth.rs", "web/forward_auth/config.rs"];

/// Whether a layer may not use what a dependency leads to.
fn is_forbidden(source: &Source, layer: &Layer, file: &SourceFile, target: &Target) -> bool {
    match target {
        Target::File(index) => layer.modules.iter().any(|module| source.files[*index].is_in(module)),
        Target::External(name) => {
            let is_exempt = name == "serde_json" && file.path == READS_JSON_IN_CORE;
            layer.crates.contains(&name.as_str()) && !is_exempt
        }
    }
}

/// What layers use that they may not, each as a line for people.
fn layer_faults(source: &Source) -> Vec<String> {
    let resolver = Resolver::new(source);
    let mut faults = vec![];
    for layer in LAYERS {
        for file in source.files.iter().filter(|file| file.is_in(layer.name)) {
            let dependencies = resolver.dependencies(file).into_iter();
            let forbidden = dependencies.filter(|used| is_forbidden(source, layer, file, &used.target));
            faults.extend(forbidden.map(|Dependency { path, line, .. }| format!("{}:{line} uses {path}", file.path)));
        }
    }
    faults
}

#[test]
fn no_layer_uses_one_above_or_beside_it() {
    let source = Source::project();
    source.file(READS_JSON_IN_CORE);
    for layer in LAYERS {
        let files = source.files.iter().filter(|file| file.is_in(layer.name)).count();
        assert!(files > 5, "src/{} is read", layer.name);
    }
    assert_none(&layer_faults(source));
}

#[test]
fn a_forbidden_use_is_found_however_it_is_written() {
    let lib = ("lib.rs", "mod clock; mod core; mod store; mod storehouse; mod web;");
    let others = [("clock.rs", ""), ("core.rs", ""), ("store.rs", ""), ("storehouse.rs", ""), ("web.rs", "mod page;")];
    let faults = |text: &str| layer_faults(&Source::of(&[&[lib, ("web/page.rs", text)], &others[..]].concat()));
    for text in [
        "use crate::store::Db;",
        "use crate::store;",
        "use crate::store as rows;",
        "use crate::{\n    clock::Clock,\n    store::{Db, Error},\n};",
        "use crate::{store, web};",
        "use super::super::store::Db;",
        "fn f() { crate::store::open() }",
        "fn f() { assert!(crate::store::open()) }",
        "use diesel::Connection;",
        "use diesel as rows;",
        "diesel::table! {}",
        "fn f() { ::diesel::insert_into(t) }",
    ] {
        assert!(!faults(text).is_empty(), "{text}");
    }
    for text in [
        "// use crate::store::Db;",
        "use crate::{clock::{store}, core};",
        "use crate::storehouse::X;",
        "use super::x;",
        "use not_diesel::X;",
        "#[cfg(test)]\nmod tests { use crate::store::Db; }",
    ] {
        assert!(faults(text).is_empty(), "{text}");
    }
}

/// The name of the dialect that a file belongs to.
fn dialect_of(file: &SourceFile) -> Option<&str> {
    Some(file.path.strip_prefix("web/dialects/")?.split_once('/')?.0)
}

/// Where a dialect uses another, in its unit tests too, each as a line for people.
fn dialect_faults(source: &Source) -> Vec<String> {
    let resolver = Resolver::new(source);
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
    faults
}

#[test]
fn no_dialect_uses_another() {
    let source = Source::project();
    assert!(source.files.iter().any(|file| dialect_of(file) == Some("native")));
    assert_none(&dialect_faults(source));
}

#[test]
fn a_dialect_that_uses_another_is_found() {
    let above = [("lib.rs", "mod web;"), ("web.rs", "mod dialects;"), ("web/dialects.rs", "mod pin; mod flat;")];
    let pin = ("web/dialects/pin/mod.rs", "mod wire;\nfn f() { wire::g() }");
    let faults = |text: &str| {
        let dialects = [pin, ("web/dialects/pin/wire.rs", text), ("web/dialects/flat/mod.rs", "pub struct Login;")];
        dialect_faults(&Source::of(&[&above[..], &dialects[..]].concat())).len()
    };
    assert_eq!(faults("use crate::web::dialects::flat::Login;"), 1);
    assert_eq!(faults("use super::super::flat::Login;"), 1);
    assert_eq!(faults("#[cfg(test)]\nmod tests { use crate::web::dialects::{flat, pin}; }"), 1);
    assert_eq!(faults("use super::f;\nuse crate::web::dialects::pin;\n// crate::web::dialects::flat"), 0);
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

/// Whether a line of code makes an `Allowed`. Its private fields let no other file do so; this keeps it that way.
fn makes_allowed(_: &SourceFile, line: &str) -> bool {
    line.contains("Allowed {")
}

/// Whether a line of code writes a status of 200 that a check could have.
fn writes_200(file: &SourceFile, line: &str) -> bool {
    let by_actix = ["HttpResponse::Ok", "HttpResponse::new", "HttpResponse::build"];
    let is_of_checks = file.path.starts_with("web/forward_auth");
    line.contains("HTTP/1.1 200") || (is_of_checks && by_actix.iter().any(|name| line.contains(name)))
}

#[test]
fn a_check_is_authorized_in_one_file_and_its_200_written_in_two() {
    let source = Source::project();
    let lines_of = |file: &SourceFile, is_one: fn(&SourceFile, &str) -> bool| {
        let lines = file.lines.iter().filter(|line| is_one(file, &line.text));
        lines.map(|line| format!("{}:{} {}", file.path, line.number, line.text)).collect::<Vec<_>>()
    };
    assert!(!lines_of(source.file(AUTHORIZES_A_CHECK), makes_allowed).is_empty());
    for path in WRITES_A_CHECKS_200 {
        assert!(!lines_of(source.file(path), writes_200).is_empty(), "{path}");
    }
    let mut faults = vec![];
    for file in source.service_files() {
        if file.path != AUTHORIZES_A_CHECK {
            faults.extend(lines_of(file, makes_allowed));
        }
        if !WRITES_A_CHECKS_200.contains(&file.path.as_str()) {
            faults.extend(lines_of(file, writes_200));
        }
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
