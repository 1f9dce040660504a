//! Delivery confirmations across nodes: a check confirms in memory that its generation arrived, and the confirmation is
//! written to the table in the background, many in one transaction and each once, however many checks and nodes saw it.

use super::{SOON, beside, metric, new_session, node, who};
use crate::support::postgres::psql;
use crate::support::process::until;
use crate::support::{SETTLED, Tokens, on_postgres, postgres, print_figure, refresh_with, register};

on_postgres!(confirmations_of_every_node_are_flushed_in_batches_and_once);

/// Recorded by the database itself: every row that a confirmation changed, and in which transaction.
const WITNESS: &str = "
    CREATE TABLE receipts_written (session_id bytea, generation bigint, transaction bigint);
    CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO receipts_written VALUES (NEW.id, NEW.generation, txid_current());
        RETURN NULL;
    END $$;
    CREATE TRIGGER written AFTER UPDATE OF confirmed_at ON sessions FOR EACH ROW
        WHEN (NEW.confirmed_at IS NOT NULL) EXECUTE FUNCTION write_down();";

const SESSIONS: usize = 40;

fn confirmations_of_every_node_are_flushed_in_batches_and_once() {
    let url = postgres::new_database();
    let first = node(&url).start();
    let second = beside(&first, &url).start();
    register(&first, "emily");
    psql(&url, WITNESS);
    let number = |query: &str| psql(&url, query).parse::<usize>().unwrap();
    let mut tokens: Vec<Tokens> = (0..SESSIONS).map(|_| new_session(&first, "emily")).collect();
    for generation in 1..=2 {
        for node in [&first, &second] {
            node.advance(SETTLED);
        }
        tokens = tokens.iter().map(|old| Tokens::set_by(&refresh_with(&first, &old.refresh))).collect();
        // Half of the sessions are seen by one node first, half by the other, and finally all by both.
        let nodes = [&first, &second];
        for turn in 0..2 {
            for (place, session) in tokens.iter().enumerate() {
                assert_eq!(who(nodes[(place + turn) % 2], &session.access).status, 200);
            }
        }
        let query =
            format!("SELECT count(*) FROM sessions WHERE generation = {generation} AND confirmed_at IS NOT NULL");
        until(SOON, "the receipts", || (number(&query) == SESSIONS).then_some(()));
    }
    for node in [&first, &second] {
        node.core().flush_confirmations().unwrap();
    }
    let flushed = || [&first, &second].map(|node| metric(node, "doorward_confirmations_flushed_total"));
    until(SOON, "the counters", || (flushed().iter().sum::<f64>() >= 80.0).then_some(()));
    // A stop joins the background threads, so no flush is under way when the rows are counted.
    drop((second, first));
    let written = number("SELECT count(*) FROM receipts_written");
    let distinct = number("SELECT count(*) FROM (SELECT DISTINCT session_id, generation FROM receipts_written) once");
    let transactions = number("SELECT count(DISTINCT transaction) FROM receipts_written");
    print_figure(&format!("{written} receipts of {SESSIONS} sessions in {transactions} transactions"));
    assert_eq!((written, distinct), (2 * SESSIONS, 2 * SESSIONS), "each generation once");
    assert!(transactions < written / 2, "many in one");
}
