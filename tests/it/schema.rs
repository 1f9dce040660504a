//! diesel's schema against the tables that the migrations make, on both backends.

use std::collections::BTreeMap;

use diesel::sql_types::{Integer, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use doorward::testing::TestService;

use crate::support::postgres;
use crate::support::project::document;

/// Columns in their order, each with its type and whether it may be null; and the primary key.
type Tables = BTreeMap<String, Vec<String>>;

fn tables_of_diesel() -> Tables {
    let text = document("src/store/tables/schema.rs");
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
