//! The checks' own paths behind each proxy: no client reaches a check, whichever way it writes the path, and so none has an
//! assertion made for a request of its choice.

use super::{Proxy, Site, behind_every_proxy, get};
use crate::support::http::{Browser, exchange_raw};

behind_every_proxy!(no_client_reaches_a_check, paths_that_resemble_a_checks_reach_what_they_name);

/// Ways to write the path of a check that some server reads as that path.
const SPELLINGS: [&str; 17] = [
    "/auth/verify",
    "/auth/forward",
    "/auth/verify/",
    "/auth/%76erify",
    "/auth/f%6Frward",
    "/%61uth/verify",
    "/auth%2fverify",
    "//auth/verify",
    "/auth//verify",
    "/AUTH/VERIFY",
    "/auth/Forward",
    "/./auth/verify",
    "/auth/./verify",
    "/auth/x/../verify",
    "/x/../auth/forward",
    "/auth/x/%2e%2e/verify",
    "/auth/verify;x",
];

/// The answer to a request with these lines, sent as it is.
fn raw(site: &Site, target: &str, lines: &str) -> String {
    let bytes = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{lines}Connection: close\r\n\r\n", super::HOST);
    String::from_utf8_lossy(&exchange_raw(site.proxy.address(), bytes.as_bytes())).into_owned()
}

fn cookies(browser: &Browser) -> String {
    format!("Cookie: accessToken={}\r\n", browser.cookie("accessToken").unwrap())
}

fn no_client_reaches_a_check(proxy: Proxy) {
    let site = Site::start(proxy);
    let browser = site.register("emily");
    let forged = "X-Forwarded-Host: wiki.example.com\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: /a\r\n";
    for path in SPELLINGS {
        for query in ["", "?assertion=true", "?role=USER&assertion=true"] {
            for lines in [cookies(&browser), cookies(&browser) + forged, String::new()] {
                let answer = raw(&site, &format!("{path}{query}"), &lines);
                let start = answer.lines().next().unwrap_or_default();
                assert!(start.contains(" 403"), "{path}{query}: {start}");
                assert!(!answer.to_ascii_lowercase().contains("remote-"), "{path}{query}: {answer}");
            }
        }
    }
    assert_eq!(site.app.reached(), 0);
}

fn paths_that_resemble_a_checks_reach_what_they_name(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    for path in ["/auth/me", "/auth/sessions", "/account"] {
        assert_eq!(get(&mut browser, path).status, 200, "{path} is doorward's");
    }
    for path in ["/verify", "/app/auth/verify", "/auth-verify", "/forward", "/authentication/verify"] {
        let reached = site.app.reached();
        assert_eq!((get(&mut browser, path).status, site.app.reached()), (200, reached + 1), "{path} is the app's");
    }
}
