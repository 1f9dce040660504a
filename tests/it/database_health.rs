//! Readiness against the database's real state: what cannot be written is not ready, and what is lost is noticed.

mod lost_file;
mod privileges;
mod unwritable;
