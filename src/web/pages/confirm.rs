//! `/register/confirm`: where the link of a sign-up's mail leads. The password is asked for again; the account and its first
//! session begin with it. A look at the page changes nothing, for mail scanners open links.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use askama::Template;
use url::form_urlencoded;

use super::csrf_form::Guest;
use super::current_user::without_dead_cookies;
use super::layout::Frame;
use super::{refusals, sign_in_fields};
use crate::core::error::{Error, Refusal};
use crate::secret::Secret;
use crate::web::http::body::Fields;
use crate::web::http::context::Call;
use crate::web::http::error::Answered;

/// What the link carries in its query.
const TOKEN: &str = "token";

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page<'a> {
    frame: Frame<'a>,
    token: String,
    confirmation: &'a str,
    remember: bool,
    error: Option<String>,
}

/// `GET /register/confirm`
pub async fn show(call: Call) -> Answered {
    refuse_without_mail(&call)?;
    let query = form_urlencoded::parse(call.request.query_string().as_bytes());
    let confirmation = query.into_iter().find_map(|(name, value)| (name == TOKEN).then_some(value));
    let page =
        form(&call, &Guest::of(&call)?, confirmation.as_deref().unwrap_or_default(), true, StatusCode::OK, None)?;
    without_dead_cookies(&call, page)
}

/// `POST /register/confirm`
pub async fn submit(call: Call, mut payload: Payload) -> Answered {
    refuse_without_mail(&call)?;
    let mut fields = Fields::form(&call.request, &mut payload).await?;
    let guest = Guest::of(&call)?;
    let is_ours = guest.sent(&call, &mut fields);
    let password = fields.required_secret("password");
    let confirmation = fields.text("confirmation").unwrap_or_default();
    let remember = fields.text("remember").is_some_and(|ticked| !ticked.is_empty());
    if !is_ours {
        let error = Frame::of(&call).t.form_expired.to_owned();
        return form(&call, &guest, &confirmation, remember, StatusCode::FORBIDDEN, Some(error));
    }
    let wish = sign_in_fields::wish(&call, Vec::new(), password, remember)?;
    match call.confirm_sign_up(Secret::new(confirmation.as_str()), wish).await {
        Ok(confirmed) => {
            let back = confirmed.leads_back.and_then(|back| call.door.redirects().allowed(&back));
            sign_in_fields::go_on(&call, back.as_deref(), &confirmed.signed_in.issued)
        }
        Err(error @ Error::Refusal(_)) => {
            let said = refusals::said(&error, Frame::of(&call).t);
            let page = form(&call, &guest, &confirmation, remember, refusals::status(&error), Some(said));
            refusals::with_headers(page, &error)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Where answers tell how a sign-up ended, there is nothing to confirm.
fn refuse_without_mail(call: &Call) -> Result<(), Refusal> {
    if call.tells_by_mail() { Ok(()) } else { Err(Refusal::RouteNotFound) }
}

fn form(
    call: &Call,
    guest: &Guest,
    confirmation: &str,
    remember: bool,
    status: StatusCode,
    error: Option<String>,
) -> Answered {
    let frame = Frame::of(call);
    let page = Page { frame, token: guest.token(call), confirmation, remember, error };
    guest.keep(call, frame.answer(status, &page)?)
}
