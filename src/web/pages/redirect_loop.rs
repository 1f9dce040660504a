//! On the way back: the redirect to where somebody wanted to go, and the end of it when that place keeps sending them here.
//! The rule for targets is web/redirect.rs's.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::current_user::{CurrentUser, renewed, without_dead_cookies};
use super::layout::{Layout, Message, host_of, redirect, way_back};
use super::sign_in_fields;
use crate::clock::Timestamp;
use crate::core::session::Issued;
use crate::secret::{base64url, sha256};
use crate::web::http::context::RequestContext;
use crate::web::http::error::HandlerResult;

/// How long a redirect is remembered; people do not come back so fast, circles do.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The redirect to one place that is not made any more.
const TOO_MANY: u32 = 3;

/// `GET /auth/continue`: new tokens for the refresh cookie and on to the target; or the sign-in page, with the way back.
pub async fn go_on(context: RequestContext) -> HandlerResult {
    let back = way_back(&context);
    match renewed(&context).await? {
        Some(issued) if issued.must_change_password => sign_in_fields::go_on(&context, back.as_deref(), &issued),
        Some(issued) => towards(&context, back.as_deref(), Some(&issued)),
        None => without_dead_cookies(&context, redirect(&context.service.redirects().sign_in_page(back.as_deref()))),
    }
}

/// Sends a visitor on to where they wanted to go, or to change the password first.
pub fn onwards(context: &RequestContext, back: Option<&str>, visitor: &CurrentUser) -> HandlerResult {
    if visitor.caller.must_change_password {
        return visitor.keep(context, redirect(&context.service.redirects().account_page(back)));
    }
    towards(context, back, visitor.renewed())
}

/// Sends somebody who is signed in on to where they wanted to go, with the tokens that were made on the way.
fn towards(context: &RequestContext, back: Option<&str>, renewed: Option<&Issued>) -> HandlerResult {
    let (target, now) = (context.service.redirects().target(back), context.service.core().now());
    let noted = context.redirect_loop_cookie().and_then(|text| RedirectLoopGuard::read(&text));
    let bounces = RedirectLoopGuard::after(noted, &target, now);
    let circles = bounces.count >= TOO_MANY;
    let mut answer = if circles { in_circles(context, &target)? } else { redirect(&target) };
    // Who tries again begins to count anew.
    let (value, lives) = if circles { (String::new(), Duration::ZERO) } else { (bounces.write(), REMEMBERED) };
    context.set_redirect_loop_cookie(&mut answer, &value, lives)?;
    match renewed {
        Some(issued) => context.set_cookies(answer, issued),
        None => Ok(answer),
    }
}

fn in_circles(context: &RequestContext, target: &str) -> HandlerResult {
    let layout = Layout::of(context);
    let host = host_of(Some(target)).unwrap_or_else(|| target.split(['?', '#']).next().unwrap_or_default().to_owned());
    let page = Message {
        layout,
        title: layout.t.circles,
        sentences: vec![
            layout.t.loop_signed_in.replace("{}", &host),
            layout.t.loop_you.to_owned(),
            layout.t.loop_operator.to_owned(),
        ],
        link: (target.to_owned(), layout.t.try_again),
        id: None,
        alarming: true,
    };
    layout.answer(StatusCode::CONFLICT, &page)
}

/// How often somebody was sent to one place of late.
#[derive(Debug, PartialEq, Eq)]
struct RedirectLoopGuard {
    count: u32,
    since: Timestamp,
    to: String,
}

impl RedirectLoopGuard {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (count, since, to) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        parts.next().is_none().then(|| Self { count, since: Timestamp::from_seconds(since), to: to.to_owned() })
    }

    fn write(&self) -> String {
        format!("{}.{}.{}", self.count, self.since.seconds(), self.to)
    }

    /// One more, to this place at this time.
    fn after(noted: Option<Self>, target: &str, now: Timestamp) -> Self {
        let digest = sha256(target.as_bytes());
        let to = base64url(digest.get(..9).unwrap_or(&digest));
        match noted {
            Some(noted) if noted.to == to && now >= noted.since && now < noted.since.plus(REMEMBERED) => {
                Self { count: noted.count.saturating_add(1), ..noted }
            }
            _ => Self { count: 1, since: now, to },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_262_400);

    #[test]
    fn a_place_is_counted_for_a_minute_and_by_itself() {
        let once = RedirectLoopGuard::after(None, "/a", START);
        assert_eq!(once.count, 1);
        let again = |noted: &RedirectLoopGuard, to: &str, seconds: u64| {
            let noted = RedirectLoopGuard::read(&noted.write());
            RedirectLoopGuard::after(noted, to, START.plus(Duration::from_secs(seconds)))
        };
        let twice = again(&once, "/a", 30);
        assert_eq!((twice.count, again(&twice, "/a", 59).count), (2, 3));
        assert_eq!(again(&twice, "/a", 60).count, 1, "the minute begins with the first");
        assert_eq!(again(&twice, "/b", 31).count, 1);
    }

    #[test]
    fn what_is_no_note_of_ours_counts_nothing() {
        for text in ["", "x", "1.2", "1.x.y", "-1.2.y", "1.2.y.z", "99999999999.2.y"] {
            assert_eq!(RedirectLoopGuard::read(text), None, "{text}");
        }
    }
}
