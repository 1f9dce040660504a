//! The command line as an operator uses it: the real binary in its own folder, with an environment of nothing but the
//! test's variables.

mod account_commands;
mod administration;
mod configuration;
mod doctor;
mod doctor_app;
mod help;
mod logging;
mod settings;
mod shutdown;
mod startup;
