//! Redirects to the return URL, with a redirect-loop guard: an app that does not receive the session sends the browser back
//! here, and would do so without end. A cookie counts the redirects to one target; after a few within a minute a page explains
//! the loop instead. Which targets are allowed is decided by response/redirect.rs.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::current_user::{CurrentUser, clear_dead_cookies, refresh};
use super::layout::{Layout, Message, host_of, redirect, return_url};
use super::sign_in_fields;
use crate::clock::Timestamp;
use crate::core::session::Issued;
use crate::secret::{base64url, sha256};
use crate::web::request::context::RequestContext;
use crate::web::response::error::HandlerResult;

/// The time in which redirects to one target are counted. A user does not come back so often in it; a loop takes less than a
/// second for each round.
const WINDOW: Duration = Duration::from_mins(1);

/// The count at which redirects to one target are a loop: the third within a window is not made, and the page answers instead.
const LOOP_THRESHOLD: u32 = 3;

/// `GET /auth/continue`: refreshes by the refresh cookie and redirects to the return URL, or else to the sign-in page.
pub async fn continue_to_target(context: RequestContext) -> HandlerResult {
    let return_url = return_url(&context);
    match refresh(&context).await? {
        Some(issued) if issued.must_change_password => {
            sign_in_fields::redirect_after_sign_in(&context, return_url.as_deref(), &issued)
        }
        Some(issued) => redirect_to(&context, return_url.as_deref(), Some(&issued)),
        None => {
            let page = context.service.redirects().sign_in_page(return_url.as_deref());
            clear_dead_cookies(&context, redirect(&page))
        }
    }
}

/// Redirects a signed-in user to the return URL, or to `/account` if the password must be changed first.
pub fn redirect_signed_in(context: &RequestContext, return_url: Option<&str>, user: &CurrentUser) -> HandlerResult {
    if user.caller.must_change_password {
        return user.set_cookies(context, redirect(&context.service.redirects().account_page(return_url)));
    }
    redirect_to(context, return_url, user.refreshed())
}

/// Redirects to the return URL unless that is a loop. The cookies of a refresh are set in either case.
fn redirect_to(context: &RequestContext, return_url: Option<&str>, refreshed: Option<&Issued>) -> HandlerResult {
    let (target, now) = (context.service.redirects().target(return_url), context.service.core().now());
    let previous = context.redirect_loop_cookie().and_then(|text| RedirectLoopGuard::parse(&text));
    let guard = RedirectLoopGuard::after(previous, &target, now);
    // A page of this service never redirects back.
    let is_loop = guard.count >= LOOP_THRESHOLD && !is_own_page(context, &target);
    let mut response = if is_loop { loop_detected(context, &target)? } else { redirect(&target) };
    // The page of the loop has a link to try again: then the count starts anew.
    let (value, lifetime) = if is_loop { (String::new(), Duration::ZERO) } else { (guard.to_text(), WINDOW) };
    context.set_redirect_loop_cookie(&mut response, &value, lifetime)?;
    match refreshed {
        Some(issued) => context.set_cookies(response, issued),
        None => Ok(response),
    }
}

fn is_own_page(context: &RequestContext, target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    context.service.theme().serves_pages && path == "/account"
}

fn loop_detected(context: &RequestContext, target: &str) -> HandlerResult {
    let layout = Layout::of(context);
    let host = host_of(Some(target)).unwrap_or_else(|| target.split(['?', '#']).next().unwrap_or_default().to_owned());
    let page = Message {
        layout,
        title: layout.t.redirect_loop,
        sentences: vec![
            layout.t.loop_cause.replace("{}", &host),
            layout.t.loop_for_user.to_owned(),
            layout.t.loop_for_operator.to_owned(),
        ],
        link: (target.to_owned(), layout.t.try_again),
        request_id: None,
        is_error: true,
    };
    layout.answer(StatusCode::CONFLICT, &page)
}

/// How often the browser was redirected to one target since a time; the content of the cookie.
#[derive(Debug, PartialEq, Eq)]
struct RedirectLoopGuard {
    count: u32,
    since: Timestamp,
    /// A digest of the target: URLs may be too long for a cookie.
    target: String,
}

impl RedirectLoopGuard {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (count, since, target) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        parts.next().is_none().then(|| Self { count, since: Timestamp::from_seconds(since), target: target.to_owned() })
    }

    fn to_text(&self) -> String {
        format!("{}.{}.{}", self.count, self.since.seconds(), self.target)
    }

    /// Counts a redirect to a target: in the window of the previous ones if they had the same target, else in a new one.
    fn after(previous: Option<Self>, target: &str, now: Timestamp) -> Self {
        let digest = sha256(target.as_bytes());
        let target = base64url(digest.get(..9).unwrap_or(&digest));
        match previous {
            Some(previous)
                if previous.target == target && now >= previous.since && now < previous.since.plus(WINDOW) =>
            {
                Self { count: previous.count.saturating_add(1), ..previous }
            }
            _ => Self { count: 1, since: now, target },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_262_400);

    #[test]
    fn redirects_are_counted_by_target_for_a_minute() {
        let once = RedirectLoopGuard::after(None, "/a", START);
        assert_eq!(once.count, 1);
        let again = |guard: &RedirectLoopGuard, target: &str, seconds: u64| {
            let previous = RedirectLoopGuard::parse(&guard.to_text());
            RedirectLoopGuard::after(previous, target, START.plus(Duration::from_secs(seconds)))
        };
        let twice = again(&once, "/a", 30);
        assert_eq!((twice.count, again(&twice, "/a", 59).count), (2, 3));
        assert_eq!(again(&twice, "/a", 60).count, 1, "the minute begins with the first redirect");
        assert_eq!(again(&twice, "/b", 31).count, 1);
    }

    #[test]
    fn an_invalid_cookie_counts_nothing() {
        for text in ["", "x", "1.2", "1.x.y", "-1.2.y", "1.2.y.z", "99999999999.2.y"] {
            assert_eq!(RedirectLoopGuard::parse(text), None, "{text}");
        }
    }
}
