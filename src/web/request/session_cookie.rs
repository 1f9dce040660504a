//! The only place that reads, writes or clears a cookie, of the session or of a form. What goes into one is for the caller.
//!
//! Reading is our own: actix-web decodes and trims names, so that a sibling subdomain can pass `%5F%5FHost-x` off as
//! `__Host-x`, and loses every cookie over one octet that is not UTF-8. Here names are octets, compared as they are.

use actix_web::HttpResponse;
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use memchr::memchr;
use std::time::Duration;

use crate::core::error::{InternalError, Refusal};
use crate::core::session::Issued;
use crate::secret::DeviceToken;
use crate::settings::{CookiePrefix, Settings};

/// How long a device is known: as long as browsers keep a cookie at most (RFC 6265bis section 5.5).
const DEVICE_LIVES: Duration = Duration::from_hours(400 * 24);

/// How far the cookies of our own pages reach: this host, whatever the session's do. Lax, so that a page that a link of
/// another site opens knows the forms that are open already.
const OF_PAGES: &str = "; Path=/; HttpOnly; SameSite=Lax";

/// The cookies, named and fenced as the settings say.
#[derive(Debug, Clone)]
pub struct SessionCookies {
    access: String,
    refresh: String,
    device: String,
    form: String,
    bounces: String,
    attributes: String,
    secure: bool,
}

impl SessionCookies {
    /// By the settings: over https the names get `__Host-`, or `__Secure-` with a domain, unless told otherwise.
    pub fn new(settings: &Settings) -> Self {
        let (cookies, https) = (&settings.cookies, settings.is_https());
        let prefix = match cookies.cookie_prefix {
            CookiePrefix::Host => "__Host-",
            CookiePrefix::Secure => "__Secure-",
            CookiePrefix::Auto if https && cookies.cookie_domain.is_some() => "__Secure-",
            CookiePrefix::Auto if https => "__Host-",
            CookiePrefix::Auto | CookiePrefix::Plain => "",
        };
        let domain = cookies.cookie_domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        Self {
            access: format!("{prefix}{}", cookies.cookie_access_name),
            refresh: format!("{prefix}{}", cookies.cookie_refresh_name),
            device: format!("{prefix}{}", cookies.cookie_device_name),
            form: format!("{}formToken", if https { "__Host-" } else { "" }),
            bounces: format!("{}bounces", if https { "__Host-" } else { "" }),
            attributes: format!("; Path=/{domain}; HttpOnly; SameSite={}", cookies.cookie_same_site.as_str()),
            secure: https,
        }
    }

    /// The access token that came in a cookie.
    pub fn read_access(&self, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
        read(headers, &self.access)
    }

    /// The same, of header lines as they were sent, names in any case, and as it stands there.
    pub fn find_access<'a>(
        &self,
        lines: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        find(lines.filter(|(name, _)| is_of_cookies(name)).map(|(_, value)| value), &self.access)
    }

    /// The refresh token that came in a cookie.
    pub fn read_refresh(&self, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
        read(headers, &self.refresh)
    }

    /// What a device shows of sign-ins before. Two that differ show nothing.
    pub fn read_device(&self, headers: &HeaderMap) -> Option<DeviceToken> {
        read(headers, &self.device).ok().flatten().map(DeviceToken::new)
    }

    /// What forms before a sign-in are bound to. Two that differ bind nothing.
    pub fn read_csrf(&self, headers: &HeaderMap) -> Option<String> {
        read(headers, &self.form).ok().flatten()
    }

    /// Sets what forms before a sign-in are bound to, until the browser is closed.
    pub fn set_csrf(&self, response: &mut HttpResponse, value: &str, https: bool) -> Result<(), InternalError> {
        self.put(response, (&self.form, OF_PAGES), value, None, https)
    }

    /// What is noted about redirects of late.
    pub fn read_redirect_loop(&self, headers: &HeaderMap) -> Option<String> {
        read(headers, &self.bounces).ok().flatten()
    }

    /// Notes redirects for so long; for no time at all, forgets them.
    pub fn set_redirect_loop(
        &self,
        response: &mut HttpResponse,
        value: &str,
        lives: Duration,
        https: bool,
    ) -> Result<(), InternalError> {
        self.put(response, (&self.bounces, OF_PAGES), value, Some(lives), https)
    }

    /// Whether a cookie of the session came.
    pub fn any(&self, headers: &HeaderMap) -> bool {
        [&self.access, &self.refresh].into_iter().any(|name| !matches!(read(headers, name), Ok(None)))
    }

    /// Sets both cookies. `https` is whether this request came over it, whatever the public URL says.
    pub fn set(&self, response: &mut HttpResponse, issued: &Issued, https: bool) -> Result<(), InternalError> {
        let lives = |lives: Duration| issued.persistent.then_some(lives);
        self.put(response, (&self.access, &self.attributes), issued.access.expose(), lives(issued.access_ttl), https)?;
        self.put(response, (&self.refresh, &self.attributes), issued.refresh.expose(), lives(issued.refresh_ttl), https)
    }

    /// Sets what makes a device known.
    pub fn set_device(
        &self,
        response: &mut HttpResponse,
        device: &DeviceToken,
        https: bool,
    ) -> Result<(), InternalError> {
        self.put(response, (&self.device, &self.attributes), device.expose(), Some(DEVICE_LIVES), https)
    }

    /// Sets the access cookie only: a wire whose refresh token stays the same.
    pub fn set_access(&self, response: &mut HttpResponse, issued: &Issued, https: bool) -> Result<(), InternalError> {
        let lives = issued.persistent.then_some(issued.access_ttl);
        self.put(response, (&self.access, &self.attributes), issued.access.expose(), lives, https)
    }

    /// Clears both of the session, with exactly the attributes that they were set with: a browser keeps a cookie otherwise.
    pub fn clear(&self, response: &mut HttpResponse, https: bool) -> Result<(), InternalError> {
        self.put(response, (&self.access, &self.attributes), "", Some(Duration::ZERO), https)?;
        self.put(response, (&self.refresh, &self.attributes), "", Some(Duration::ZERO), https)
    }

    fn put(
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
            line.map_err(|_control_octet| InternalError::broken("a cookie holds an octet that no header may"))?;
        response.headers_mut().append(SET_COOKIE, line);
        Ok(())
    }
}

