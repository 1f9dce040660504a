//! nginx in a folder of its own in front of nodes, with the configuration that operators are advised to use; it ends
//! with the test process, also when that is killed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::process::{PATIENCE, search_path, until};

/// nginx.conf, with FOLDER and LISTEN filled in by the test. The upstream is in a file of its own, which deployments
/// rewrite.
const CONFIGURATION: &str = r#"
daemon off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log notice;
worker_processes 2;
events {
    worker_connections 512;
}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    include FOLDER/upstream.conf;

    server {
        listen LISTEN;
        location / {
            proxy_pass http://doorward;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_connect_timeout 1s;
            proxy_read_timeout 30s;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 2;
        }
    }
}
"#;

/// nginx as a child of a shell that ends it when the test process is gone: `$1` is the binary, `$2` the folder.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM PIPE
"$1" -p "$2" -c "$2/nginx.conf" -e "$2/error.log" </dev/null >>"$2/error.log" 2>&1 &
server=$!
while read -r reload; do kill -HUP "$server"; done
kill -TERM "$server"
wait "$server"
"#;

const MISSING: &str = "The test needs nginx and found none on PATH or in /usr/sbin: get it with `apt-get install nginx-light` or \
    `brew install nginx`.";

pub struct Nginx {
    folder: tempfile::TempDir,
    address: SocketAddr,
    watchdog: Child,
    reloads: usize,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

impl Nginx {
    /// Starts in front of these nodes; `true` marks a node as down.
    pub fn start(nodes: &[(SocketAddr, bool)]) -> Self {
        let binary = find().unwrap_or_else(|| panic!("{MISSING}"));
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(&binary, nodes) {
                return nginx;
            }
        }
        panic!("nginx found no free port")
    }

    fn try_start(binary: &Path, nodes: &[(SocketAddr, bool)]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // nginx cannot report its port, so it is given one that was free just before.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = folder.path().display().to_string();
        let configuration = CONFIGURATION.replace("FOLDER", &path).replace("LISTEN", &address.to_string());
        std::fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        write_upstream(folder.path(), nodes);
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "doorward-nginx-watchdog"]).arg(binary).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watchdog = command.spawn().unwrap();
        let nginx = Self { folder, address, watchdog, reloads: 0 };
        let listens = until(PATIENCE, "nginx", || {
            let log = nginx.log();
            let failed = log.contains("[emerg]");
            let listens = log.contains("start worker process") && TcpStream::connect(address).is_ok();
            (failed || listens).then_some(listens)
        });
        assert!(listens || nginx.log().contains("Address already in use"), "{}", nginx.log());
        listens.then_some(nginx)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Reloads nginx with new upstreams, as `nginx -s reload` does, and waits until the old workers have exited.
    pub fn reload(&mut self, nodes: &[(SocketAddr, bool)]) {
        write_upstream(self.folder.path(), nodes);
        self.reloads += 1;
        let mut pipe = self.watchdog.stdin.as_ref().unwrap();
        writeln!(pipe, "reload").unwrap();
        let gone = self.reloads * 2;
        until(PATIENCE, "nginx's old workers to be gone", || {
            (self.log().matches("exited with code 0").count() >= gone).then_some(())
        });
    }
}

fn write_upstream(folder: &Path, nodes: &[(SocketAddr, bool)]) {
    let mut upstream = String::from("upstream doorward {\n");
    for (address, is_down) in nodes {
        let _ = writeln!(upstream, "    server {address}{};", if *is_down { " down" } else { "" });
    }
    upstream.push_str("    keepalive 16;\n}\n");
    std::fs::write(folder.join("upstream.conf"), upstream).unwrap();
}

fn find() -> Option<PathBuf> {
    let path = search_path();
    let folders = path.split(':').chain(["/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join("nginx")).find(|binary| binary.is_file())
}
