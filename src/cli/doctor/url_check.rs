//! URL check of the doctor: signs in, reads the account, refreshes and signs out as a browser behind all proxies does, and
//! compares each response with what the service itself would send. It stops at the first difference, which is usually the
//! cause of the others.

use serde_json::{Value, json};

use super::http_client::{CheckError, HttpClient, HttpResponse};
use crate::cli::doctor::app_check;
use crate::secret::{Secret, from_base64url};

/// A client address that the check claims in X-Forwarded-For. A proxy must not pass it on as true.
const FORGED_ADDRESS: &str = "192.0.2.77";

/// What the walk needs no account for; whether an app behind a check is there.
pub fn run_anonymous(client: &HttpClient, report: &mut impl FnMut(&str)) -> Result<bool, CheckError> {
    check_service(client)?;
    report("the service answers");
    app_check::check_anonymous(client, report)
}

/// The walk of an account; reports each step that passed, and returns the first problem.
pub fn run_signed_in(
    client: &HttpClient,
    identifier: &str,
    secret: &Secret,
    has_app: bool,
    report: &mut impl FnMut(&str),
) -> Result<(), CheckError> {
    let origin = client.origin();
    let credentials = json!({ "identifier": identifier, "password": secret.expose() });
    check_foreign_origin(client, &credentials)?;
    report("a sign-in from another origin is refused");
    let headers = [("origin", origin.as_str()), ("x-forwarded-for", FORGED_ADDRESS)];
    let signed_in = client.send("POST", "/auth/login", &headers, Some(&credentials))?;
    check_sign_in(&signed_in)?;
    let jar = CookieJar::of(client, &signed_in)?;
    report(&format!("signed in; the browser stores {}", jar.names()));
    let cookies = jar.header();
    check_me(client, &cookies)?;
    report("/auth/me identifies the caller");
    check_me_without_cookies(client)?;
    report("/auth/me without cookies answers 401");
    let address = check_client_address(client, &cookies)?;
    report(&format!(
        "a forged X-Forwarded-For is ignored; the service sees this client at {address} (if that is a proxy's address, it is \
         missing in TRUSTED_PROXIES)"
    ));
    if has_app {
        app_check::check_session(client, &cookies, report)?;
        app_check::check_renewal(client, &jar.refresh_cookie(), report)?;
    }
    let refreshed = client.send("POST", "/auth/refresh", &[("cookie", &cookies), ("origin", &origin)], None)?;
    expect(&refreshed, 200, "POST /auth/refresh")?;
    let renewed = CookieJar::of(client, &refreshed)?.header();
    if renewed == cookies {
        return Err(CheckError(
            "POST /auth/refresh returned the same cookies; does a cache in front of the service answer?".to_owned(),
        ));
    }
    report("refreshed");
    check_sign_out(client, &renewed)?;
    if has_app {
        app_check::check_ended_session(client, &renewed, report)?;
    }
    report("signed out; the tokens of the session are refused");
    Ok(())
}

/// The same error with a hint at its cause.
fn with_hint(error: &CheckError, hint: &str) -> CheckError {
    CheckError(format!("{error}; {hint}"))
}

fn check_me(client: &HttpClient, cookies: &str) -> Result<(), CheckError> {
    let me = client.send("GET", "/auth/me", &[("cookie", cookies), ("accept", "application/json")], None)?;
    expect(&me, 200, "GET /auth/me with the cookies")
        .map_err(|error| with_hint(&error, "does a proxy drop or rename cookies?"))?;
    check_not_cacheable(&me)
}

fn check_me_without_cookies(client: &HttpClient) -> Result<(), CheckError> {
    let anonymous = client.send("GET", "/auth/me", &[], None)?;
    expect(&anonymous, 401, "GET /auth/me without cookies")
        .map_err(|error| with_hint(&error, "does a cache in front of the service answer?"))
}

