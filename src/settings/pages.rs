//! Where people may be sent after a sign-in, and the pages that ask them. The rule for targets is web/redirect.rs's.

use std::str::FromStr;

use url::{Host, Url};

use super::values::switch;

/// Settings of redirects and pages.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Pages")]
pub struct Pages {
    /// Hosts that a sign-in may lead back to (`rd`), comma-separated: example.com. Each stands for its subdomains and for
    /// every port too. Over https only, unless PUBLIC_URL is http.
    #[arg(long, value_delimiter = ',')]
    pub redirect_hosts: Vec<RedirectHost>,

    /// Where a sign-in leads that may not or does not say where to: a path here, or a URL on one of REDIRECT_HOSTS.
    #[arg(long, default_value = "/account", value_parser = page)]
    pub default_page: String,

    /// Serve the pages /login, /register, /account and /logout.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = switch)]
    pub pages: bool,

    /// What the pages call the service.
    #[arg(long, default_value = "Doorward", value_parser = name)]
    pub page_name: String,

    /// The file of the pages' logo: SVG, PNG or WebP, at most 64 KiB. Default: a door.
    #[arg(long, value_parser = logo)]
    pub page_logo: Option<Logo>,

    /// The colour of the pages' buttons and links: #3457d5. Text upon it is black or white, whichever is read more easily.
    #[arg(long, default_value = "#3457d5", value_parser = colour)]
    pub page_accent: Colour,
}

/// A picture as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    /// Its octets.
    pub bytes: Vec<u8>,
    /// Their media type.
    pub media_type: &'static str,
}

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// A host whose pages, and whose subdomains' pages, a redirect may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectHost(String);

impl RedirectHost {
    /// Whether a host, as the URL standard serialises it, is this one or under it.
    pub fn covers(&self, host: &str) -> bool {
        host.strip_suffix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// As it is serialised.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RedirectHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(under) = text.strip_prefix("*.") {
            return Err(format!("{text:?} is a pattern; write {under}, which stands for its subdomains too"));
        }
        let wrong = || format!("{text:?} is no host; write example.com, without scheme, port or dot at the end");
        match Host::parse(text) {
            Ok(Host::Domain(name)) if !name.ends_with('.') && !name.contains('*') => Ok(Self(name)),
            Ok(Host::Ipv4(address)) if address.to_string() == text => Ok(Self(text.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl Pages {
    /// What contradicts each other here, a sentence each.
    pub fn contradictions(&self, public_url: Option<&Url>) -> Vec<String> {
        let Ok(page) = Url::parse(&self.default_page) else { return Vec::new() };
        let own = public_url.is_some_and(|own| own.origin() == page.origin());
        let listed = page.host_str().is_some_and(|host| self.redirect_hosts.iter().any(|listed| listed.covers(host)));
        let plain = page.scheme() == "http" && public_url.is_none_or(|own| own.scheme() == "https");
        match (own || listed, plain) {
            (true, false) => Vec::new(),
            (true, true) => {
                vec!["DEFAULT_PAGE: it is http, and sign-ins here lead to https only; write https://…".to_owned()]
            }
            (false, _) => {
                let host = page.host_str().unwrap_or_default();
                vec![format!("DEFAULT_PAGE: {host} is not among REDIRECT_HOSTS; add it there, or write a path")]
            }
        }
    }
}

/// A path of this service, or an absolute URL.
fn page(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is neither a path (/account) nor a URL (https://app.example.com/)");
    let plain = text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if !plain || text.starts_with("//") {
        return Err(wrong());
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).map_err(|_no_url| wrong())?;
    let web = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if web { Ok(url.into()) } else { Err(wrong()) }
}

/// The largest logo; a page should not wait for its picture.
const LOGO_MAX: u64 = 64 * 1024;

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > 40 || text.chars().any(char::is_control) {
        return Err(format!("{text:?} is no name for a page; use 1 to 40 characters"));
    }
    Ok(text.to_owned())
}

/// By its first octets, not by the file's name: a browser is told what it is and must not guess.
fn logo(text: &str) -> Result<Logo, String> {
    let unread = |why: std::io::Error| format!("{text} cannot be read: {why}");
    if std::fs::metadata(text).map_err(unread)?.len() > LOGO_MAX {
        return Err(format!("{text} is larger than 64 KiB; make it smaller"));
    }
    let bytes = std::fs::read(text).map_err(unread)?;
    let svg = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg"));
    let media_type = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ if svg => "image/svg+xml",
        _ => return Err(format!("{text} is neither SVG nor PNG nor WebP")),
    };
    Ok(Logo { bytes, media_type })
}

fn colour(text: &str) -> Result<Colour, String> {
    let wrong = || format!("{text:?} is no colour; write #3457d5");
    let digits = text
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or_else(wrong)?;
    let part = |from: usize| digits.get(from..from + 2).and_then(|part| u8::from_str_radix(part, 16).ok());
    match (part(0), part(2), part(4)) {
        (Some(red), Some(green), Some(blue)) => Ok(Colour([red, green, blue])),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_for_itself_and_what_is_under_it() {
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
        for wrong in
            ["", "https://a.example", "a.example:8443", "*.a.example", "a.example.", "a b", "[::1]", "a/b", "0x7f.1"]
        {
            assert!(wrong.parse::<RedirectHost>().is_err(), "{wrong}");
        }
        assert_eq!("bücher.example".parse::<RedirectHost>().unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn a_default_page_is_a_path_or_a_url() {
        for right in ["/", "/account", "/a?b=c", "https://app.example.com/x"] {
            assert!(page(right).is_ok(), "{right}");
        }
        for wrong in ["", "account", "//evil", "/\\evil", "javascript:alert(1)", "https://u@a", "/a b"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_logo_is_what_its_octets_say_and_small() {
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
            let read = logo(&file.display().to_string());
            assert_eq!(read.as_ref().ok().map(|logo| logo.media_type), expected, "{read:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(logo(&file.display().to_string()).is_err_and(|why| why.contains("cannot be read")));
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(colour("#3457D5"), Ok(Colour([0x34, 0x57, 0xd5])));
        for wrong in ["3457d5", "#fff", "red", "#3457dg", "#3457d5;}", "#+1+2+3", "#éé12"] {
            assert!(colour(wrong).is_err(), "{wrong}");
        }
    }
}
