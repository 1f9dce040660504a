//! Unit tests of request framing: which bytes are one request, and the states of a connection.

use super::*;

const CHECK: &str = "GET /auth/verify HTTP/1.1\r\nHost: a\r\n\r\n";

fn parsed(text: &str) -> ReadAction {
    parse_single_request(text.as_bytes(), |head| head.method == "GET" && head.target == "/auth/verify")
}

#[test]
fn only_exactly_one_request_without_a_body_is_answered() {
    assert_eq!(parsed(CHECK), ReadAction::Answered);
    for other in [
        "GET /auth/me HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /auth/verify HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
        format!("{CHECK}G"),
        format!("{CHECK}{CHECK}"),
        CHECK.replace("Host", "Content-Length: 0\r\nHost"),
        CHECK.replace("Host", "content-length: 3\r\nHost") + "abc",
        CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost"),
        CHECK.replace("Host", "Upgrade: h2c\r\nHost"),
        CHECK.replace("Host", "Expect: 100-continue\r\nHost"),
        CHECK.replace("Host", "Connection: upgrade\r\nHost"),
        CHECK.replace("GET", "CONNECT"),
        CHECK.replace("Host: a", "Host : a"),
        CHECK.replace("Host: a", "Host: a\r\n folded"),
        CHECK.replace("Host: a", &"X: y\r\n".repeat(65)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\0".to_owned(),
    ] {
        assert_eq!(parsed(&other), ReadAction::Forward, "{other}");
    }
}

#[test]
fn a_partial_head_is_buffered_up_to_the_size_limit() {
    for end in 1..CHECK.len() {
        assert_eq!(parsed(&CHECK[..end]), ReadAction::NeedMore, "{end}");
    }
    let long = format!("GET /auth/verify HTTP/1.1\r\nHost: {}", "a".repeat(MAX_REQUEST_BYTES));
    assert_eq!(parsed(&long), ReadAction::Forward);
    assert_eq!(parsed(&format!("{long}\r\n\r\n")), ReadAction::Forward, "however much of it is read in one piece");
}

#[test]
fn a_connection_is_idle_only_after_the_response_to_exactly_one_request() {
    let post = "POST /auth/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let now = Instant::now();
    let after = |sent: &[&str], responds: bool| {
        let mut state = ConnectionState::default();
        for bytes in sent {
            state.on_read(bytes.as_bytes());
        }
        if responds {
            state.on_write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        state.on_flush(now);
        state
    };
    for request in [CHECK, post] {
        assert_eq!(after(&[request], true), ConnectionState::Idle(now));
        assert_eq!(after(&[request], false), ConnectionState::Handling { responding: false });
    }
    for parts in
        [vec![&CHECK[..9], &CHECK[9..]], vec![&post[..20], &post[20..]], vec![&post[..post.len() - 2], "{", "}"]]
    {
        assert_eq!(after(&parts, true), ConnectionState::Idle(now), "{parts:?}");
    }
    let chunked = CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost");
    let connect = CHECK.replace("GET", "CONNECT");
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_REQUEST_BYTES));
    for unsupported in [
        vec![CHECK, CHECK],
        vec![post, "{"],
        vec![&CHECK[..9], &CHECK[9..], "G"],
        vec![chunked.as_str()],
        vec![connect.as_str()],
        vec![long.as_str(), "\r\n"],
    ] {
        assert!(matches!(after(&unsupported, true), ConnectionState::Passthrough(_)), "{unsupported:?}");
    }
    assert_eq!(
        after(&[&CHECK[..9]], true),
        ConnectionState::PartialHead(CHECK.as_bytes()[..9].to_vec()),
        "an early response changes no state"
    );
}

#[test]
fn pipelined_bytes_are_no_part_of_the_request_before_them() {
    let post = "POST /auth/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let chunked = CHECK.replace("Host", "Transfer-Encoding: chunked\r\nHost") + "2\r\n{}\r\n0\r\n\r\n";
    for request in [CHECK, post, &chunked] {
        for begun in 0..request.len() {
            let mut state = ConnectionState::default();
            if begun > 0 {
                assert_eq!(state.on_read(&request.as_bytes()[..begun]), begun);
            }
            let bytes = [&request[begun..], CHECK, CHECK].concat();
            assert_eq!(state.on_read(bytes.as_bytes()), request.len() - begun, "{begun} of {request}");
            assert!(state.is_after_request());
        }
    }
}

#[test]
fn a_response_with_connection_close_ends_the_fast_path() {
    for (response, closes) in [
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"\r\nconnection: close\r\n\"}", false),
    ] {
        let mut state = ConnectionState::default();
        state.on_read(CHECK.as_bytes());
        state.on_write(response.as_bytes());
        state.on_write(b"more");
        state.on_flush(Instant::now());
        assert_eq!(matches!(state, ConnectionState::Passthrough(_)), closes, "{response}");
        assert_eq!(state.is_idle(), !closes, "{response}");
    }
}

#[test]
fn an_ambiguous_content_length_is_unsupported() {
    let header = |value: &'static str| Header { name: "Content-Length", value: value.as_bytes() };
    assert_eq!(body_length(&[header("5")]), BodyLength::Bytes(5));
    for value in ["+5", "", "5, 5", "0x5"] {
        assert_eq!(body_length(&[header(value)]), BodyLength::Unsupported, "{value}");
    }
    let twice = [Header { name: "content-length", value: b"5" }; 2];
    assert_eq!(body_length(&twice), BodyLength::Unsupported);
}
