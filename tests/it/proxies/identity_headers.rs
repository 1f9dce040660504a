//! Identity headers behind each proxy: the app receives doorward's, and none that a client sent.

use super::{Proxy, Site, behind_every_proxy, get, received, with_public_paths};
use crate::forward_auth::IDENTITY;
use crate::support::decode_jwt;
use crate::support::http::{Browser, Request, Response};

behind_every_proxy!(
    the_app_receives_the_callers_identity,
    a_forged_identity_header_reaches_no_app_in_any_form,
    on_public_paths_a_forged_identity_header_does_not_arrive_either,
);

/// The value of each identity header that the app received; more than one value, or one under another spelling, is a
/// client's.
fn received_identity(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let of = |name: &&str| {
        let values = received(answer, name);
        assert!(values.len() <= 1, "{values:?}");
        assert!(values.iter().all(|(known, _)| !known.contains('_')), "{values:?}");
        values.first().map(|(_, value)| value.clone()).unwrap_or_default()
    };
    IDENTITY.iter().map(of).collect()
}

fn expected(browser: &Browser) -> Vec<String> {
    let claims = decode_jwt(&browser.cookie("accessToken").unwrap()).1;
    let [id, session] = ["sub", "sid"].map(|name| claims[name].as_str().unwrap().to_owned());
    ["emily", &id, "", "Jos%C3%A9", "USER", "", &session, ""].map(ToOwned::to_owned).to_vec()
}

fn the_app_receives_the_callers_identity(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    let profile = Request::new("PATCH", "/auth/me").header("Host", super::HOST).json(r#"{"firstName":"José"}"#);
    assert_eq!(browser.send(profile).status, 200);
    assert_eq!(received_identity(&get(&mut browser, "/")), expected(&browser));
    let asserting = Site::with(proxy, "?assertion=true", |builder| builder);
    let mut browser = asserting.register("emily");
    let assertion = received_identity(&get(&mut browser, "/")).pop().unwrap();
    let claims = decode_jwt(&assertion).1;
    let account = decode_jwt(&browser.cookie("accessToken").unwrap()).1["sub"].clone();
    assert_eq!((&claims["aud"], &claims["htm"], &claims["sub"]), (&"app.example.com".into(), &"GET".into(), &account));
}

/// The spellings of a header name that some server treats as equal.
fn forms(name: &str) -> Vec<String> {
    let underscored = name.replace('-', "_");
    vec![
        name.to_owned(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        underscored.clone(),
        underscored.to_ascii_uppercase(),
        underscored.to_ascii_lowercase(),
    ]
}

fn a_forged_identity_header_reaches_no_app_in_any_form(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    let profile = Request::new("PATCH", "/auth/me").header("Host", super::HOST).json(r#"{"firstName":"José"}"#);
    assert_eq!(browser.send(profile).status, 200);
    for name in IDENTITY {
        for form in forms(name) {
            for values in [vec!["admin"], vec!["admin", "root"], vec![""]] {
                let request = Request::new("GET", "/").header("Host", super::HOST);
                let request = values.iter().fold(request, |request, value| request.header(&form, value));
                let refused =
                    site.send(values.iter().fold(Request::new("GET", "/"), |r, value| r.header(&form, value)));
                assert!([400, 401, 403].contains(&refused.status), "{form}: {}", refused.status);
                assert_eq!(received_identity(&browser.send(request)), expected(&browser), "{form} {values:?}");
            }
        }
    }
}

fn on_public_paths_a_forged_identity_header_does_not_arrive_either(proxy: Proxy) {
    let (_folder, site) = with_public_paths(proxy);
    for name in IDENTITY {
        for form in forms(name) {
            let answer = site.send(Request::new("GET", "/public/a").header(&form, "admin"));
            assert!(
                received_identity(&answer).iter().all(String::is_empty),
                "{form}: {:?}",
                received_identity(&answer)
            );
        }
    }
}
