//! The shipped proxy configurations, with only the addresses replaced.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::support::child_server::{Daemon, find};

/// A proxy whose configuration is shipped and tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
}

/// The largest body that nginx lets through to the app, in bytes; the other two have no limit.
pub const UPLOAD_MAX: usize = 8 * 1024 * 1024;

/// Replaces texts, each of which must be present.
fn with(mut text: String, replacements: &[(&str, &str)]) -> String {
    for (old, new) in replacements {
        assert!(text.contains(old), "{old:?} is not in the configuration");
        text = text.replace(old, new);
    }
    text
}

impl Proxy {
    /// Starts the proxy in front of doorward and the app; `query` is added to the check's URL.
    pub fn start(self, doorward: SocketAddr, app: SocketAddr, query: &str) -> Daemon {
        let addresses = [doorward.to_string(), app.to_string()];
        let [doorward, app] = addresses.each_ref().map(String::as_str);
        Daemon::start(&format!("{self:?}"), |folder, listen| match self {
            Self::Nginx => nginx(folder, listen, doorward, app, query),
            Self::Caddy => caddy(folder, listen, doorward, app, query),
            Self::Haproxy => haproxy(folder, listen, doorward, app, query),
        })
    }
}

/// Starts nginx in front of doorward and an app over FastCGI.
pub fn start_nginx_with_fastcgi(doorward: SocketAddr, app: SocketAddr) -> Daemon {
    Daemon::start("Nginx", |folder, listen| {
        let site = nginx_site(listen, &doorward.to_string(), "127.0.0.1:1", "");
        let included = folder.join("doorward-fastcgi.conf");
        std::fs::write(&included, include_str!("../../../deploy/nginx/doorward-fastcgi.conf")).unwrap();
        let pass = format!("include {}; fastcgi_pass {app};", included.display());
        nginx_command(folder, &with(site, &[("proxy_pass http://app;", &pass)]))
    })
}

fn nginx(folder: &Path, listen: SocketAddr, doorward: &str, app: &str, query: &str) -> Command {
    nginx_command(folder, &nginx_site(listen, doorward, app, query))
}

fn nginx_site(listen: SocketAddr, doorward: &str, app: &str, query: &str) -> String {
    with(
        include_str!("../../../deploy/nginx/doorward.conf").to_owned(),
        &[
            ("server 127.0.0.1:9154;", &format!("server {doorward};")),
            ("server 127.0.0.1:8080;", &format!("server {app};")),
            ("listen 443 ssl;", &format!("listen {listen};")),
            ("ssl_certificate ", "# ssl_certificate "),
            ("ssl_certificate_key ", "# ssl_certificate_key "),
            ("/auth/verify;", &format!("/auth/verify{query};")),
            ("client_max_body_size 1m;", &format!("client_max_body_size {UPLOAD_MAX};")),
        ],
    )
}

pub fn nginx_command(folder: &Path, site: &str) -> Command {
    let path = folder.display();
    std::fs::write(folder.join("doorward.conf"), site).unwrap();
    let around = format!(
        "daemon off;\npid {path}/nginx.pid;\nerror_log {path}/error.log notice;\nworker_processes 2;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\nfastcgi_temp_path {path}/fastcgi;\n\
         include {path}/doorward.conf;\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), around).unwrap();
    let mut command = Command::new(find("nginx", "nginx-light"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    command
}

fn caddy(folder: &Path, listen: SocketAddr, doorward: &str, app: &str, query: &str) -> Command {
    let site = with(
        include_str!("../../../deploy/caddy/Caddyfile").to_owned(),
        &[
            ("127.0.0.1:9154", doorward),
            ("127.0.0.1:8080", app),
            ("\napp.example.com { # HERE", &format!("\nhttp://app.example.com:{} {{\n\tbind 127.0.0.1", listen.port())),
            ("rewrite /auth/forward?\n", &format!("rewrite /auth/forward?{}\n", query.trim_start_matches('?'))),
        ],
    );
    caddy_command(folder, &site)
}

pub fn caddy_command(folder: &Path, site: &str) -> Command {
    std::fs::write(folder.join("Caddyfile"), format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}")).unwrap();
    let mut command = Command::new(find("caddy", "caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

fn haproxy(folder: &Path, listen: SocketAddr, doorward: &str, app: &str, query: &str) -> Command {
    let script = folder.join("doorward.lua");
    std::fs::write(&script, include_str!("../../../deploy/haproxy/doorward.lua")).unwrap();
    let configuration = with(
        include_str!("../../../deploy/haproxy/haproxy.cfg").to_owned(),
        &[
            ("/etc/haproxy/doorward.lua", &script.display().to_string()),
            ("/auth/forward\n", &format!("/auth/forward{query}\n")),
            ("127.0.0.1:9154", doorward),
            ("127.0.0.1:8080", app),
            ("bind :443 ssl crt /etc/ssl/app.example.com.pem", &format!("bind {listen}")),
        ],
    );
    std::fs::write(folder.join("haproxy.cfg"), configuration).unwrap();
    let mut command = Command::new(find("haproxy", "haproxy"));
    command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
    command
}
