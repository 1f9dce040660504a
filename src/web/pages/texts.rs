//! Every sentence of the pages, in each language: a struct, so that the compiler finds the sentence that a language lacks.
//! One file a language. Where `{}` stands, something is put in.

mod en;
mod es;

use std::time::Duration;

use actix_web::http::header::HeaderValue;

/// The sentences of one language.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts {
    /// The language, as HTML names it.
    pub lang: &'static str,
    /// Title and button.
    pub sign_in: &'static str,
    /// Under the title; `{}` is the service's name.
    pub sign_in_to: &'static str,
    /// A field.
    pub identifier: &'static str,
    /// A field.
    pub password: &'static str,
    /// A box to tick.
    pub remember: &'static str,
    /// Before the link to the registration.
    pub no_account: &'static str,
    /// Title, link and button.
    pub register: &'static str,
    /// Before the link to the sign-in.
    pub have_account: &'static str,
    /// A field.
    pub email: &'static str,
    /// A field.
    pub username: &'static str,
    /// Under both fields.
    pub either: &'static str,
    /// Under both fields, where a mail tells whether it worked.
    pub email_needed: &'static str,
    /// Title.
    pub look_for_mail: &'static str,
    /// Under the title.
    pub mail_is_on_its_way: &'static str,
    /// Title and button.
    pub confirm: &'static str,
    /// Under the title.
    pub confirm_hint: &'static str,
    /// An error.
    pub not_confirmed: &'static str,
    /// A field.
    pub new_password: &'static str,
    /// A field.
    pub current_password: &'static str,
    /// Under a field; `{}` is a number.
    pub password_rule: &'static str,
    /// Title.
    pub account: &'static str,
    /// A heading.
    pub profile: &'static str,
    /// A row.
    pub name: &'static str,
    /// A row.
    pub role: &'static str,
    /// A row.
    pub member_since: &'static str,
    /// A heading and button.
    pub change_password: &'static str,
    /// Under the heading.
    pub change_password_hint: &'static str,
    /// Why there is nothing else on the page.
    pub must_change: &'static str,
    /// A heading.
    pub devices: &'static str,
    /// Beside a device.
    pub this_device: &'static str,
    /// A device that says nothing of itself.
    pub unknown_device: &'static str,
    /// Between a browser and a system: Firefox on Linux.
    pub on: &'static str,
    /// Before how long ago.
    pub last_seen: &'static str,
    /// Title and button.
    pub sign_out: &'static str,
    /// The button beside a device, for screen readers; `{}` is the device.
    pub sign_out_device: &'static str,
    /// A button.
    pub sign_out_everywhere: &'static str,
    /// Under the title.
    pub sign_out_question: &'static str,
    /// A link.
    pub stay: &'static str,
    /// Title.
    pub signed_out: &'static str,
    /// Under the title.
    pub signed_out_hint: &'static str,
    /// Said after it.
    pub password_changed: &'static str,
    /// Said after it.
    pub device_signed_out: &'static str,
    /// How long ago.
    pub just_now: &'static str,
    /// How long ago; `{}` is more than one.
    pub minutes_ago: &'static str,
    /// How long ago.
    pub minute_ago: &'static str,
    /// How long ago; `{}` is more than one.
    pub hours_ago: &'static str,
    /// How long ago.
    pub hour_ago: &'static str,
    /// How long ago; `{}` is more than one.
    pub days_ago: &'static str,
    /// How long ago.
    pub day_ago: &'static str,
    /// How long; `{}` is more than one.
    pub seconds: &'static str,
    /// How long.
    pub second: &'static str,
    /// How long; `{}` is more than one.
    pub minutes: &'static str,
    /// How long.
    pub minute: &'static str,
    /// How long; `{}` is more than one.
    pub hours: &'static str,
    /// How long.
    pub hour: &'static str,
    /// Title of a page that says what went wrong.
    pub problem: &'static str,
    /// A link.
    pub try_again: &'static str,
    /// A link.
    pub to_account: &'static str,
    /// An error.
    pub wrong_credentials: &'static str,
    /// An error; `{}` is how long.
    pub throttled: &'static str,
    /// An error.
    pub busy: &'static str,
    /// An error.
    pub not_active: &'static str,
    /// An error.
    pub form_expired: &'static str,
    /// An error.
    pub session_over: &'static str,
    /// An error.
    pub foreign_origin: &'static str,
    /// An error.
    pub cookies_differ: &'static str,
    /// An error.
    pub wrong_current: &'static str,
    /// An error.
    pub password_unchanged: &'static str,
    /// An error.
    pub closed: &'static str,
    /// An error.
    pub taken: &'static str,
    /// An error.
    pub fields_wrong: &'static str,
    /// An error of a field.
    pub missing: &'static str,
    /// An error of a field.
    pub one_of_both: &'static str,
    /// An error of a field; `{}` is a number.
    pub too_short: &'static str,
    /// An error of a field; `{}` is a number.
    pub too_long: &'static str,
    /// An error of a field.
    pub no_email: &'static str,
    /// An error of a field.
    pub no_name: &'static str,
    /// An error of a field.
    pub too_common: &'static str,
    /// An error of a field.
    pub like_name: &'static str,
    /// An error of a field.
    pub not_valid: &'static str,
    /// An error.
    pub bad_request: &'static str,
    /// An error.
    pub no_page: &'static str,
    /// An error.
    pub broken: &'static str,
    /// An error.
    pub unavailable: &'static str,
    /// Before the number of a request.
    pub request: &'static str,
    /// Title.
    pub circles: &'static str,
    /// Under the title; `{}` is a host.
    pub loop_signed_in: &'static str,
    /// What to do.
    pub loop_you: &'static str,
    /// For the operator.
    pub loop_operator: &'static str,
}

