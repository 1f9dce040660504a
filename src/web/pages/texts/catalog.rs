//! Message catalogue of the pages: one field a sentence, so that the compiler finds the sentence that a language lacks. Where
//! `{}` stands, a value is put in.

use std::time::Duration;

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
