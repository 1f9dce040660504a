//! Test configuration: turns `DOORWARD_TEST_BACKENDS` (`sqlite`, `postgres`, or both, which is the default) into
//! `cfg(without_sqlite)` and `cfg(without_postgres)`, so that the tests of a backend that is left out are reported as `ignored`
//! and not as `ok`: an attribute can be decided at compile time only. The service itself reads neither.

/// Read by the test suite alone.
const VARIABLE: &str = "DOORWARD_TEST_BACKENDS";

const BACKENDS: [&str; 2] = ["sqlite", "postgres"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    for backend in BACKENDS {
        println!("cargo::rustc-check-cfg=cfg(without_{backend})");
    }
    #[expect(clippy::disallowed_methods, reason = "not a setting of the service")]
    let Ok(list) = std::env::var(VARIABLE) else {
        return;
    };
    let wanted: Vec<&str> = list.split(',').map(str::trim).collect();
    // A misspelt name would leave out what it was meant to ask for, and the run would pass without it.
    if let Some(unknown) = wanted.iter().find(|name| !BACKENDS.contains(name)) {
        println!(
            "cargo::error={VARIABLE}={list:?}: {unknown:?} is not a backend; write sqlite, postgres or sqlite,postgres"
        );
        return;
    }
    for backend in BACKENDS.iter().filter(|backend| !wanted.contains(backend)) {
        println!("cargo::rustc-cfg=without_{backend}");
    }
}
