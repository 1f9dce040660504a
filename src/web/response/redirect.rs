//! Redirect targets after a sign-in: the allow rule for the parameter `rd` (attacks: open redirects, redirect loops). An
//! allowed target is sent as the URL standard serialises it; any other becomes the default page and is never echoed.

use percent_encoding::percent_decode_str;
use url::{Url, form_urlencoded};

use crate::settings::{RedirectHost, Settings};

/// The parameter that carries the return target, in queries and in forms.
pub const RETURN_PARAMETER: &str = "rd";

/// The maximum length of a return target in bytes, well below what browsers and proxies accept.
const RETURN_MAX: usize = 4096;

/// The service's own pages that redirect onwards: a return target among them would be a redirect loop.
const REDIRECTING_PAGES: [&str; 5] = ["/login", "/register", "/logout", "/auth", "/access-denied"];

/// Placeholder for the service's own origin without a PUBLIC_URL: paths are resolved against it, and no host can have it
/// (RFC 2606).
const UNKNOWN_ORIGIN: &str = "https://doorward.invalid/";

/// The rule for redirect targets, by the settings.
#[derive(Debug, Clone)]
pub struct Redirects {
    own: Option<Url>,
    hosts: Vec<RedirectHost>,
    default: String,
}

impl Redirects {
    /// By PUBLIC_URL, REDIRECT_HOSTS and DEFAULT_PAGE.
    pub fn new(settings: &Settings) -> Self {
        let pages = &settings.pages;
        Self::of(settings.web.public_url.clone(), pages.redirect_hosts.clone(), pages.default_page.clone())
    }

    /// The rule by its parts.
    pub(in crate::web) fn of(own: Option<Url>, hosts: Vec<RedirectHost>, default: String) -> Self {
        Self { own, hosts, default }
    }

    /// The return target if it is allowed, else the default page.
    pub fn target(&self, back: Option<&str>) -> String {
        back.and_then(|back| self.allowed(back)).unwrap_or_else(|| self.default.clone())
    }

    /// The sign-in page, with the return target if it is allowed. Absolute if the public URL is known.
    pub fn sign_in_page(&self, back: Option<&str>) -> String {
        self.page_with_return("/login", back)
    }

    /// The page that renews the tokens of a navigation by its refresh cookie, or leads to the sign-in page.
    pub fn continue_page(&self, back: Option<&str>) -> String {
        self.page_with_return("/auth/continue", back)
    }

    /// The page for a signed-in user whose account lacks a role or permission.
    pub fn access_denied_page(&self, back: Option<&str>) -> String {
        self.page_with_return("/access-denied", back)
    }

    /// The account page, which redirects onwards once the password is changed.
    pub fn account_page(&self, back: Option<&str>) -> String {
        self.page_with_return("/account", back)
    }

    /// The return target, re-serialised, if it is allowed.
    pub fn allowed(&self, back: &str) -> Option<String> {
        // Browsers remove tabs and line ends from a URL before they parse it: `/\t/evil.test` is `//evil.test` to them. A
        // replacement character stands for bytes that were not UTF-8, which a proxy may have read in another way.
        let is_forbidden = |c: char| c.is_control() || c.is_whitespace() || c == char::REPLACEMENT_CHARACTER;
        if back.len() > RETURN_MAX || back.contains(is_forbidden) || has_encoded_control(back) {
            return None;
        }
        let allowed = if back.starts_with('/') { self.allowed_path(back) } else { self.allowed_url(back) };
        // Re-serialised it may be longer, and it returns with the next request.
        allowed.filter(|back| back.len() <= RETURN_MAX)
    }

    /// The origins to which a form's response may redirect, for a Content-Security-Policy.
    pub fn sources(&self) -> String {
        let schemes: &[&str] = if self.allows_http() { &["https", "http"] } else { &["https"] };
        let of_host = |host: &RedirectHost| {
            let host = host.as_str();
            let of_scheme = |scheme: &&str| format!(" {scheme}://{host}:* {scheme}://*.{host}:*");
            schemes.iter().map(of_scheme).collect::<String>()
        };
        self.hosts.iter().map(of_host).collect()
    }

