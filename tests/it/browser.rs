//! Browser tests: a real Chromium through a real nginx with the shipped configuration, over TLS, with scripts and
//! without. webdriver.rs drives the browser, site.rs sets up what is between it and the service.

mod cross_origin;
mod screenshots;
mod site;
mod spa;
mod user_journeys;
mod webdriver;
