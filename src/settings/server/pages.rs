//! Page settings: allowed redirect targets after a sign-in, and the name, logo and colour of the pages. Whether a target is
//! allowed is decided in web/response/redirect.rs.

use std::str::FromStr;

use url::{Host, Url};

use crate::settings::values::{InvalidValue, boolean};

/// Settings of redirects and pages.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Pages")]
pub struct PageSettings {
    /// Hosts to which a sign-in may redirect (`rd`), comma-separated: example.com. Each includes its subdomains and every port.
    /// Only over https, unless PUBLIC_URL is http.
    #[arg(long, value_delimiter = ',')]
    pub redirect_hosts: Vec<RedirectHost>,

    /// The redirect target of a sign-in without an allowed one: a path of this service, or a URL on one of REDIRECT_HOSTS.
    #[arg(long, default_value = "/account", value_parser = default_page)]
    pub default_page: String,

    /// Serve the pages /login, /register, /account, /logout and /access-denied.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = boolean)]
    pub pages: bool,

    /// The name of the service on its pages.
    #[arg(long, default_value = "Doorward", value_parser = page_name)]
    pub page_name: String,

    /// The image file of the logo on the pages: SVG, PNG or WebP, at most 64 KiB. Default: a door.
    #[arg(long, value_parser = logo)]
    pub page_logo: Option<Logo>,

    /// The colour of buttons and links on the pages: #3457d5. Text on it is black or white, whichever has more contrast.
    #[arg(long, default_value = "#3457d5", value_parser = colour)]
    pub page_accent: Colour,
}

/// An image and its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// The media type.
    pub media_type: &'static str,
}

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// A host to which a redirect may lead, with its subdomains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectHost(String);

impl RedirectHost {
    /// Whether a host, as the URL standard serialises it, is this one or a subdomain of it.
    pub fn covers(&self, host: &str) -> bool {
        host.strip_suffix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The serialised host.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RedirectHost {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(parent) = text.strip_prefix("*.") {
            return Err(InvalidValue::new(format!(
                "{text:?} is a pattern; write {parent}, which includes its subdomains"
            )));
        }
        let invalid = || {
            InvalidValue::new(format!(
                "{text:?} is not a valid host; write example.com, without scheme, port or trailing dot"
            ))
        };
        match Host::parse(text) {
            Ok(Host::Domain(name)) if !name.ends_with('.') && !name.contains('*') => Ok(Self(name)),
            Ok(Host::Ipv4(address)) if address.to_string() == text => Ok(Self(text.to_owned())),
            _ => Err(invalid()),
        }
    }
}

impl PageSettings {
    /// Invalid combinations: a default page that the redirect rules would refuse.
    pub fn conflicts(&self, public_url: Option<&Url>) -> Vec<String> {
        let Ok(page) = Url::parse(&self.default_page) else { return Vec::new() };
        let is_own = public_url.is_some_and(|own| own.origin() == page.origin());
        let is_listed =
            page.host_str().is_some_and(|host| self.redirect_hosts.iter().any(|listed| listed.covers(host)));
        let is_insecure = page.scheme() == "http" && public_url.is_none_or(|own| own.scheme() == "https");
        match (is_own || is_listed, is_insecure) {
            (true, false) => Vec::new(),
            (true, true) => {
                vec!["DEFAULT_PAGE: an http URL, but sign-ins redirect to https only; use https://…".to_owned()]
            }
            (false, _) => {
                let host = page.host_str().unwrap_or_default();
                vec![format!("DEFAULT_PAGE: {host} is not in REDIRECT_HOSTS; add it there, or use a path")]
            }
        }
    }
}

/// A path of this service, or an absolute URL.
fn default_page(text: &str) -> Result<String, InvalidValue> {
    let message = || format!("{text:?} is not valid; use a path (/account) or a URL (https://app.example.com/)");
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if !is_plain || text.starts_with("//") {
        return Err(InvalidValue::new(message()));
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).map_err(|error| InvalidValue::caused_by(message(), error))?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if is_web { Ok(url.into()) } else { Err(InvalidValue::new(message())) }
}

/// The maximum size of a logo: a page should not wait for it.
const LOGO_MAX: u64 = 64 * 1024;

fn page_name(text: &str) -> Result<String, InvalidValue> {
    if text.is_empty() || text.chars().count() > 40 || text.chars().any(char::is_control) {
        return Err(InvalidValue::new(format!("{text:?} is not a valid page name; use 1 to 40 characters")));
    }
    Ok(text.to_owned())
}

/// Detects the media type by the first bytes, not by the file's name: browsers get it as Content-Type and must not sniff.
fn logo(text: &str) -> Result<Logo, InvalidValue> {
    let unreadable = |error: std::io::Error| InvalidValue::caused_by(format!("{text} cannot be read: {error}"), error);
    if std::fs::metadata(text).map_err(unreadable)?.len() > LOGO_MAX {
        return Err(InvalidValue::new(format!("{text} is larger than 64 KiB; use a smaller file")));
    }
    let bytes = std::fs::read(text).map_err(unreadable)?;
    let is_svg = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg"));
    let media_type = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ if is_svg => "image/svg+xml",
        _ => return Err(InvalidValue::new(format!("{text} is not an image in SVG, PNG or WebP format; convert it"))),
    };
    Ok(Logo { bytes, media_type })
}

