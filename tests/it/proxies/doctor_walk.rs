//! `doorward doctor URL` through the shipped configurations: the walk passes as they are, and finds what breaks renewal. Caddy is
//! left out: its configuration answers for one host name, which this machine does not resolve.

use doorward::testing::Builder;

use super::Site;
use super::configurations::Proxy;
use crate::support::PASSWORD;
use crate::support::process::{CommandOutput, WorkDir};

fn walk(site: &Site, more: &[&str]) -> CommandOutput {
    let url = format!("http://{}", site.proxy.address());
    WorkDir::new().run_with(&[&["doctor", &url], more].concat(), PASSWORD)
}

/// The proxy's port is chosen last, so the service's own URL cannot be a setting: requests are compared with their `Host`.
fn site(proxy: Proxy, query: &str, set: impl FnOnce(Builder) -> Builder) -> Site {
    Site::with(proxy, query, |builder| set(builder).set("PUBLIC_URL", ""))
}

const AS_EMILY: [&str; 3] = ["--as", "emily", "--password-stdin"];

#[test]
fn the_walk_passes_the_shipped_configurations() {
    for (proxy, renews, renewed_by) in [
        (Proxy::Nginx, "false", "/auth/continue"),
        (Proxy::Nginx, "true", "the check"),
        (Proxy::Haproxy, "false", "/auth/continue"),
        (Proxy::Haproxy, "true", "the check"),
    ] {
        let described = format!("{proxy:?} VERIFY_RENEW={renews}");
        let site = site(proxy, "", |builder| builder.set("VERIFY_RENEW", renews));
        site.register("emily");
        let before = site.app.reached();
        let anonymous = walk(&site, &[]);
        assert!(anonymous.status.success(), "{described}: {anonymous:?}");
        assert_eq!(site.app.reached(), before, "{described}: a stranger reaches no app");
        let ran = walk(&site, &AS_EMILY);
        assert!(ran.status.success(), "{described}: {ran:?}");
        for line in [
            "/ redirects to the sign-in page",
            "a forged identity header opens nothing",
            "/ answers 200 in a session",
            &format!("an expired access token is renewed by {renewed_by}"),
            "/ is refused after the sign-out",
        ] {
            assert!(ran.stdout.contains(&format!("ok       {line}\n")), "{described} {line}: {}", ran.stdout);
        }
    }
}

#[test]
fn the_walk_finds_pages_that_the_proxy_does_not_pass_on() {
    let site = site(Proxy::Nginx, "", |builder| builder.set("PAGES", "false"));
    let ran = walk(&site, &[]);
    assert!(!ran.status.success(), "{ran:?}");
    assert!(ran.stdout.contains("redirects to the sign-in page, which answers 404"), "{ran:?}");
}

#[test]
fn the_walk_reports_an_account_without_the_role() {
    let site = site(Proxy::Nginx, "?role=ADMIN", |builder| builder);
    site.register("emily");
    let ran = walk(&site, &AS_EMILY);
    assert!(ran.stdout.contains("/ answers 403 in a session: this account lacks a role"), "{ran:?}");
}

#[test]
fn the_walk_shows_the_address_that_the_service_sees() {
    let site = site(Proxy::Nginx, "", |builder| builder);
    site.register("emily");
    let ran = walk(&site, &AS_EMILY);
    assert!(ran.stdout.contains("the service sees this client at 127.0.0.1 "), "{ran:?}");
}
