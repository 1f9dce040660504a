//! What stands between a browser and the service: nginx with the configuration that is shipped, a certificate made just now,
//! an app that knows no sign-in, and pages of other origins.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use doorward::testing::{Builder, TestService};

use crate::proxies::upstream_app::App;
use crate::support::Backend;
use crate::support::child_server::{Daemon, find};

/// The host that the configuration is written for.
const HOST: &str = "app.example.com";

pub struct Site {
    pub service: TestService,
    proxy: Daemon,
    _app: App,
}

impl Site {
    pub fn start(backend: Backend, set: impl Fn(Builder, u16) -> Builder) -> Self {
        let (app, service) = (App::start(), RefCell::new(None));
        let proxy = Daemon::start("nginx", |folder, listen| {
            let builder = backend.service().set("PUBLIC_URL", format!("https://{HOST}:{}", listen.port()));
            // Over https nothing may be cheap: the lowest cost that people get.
            let builder = builder.set("TEST_MODE", "false").set("BCRYPT_COST", "10").set("VERIFY_RENEW", "true");
            let builder = builder.set("TRUSTED_PROXIES", "127.0.0.1").set("REDIRECT_HOSTS", "example.com");
            let started = set(builder, listen.port()).start();
            let command = nginx(folder, listen, started.address(), app.address());
            *service.borrow_mut() = Some(started);
            command
        });
        Self { service: service.into_inner().unwrap(), proxy, _app: app }
    }

    /// An address of a host here.
    pub fn at(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.proxy.address().port())
    }

    /// An address of the app, or of a page of ours.
    pub fn url(&self, path: &str) -> String {
        self.at(HOST, path)
    }
}

fn nginx(folder: &Path, listen: SocketAddr, doorward: SocketAddr, app: SocketAddr) -> Command {
    let path = folder.display();
    let key = rcgen::generate_simple_self_signed(vec![HOST.to_owned(), "*.example.com".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), key.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
    let mut site = include_str!("../../../deploy/nginx/doorward.conf").to_owned();
    for (old, new) in [
        ("server 127.0.0.1:9154;", format!("server {doorward};")),
        ("server 127.0.0.1:8080;", format!("server {app};")),
        ("listen 443 ssl;", format!("listen {listen} ssl;")),
        ("/etc/ssl/app.example.com.pem", format!("{path}/cert.pem")),
        ("/etc/ssl/app.example.com.key", format!("{path}/key.pem")),
    ] {
        assert!(site.contains(old), "{old:?} stands in no line of the configuration");
        site = site.replace(old, &new);
    }
    let elsewhere = format!(
        "server {{\nlisten {listen} ssl;\nserver_name *.example.com evil.test;\nssl_certificate {path}/cert.pem;\n\
         ssl_certificate_key {path}/key.pem;\ndefault_type text/html;\nlocation / {{ return 200 '<!doctype html>\
         <link rel=icon href=data:,><title>elsewhere</title><p id=p>no script ran<script>p.textContent = `a script ran`</script>'; }}\n}}\n"
    );
    std::fs::write(folder.join("site.conf"), format!("{site}\n{elsewhere}")).unwrap();
    let around = format!(
        "daemon off;\npid {path}/nginx.pid;\nerror_log {path}/error.log notice;\nworker_processes 2;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\n\
         include {path}/site.conf;\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), around).unwrap();
    let mut command = Command::new(find("nginx", "nginx-light"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    command
}
