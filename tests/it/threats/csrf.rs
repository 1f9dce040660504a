//! CSRF: every act of every dialect against everything that a browser may state about a request's origin. native's own
//! acts are tested in request_validation/csrf_and_cors.rs.

use super::{ACTIONS, cookies_of, emily, state};
use crate::support::http::Request;
use crate::support::{Backend, on_both_backends};

on_both_backends!(
    a_cross_site_page_changes_nothing_in_any_dialect,
    a_cross_site_form_changes_nothing_in_any_dialect,
    the_matrix_of_origin_and_fetch_site_holds_in_every_dialect,
);

const SITES: [Option<&str>; 5] = [None, Some("same-origin"), Some("none"), Some("same-site"), Some("cross-site")];

/// A page's origin, and whether it is our own or listed.
const ORIGINS: [(Option<&str>, Option<bool>); 8] = [
    (None, None),
    (Some("http://auth.example"), Some(true)),
    (Some("https://app.example"), Some(true)),
    (Some("https://evil.example"), Some(false)),
    (Some("http://sibling.auth.example"), Some(false)),
    (Some("https://app.example.evil.example"), Some(false)),
    (Some("https://auth.example"), Some(false)),
    (Some("null"), Some(false)),
];

fn service(backend: Backend) -> (doorward::testing::TestService, crate::support::Tables) {
    let (builder, tables) = backend.service_and_tables();
    let builder = builder.set("CORS_ORIGINS", "https://app.example").set("PUBLIC_URL", "http://auth.example");
    (builder.demo().start(), tables)
}

fn says(request: Request, origin: Option<&str>, site: Option<&str>) -> Request {
    let request = origin.map_or(request.clone(), |origin| request.header("Origin", origin));
    site.map_or(request.clone(), |site| request.header("Sec-Fetch-Site", site))
}

fn a_cross_site_page_changes_nothing_in_any_dialect(backend: Backend) {
    let (service, tables) = service(backend);
    let browser = emily(&service);
    let (cookies, before) = (cookies_of(&browser), state(&service, &tables));
    for action in ACTIONS {
        for (origin, ours) in ORIGINS {
            for site in SITES {
                // The browser's word that page and service are one is enough; otherwise `Origin` decides.
                let foreign = match (site, ours) {
                    (Some("same-origin" | "none"), _) => false,
                    (_, Some(ours)) => !ours,
                    (site, None) => site.is_some(),
                };
                if !foreign {
                    continue;
                }
                for request in
                    [action.request(), action.request().cookie_header(&cookies), action.request().bearer("x")]
                {
                    let answer = says(request, origin, site).send(service.address());
                    assert_eq!(answer.status, 403, "{} from {origin:?} {site:?}: {}", action.path, answer.text());
                    assert!(answer.headers_named("Set-Cookie").is_empty());
                }
            }
        }
    }
    assert_eq!(state(&service, &tables), before);
}

/// What a form can send without a preflight: three media types.
fn a_cross_site_form_changes_nothing_in_any_dialect(backend: Backend) {
    let (service, tables) = service(backend);
    let (cookies, before) = (cookies_of(&emily(&service)), state(&service, &tables));
    for action in ACTIONS {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            for body in [action.json, "username=emilys&password=emilyspass&login=emilys", ""] {
                let request = Request::new("POST", action.path).cookie_header(&cookies).body(Some(content_type), body);
                let answer = says(request, Some("https://evil.example"), Some("cross-site")).send(service.address());
                assert_eq!(answer.status, 403, "{} {content_type}", action.path);
            }
        }
    }
    assert_eq!(state(&service, &tables), before);
}

fn the_matrix_of_origin_and_fetch_site_holds_in_every_dialect(backend: Backend) {
    let (service, _) = service(backend);
    for path in [
        "/flat/auth/logout",
        "/pin/auth/logout",
        "/envelope/auth/logout",
        "/auth/logout",
        "/signin/api/v1/auths/sign-out",
    ] {
        for (origin, site) in [
            (None, None),
            (None, Some("same-origin")),
            (None, Some("none")),
            (Some("http://auth.example"), Some("same-origin")),
            (Some("https://app.example"), Some("cross-site")),
        ] {
            let browser = emily(&service);
            let request = Request::new("POST", path).cookie_header(&cookies_of(&browser)).json("{}");
            let answer = says(request, origin, site).send(service.address());
            assert_ne!(answer.status, 403, "{path} from {origin:?} {site:?}: {}", answer.text());
        }
    }
}
