//! What the app is told of the caller, and that nobody but doorward tells it.

use super::{Proxy, Site, behind_every_proxy, get, received};
use crate::forward_auth::IDENTITY;
use crate::support::http::{Browser, Request, Response};
use crate::support::parts_of;

behind_every_proxy!(
    the_app_receives_the_callers_identity,
    a_forged_identity_header_reaches_no_app_in_any_form,
    on_public_paths_a_forged_identity_header_does_not_arrive_either,
);

/// What the app got under each identity header; more than one value, or one in another form, is somebody else's.
fn told(answer: &Response) -> Vec<String> {
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
    let session = parts_of(&browser.cookie("accessToken").unwrap()).1["sid"].as_str().unwrap().to_owned();
    ["emily", "1", "", "Jos%C3%A9", "USER", "", &session, ""].map(ToOwned::to_owned).to_vec()
}

fn the_app_receives_the_callers_identity(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    let profile = Request::new("PATCH", "/auth/me").header("Host", super::HOST).json(r#"{"firstName":"José"}"#);
    assert_eq!(browser.send(profile).status, 200);
    assert_eq!(told(&get(&mut browser, "/")), expected(&browser));
    let asserting = Site::with(proxy, "?assertion=true", |builder| builder);
    let mut browser = asserting.register("emily");
    let assertion = told(&get(&mut browser, "/")).pop().unwrap();
    let claims = parts_of(&assertion).1;
    assert_eq!(
        (&claims["aud"], &claims["htm"], &claims["sub"]),
        (&"app.example.com".into(), &"GET".into(), &"1".into())
    );
}

/// A header's name in the forms that some server takes for the same.
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
                let nobody = site.send(values.iter().fold(Request::new("GET", "/"), |r, value| r.header(&form, value)));
                assert!([400, 401, 403].contains(&nobody.status), "{form}: {}", nobody.status);
                assert_eq!(told(&browser.send(request)), expected(&browser), "{form} {values:?}");
            }
        }
    }
}

fn on_public_paths_a_forged_identity_header_does_not_arrive_either(proxy: Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, "* /public/* public\n").unwrap();
    let site = Site::with(proxy, "", |builder| builder.set("RULES_FILE", file.display().to_string()));
    for name in IDENTITY {
        for form in forms(name) {
            let answer = site.send(Request::new("GET", "/public/a").header(&form, "admin"));
            assert!(told(&answer).iter().all(String::is_empty), "{form}: {:?}", told(&answer));
        }
    }
}
