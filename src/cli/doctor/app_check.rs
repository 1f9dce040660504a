//! App check of the doctor: whether the front page of the URL is an app behind a check, and whether that check refuses
//! strangers and forged identities, accepts a session, renews it, and refuses it again after the sign-out. It sees what a
//! browser sees; what the app receives is not visible from here. The steps of the service itself are url_check.rs's.

use super::http_client::{CheckError, HttpClient, HttpResponse};

/// The page by which the check is tested.
const FRONT_PAGE: &str = "/";

/// A name that no account has.
const FORGED_USER: &str = "doorward-doctor-forged";

/// Headers by which a client could claim an identity, in spellings that some apps cannot tell from the first one.
const FORGED_HEADERS: [&str; 3] = ["Remote-User", "Remote_User", "Remote-Role"];

/// What the front page answers.
enum FrontPageAccess {
    /// A redirect to a page of doorward, by its path.
    RedirectTo(String),
    /// A refusal.
    Refused,
    /// Anything else: the request was let through.
    Passed,
}

impl FrontPageAccess {
    fn of(response: &HttpResponse) -> Self {
        let target = response.header("location").filter(|_| (300..400).contains(&response.status));
        let path = target.map(|target| target.split_once("://").map_or(target, |(_, rest)| rest));
        let path = path.map(|rest| rest.find('/').map_or("", |at| rest.get(at..).unwrap_or_default()));
        let path = path.map(|path| path.split('?').next().unwrap_or_default());
        match path {
            Some(page @ ("/login" | "/auth/continue")) => Self::RedirectTo(page.to_owned()),
            _ if response.status == 401 => Self::Refused,
            _ => Self::Passed,
        }
    }

    fn is_denied(&self) -> bool {
        !matches!(self, Self::Passed)
    }
}

/// Opens the front page as a browser's navigation.
fn open(client: &HttpClient, more: &[(&str, &str)]) -> Result<HttpResponse, CheckError> {
    let navigation = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];
    client.send_at_root("GET", FRONT_PAGE, &[&navigation[..], more].concat(), None)
}

/// Whether an app behind a check is there, which refuses strangers whatever they claim.
pub fn check_anonymous(client: &HttpClient, report: &mut impl FnMut(&str)) -> Result<bool, CheckError> {
    let response = open(client, &[])?;
    match FrontPageAccess::of(&response) {
        FrontPageAccess::Passed => {
            report(&format!(
                "{FRONT_PAGE} answers {} without a sign-in: no app behind a check to test",
                response.status
            ));
            return Ok(false);
        }
        FrontPageAccess::Refused => report(&format!("{FRONT_PAGE} is refused without a sign-in")),
        FrontPageAccess::RedirectTo(page) => {
            let page = client.send_at_root("GET", &page, &[("accept", "text/html")], None)?;
            let is_html = page.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            if page.status != 200 || !is_html {
                return Err(CheckError(format!(
                    "{FRONT_PAGE} redirects to the sign-in page, which answers {}; does the proxy pass doorward's pages on?",
                    page.status
                )));
            }
            report(&format!("{FRONT_PAGE} redirects to the sign-in page"));
        }
    }
    for name in FORGED_HEADERS {
        // A proxy may refuse a name with an underscore altogether.
        let response = open(client, &[(name, FORGED_USER)])?;
        if (200..300).contains(&response.status) {
            return Err(CheckError(format!(
                "{FRONT_PAGE} answers {} to a stranger who sends {name}; every request to the app must go through the check",
                response.status
            )));
        }
    }
    report("a forged identity header opens nothing");
    Ok(true)
}

/// Whether the check accepts the cookies of a session.
pub fn check_session(client: &HttpClient, cookies: &str, report: &mut impl FnMut(&str)) -> Result<(), CheckError> {
    let response = open(client, &[("cookie", cookies)])?;
    if FrontPageAccess::of(&response).is_denied() {
        return Err(CheckError(format!(
            "{FRONT_PAGE} answers {} in a session; does the proxy pass the cookies on to the check?",
            response.status
        )));
    }
    report(&match response.status {
        403 => format!(
            "{FRONT_PAGE} answers 403 in a session: this account lacks a role or permission, or must change its password"
        ),
        status => format!("{FRONT_PAGE} answers {status} in a session"),
    });
    Ok(())
}

/// Whether a session goes on when its access token has expired: `refresh` is the refresh cookie alone.
pub fn check_renewal(client: &HttpClient, refresh: &str, report: &mut impl FnMut(&str)) -> Result<(), CheckError> {
    let response = open(client, &[("cookie", refresh)])?;
    match FrontPageAccess::of(&response) {
        FrontPageAccess::RedirectTo(page) if page == "/auth/continue" => {
            report("an expired access token is renewed by /auth/continue");
        }
        FrontPageAccess::Passed if response.set_cookies().next().is_some() => {
            report("an expired access token is renewed by the check");
        }
        FrontPageAccess::Passed => {
            return Err(CheckError(
                "the check renews access, but no Set-Cookie arrives; the proxy must pass the check's Set-Cookie on"
                    .to_owned(),
            ));
        }
        FrontPageAccess::Refused | FrontPageAccess::RedirectTo(_) => {
            return Err(CheckError(
                "an expired access token asks for a new sign-in although the refresh cookie is live; set VERIFY_RENEW=true"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

/// Whether the check refuses the cookies of a session that has ended.
pub fn check_ended_session(
    client: &HttpClient,
    cookies: &str,
    report: &mut impl FnMut(&str),
) -> Result<(), CheckError> {
    let response = open(client, &[("cookie", cookies)])?;
    if !FrontPageAccess::of(&response).is_denied() {
        return Err(CheckError(format!(
            "{FRONT_PAGE} answers {} with the cookies of the ended session; does a cache in front of the app answer?",
            response.status
        )));
    }
    report(&format!("{FRONT_PAGE} is refused after the sign-out"));
    Ok(())
}
