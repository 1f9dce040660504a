//! Where a browser may be sent after a sign-in: the rule for `rd` (THREATS: open redirects, loops). What passes goes out as
//! the URL standard serialises it; everything else becomes the default page, and is never said back.

use percent_encoding::percent_decode_str;
use url::{Url, form_urlencoded};

use crate::settings::{RedirectHost, Settings};

/// The parameter that carries the way back, in queries and in forms.
pub const BACK: &str = "rd";

/// The most octets of a way back; browsers and proxies bear more, people need less.
const LONGEST: usize = 4096;

/// Pages of ours that only lead on: a way back to one of them is a circle.
const CIRCLES: [&str; 4] = ["/login", "/register", "/logout", "/auth"];

/// Stands in for our own origin while nobody has told us what it is.
const NOWHERE: &str = "https://doorward.invalid/";

/// The rule, as the settings make it.
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

    /// By its parts.
    pub(in crate::web) fn of(own: Option<Url>, hosts: Vec<RedirectHost>, default: String) -> Self {
        Self { own, hosts, default }
    }

    /// Where to: the way back if it may be one, else the default page.
    pub fn target(&self, back: Option<&str>) -> String {
        back.and_then(|back| self.allowed(back)).unwrap_or_else(|| self.default.clone())
    }

    /// The sign-in page, with the way back if it may be one. Absolute where a public URL is known.
    pub fn sign_in_page(&self, back: Option<&str>) -> String {
        self.page_with_way_back("/login", back)
    }

    /// Where a navigation gets new tokens for its refresh cookie and goes on, or else is asked to sign in.
    pub fn continue_page(&self, back: Option<&str>) -> String {
        self.page_with_way_back("/auth/continue", back)
    }

    /// The account's page, which leads on once the password is changed.
    pub fn account_page(&self, back: Option<&str>) -> String {
        self.page_with_way_back("/account", back)
    }

    /// The way back, re-serialised, if it may be one.
    pub fn allowed(&self, back: &str) -> Option<String> {
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == char::REPLACEMENT_CHARACTER;
        if back.len() > LONGEST || back.contains(odd) || has_encoded_control(back) {
            return None;
        }
        let allowed = if back.starts_with('/') { self.allowed_path(back) } else { self.allowed_url(back) };
        // Written anew it may be longer, and it comes back to us with the next page.
        allowed.filter(|back| back.len() <= LONGEST)
    }

    /// Origins that a form's answer may lead to, as a Content-Security-Policy names them.
    pub fn sources(&self) -> String {
        let schemes: &[&str] = if self.takes_http() { &["https", "http"] } else { &["https"] };
        let of_host = |host: &RedirectHost| {
            let host = host.as_str();
            let of_scheme = |scheme: &&str| format!(" {scheme}://{host}:* {scheme}://*.{host}:*");
            schemes.iter().map(of_scheme).collect::<String>()
        };
        self.hosts.iter().map(of_host).collect()
    }

    /// Exactly one slash, before and after dot segments are taken out: `/.//evil` comes to `//evil`.
    fn allowed_path(&self, back: &str) -> Option<String> {
        if back.split(['?', '#']).next()?.contains('\\') || leads_away(back) {
            return None;
        }
        let base = match &self.own {
            Some(own) => own.clone(),
            None => Url::parse(NOWHERE).ok()?,
        };
        let url = base.join(back).ok()?;
        let serialised = &url[url::Position::BeforePath..];
        let here = url.origin() == base.origin() && !leads_away(serialised);
        (here && !is_circle(&url, true)).then(|| serialised.to_owned())
    }

    /// A scheme, two slashes, a host in its plain form and what follows its slash.
    fn allowed_url(&self, back: &str) -> Option<String> {
        let (scheme, rest) = back.split_once("://")?;
        let secure = scheme.eq_ignore_ascii_case("https");
        let plain = scheme.eq_ignore_ascii_case("http") && self.takes_http();
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
        // The host as it was written must be the host as it is read: no user, no escapes, no other digits, no last dot.
        let written = authority.split(':').next()?;
        let exact = written.eq_ignore_ascii_case(host) && !authority.contains('@') && !host.ends_with('.');
        let own = self.own.as_ref().is_some_and(|own| own.origin() == url.origin());
        let listed = own || self.hosts.iter().any(|listed| listed.covers(host));
        (exact && listed && !is_circle(&url, own)).then(|| url.into())
    }

    /// In development, where we ourselves are reached over http, so are the others.
    fn takes_http(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.scheme() == "http")
    }

    fn page_with_way_back(&self, page: &str, back: Option<&str>) -> String {
        let origin = self.own.as_ref().map(|own| own.origin().ascii_serialization()).unwrap_or_default();
        match back.and_then(|back| self.allowed(back)) {
            Some(back) => {
                let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
                format!("{origin}{page}?{BACK}={back}")
            }
            None => format!("{origin}{page}"),
        }
    }
}

/// The way back in a query. Two that differ are none: there is no telling which was checked by whoever sent it.
pub fn back_in(query: &str) -> Option<String> {
    let mut ways = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == BACK).map(|(_, value)| value);
    let first = ways.next()?;
    ways.all(|other| other == first).then(|| first.into_owned()).filter(|back| !back.is_empty())
}

/// A second slash of some kind after the first, also where a server in between would decode it.
fn leads_away(path: &str) -> bool {
    let rest = path.get(1..).unwrap_or_default();
    let escaped =
        rest.get(..3).is_some_and(|escape| ["%2f", "%5c"].iter().any(|slash| slash.eq_ignore_ascii_case(escape)));
    rest.starts_with('/') || escaped
}

/// `%00` to `%1f` and `%7f`, which some server in between might decode.
fn has_encoded_control(text: &str) -> bool {
    let escapes = text.split('%').skip(1).filter_map(|after| after.get(..2));
    escapes.filter_map(|hex| u8::from_str_radix(hex, 16).ok()).any(|byte| byte.is_ascii_control())
}

/// A page of ours that would only lead on again, under any spelling of its path; or a way back within the way back.
fn is_circle(url: &Url, own: bool) -> bool {
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let path = path.trim_end_matches('/');
    let leads_on = |page: &&str| path.strip_prefix(*page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    url.query_pairs().any(|(name, _)| name == BACK) || (own && CIRCLES.iter().any(leads_on))
}

#[cfg(test)]
mod tests;
