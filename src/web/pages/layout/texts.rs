//! Localisation of the pages: the supported languages, one file each, and the language negotiation by `Accept-Language`. The
//! texts are listed in catalog.rs; mails have their own in core/registration/mail_text.rs.

pub mod catalog;
mod en;
mod es;

use actix_web::http::header::HeaderValue;

use catalog::Texts;

/// The supported languages. The first one is the default.
pub const ALL: [&Texts; 2] = [&en::TEXTS, &es::TEXTS];

/// The supported language that a client prefers (RFC 9110 section 12.5.4).
pub fn negotiate_language(header: Option<&HeaderValue>) -> &'static Texts {
    let [default, ..] = ALL;
    let mut best = (default, 0_u16);
    let ranges = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
    for range in ranges.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let language = parts.next().unwrap_or_default().split('-').next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let supported = ALL.into_iter().find(|texts| texts.lang.eq_ignore_ascii_case(language));
        if let Some(texts) = supported.filter(|_| quality > best.1) {
            best = (texts, quality);
        }
    }
    best.0
}

/// A weight in thousandths: 800 for `0.8`, and 0 for an invalid one.
fn thousandths(quality: &str) -> u16 {
    let (whole, decimals) = quality.split_once('.').unwrap_or((quality, ""));
    let weight = format!("{whole}{decimals:0<3}");
    weight.parse().ok().filter(|weight| *weight <= 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lines_of(file: &str) -> Vec<(String, String)> {
        let lines = file.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": \""));
        lines.map(|(key, text)| (key.to_owned(), text.trim_end_matches('"').to_owned())).collect()
    }

    #[test]
    fn both_languages_have_all_texts_and_no_text_is_untranslated() {
        let (en, es) = (lines_of(include_str!("texts/en.rs")), lines_of(include_str!("texts/es.rs")));
        assert!(en.len() > 60, "{}", en.len());
        assert_eq!(en.len(), es.len());
        for ((key, english), (same, spanish)) in en.iter().zip(&es) {
            assert_eq!(key, same);
            assert!(!english.is_empty() && !spanish.is_empty(), "{key}");
            assert_ne!(english, spanish, "{key} is not translated");
            assert_eq!(english.matches("{}").count(), spanish.matches("{}").count(), "{key}");
        }
    }

    #[test]
    fn the_language_is_the_supported_one_that_the_client_prefers() {
        for (header, expected) in [
            ("es", "es"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("en-GB,en;q=0.9,es;q=0.8", "en"),
            ("de,fr;q=0.9", "en"),
            ("de,es;q=0.2", "es"),
            ("en;q=0.3, ES-AR;q=0.7", "es"),
            ("es;q=0", "en"),
            ("es;q=x", "en"),
            ("*", "en"),
            ("", "en"),
        ] {
            let header = HeaderValue::from_str(header).unwrap();
            assert_eq!(negotiate_language(Some(&header)).lang, expected, "{header:?}");
        }
        assert_eq!(negotiate_language(None).lang, "en");
    }

    #[test]
    fn a_duration_is_rounded_up() {
        for (millis, expected) in [
            (200, "a second"),
            (1_200, "2 seconds"),
            (60_000, "60 seconds"),
            (90_000, "2 minutes"),
            (120_001, "3 minutes"),
            (3_600_000, "60 minutes"),
            (5_400_000, "2 hours"),
        ] {
            assert_eq!(ALL[0].duration(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn a_time_in_the_past_is_shown_in_one_unit() {
        for (seconds, english, spanish) in [
            (5, "just now", "ahora mismo"),
            (60, "a minute ago", "hace un minuto"),
            (3_599, "59 minutes ago", "hace 59 minutos"),
            (7_200, "2 hours ago", "hace 2 horas"),
            (86_400, "a day ago", "hace un día"),
        ] {
            let past = Duration::from_secs(seconds);
            assert_eq!(ALL.map(|texts| texts.ago(past)), [english, spanish]);
        }
    }
}
