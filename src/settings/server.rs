//! Settings of what the server listens on and serves: addresses and mounts, pages, forward-auth checks and their rules.

pub mod forward_auth;
pub mod forward_rules;
pub mod mounts;
pub mod pages;
pub mod web;
