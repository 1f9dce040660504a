//! `doorward doctor URL --app ORIGIN`: every fault that a page of another origin would meet in a browser.

use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, on_sqlite};

on_sqlite!(
    a_page_that_works_is_said_to_work,
    faults_of_a_page_in_development_are_named,
    faults_of_a_page_on_another_site_are_named,
);

fn service(vars: &[(&str, &str)]) -> (WorkDir, Node) {
    let workdir = vars.iter().fold(WorkDir::on(Backend::Sqlite), |workdir, (name, value)| workdir.set(name, *value));
    let node = workdir.serve(&["serve"]);
    (workdir, node)
}

/// The lines about the page.
fn told((workdir, node): &(WorkDir, Node), host: &str, app: &str) -> (bool, String) {
    let url = format!("http://{host}:{}", node.address().port());
    let ran = workdir.run(&["doctor", &url, "--app", app]);
    (ran.status.success(), ran.stdout)
}

fn a_page_that_works_is_said_to_work() {
    let listed = service(&[("CORS_ORIGINS", "http://127.0.0.1:5173,http://localhost:5173")]);
    for host in ["127.0.0.1", "localhost"] {
        let (passed, output) = told(&listed, host, &format!("http://{host}:5173"));
        assert!(passed && output.contains("can sign in, with credentials"), "{output}");
    }
    let own = format!("http://127.0.0.1:{}", listed.1.address().port());
    let (passed, output) = told(&listed, "127.0.0.1", &own);
    assert!(passed && output.contains("the origin of the service itself"), "{output}");
}

fn faults_of_a_page_in_development_are_named() {
    let listed = service(&[("CORS_ORIGINS", "http://127.0.0.1:5173,http://localhost:5173")]);
    for (host, app, expected) in [
        ("127.0.0.1", "http://localhost:5173", "the page is at localhost and the service at 127.0.0.1"),
        ("localhost", "http://127.0.0.1:5173", "the page is at 127.0.0.1 and the service at localhost"),
        ("127.0.0.1", "http://127.0.0.1:3000", "add it to CORS_ORIGINS"),
        ("localhost", "http://localhost:3000", "add it to CORS_ORIGINS"),
        ("localhost", "https://localhost:5173", "use the same scheme for both"),
    ] {
        let (passed, output) = told(&listed, host, app);
        assert!(!passed && output.contains(expected), "{app}: {output}");
    }
}

fn faults_of_a_page_on_another_site_are_named() {
    let listed = service(&[("CORS_ORIGINS", "https://app.example.net,http://app.example.net")]);
    let (passed, output) = told(&listed, "127.0.0.1", "https://app.example.net");
    assert!(!passed && output.contains("the cookies are not SameSite=None"), "{output}");
    assert!(!output.contains("add it to CORS_ORIGINS"), "{output}");
    // Several faults at once are all named.
    let (passed, output) = told(&listed, "127.0.0.1", "http://app.example.org");
    assert!(!passed && output.contains("SameSite=None") && output.contains("add it to CORS_ORIGINS"), "{output}");
}
