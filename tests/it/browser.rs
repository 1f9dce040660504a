//! A real Chromium, through a real nginx with the configuration that is shipped, over TLS: what people do, with scripts and
//! without. The browser's driver is driver.rs's, what stands between it and the service site.rs's.

mod cross_origin;
mod screenshots;
mod site;
mod user_journeys;
mod webdriver;
