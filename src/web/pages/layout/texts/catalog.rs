//! Message catalogue of the pages: one field for each text, so that a text that a language lacks is a compile error. `{}` is
//! the place of a value. Which language a client gets is decided in texts.rs.

use std::time::Duration;

/// The texts of one language.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts {
    /// The language, as an HTML `lang` value.
    pub lang: &'static str,
    /// Title and button.
    pub sign_in: &'static str,
    /// Below the title; `{}` is the host of the return URL.
    pub sign_in_to: &'static str,
    /// Label of a field.
    pub identifier: &'static str,
    /// Label of a field.
    pub password: &'static str,
    /// Label of a checkbox.
    pub remember: &'static str,
    /// Before the link to the registration.
    pub no_account: &'static str,
    /// Title, link and button.
    pub register: &'static str,
    /// Before the link to the sign-in.
    pub have_account: &'static str,
    /// Label of a field.
    pub email: &'static str,
    /// Label of a field.
    pub username: &'static str,
    /// Below the two fields, where either identifier is enough.
    pub email_or_username: &'static str,
    /// Below the two fields, where registration is confirmed by email.
    pub email_required: &'static str,
    /// Title after a registration that is confirmed by email.
    pub check_mailbox: &'static str,
    /// Below that title. Must not reveal whether the address has an account.
    pub confirmation_sent: &'static str,
    /// Title and button.
    pub confirm: &'static str,
    /// Below the title.
    pub confirm_hint: &'static str,
    /// Error.
    pub confirmation_invalid: &'static str,
    /// Label of a field.
    pub new_password: &'static str,
    /// Label of a field.
    pub current_password: &'static str,
    /// Below a field; `{}` is the minimum length.
    pub password_rule: &'static str,
    /// Title.
    pub account: &'static str,
    /// Heading.
    pub profile: &'static str,
    /// Term in the profile.
    pub name: &'static str,
    /// Term in the profile.
    pub role: &'static str,
    /// Term in the profile; the value is a date.
    pub member_since: &'static str,
    /// Heading and button.
    pub change_password: &'static str,
    /// Below the heading.
    pub change_password_hint: &'static str,
    /// Why the page only has the form for a new password.
    pub password_change_required: &'static str,
    /// Heading.
    pub devices: &'static str,
    /// Badge beside the current device.
    pub this_device: &'static str,
    /// Name of a device that sent no `User-Agent`.
    pub unknown_device: &'static str,
    /// Between a browser and a system, as in "Firefox on Linux".
    pub on: &'static str,
    /// Before a time in the past.
    pub last_seen: &'static str,
    /// Before the time of a device's sign-in.
    pub signed_in_on: &'static str,
    /// Opens the form that names a device.
    pub rename: &'static str,
    /// The field of that form, for screen readers; `{}` is the device.
    pub rename_device: &'static str,
    /// Submits that form.
    pub save: &'static str,
    /// Confirms that a device has a new name.
    pub device_renamed: &'static str,
    /// Title and button.
    pub sign_out: &'static str,
    /// Accessible name of the button beside a device; `{}` is the device.
    pub sign_out_device: &'static str,
    /// Link to the next page of devices.
    pub more_devices: &'static str,
    /// Button.
    pub sign_out_everywhere: &'static str,
    /// Below the title.
    pub sign_out_question: &'static str,
    /// Link.
    pub stay: &'static str,
    /// Title.
    pub signed_out: &'static str,
    /// Below the title.
    pub signed_out_hint: &'static str,
    /// Confirmation.
    pub password_changed: &'static str,
    /// Confirmation.
    pub device_signed_out: &'static str,
    /// Time in the past.
    pub just_now: &'static str,
    /// Time in the past; `{}` is at least 2.
    pub minutes_ago: &'static str,
    /// Time in the past.
    pub minute_ago: &'static str,
    /// Time in the past; `{}` is at least 2.
    pub hours_ago: &'static str,
    /// Time in the past.
    pub hour_ago: &'static str,
    /// Time in the past; `{}` is at least 2.
    pub days_ago: &'static str,
    /// Time in the past.
    pub day_ago: &'static str,
    /// Duration; `{}` is at least 2.
    pub seconds: &'static str,
    /// Duration.
    pub second: &'static str,
    /// Duration; `{}` is at least 2.
    pub minutes: &'static str,
    /// Duration.
    pub minute: &'static str,
    /// Duration; `{}` is at least 2.
    pub hours: &'static str,
    /// Duration.
    pub hour: &'static str,
    /// Title of an error page.
    pub problem: &'static str,
    /// Link.
    pub try_again: &'static str,
    /// Error.
    pub invalid_credentials: &'static str,
    /// Error; `{}` is a duration.
    pub throttled: &'static str,
    /// Error; `{}` is a duration.
    pub rate_limited: &'static str,
    /// Error.
    pub busy: &'static str,
    /// Error.
    pub not_active: &'static str,
    /// Error: the CSRF token is missing or invalid.
    pub form_expired: &'static str,
    /// Error.
    pub session_ended: &'static str,
    /// Error.
    pub origin_not_allowed: &'static str,
    /// Error.
    pub duplicate_cookie: &'static str,
    /// Error.
    pub current_password_wrong: &'static str,
    /// Error.
    pub password_unchanged: &'static str,
    /// Error.
    pub sign_up_closed: &'static str,
    /// Error.
    pub identifier_taken: &'static str,
    /// Error above a form; the fields have their own.
    pub invalid_fields: &'static str,
    /// Error of a field.
    pub required: &'static str,
    /// Error of a field.
    pub one_required: &'static str,
    /// Error of a field; `{}` is a number.
    pub too_short: &'static str,
    /// Error of a field; `{}` is a number.
    pub too_long: &'static str,
    /// Error of a field.
    pub invalid_email: &'static str,
    /// Error of a field.
    pub invalid_username: &'static str,
    /// Error of a field.
    pub reserved_name: &'static str,
    /// Error of a field.
    pub too_common: &'static str,
    /// Error of a field.
    pub like_identifier: &'static str,
    /// Error of a field.
    pub invalid_value: &'static str,
    /// Error.
    pub bad_request: &'static str,
    /// Error.
    pub page_not_found: &'static str,
    /// The browser sends more cookies than are read.
    pub cookies_too_large: &'static str,
    /// The title of the page for a signed-in user whom an app's rules refuse.
    pub access_denied: &'static str,
    /// The page's text; `{}` is the user.
    pub signed_in_as: &'static str,
    /// The link to sign in as another user.
    pub switch_account: &'static str,
    /// Error; the request ID is shown below it.
    pub internal_error: &'static str,
    /// Error.
    pub unavailable: &'static str,
    /// Before the ID of a request.
    pub request_id: &'static str,
    /// Title.
    pub redirect_loop: &'static str,
    /// Below the title; `{}` is a host.
    pub loop_cause: &'static str,
    /// What the user can do.
    pub loop_for_user: &'static str,
    /// What the operator can do.
    pub loop_for_operator: &'static str,
}

impl Texts {
    /// A waiting time in the largest suitable unit, rounded up: a client that comes back earlier is refused again.
    pub fn duration(&self, wait: Duration) -> String {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        match seconds {
            0 | 1 => self.second.to_owned(),
            2..=89 => count(self.seconds, seconds),
            90..=5399 => plural(self.minute, self.minutes, seconds.div_ceil(60)),
            _ => plural(self.hour, self.hours, seconds.div_ceil(3600)),
        }
    }

    /// How long ago an event was, in the largest suitable unit.
    pub fn ago(&self, past: Duration) -> String {
        let minutes = past.as_secs() / 60;
        match minutes {
            0 => self.just_now.to_owned(),
            1..=59 => plural(self.minute_ago, self.minutes_ago, minutes),
            60..=1439 => plural(self.hour_ago, self.hours_ago, minutes / 60),
            _ => plural(self.day_ago, self.days_ago, minutes / 1440),
        }
    }
}

/// The singular, or the plural with its number.
fn plural(one: &str, several: &str, number: u64) -> String {
    if number == 1 { one.to_owned() } else { count(several, number) }
}

/// A text with a number in the place of `{}`.
pub fn count(text: &str, number: u64) -> String {
    text.replace("{}", &number.to_string())
}
