//! VERIFY_RENEW behind each proxy: the new access token reaches the browser, and renewal ends no session.

use std::time::Duration;

use super::{HOST, Proxy, Site, behind_every_proxy, behind_every_proxy_on_both_backends, get};
use crate::support::http::Request;
use crate::support::{Backend, race};

behind_every_proxy!(a_renewed_token_reaches_the_browser);
behind_every_proxy_on_both_backends!(two_hundred_requests_at_expiry_end_no_session);

fn a_renewed_token_reaches_the_browser(proxy: Proxy) {
    let site = Site::with(proxy, "", |builder| builder.set("VERIFY_RENEW", "true"));
    let mut browser = site.register("emily");
    let first = browser.cookie("accessToken").unwrap();
    assert_eq!(get(&mut browser, "/").headers_named("set-cookie"), ["of-the-app=1"], "nothing to renew");
    site.service().advance(Duration::from_mins(16));
    let answer = get(&mut browser, "/");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookies: Vec<String> = answer.set_cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(cookies.iter().filter(|name| *name == "accessToken").count(), 1, "{cookies:?}");
    assert!(cookies.contains(&"of-the-app".to_owned()) && cookies.len() == 2, "{cookies:?}");
    assert_ne!(browser.cookie("accessToken"), Some(first));
    assert_eq!(get(&mut browser, "/").headers_named("set-cookie"), ["of-the-app=1"], "it is the browser's now");
}

fn two_hundred_requests_at_expiry_end_no_session(proxy: Proxy, backend: Backend) {
    let site = Site::on(backend, proxy, "", |builder| builder.set("VERIFY_RENEW", "true"));
    let mut browser = site.register("emily");
    // An hour, in steps of an access token's lifetime.
    for _ in 0..4 {
        site.service().advance(Duration::from_mins(15));
        let tab = browser.clone();
        let answers = race(40, move |_| {
            let send_request = |_| {
                let mut tab = tab.clone();
                let answer = tab.send(Request::new("GET", "/").header("Host", HOST));
                (answer.status, tab.cookie("accessToken"))
            };
            (0..5).map(send_request).collect::<Vec<_>>()
        });
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        assert_eq!(answers.len(), 200);
        for (status, access) in answers {
            assert_eq!(status, 200, "{}", site.proxy.log());
            browser.set_cookie("accessToken", &access.unwrap());
        }
        assert_eq!(get(&mut browser, "/auth/me").status, 200);
    }
    let refreshed = browser.send(Request::new("POST", "/auth/refresh").header("Host", HOST));
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
}
