//! Cookies: the only place that reads, sets or clears one, of a session, a trusted device or the pages. Values are decided by
//! the caller.
//!
//! The parser is our own: actix-web decodes and trims names, so that a sibling subdomain can pass off `%5F%5FHost-x` as
//! `__Host-x`, and it drops every cookie if one has a byte that is not UTF-8. Here names are bytes, compared exactly.

use actix_web::HttpResponse;
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use memchr::memchr;
use std::collections::HashSet;
use std::time::Duration;

use crate::core::error::InternalError;
use crate::core::session::Issued;
use crate::secret::DeviceToken;
use crate::settings::{CookiePrefix, Settings};
use crate::web::response::error::RequestError;

/// The life of a trusted device's cookie: the longest that browsers keep one (RFC 6265bis section 5.5).
const DEVICE_TTL: Duration = Duration::from_hours(400 * 24);

/// How many values of one cookie are read: a header of the permitted size could hold hundreds.
const VALUES_MAX: usize = 4;

/// Attributes of the pages' own cookies: this host only, whatever the session's are. Lax, so that a page opened by a link of
/// another site receives the cookie that forms in other tabs are bound to.
const PAGE_ATTRIBUTES: &str = "; Path=/; HttpOnly; SameSite=Lax";

/// Names and attributes of the cookies, by the settings.
#[derive(Debug, Clone)]
pub struct SessionCookies {
    access: String,
    refresh: String,
    device: String,
    csrf: String,
    redirect_loop: String,
    attributes: String,
    /// The attributes of cookies that an earlier COOKIE_DOMAIN left in browsers. A cookie of another domain is another cookie: it
    /// is sent beside the one set now, and cleared only with its own attributes.
    other_domains: Vec<String>,
    secure: bool,
}

impl SessionCookies {
    /// By the settings: over https the names get `__Host-`, or `__Secure-` with a domain, unless configured otherwise.
    pub fn new(settings: &Settings) -> Self {
        let (cookies, https) = (&settings.cookies, settings.is_https());
        let prefix = match cookies.cookie_prefix {
            CookiePrefix::Host => "__Host-",
            CookiePrefix::Secure => "__Secure-",
            CookiePrefix::Auto if https && cookies.cookie_domain.is_some() => "__Secure-",
            CookiePrefix::Auto if https => "__Host-",
            CookiePrefix::Auto | CookiePrefix::Plain => "",
        };
        let attributes = |domain: Option<&str>| {
            let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
            format!("; Path=/{domain}; HttpOnly; SameSite={}", cookies.cookie_same_site.as_str())
        };
        let current = cookies.cookie_domain.as_deref();
        // A cookie with the prefix __Host- has no domain (RFC 6265bis section 4.1.3.2).
        let possible = if prefix == "__Host-" { Vec::new() } else { possible_domains(settings) };
        let others = possible.iter().map(Option::as_deref).filter(|domain| *domain != current);
        Self {
            access: format!("{prefix}{}", cookies.cookie_access_name),
            refresh: format!("{prefix}{}", cookies.cookie_refresh_name),
            device: format!("{prefix}{}", cookies.cookie_device_name),
            csrf: format!("{}csrfToken", if https { "__Host-" } else { "" }),
            redirect_loop: format!("{}redirectCount", if https { "__Host-" } else { "" }),
            attributes: attributes(current),
            other_domains: others.map(attributes).collect(),
            secure: https,
        }
    }

    /// The access token in its cookie.
    pub fn read_access(&self, headers: &HeaderMap) -> Result<Option<String>, RequestError> {
        read(headers, &self.access)
    }