/// The languages; the first is for those who speak none of them.
pub const ALL: [&Texts; 2] = [&en::TEXTS, &es::TEXTS];

/// The language that a client likes best of ours (RFC 9110 section 12.5.4).
pub fn spoken(header: Option<&HeaderValue>) -> &'static Texts {
    let [otherwise, ..] = ALL;
    let mut best = (otherwise, 0_u16);
    let ranges = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
    for range in ranges.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let language = parts.next().unwrap_or_default().split('-').next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let known = ALL.into_iter().find(|texts| texts.lang.eq_ignore_ascii_case(language));
        if let Some(texts) = known.filter(|_| quality > best.1) {
            best = (texts, quality);
        }
    }
    best.0
}

/// `0.8` as 800; what is no weight weighs nothing.
fn thousandths(quality: &str) -> u16 {
    let (whole, decimals) = quality.split_once('.').unwrap_or((quality, ""));
    let weight = format!("{whole}{decimals:0<3}");
    weight.parse().ok().filter(|weight| *weight <= 1000).unwrap_or(0)
}

impl Texts {
    /// How long somebody has to wait, never less than is true.
    pub fn wait(&self, wait: Duration) -> String {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        match seconds {
            0 | 1 => self.second.to_owned(),
            2..=89 => count(self.seconds, seconds),
            90..=5399 => of(self.minute, self.minutes, seconds.div_ceil(60)),
            _ => of(self.hour, self.hours, seconds.div_ceil(3600)),
        }
    }

    /// How long ago something was.
    pub fn ago(&self, past: Duration) -> String {
        let minutes = past.as_secs() / 60;
        match minutes {
            0 => self.just_now.to_owned(),
            1..=59 => of(self.minute_ago, self.minutes_ago, minutes),
            60..=1439 => of(self.hour_ago, self.hours_ago, minutes / 60),
            _ => of(self.day_ago, self.days_ago, minutes / 1440),
        }
    }
}

fn of(one: &str, several: &str, number: u64) -> String {
    if number == 1 { one.to_owned() } else { count(several, number) }
}

/// Puts a number in.
pub fn count(text: &str, number: u64) -> String {
    text.replace("{}", &number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(file: &str) -> Vec<(String, String)> {
        let lines = file.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": \""));
        lines.map(|(key, text)| (key.to_owned(), text.trim_end_matches('"').to_owned())).collect()
    }

    #[test]
    fn both_languages_have_the_same_keys_and_say_something_else() {
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
    fn the_language_is_what_the_browser_likes_best_of_ours() {
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
            assert_eq!(spoken(Some(&header)).lang, expected, "{header:?}");
        }
        assert_eq!(spoken(None).lang, "en");
    }

    #[test]
    fn a_wait_is_never_told_shorter_than_it_is() {
        for (millis, expected) in [
            (200, "a second"),
            (1_200, "2 seconds"),
            (60_000, "60 seconds"),
            (90_000, "2 minutes"),
            (120_001, "3 minutes"),
            (3_600_000, "60 minutes"),
            (5_400_000, "2 hours"),
        ] {
            assert_eq!(ALL[0].wait(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn the_past_is_told_in_one_unit() {
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