fn check_sign_out(client: &HttpClient, cookies: &str) -> Result<(), CheckError> {
    let origin = client.origin();
    let signed_out = client.send("POST", "/auth/logout", &[("cookie", cookies), ("origin", &origin)], None)?;
    expect(&signed_out, 200, "POST /auth/logout")?;
    let cleared = signed_out.set_cookies().filter(|line| line.contains("Max-Age=0")).count();
    if cleared < 2 {
        return Err(CheckError(format!("POST /auth/logout cleared {cleared} cookies, not 2")));
    }
    let ended = client.send("GET", "/auth/me", &[("cookie", cookies)], None)?;
    expect(&ended, 401, "GET /auth/me with the cookies of the ended session")
}

fn expect(response: &HttpResponse, status: u16, request: &str) -> Result<(), CheckError> {
    if response.status == status {
        return Ok(());
    }
    let body = response.json();
    let code = body.get("code").and_then(Value::as_str).map(|code| format!(" ({code})")).unwrap_or_default();
    let location = response.header("location").map(|to| format!(" to {to}")).unwrap_or_default();
    Err(CheckError(format!("{request} answers {}{code}{location}, not {status}", response.status)))
}

/// By a path that proxies pass on to the service: health checks are for the machines behind them.
fn check_service(client: &HttpClient) -> Result<(), CheckError> {
    const KEYS: &str = "/.well-known/jwks.json";
    let keys = client.send_at_root("GET", KEYS, &[], None);
    let keys = keys.and_then(|keys| {
        expect(&keys, 200, &format!("GET {KEYS}"))?;
        let is_ours = keys.json().get("keys").is_some_and(Value::is_array);
        if is_ours { Ok(()) } else { Err(CheckError(format!("GET {KEYS} is not answered by doorward"))) }
    });
    keys.map_err(|error| with_hint(&error, "is the service running, and does this URL lead to it?"))
}

fn check_foreign_origin(client: &HttpClient, credentials: &Value) -> Result<(), CheckError> {
    let response = client.send("POST", "/auth/login", &[("origin", "https://foreign.invalid")], Some(credentials))?;
    expect(&response, 403, "a sign-in from another origin")
        .map_err(|error| with_hint(&error, "does a proxy remove or rewrite Origin?"))
}

/// The sign-in, with the usual cause when it fails.
fn check_sign_in(response: &HttpResponse) -> Result<(), CheckError> {
    expect(response, 200, "POST /auth/login").map_err(|error| match response.status {
        400 | 404 | 405 | 422 => with_hint(&error, "is the native API mounted there? --prefix sets its prefix"),
        401 => with_hint(&error, "is the password correct?"),
        429 => {
            let wait = response.header("retry-after").unwrap_or("some");
            with_hint(&error, &format!("too many sign-ins failed: try again in {wait} s"))
        }
        _ => error,
    })
}

fn check_not_cacheable(response: &HttpResponse) -> Result<(), CheckError> {
    match response.header("cache-control") {
        Some(line) if line.contains("no-store") => Ok(()),
        other => Err(CheckError(format!(
            "the Cache-Control of /auth/me is {}, not no-store; does a proxy rewrite it?",
            other.unwrap_or("absent")
        ))),
    }
}

/// The address that the sessions list shows for the sign-in, which must not be the forged one.
fn check_client_address(client: &HttpClient, cookies: &str) -> Result<String, CheckError> {
    let list = client.send("GET", "/auth/sessions", &[("cookie", cookies)], None)?;
    expect(&list, 200, "GET /auth/sessions")?;
    if list.text.contains(FORGED_ADDRESS) {
        return Err(CheckError(format!(
            "X-Forwarded-For: {FORGED_ADDRESS} from a client is trusted; the proxy must replace the header or append to \
             it, and TRUSTED_PROXIES must list proxies only"
        )));
    }
    let list = list.json();
    let sessions = list.get("sessions").and_then(Value::as_array);
    let is_current = |session: &&Value| session.get("current") == Some(&Value::Bool(true));
    let current = sessions.and_then(|sessions| sessions.iter().find(is_current));
    let address = current.and_then(|session| session.get("address")).and_then(Value::as_str);
    Ok(address.unwrap_or("an unknown address").to_owned())
}

