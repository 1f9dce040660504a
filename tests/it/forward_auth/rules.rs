//! RULES_FILE: access rules by host and path, and ambiguous paths, which two parsers may read differently.

use doorward::testing::TestService;

use super::{add_account, forwarded, identity};
use crate::support::http::{Request, Response};
use crate::support::{Backend, Tokens, code, on_both_backends, register, sign_in};

on_both_backends!(
    rules_apply_at_both_endpoints,
    an_ambiguous_path_is_never_public,
    rules_deny_everything_without_a_trusted_proxy,
    an_invalid_rule_stops_the_start_and_names_its_line,
);

const RULES: &str = "app.example.com /public/* public\n\
                     app.example.com /admin/* role=ADMIN\n\
                     app.example.com /reports/* permission=reports:read\n";

fn with_rules(backend: Backend) -> (tempfile::TempDir, TestService) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, RULES).unwrap();
    let builder = backend.service().set("RULES_FILE", file.display().to_string());
    (folder, builder.set("TRUSTED_PROXIES", "127.0.0.1").start())
}

fn send_request(service: &TestService, path: &str, target: &str, access: Option<&str>) -> Response {
    let request = forwarded(path, "GET", "app.example.com", target);
    let request = access.into_iter().fold(request, Request::bearer);
    request.send(service.address())
}

fn rules_apply_at_both_endpoints(backend: Backend) {
    let (_folder, service) = with_rules(backend);
    add_account(&service, "boss", "ADMIN", &[]);
    add_account(&service, "reader", "USER", &["reports:read"]);
    let boss = Tokens::in_jar_of(&sign_in(&service, "boss")).access;
    let reader = Tokens::in_jar_of(&sign_in(&service, "reader")).access;
    for (target, nobodys, bosss, readers) in [
        ("/public/style.css", 200, 200, 200),
        ("/", 401, 200, 200),
        ("/admin/users?x=/public/", 401, 200, 403),
        ("/reports/7", 401, 403, 200),
        ("/publicity", 401, 200, 200),
    ] {
        for path in ["/auth/verify", "/auth/forward"] {
            assert_eq!(send_request(&service, path, target, None).status, nobodys, "{path} {target}, signed out");
            assert_eq!(send_request(&service, path, target, Some(&boss)).status, bosss, "{path} {target}, boss");
            assert_eq!(send_request(&service, path, target, Some(&reader)).status, readers, "{path} {target}, reader");
        }
    }
    let public = send_request(&service, "/auth/verify", "/public/", Some(&boss));
    assert!(identity(&public).iter().all(String::is_empty), "a public path has no identity");
    assert_eq!(send_request(&service, "/auth/verify?role=BOSS", "/", Some(&boss)).status, 403, "both must hold");
}

/// Paths that a proxy or an app may normalise differently from us.
pub const AMBIGUOUS_PATHS: [&str; 64] = [
    "/public/../admin/x",
    "/public/..",
    "/public/../",
    "/public/./x",
    "/public/.",
    "/./public/x",
    "/public//x",
    "//public/x",
    "///public/x",
    "/public/..;/admin",
    "/public/;x",
    "/public/x;y=z",
    "/public;/x",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/%2e./admin",
    "/public/%2e/x",
    "/public/x%2ecss",
    "/public/%2f",
    "/public%2fx",
    "/public%2Fx",
    "/public/..%2fadmin",
    "/public/..%2Fadmin",
    "/public/%2e%2e%2fadmin",
    "/public/%2f%2fx",
    "/public/%5cx",
    "/public/..%5cadmin",
    "/public/..%5Cadmin",
    "/public%5c..%5cadmin",
    "/public\\..\\admin",
    "/public/\\x",
    "/public/x\\",
    "\\public/x",
    "/public/%00",
    "/public/x%00.css",
    "/public/..%00/admin",
    "/public/%252e%252e/admin",
    "/public/%252fadmin",
    "/public/%255cadmin",
    "/public/%2500",
    "/public/%25",
    "/public/%",
    "/public/%2",
    "/public/%zz",
    "/public/%u002e",
    "/public/%ff",
    "/public/%fe%ff",
    "/public/%c0%ae%c0%ae/admin",
    "/public/%c0%af",
    "/public/%e0%80%af",
    "/public/%c3",
    "/public/%ed%a0%80",
    "/public/%0a",
    "/public/%0d%0ax",
    "/public/%09",
    "/public/%7f",
    "/public/%3bx",
    "/public/%3fx",
    "/public/%23x",
    "/public/%41dmin",
    "/public/%7e",
    "/public/....//admin",
    "/public/..../admin",
];

fn an_ambiguous_path_is_never_public(backend: Backend) {
    let (_folder, service) = with_rules(backend);
    add_account(&service, "both", "ADMIN", &["reports:read"]);
    let both = Tokens::in_jar_of(&sign_in(&service, "both")).access;
    let user = Tokens::in_jar_of(&register(&service, "emily")).access;
    for odd in AMBIGUOUS_PATHS {
        for path in ["/auth/verify", "/auth/forward"] {
            let statuses = [None, Some(user.as_str()), Some(both.as_str())]
                .map(|who| send_request(&service, path, odd, who).status);
            // If it is not a path at all, the identity does not matter.
            let expected = if odd.starts_with('/') { [401, 403, 200] } else { [403, 403, 403] };
            assert_eq!(statuses, expected, "{path} {odd}");
        }
    }
}

fn rules_deny_everything_without_a_trusted_proxy(backend: Backend) {
    let (folder, service) = with_rules(backend);
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let unclear = |request: Request, service: &TestService| {
        let answer = request.bearer(&access).send(service.address());
        (answer.status, code(&answer)) == (403, "invalid_forwarded_headers".to_owned())
    };
    assert!(unclear(Request::new("GET", "/auth/verify"), &service));
    let forged = forwarded("/auth/verify", "GET", "app.example.com", "/admin/").header("X-Original-URI", "/public/");
    assert!(unclear(forged, &service));
    let rules = folder.path().join("rules").display().to_string();
    let stranger = TestService::builder().set("RULES_FILE", rules.clone()).set("TRUSTED_PROXIES", "10.0.0.1").start();
    let public = forwarded("/auth/verify", "GET", "app.example.com", "/public/");
    assert_eq!(public.send(stranger.address()).status, 403);
    let refused = TestService::builder().set("RULES_FILE", rules).try_start().err().unwrap().to_string();
    assert!(refused.contains("set TRUSTED_PROXIES"), "{refused}");
}

fn an_invalid_rule_stops_the_start_and_names_its_line(_: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, "* / public\n* /admin role:ADMIN\n").unwrap();
    let builder = |file: String| TestService::builder().set("TRUSTED_PROXIES", "127.0.0.1").set("RULES_FILE", file);
    let refused = builder(file.display().to_string()).try_start().err().unwrap().to_string();
    assert!(refused.contains("line 2") && refused.contains("role:ADMIN"), "{refused}");
    let missing = builder(folder.path().join("none").display().to_string()).try_start().err().unwrap().to_string();
    assert!(missing.starts_with("RULES_FILE: ") && missing.contains("cannot be read"), "{missing}");
}