fn colour(text: &str) -> Result<Colour, InvalidValue> {
    let invalid = || InvalidValue::new(format!("{text:?} is not a valid colour; write #RRGGBB, as in #3457d5"));
    let digits = text
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or_else(invalid)?;
    let part = |from: usize| digits.get(from..from + 2).and_then(|part| u8::from_str_radix(part, 16).ok());
    match (part(0), part(2), part(4)) {
        (Some(red), Some(green), Some(blue)) => Ok(Colour([red, green, blue])),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_host_covers_its_subdomains() {
        let host: RedirectHost = "Example.com".parse().unwrap();
        for (other, expected) in [
            ("example.com", true),
            ("app.example.com", true),
            ("a.b.example.com", true),
            ("badexample.com", false),
            ("example.com.evil", false),
            ("com", false),
            (".example.com", true),
        ] {
            assert_eq!(host.covers(other), expected, "{other}");
        }
        for invalid in
            ["", "https://a.example", "a.example:8443", "*.a.example", "a.example.", "a b", "[::1]", "a/b", "0x7f.1"]
        {
            assert!(invalid.parse::<RedirectHost>().is_err(), "{invalid}");
        }
        assert_eq!("bücher.example".parse::<RedirectHost>().unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn a_default_page_is_a_path_or_a_url() {
        for valid in ["/", "/account", "/a?b=c", "https://app.example.com/x"] {
            assert!(default_page(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "account", "//evil", "/\\evil", "javascript:alert(1)", "https://u@a", "/a b"] {
            assert!(default_page(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_logo_is_detected_by_its_bytes_and_has_a_maximum_size() {
        let folder = std::env::temp_dir().join(format!("doorward-logo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("logo.png");
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], Some("image/png")),
            (b"<?xml version=\"1.0\"?><svg/>", Some("image/svg+xml")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"<html><script>", None),
            (&vec![0x89; 70_000], None),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let result = logo(&file.display().to_string());
            assert_eq!(result.as_ref().ok().map(|logo| logo.media_type), expected, "{result:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(logo(&file.display().to_string()).is_err_and(|error| error.to_string().contains("cannot be read")));
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(colour("#3457D5").unwrap(), Colour([0x34, 0x57, 0xd5]));
        for invalid in ["3457d5", "#fff", "red", "#3457dg", "#3457d5;}", "#+1+2+3", "#éé12"] {
            assert!(colour(invalid).is_err(), "{invalid}");
        }
    }
}