/// The cookies that a browser would store.
struct CookieJar(Vec<(String, String)>);

impl CookieJar {
    /// Applies the rules of RFC 6265bis section 5.7, by which browsers drop cookies silently.
    fn of(client: &HttpClient, response: &HttpResponse) -> Result<Self, CheckError> {
        let mut stored = Vec::new();
        for line in response.set_cookies() {
            let mut parts = line.split(';').map(str::trim);
            let pair = parts.next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.ok_or_else(|| CheckError("a Set-Cookie header without a name".to_owned()))?;
            let attributes: Vec<(String, &str)> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| (name.to_lowercase(), value))
                .collect();
            if let Some(reason) = reason_to_drop(client, name, line, &attributes) {
                return Err(CheckError(format!("browsers drop the cookie {name}: {reason}")));
            }
            stored.push((name.to_owned(), value.to_owned()));
        }
        // Both tokens of the native API are JWTs; the trusted device's cookie is not.
        let tokens = stored.iter().filter(|(_, value)| value.starts_with("ey")).count();
        if tokens < 2 {
            return Err(CheckError(format!(
                "{tokens} of 2 tokens arrived in cookies; does a proxy drop Set-Cookie headers?"
            )));
        }
        Ok(Self(stored))
    }

    fn names(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The refresh token's cookie alone, as a browser sends it when the access token has expired.
    fn refresh_cookie(&self) -> String {
        let is_refresh = |value: &str| {
            let payload = value.split('.').nth(1).and_then(from_base64url);
            let claims = payload.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
            claims.is_some_and(|claims| claims.get("use").and_then(Value::as_str) == Some("refresh"))
        };
        let cookie = self.0.iter().find(|(_, value)| is_refresh(value));
        cookie.map(|(name, value)| format!("{name}={value}")).unwrap_or_default()
    }

    fn header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// Why a browser would drop a cookie, or why it is not the cookie that the service has set.
fn reason_to_drop(client: &HttpClient, name: &str, line: &str, attributes: &[(String, &str)]) -> Option<String> {
    let value = |attribute: &str| attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| *value);
    let is_secure = value("secure").is_some();
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&client.host());
    if line.len() > 4096 {
        return Some(format!("it has {} bytes, more than 4096", line.len()));
    }
    if is_secure && !client.is_https() && !is_local {
        return Some("it is Secure, but this URL is http; use the https PUBLIC_URL".to_owned());
    }
    if !is_secure && client.is_https() {
        return Some("it is not Secure, but this URL is https; set PUBLIC_URL=https://…".to_owned());
    }
    if (name.starts_with("__Host-") || name.starts_with("__Secure-")) && !is_secure {
        return Some("its name prefix requires Secure".to_owned());
    }
    if name.starts_with("__Host-") && (value("domain").is_some() || value("path") != Some("/")) {
        return Some("its name prefix requires Path=/ and no Domain; does a proxy rewrite cookies?".to_owned());
    }
    if value("samesite").is_some_and(|site| site.eq_ignore_ascii_case("none")) && !is_secure {
        return Some("SameSite=None requires Secure".to_owned());
    }
    if let Some(domain) = value("domain") {
        let domain = domain.trim_start_matches('.');
        if client.host() != domain && !client.host().ends_with(&format!(".{domain}")) {
            return Some(format!("its domain is {domain}, but it was set by {}", client.host()));
        }
    }
    if value("httponly").is_none() {
        return Some("it is not HttpOnly, so scripts can read it; does a proxy rewrite cookies?".to_owned());
    }
    None
}
