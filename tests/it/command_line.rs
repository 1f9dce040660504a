//! The command line, as an operator meets it: the real binary, in a folder of its own, with an environment that holds
//! nothing but what the test sets.

mod administration;
mod doctor;
mod help;
mod logging;
mod settings;
mod shutdown;
mod startup;
