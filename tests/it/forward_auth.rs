//! Forward-auth checks, which a reverse proxy sends for each request to the apps behind it: which requests are allowed,
//! what the app receives, and that no client can impersonate the proxy. Real proxies are tested in proxies.rs.

mod fast_path;
mod forward;
mod proofs;
mod renewal;
mod rules;
mod signed_assertion;
mod verify;

use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::core::session::caller::Client;
use doorward::secret::Secret;
use doorward::testing::TestService;

use crate::support::PASSWORD;
use crate::support::http::{Request, Response};
pub use rules::AMBIGUOUS_PATHS;

/// Every identity header, in the order of the documentation.
pub const IDENTITY: [&str; 8] = [
    "Remote-User",
    "Remote-Id",
    "Remote-Email",
    "Remote-Name",
    "Remote-Role",
    "Remote-Permissions",
    "Remote-Session",
    "Remote-Assertion",
];

/// The bytes that a header's name may have (RFC 9110 section 5.6.2) besides letters, digits and the hyphen.
pub const ODD_OCTETS: &str = "!#$%&'*+.^_`|~";

/// A check with the headers by which a proxy describes the original request.
pub fn forwarded(path: &str, method: &str, host: &str, target: &str) -> Request {
    Request::new("GET", path)
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", host)
        .header("X-Forwarded-Uri", target)
}

/// A check by cookie, which must be answered the same on a new connection (handler) and on a kept one (fast path).
pub fn check(service: &TestService, path: &str, access: &str) -> Response {
    let request = Request::new("GET", path).cookie_header(&format!("accessToken={access}"));
    let answer = request.send(service.address());
    fast_path::assert_same(&fast_path::on_a_kept_connection(service, request), &answer);
    answer
}

/// Adds an account as an operator does.
pub fn add_account(service: &TestService, username: &str, role: &str, permissions: &[&str]) {
    let person = Registration {
        username: Some(username.to_owned()),
        password: Some(Secret::new(PASSWORD)),
        ..Registration::default()
    };
    let privileges = Privileges {
        role: Some(role.to_owned()),
        permissions: permissions.iter().map(ToString::to_string).collect(),
        ..Privileges::default()
    };
    let core = service.core();
    let validated = core.validate_account(person, privileges).unwrap();
    core.add_account(&validated.hash(core.hasher()).unwrap(), &Client::operator()).unwrap();
}

/// The values of all identity headers, each of which must be present exactly once.
pub fn identity(answer: &Response) -> Vec<String> {
    let value = |name: &&str| {
        let values = answer.headers_named(name);
        assert_eq!(values.len(), 1, "{name} in {answer:?}");
        values[0].to_owned()
    };
    IDENTITY.iter().map(value).collect()
}