    /// As `read_access`, from raw header lines with names in upper or lower case; the value is borrowed.
    pub fn find_access<'a>(
        &self,
        lines: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<&'a [u8]>, RequestError> {
        find(lines.filter(|(name, _)| is_cookie_header(name)).map(|(_, value)| value), &self.access)
    }

    /// The refresh token in its cookie.
    pub fn read_refresh(&self, headers: &HeaderMap) -> Result<Option<String>, RequestError> {
        read(headers, &self.refresh)
    }

    /// Every value of the cookie of the access token, and of the cookie of the refresh token: a browser has several of a name
    /// after COOKIE_DOMAIN has changed, or when a sibling subdomain has planted one. Only for ending their sessions.
    pub fn read_all(&self, headers: &HeaderMap) -> [Vec<String>; 2] {
        [&self.access, &self.refresh].map(|name| {
            let mut values: Vec<String> = Vec::new();
            for_each_value(headers.get_all(COOKIE).map(HeaderValue::as_bytes), name, |value| {
                let text = String::from_utf8_lossy(value);
                if !value.is_empty() && values.len() < VALUES_MAX && !values.iter().any(|known| *known == text) {
                    values.push(text.into_owned());
                }
                Ok(())
            })
            .unwrap_or_default();
            values
        })
    }

    /// The trusted-device token. Two that differ count as none.
    pub fn read_device(&self, headers: &HeaderMap) -> Option<DeviceToken> {
        read(headers, &self.device).ok().flatten().map(DeviceToken::new)
    }

    /// The value that CSRF tokens before a sign-in are bound to. Two that differ count as none.
    pub fn read_csrf(&self, headers: &HeaderMap) -> Option<String> {
        read(headers, &self.csrf).ok().flatten()
    }

    /// Sets the value that CSRF tokens before a sign-in are bound to, as a session cookie of the browser.
    pub fn set_csrf(&self, response: &mut HttpResponse, value: &str, https: bool) -> Result<(), InternalError> {
        self.set_cookie(response, (&self.csrf, PAGE_ATTRIBUTES), value, None, https)
    }

    /// The redirect-loop guard's record of recent redirects.
    pub fn read_redirect_loop(&self, headers: &HeaderMap) -> Option<String> {
        read(headers, &self.redirect_loop).ok().flatten()
    }

    /// Sets the record of recent redirects for this time; zero clears it.
    pub fn set_redirect_loop(
        &self,
        response: &mut HttpResponse,
        value: &str,
        max_age: Duration,
        https: bool,
    ) -> Result<(), InternalError> {
        self.set_cookie(response, (&self.redirect_loop, PAGE_ATTRIBUTES), value, Some(max_age), https)
    }

    /// Whether the request has a session cookie.
    pub fn any(&self, headers: &HeaderMap) -> bool {
        [&self.access, &self.refresh].into_iter().any(|name| !matches!(read(headers, name), Ok(None)))
    }

    /// Sets the cookies of the session: the access token, and the refresh token unless the browser presented this one itself. A
    /// response that is late must not put it over a newer one. `https`: whether this request came over https, whatever the
    /// public URL is.
    pub fn set(&self, response: &mut HttpResponse, issued: &Issued, https: bool) -> Result<(), InternalError> {
        self.set_access(response, issued, https)?;
        if !issued.refresh_is_new {
            return Ok(());
        }
        let max_age = issued.persistent.then_some(issued.refresh_ttl);
        self.set_cookie(response, (&self.refresh, &self.attributes), issued.refresh.expose(), max_age, https)
    }

    /// Sets the trusted-device cookie, which ends with the browser unless it is persistent.
    pub fn set_device(
        &self,
        response: &mut HttpResponse,
        device: &DeviceToken,
        persistent: bool,
        https: bool,
    ) -> Result<(), InternalError> {
        let max_age = persistent.then_some(DEVICE_TTL);
        self.set_cookie(response, (&self.device, &self.attributes), device.expose(), max_age, https)
    }

    /// Sets the access cookie only, for a dialect whose refresh token does not rotate.
    pub fn set_access(&self, response: &mut HttpResponse, issued: &Issued, https: bool) -> Result<(), InternalError> {
        let max_age = issued.persistent.then_some(issued.access_ttl);
        self.set_cookie(response, (&self.access, &self.attributes), issued.access.expose(), max_age, https)
    }

    /// Clears both cookies of the session, with the attributes that they were set with: a browser keeps a cookie otherwise.
    pub fn clear(&self, response: &mut HttpResponse, https: bool) -> Result<(), InternalError> {
        self.set_cookie(response, (&self.access, &self.attributes), "", Some(Duration::ZERO), https)?;
        self.set_cookie(response, (&self.refresh, &self.attributes), "", Some(Duration::ZERO), https)
    }

    /// Clears the session's cookies that an earlier COOKIE_DOMAIN may have left in the browser, and no others. A browser removes
    /// only cookies of the response's own host and of domains above it.
    pub fn clear_other_domains(&self, response: &mut HttpResponse, https: bool) -> Result<(), InternalError> {
        for attributes in &self.other_domains {
            for name in [&self.access, &self.refresh, &self.device] {
                self.set_cookie(response, (name, attributes), "", Some(Duration::ZERO), https)?;
            }
        }
        Ok(())
    }

    fn set_cookie(
        &self,
        response: &mut HttpResponse,
        (name, attributes): (&str, &str),
        value: &str,
        max_age: Option<Duration>,
        https: bool,
    ) -> Result<(), InternalError> {
        let age = max_age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
        let secure = if self.secure || https { "; Secure" } else { "" };
        let line = HeaderValue::from_str(&format!("{name}={value}{attributes}{secure}{age}"));
        let line =
            line.map_err(|_invalid| InternalError::Broken("a cookie value has a byte that no header may have".into()))?;
        response.headers_mut().append(SET_COOKIE, line);
        Ok(())
    }
}

/// Whether this is the name of the `Cookie` header, in upper or lower case.
pub fn is_cookie_header(name: &str) -> bool {
    name.eq_ignore_ascii_case(COOKIE.as_str())
}

/// The bytes of cookies, over all `Cookie` headers.
pub fn bytes(headers: &HeaderMap) -> usize {
    headers.get_all(COOKIE).map(|line| line.as_bytes().len()).sum()
}

