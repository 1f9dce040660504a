//! Large bodies behind each proxy: the check has no limit of its own, the app's limit is the app's, and a stranger's upload is
//! refused as a stranger's, whatever its size.

use super::configurations::UPLOAD_MAX;
use super::{Proxy, Site, behind_every_proxy};
use crate::support::http::{Request, Response};

behind_every_proxy!(an_upload_reaches_the_app_whole, a_strangers_upload_is_refused_as_unauthenticated);

const MIB: usize = 1024 * 1024;

fn upload(method: &str, size: usize) -> Request {
    Request::new(method, "/upload").body(Some("application/octet-stream"), "x".repeat(size))
}

fn size_received(answer: &Response) -> usize {
    answer.json()["body"].as_str().unwrap().len()
}

fn an_upload_reaches_the_app_whole(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    for (method, size) in [("POST", 0), ("POST", 2 * MIB), ("POST", 5 * MIB), ("PUT", UPLOAD_MAX)] {
        let answer = browser.send(upload(method, size).header("Host", super::HOST));
        assert_eq!(answer.status, 200, "{size}: {} {}", answer.text(), site.proxy.log());
        assert_eq!(size_received(&answer), size);
    }
    if proxy == Proxy::Nginx {
        let (reached, request) = (site.app.reached(), upload("POST", UPLOAD_MAX + 1).header("Host", super::HOST));
        assert_eq!((browser.send(request).status, site.app.reached()), (413, reached));
    }
}

fn a_strangers_upload_is_refused_as_unauthenticated(proxy: Proxy) {
    let site = Site::start(proxy);
    for size in [0, 1, 2 * MIB, 5 * MIB, UPLOAD_MAX + 1, 20 * MIB] {
        let refused = site.send(upload("POST", size));
        assert_eq!(refused.status, 401, "{size}: {} {}", refused.text(), site.proxy.log());
        assert!(refused.header("www-authenticate").is_some_and(|line| line.starts_with("Bearer")), "{size}");
    }
    assert_eq!(site.app.reached(), 0);
}
