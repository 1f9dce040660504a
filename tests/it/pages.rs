//! The hosted pages, used like a browser without scripts: open a page, fill in its form, send it. How they look in a
//! real browser is tested in browser.rs.

mod account;
mod confirmed_sign_up;
mod csrf_token;
mod redirect_loops;
mod rendering;
mod required_password_change;
mod shortcuts;
mod sign_in;
mod sign_up;

use doorward::testing::TestService;

use crate::support::http::{Browser, Request, Response};
use crate::support::{PASSWORD, register as register_by_api};

/// The value of a form's hidden field.
pub fn hidden(page: &Response, name: &str) -> Option<String> {
    let text = page.text();
    let field = text.split_once(&format!("type=\"hidden\" name=\"{name}\" value=\""))?.1;
    Some(field.split_once('"')?.0.replace("&#38;", "&"))
}

pub fn form(path: &str, fields: &[(&str, &str)]) -> Request {
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::new("POST", path).body(Some("application/x-www-form-urlencoded"), body)
}

/// Sends a page's form with these fields filled in.
pub fn send(browser: &mut Browser, page: &Response, path: &str, fields: &[(&str, &str)]) -> Response {
    let (token, back) = (hidden(page, "token").unwrap_or_else(|| panic!("{}", page.text())), hidden(page, "rd"));
    let mut all = vec![("token", token.as_str())];
    all.extend(back.as_deref().map(|back| ("rd", back)));
    all.extend(fields);
    browser.send(form(path, &all))
}

/// Opens a page and sends its form.
pub fn open_and_send(browser: &mut Browser, page: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let opened = browser.get(page);
    assert_eq!(opened.status, 200, "{page}: {} {}", opened.status, opened.text());
    send(browser, &opened, path, fields)
}

/// Signs in by the page.
pub fn sign_in_by_page(browser: &mut Browser, page: &str, username: &str) -> Response {
    open_and_send(browser, page, "/login", &[("identifier", username), ("password", PASSWORD), ("remember", "yes")])
}

/// Signs in by the page to an account that it registers; returns the browser.
pub fn signed_in(service: &TestService) -> Browser {
    signed_in_as(service, "emily")
}

pub fn signed_in_as(service: &TestService, username: &str) -> Browser {
    register_by_api(service, username);
    let mut browser = Browser::new(service.address());
    assert_eq!(sign_in_by_page(&mut browser, "/login", username).status, 303);
    browser
}

/// The redirect target of an answer.
pub fn location(answer: &Response) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap_or_else(|| panic!("no Location"))
}

/// Whether the browser's session is live.
pub fn is_signed_in(browser: &mut Browser) -> bool {
    let status = browser.get("/auth/me").status;
    assert!([200, 401].contains(&status), "{status}");
    status == 200
}