/// The value of the cookie of exactly this name, over all `Cookie` headers (RFC 6265 section 5.4 allows one; HTTP/2 and
/// proxies produce several). Two that differ are refused: one of them may have been planted by a sibling subdomain (cookie
/// tossing), and the header does not disclose which.
fn read(headers: &HeaderMap, name: &str) -> Result<Option<String>, RequestError> {
    read_lines(headers.get_all(COOKIE).map(HeaderValue::as_bytes), name)
}

/// As `read`, from header values.
pub(in crate::web) fn read_lines<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Option<String>, RequestError> {
    // No genuine token has a byte that is not UTF-8; the lossy text fails verification as any forged token does.
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_not_utf8) => String::from_utf8_lossy(value).into_owned(),
    };
    Ok(find(lines, name)?.map(text))
}

fn find<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Result<Option<&'a [u8]>, RequestError> {
    let mut found: Option<&[u8]> = None;
    for_each_value(lines, name, |value| {
        if found.is_some_and(|other| other != value) {
            return Err(RequestError::DuplicateCookie);
        }
        found = Some(value);
        Ok(())
    })?;
    Ok(found.filter(|value| !value.is_empty()))
}

/// Passes each value of the cookie of exactly this name to `visit`, in the order of the header.
#[inline]
fn for_each_value<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    name: &str,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    for mut line in lines {
        while !line.is_empty() {
            let (pair, rest) = line.split_at(memchr(b';', line).unwrap_or(line.len()));
            line = rest.get(1..).unwrap_or_default();
            let Some(equals) = memchr(b'=', pair) else { continue };
            let (key, value) = pair.split_at(equals);
            if trim(key) == name.as_bytes() {
                visit(trim(value.get(1..).unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

/// The domains that a cookie for the service's host can have or have had: none (`None`), the configured one, the host, and
/// every domain above it but its top level.
fn possible_domains(settings: &Settings) -> Vec<Option<String>> {
    let mut domains = vec![None, settings.cookies.cookie_domain.clone()];
    if let Some(url::Host::Domain(host)) = settings.web.public_url.as_ref().and_then(url::Url::host) {
        let starts = std::iter::once(0).chain(host.match_indices('.').map(|(dot, _)| dot + 1));
        let above = starts.filter_map(|start| host.get(start..)).filter(|domain| domain.contains('.'));
        domains.extend(above.map(|domain| Some(domain.to_owned())));
    }
    let mut seen = HashSet::new();
    domains.retain(|domain| seen.insert(domain.clone()));
    domains
}

/// Space and tab only (RFC 6265 section 5.2): other white space is part of a name, which is then another cookie's.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap()));
        headers
    }

    fn found(lines: &[&[u8]]) -> Result<Option<String>, RequestError> {
        read(&headers(lines), "__Host-accessToken")
    }

    #[test]
    fn cookie_among_others_in_any_line() {
        let token = Ok(Some("t".to_owned()));
        assert_eq!(found(&[b"a=b; __Host-accessToken=t; c=d"]), token);
        assert_eq!(found(&[b"a=b", b"c; __Host-accessToken=t"]), token);
        assert_eq!(found(&[b"__Host-accessToken=t;__Host-accessToken=t"]), token);
        assert_eq!(found(&[b"\t __Host-accessToken = t ; "]), token);
    }

    #[test]
    fn malformed_cookies_do_not_hide_others() {
        assert_eq!(found(&[b"x=\xff\xfe; =; ;;; \x80; __Host-accessToken=t; %zz=%"]), Ok(Some("t".to_owned())));
    }

    #[test]
    fn lookalike_cookie_names_are_other_cookies() {
        for name in [
            &b"%5F%5FHost-accessToken"[..],
            b"\xe2\x80\x80__Host-accessToken",
            b"\xc2\xa0__Host-accessToken",
            b"\xc2\x85__Host-accessToken",
            b"__host-accessToken",
            b"__Host-accessToken\xc2\xa0",
            b"\"__Host-accessToken\"",
            b"$__Host-accessToken",
        ] {
            assert_eq!(found(&[&[name, b"=t"].concat()]), Ok(None), "{name:?}");
        }
        assert_eq!(found(&[b"__Host-accessToken"]), Ok(None));
        assert_eq!(found(&[b"__Host-accessToken="]), Ok(None));
    }

    #[test]
    fn two_cookies_that_differ_are_refused() {
        assert_eq!(found(&[b"__Host-accessToken=a; __Host-accessToken=b"]), Err(RequestError::DuplicateCookie));
        assert_eq!(found(&[b"__Host-accessToken=a", b"__Host-accessToken=b"]), Err(RequestError::DuplicateCookie));
        assert_eq!(found(&[b"__Host-accessToken=; __Host-accessToken=b"]), Err(RequestError::DuplicateCookie));
    }

    #[test]
    fn quotes_are_part_of_the_cookie_value() {
        assert_eq!(found(&[b"__Host-accessToken=\"t\""]), Ok(Some("\"t\"".to_owned())));
    }
}
