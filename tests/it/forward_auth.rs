//! The check that proxies ask for each request of the apps behind them: who passes, what the app is told, and that no
//! client can speak for the proxy. How real proxies carry it is proxies.rs's.

mod fast_path;
mod forward;
mod renewal;
mod rules;
mod signed_assertion;
mod verify;

use doorward::core::caller::Client;
use doorward::core::registration::sign_up::{Privileges, Registration};
use doorward::secret::Secret;
use doorward::testing::TestService;

use crate::support::PASSWORD;
use crate::support::http::{Request, Response};
pub use rules::ODD;

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

/// What a proxy says of the request that it asks about.
pub fn forwarded(path: &str, method: &str, host: &str, target: &str) -> Request {
    Request::new("GET", path)
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", host)
        .header("X-Forwarded-Uri", target)
}

/// A check by cookie, the same on a connection of its own and on one that is kept.
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

/// The values of all identity headers; each must be there, once.
pub fn identity(answer: &Response) -> Vec<String> {
    let value = |name: &&str| {
        let values = answer.headers_named(name);
        assert_eq!(values.len(), 1, "{name} in {answer:?}");
        values[0].to_owned()
    };
    IDENTITY.iter().map(value).collect()
}