/// Whether a header line of this name, in any case, holds cookies.
pub fn is_of_cookies(name: &str) -> bool {
    name.eq_ignore_ascii_case(COOKIE.as_str())
}

/// How many octets of cookies came, over all lines.
pub fn bytes(headers: &HeaderMap) -> usize {
    headers.get_all(COOKIE).map(|line| line.as_bytes().len()).sum()
}

/// The value of the cookie of exactly this name, over all `Cookie` lines (RFC 6265 section 5.4 allows one; HTTP/2 and
/// proxies make several). Two that differ are refused: one of them is somebody else's, and there is no telling which.
fn read(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
    read_lines(headers.get_all(COOKIE).map(HeaderValue::as_bytes), name)
}

/// As `read`, from the lines themselves.
pub(in crate::web) fn read_lines<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Option<String>, Refusal> {
    // An octet that is not UTF-8 is in no token of ours; the lossy text is refused as any forged token is.
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_odd_octet) => String::from_utf8_lossy(value).into_owned(),
    };
    Ok(find(lines, name)?.map(text))
}

fn find<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut found: Option<&[u8]> = None;
    for mut line in lines {
        while !line.is_empty() {
            let (pair, rest) = line.split_at(memchr(b';', line).unwrap_or(line.len()));
            line = rest.get(1..).unwrap_or_default();
            let Some(equals) = memchr(b'=', pair) else { continue };
            let (key, value) = pair.split_at(equals);
            if trim(key) != name.as_bytes() {
                continue;
            }
            let value = trim(value.get(1..).unwrap_or_default());
            if found.is_some_and(|other| other != value) {
                return Err(Refusal::DuplicateCookie);
            }
            found = Some(value);
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// Space and tab only (RFC 6265 section 5.2): other white space is part of a name that is not ours.
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

    fn found(lines: &[&[u8]]) -> Result<Option<String>, Refusal> {
        read(&headers(lines), "__Host-accessToken")
    }

    #[test]
    fn one_cookie_among_others_in_any_line() {
        let token = Ok(Some("t".to_owned()));
        assert_eq!(found(&[b"a=b; __Host-accessToken=t; c=d"]), token);
        assert_eq!(found(&[b"a=b", b"c; __Host-accessToken=t"]), token);
        assert_eq!(found(&[b"__Host-accessToken=t;__Host-accessToken=t"]), token);
        assert_eq!(found(&[b"\t __Host-accessToken = t ; "]), token);
    }

    #[test]
    fn a_broken_neighbour_harms_nobody() {
        assert_eq!(found(&[b"x=\xff\xfe; =; ;;; \x80; __Host-accessToken=t; %zz=%"]), Ok(Some("t".to_owned())));
    }

    #[test]
    fn a_name_that_only_looks_like_ours_is_not_ours() {
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
    fn two_that_differ_are_refused() {
        assert_eq!(found(&[b"__Host-accessToken=a; __Host-accessToken=b"]), Err(Refusal::DuplicateCookie));
        assert_eq!(found(&[b"__Host-accessToken=a", b"__Host-accessToken=b"]), Err(Refusal::DuplicateCookie));
        assert_eq!(found(&[b"__Host-accessToken=; __Host-accessToken=b"]), Err(Refusal::DuplicateCookie));
    }

    #[test]
    fn quotes_are_part_of_the_value() {
        assert_eq!(found(&[b"__Host-accessToken=\"t\""]), Ok(Some("\"t\"".to_owned())));
    }
}
