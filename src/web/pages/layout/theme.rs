//! Theme of the pages: name, stylesheet and logo, under paths that change with their content (cache busting), and the
//! Content-Security-Policy that allows a browser to load them. They are served by static_files.rs.

use crate::secret::{base64url, sha256};
use crate::settings::{Colour, Settings};
use crate::web::response::redirect::Redirects;

const STYLE: &str = include_str!("../../../../templates/pages.css");
const DOOR: &str = include_str!("../../../../templates/door.svg");

/// What all pages have in common.
#[derive(Debug)]
pub struct Theme {
    /// The service's name.
    pub name: String,
    /// Whether the pages are served (`PAGES`).
    pub serves_pages: bool,
    /// Whether registration is open (`SIGNUP`).
    pub signup: bool,
    /// The minimum length of a password, in characters.
    pub password_min_length: u16,
    /// The stylesheet.
    pub style: StaticFile,
    /// The logo.
    pub logo: StaticFile,
    /// The Content-Security-Policy of every page.
    pub policy: String,
}

/// A static file, which clients may cache for ever: a file with other content has another path.
#[derive(Debug)]
pub struct StaticFile {
    /// The path under which it is served.
    pub path: String,
    pub(in crate::web::pages) bytes: Vec<u8>,
    pub(in crate::web::pages) media_type: &'static str,
}

impl StaticFile {
    fn new(name: &str, ending: &str, bytes: Vec<u8>, media_type: &'static str) -> Self {
        let digest = base64url(sha256(&bytes).get(..9).unwrap_or_default());
        Self { path: format!("/pages/{name}-{digest}.{ending}"), bytes, media_type }
    }
}

impl Theme {
    /// From the settings.
    pub fn new(settings: &Settings) -> Self {
        let pages = &settings.pages;
        let style = format!("{}{STYLE}", colours(pages.page_accent));
        let logo = pages.page_logo.clone();
        let (bytes, media_type) =
            logo.map_or_else(|| (DOOR.as_bytes().to_vec(), "image/svg+xml"), |logo| (logo.bytes, logo.media_type));
        let ending = media_type.trim_start_matches("image/").trim_end_matches("+xml");
        // Browsers apply `form-action` also to the redirect after a form, so it lists the hosts of allowed return URLs.
        let redirect_hosts = Redirects::new(settings).sources();
        Self {
            name: pages.page_name.clone(),
            serves_pages: pages.pages,
            signup: settings.passwords.allows_signup(),
            password_min_length: settings.passwords.password_min_length,
            style: StaticFile::new("style", "css", style.into_bytes(), "text/css; charset=utf-8"),
            logo: StaticFile::new("logo", ending, bytes, media_type),
            policy: format!(
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'{redirect_hosts}; \
                 frame-ancestors 'none'; base-uri 'none'"
            ),
        }
    }

    /// For a page that a proxy shows under the origin of an app: stylesheet and logo are those of the service's own origin.
    pub fn for_other_origins(settings: &Settings) -> Self {
        let mut theme = Self::new(settings);
        if let Some(url) = &settings.web.public_url {
            let origin = url.origin().ascii_serialization();
            for file in [&mut theme.style, &mut theme.logo] {
                file.path = format!("{origin}{}", file.path);
            }
            theme.policy = theme.policy.replace("-src 'self'", &format!("-src 'self' {origin}"));
        }
        theme
    }

    /// The files of the pages.
    pub fn files(&self) -> [&StaticFile; 2] {
        [&self.style, &self.logo]
    }
}

/// The accent colour, and black or white for the text on it, whichever has the higher contrast (WCAG 2.2, relative
/// luminance).
fn colours(Colour(accent): Colour) -> String {
    let [red, green, blue] = accent;
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    let on = if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 { "#fff" } else { "#000" };
    format!(":root {{ --accent: #{red:02x}{green:02x}{blue:02x}; --on-accent: {on}; }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_the_accent_colour_has_the_higher_contrast() {
        for (accent, on) in
            [([0x34, 0x57, 0xd5], "#fff"), ([0xff, 0xd4, 0x00], "#000"), ([0; 3], "#fff"), ([255; 3], "#000")]
        {
            assert!(colours(Colour(accent)).contains(&format!("--on-accent: {on}")), "{accent:?}");
        }
        assert!(colours(Colour([1, 2, 255])).contains("--accent: #0102ff;"));
    }

    #[test]
    fn a_file_with_other_content_has_another_path() {
        let path = |bytes: &[u8]| StaticFile::new("style", "css", bytes.to_vec(), "text/css").path;
        assert_ne!(path(b"a"), path(b"b"));
        assert_eq!(path(b"a"), path(b"a"));
    }
}
