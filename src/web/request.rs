//! Request extractors: context, credentials, cookies, body, client address, origin, and the limits on each.

pub mod bearer;
pub mod body;
pub mod caller;
pub(crate) mod client_address;
pub(crate) mod confirmed_sign_up;
pub mod context;
pub(crate) mod credentials;
mod forwarded_for;
pub(crate) mod limits;
pub(crate) mod origin;
pub mod request_id;
pub(crate) mod session_cookie;
