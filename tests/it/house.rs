//! The walls of the house, read from its own text: who may use whom, how long a file may be, and that the documents and
//! the schema say what the code says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel::sql_types::{Integer, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use doorward::testing::TestService;

use crate::support::postgres;

const LONGEST: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

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

/// Where the module of a test may stand: in the suite, or beside the code as `tests`.
fn files_of(modules: &[&str]) -> Vec<PathBuf> {
    let path = modules.join("/");
    let unit = modules.split_last().filter(|(last, _)| **last == "tests").map(|(_, rest)| rest.join("/"));
    let candidates =
        [Some(format!("tests/it/{path}.rs")), unit.map(|of| format!("src/{of}.rs")), Some(format!("src/{path}.rs"))];
    candidates.into_iter().flatten().map(|name| root().join(name)).filter(|file| file.exists()).collect()
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

/// Columns in their order, each with its type and whether it may be null; and the primary key.
type Tables = BTreeMap<String, Vec<String>>;

fn tables_of_diesel() -> Tables {
    let text = document("src/store/schema.rs");
    let mut tables = Tables::new();
    for table in text.split("diesel::table! {").skip(1) {
        let (head, body) = table.split_once(") {").unwrap();
        let (name, key) = head.trim().split_once(" (").unwrap();
        let columns = body.split('}').next().unwrap().lines().filter_map(|line| line.trim().split_once(" -> "));
        let mut columns: Vec<String> =
            columns.map(|(name, kind)| format!("{name} {}", kind.trim_end_matches(','))).collect();
        columns.push(format!("key {key}"));
        tables.insert(name.to_owned(), columns);
    }
    assert!(tables.len() >= 4, "{tables:?}");
    tables
}

fn column(name: &str, kind: &str, nullable: bool) -> String {
    let kind = match kind.to_lowercase().as_str() {
        "integer" | "bigint" => "BigInt",
        "blob" | "bytea" => "Binary",
        "boolean" => "Bool",
        "text" => "Text",
        other => panic!("{name} is of a type that no table here has: {other}"),
    };
    if nullable { format!("{name} Nullable<{kind}>") } else { format!("{name} {kind}") }
}

#[derive(QueryableByName)]
struct SqliteColumn {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Integer)]
    required: i32,
    #[diesel(sql_type = Integer)]
    key: i32,
}

fn tables_of_sqlite(service: &TestService) -> Tables {
    let file = service.folder().join("doorward.db");
    let mut db = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    let columns = diesel::sql_query(
        "SELECT m.name AS table_name, c.name AS name, c.type AS kind, c.\"notnull\" AS required, c.pk AS key \
         FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
         AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY m.name, c.cid",
    );
    let (mut tables, mut keys) = (Tables::new(), Tables::new());
    for row in columns.load::<SqliteColumn>(&mut db).unwrap() {
        let line = column(&row.name, &row.kind, row.required == 0 && row.key == 0);
        tables.entry(row.table_name.clone()).or_default().push(line);
        if row.key > 0 {
            keys.entry(row.table_name).or_default().push(row.name);
        }
    }
    tables.iter_mut().for_each(|(table, columns)| columns.push(format!("key {}", keys[table].join(", "))));
    tables
}

fn tables_of_postgres(url: &str) -> Tables {
    let sql = "SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, (SELECT count(*) \
        FROM information_schema.key_column_usage k JOIN information_schema.table_constraints t USING (constraint_name, table_name) \
        WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name AND k.column_name = c.column_name) \
        FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name NOT LIKE '\\_\\_%' \
        ORDER BY c.table_name, c.ordinal_position";
    let (mut tables, mut keys) = (Tables::new(), Tables::new());
    for row in postgres::psql(url, sql).lines() {
        let cells: Vec<&str> = row.split('|').collect();
        let line = column(cells[1], cells[2], cells[3] == "YES");
        tables.entry(cells[0].to_owned()).or_default().push(line);
        if cells[4] != "0" {
            keys.entry(cells[0].to_owned()).or_default().push(cells[1].to_owned());
        }
    }
    tables.iter_mut().for_each(|(table, columns)| columns.push(format!("key {}", keys[table].join(", "))));
    tables
}

#[test]
#[cfg_attr(without_sqlite, ignore = "DOORWARD_TEST_BACKENDS leaves SQLite out")]
fn the_schema_is_what_sqlite_has_after_its_migrations() {
    assert_eq!(tables_of_diesel(), tables_of_sqlite(&TestService::start()));
}

#[test]
#[cfg_attr(without_postgres, ignore = "DOORWARD_TEST_BACKENDS leaves PostgreSQL out")]
fn the_schema_is_what_postgresql_has_after_its_migrations() {
    let url = postgres::new_database();
    let _service = TestService::builder().set("DATABASE_URL", &url).start();
    assert_eq!(tables_of_diesel(), tables_of_postgres(&url));
}