    /// A path must begin with exactly one slash, also after dot segments are removed: `/.//evil` becomes `//evil`, which a browser
    /// resolves as another host.
    fn allowed_path(&self, back: &str) -> Option<String> {
        // A browser reads a backslash in a path as a slash.
        if back.split(['?', '#']).next()?.contains('\\') || is_network_path(back) {
            return None;
        }
        let base = match &self.own {
            Some(own) => own.clone(),
            None => Url::parse(UNKNOWN_ORIGIN).ok()?,
        };
        let url = base.join(back).ok()?;
        let serialised = &url[url::Position::BeforePath..];
        let is_same_origin = url.origin() == base.origin() && !is_network_path(serialised);
        (is_same_origin && !is_redirect_loop(&url, true)).then(|| serialised.to_owned())
    }

    /// A URL must be a scheme, two slashes, a host in its serialised form, and nothing or a path.
    fn allowed_url(&self, back: &str) -> Option<String> {
        let (scheme, rest) = back.split_once("://")?;
        let secure = scheme.eq_ignore_ascii_case("https");
        let plain = scheme.eq_ignore_ascii_case("http") && self.allows_http();
        if !secure && !plain {
            return None;
        }
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        let after = rest.get(authority.len()..)?;
        let path = after.split(['?', '#']).next()?;
        if !(after.is_empty() || after.starts_with('/')) || path.contains('\\') {
            return None;
        }
        let url = Url::parse(back).ok()?;
        let host = url.host_str()?;
        // The host as written must be the host as parsed: no user info, no escapes, no other digits, no trailing dot. Parsers
        // disagree about each of these.
        let written = authority.split(':').next()?;
        let exact = written.eq_ignore_ascii_case(host) && !authority.contains('@') && !host.ends_with('.');
        let own = self.own.as_ref().is_some_and(|own| own.origin() == url.origin());
        let listed = own || self.hosts.iter().any(|listed| listed.covers(host));
        (exact && listed && !is_redirect_loop(&url, own)).then(|| url.into())
    }

    /// In development the service itself is reached over http, and so are the applications.
    fn allows_http(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.scheme() == "http")
    }

    fn page_with_return(&self, page: &str, back: Option<&str>) -> String {
        let origin = self.own.as_ref().map(|own| own.origin().ascii_serialization()).unwrap_or_default();
        match back.and_then(|back| self.allowed(back)) {
            Some(back) => {
                let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
                format!("{origin}{page}?{RETURN_PARAMETER}={back}")
            }
            None => format!("{origin}{page}"),
        }
    }
}

/// The return target of a query. Two that differ count as none: a proxy may have checked another than the one used here.
pub fn back_in(query: &str) -> Option<String> {
    let mut targets =
        form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == RETURN_PARAMETER).map(|(_, value)| value);
    let first = targets.next()?;
    targets.all(|other| other == first).then(|| first.into_owned()).filter(|back| !back.is_empty())
}

/// Whether a second slash or backslash follows the first one, also percent-encoded, since a proxy may decode it.
fn is_network_path(path: &str) -> bool {
    let rest = path.get(1..).unwrap_or_default();
    let escaped =
        rest.get(..3).is_some_and(|escape| ["%2f", "%5c"].iter().any(|slash| slash.eq_ignore_ascii_case(escape)));
    rest.starts_with('/') || escaped
}

/// `%00` to `%1f` and `%7f`, which a proxy may decode.
fn has_encoded_control(text: &str) -> bool {
    let escapes = text.split('%').skip(1).filter_map(|after| after.get(..2));
    escapes.filter_map(|hex| u8::from_str_radix(hex, 16).ok()).any(|byte| byte.is_ascii_control())
}

/// Whether the target is one of the service's own redirecting pages, under any spelling of its path, or itself carries a return
/// target.
fn is_redirect_loop(url: &Url, own: bool) -> bool {
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let path = path.trim_end_matches('/');
    let leads_on = |page: &&str| path.strip_prefix(*page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    url.query_pairs().any(|(name, _)| name == RETURN_PARAMETER) || (own && REDIRECTING_PAGES.iter().any(leads_on))
}

#[cfg(test)]
mod tests;
