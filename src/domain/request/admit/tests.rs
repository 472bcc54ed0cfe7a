use http::Request;

use super::*;

const TAG: HeaderName = HeaderName::from_static("x-mse-tag");

fn admitted(
    version: Version,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<Parts, u16> {
    let mut request = Request::builder()
        .version(version)
        .method(method)
        .uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    admit_request(&mut parts, "127.0.0.1:80", &[TAG])
        .map(|_| parts)
        .map_err(|r| r.status.as_u16())
}

#[test]
fn the_host_is_one_and_valid_and_the_targets_comes_first() {
    const H10: Version = Version::HTTP_10;
    const H11: Version = Version::HTTP_11;
    const H2: Version = Version::HTTP_2;
    let long = "http://real.example:81/x";
    for (version, target, hosts, want) in [
        (H11, "/x", &["a.example"][..], Ok("a.example")),
        (H11, "/x", &["a.example:8080"], Ok("a.example:8080")),
        (H11, "/x", &[], Err(400)),
        (H11, "/x", &[""], Err(400)),
        (H11, "/x", &["a.example", "b.example"], Err(400)),
        (H11, "/x", &["a.example", "a.example"], Err(400)),
        (H11, "/x", &["a b<>@"], Err(400)),
        (H11, "/x", &["u@a.example"], Err(400)),
        (H10, "/x", &[], Ok("127.0.0.1:80")),
        (H10, "/x", &["a.example"], Ok("a.example")),
        (H10, "/x", &["a.example", "b.example"], Err(400)),
        (H10, "/x", &["a/b"], Err(400)),
        (H11, long, &["fake.example"], Ok("real.example:81")),
        (H11, long, &[], Err(400)),
        (H11, long, &["a b"], Err(400)),
        (H10, long, &[], Ok("real.example:81")),
        (
            H11,
            "http://u:p@real.example/x",
            &["fake.example"],
            Err(400),
        ),
        (
            H11,
            "http://real.example:99999/x",
            &["fake.example"],
            Err(400),
        ),
        (H11, "https://real.example/x", &["fake.example"], Err(421)),
        (H11, "ftp://real.example/x", &["fake.example"], Err(400)),
        (H2, "http://real.example/x", &[], Ok("real.example")),
        (H2, "https://real.example/x", &[], Ok("real.example")),
        (
            H2,
            "http://real.example/x",
            &["REAL.example"],
            Ok("real.example"),
        ),
        (H2, "http://real.example/x", &["fake.example"], Err(400)),
        (H2, "/x", &["real.example"], Ok("real.example")),
        (H2, "/x", &[], Err(400)),
    ] {
        let headers: Vec<_> = hosts.iter().map(|h| ("host", *h)).collect();
        let got = admitted(version, "GET", target, &headers);
        let got = got.map(|p| {
            (
                p.headers["host"].to_str().unwrap().to_owned(),
                p.uri.to_string(),
            )
        });
        let want = want.map(|h| (h.to_owned(), "/x".to_owned()));
        assert_eq!(got, want, "{version:?} {target} {hosts:?}");
    }
}

#[test]
fn targets_codings_and_expectations_that_are_not_served_are_refused() {
    for (method, target, headers, want) in [
        ("GET", "/A/../c?q=/../", &[][..], Ok("/c?q=/../")),
        ("GET", "/A/%2e%2e/c", &[], Ok("/c")),
        ("GET", "/../c", &[], Err(400)),
        ("GET", "/A/..%2fc", &[], Err(400)),
        ("OPTIONS", "*", &[], Ok("*")),
        ("GET", "*", &[], Err(400)),
        ("CONNECT", "a:1", &[], Err(501)),
        ("TRACE", "/x", &[], Ok("/x")),
        ("TRACE", "/x", &[("max-forwards", "0")], Err(501)),
        ("TRACE", "/x", &[("max-forwards", "1")], Ok("/x")),
        (
            "TRACE",
            "/x",
            &[("max-forwards", "99999999999999999999")],
            Ok("/x"),
        ),
        ("TRACE", "/x", &[("max-forwards", "-1")], Err(400)),
        ("TRACE", "/x", &[("max-forwards", "")], Err(400)),
        (
            "TRACE",
            "/x",
            &[("max-forwards", "1"), ("max-forwards", "1")],
            Err(400),
        ),
        ("OPTIONS", "/x", &[("max-forwards", "0")], Err(200)),
        ("OPTIONS", "*", &[("max-forwards", "0")], Err(200)),
        ("OPTIONS", "/x", &[("max-forwards", "00")], Err(200)),
        ("GET", "/x", &[("max-forwards", "0")], Ok("/x")),
        ("GET", "/x", &[("max-forwards", "many")], Ok("/x")),
        ("GET", "/caf\u{e9}", &[], Err(400)),
        ("GET", "/x?caf\u{e9}", &[], Err(400)),
        ("PROPFIND", "/x", &[], Ok("/x")),
        ("POST", "/x", &[("transfer-encoding", "chunked")], Ok("/x")),
        ("POST", "/x", &[("transfer-encoding", "Chunked")], Ok("/x")),
        (
            "POST",
            "/x",
            &[("transfer-encoding", "gzip, chunked")],
            Err(501),
        ),
        (
            "POST",
            "/x",
            &[
                ("transfer-encoding", "gzip"),
                ("transfer-encoding", "chunked"),
            ],
            Err(501),
        ),
        ("POST", "/x", &[("transfer-encoding", "identity")], Err(501)),
        (
            "POST",
            "/x",
            &[("transfer-encoding", "chunked, chunked")],
            Err(400),
        ),
        (
            "POST",
            "/x",
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            Err(400),
        ),
        ("POST", "/x", &[("transfer-encoding", "")], Err(400)),
        ("POST", "/x", &[("expect", "100-Continue")], Ok("/x")),
        ("POST", "/x", &[("expect", "200-maybe")], Err(417)),
    ] {
        let headers = [&[("host", "h")], headers].concat();
        let got = admitted(Version::HTTP_11, method, target, &headers).map(|p| p.uri.to_string());
        assert_eq!(
            got,
            want.map(str::to_owned),
            "{method} {target} {headers:?}"
        );
    }
}

#[test]
fn cookies_on_several_lines_become_one() {
    let headers = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    let parts = admitted(Version::HTTP_2, "GET", "http://h/", &headers).unwrap();
    assert_eq!(
        parts.headers.get_all("cookie").iter().collect::<Vec<_>>(),
        ["a=1; b=2; c=3; d=4"]
    );
}

#[test]
fn only_a_websocket_is_switched_to() {
    let asks = |method: &str, version, headers: &[(&str, &str)]| {
        let mut request = Request::builder()
            .version(version)
            .method(method)
            .uri("/")
            .header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let admitted = admit_request(&mut parts, "l", &[]).unwrap();
        assert!(
            !parts.headers.contains_key("upgrade") && !parts.headers.contains_key("http2-settings")
        );
        admitted.websocket
    };
    let up = ("connection", "keep-alive, Upgrade");
    assert!(asks(
        "GET",
        Version::HTTP_11,
        &[up, ("upgrade", "WebSocket")]
    ));
    assert!(asks(
        "GET",
        Version::HTTP_11,
        &[up, ("upgrade", "h2c, websocket")]
    ));
    assert!(!asks(
        "GET",
        Version::HTTP_11,
        &[up, ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]
    ));
    assert!(!asks(
        "GET",
        Version::HTTP_11,
        &[up, ("upgrade", "TLS/1.0")]
    ));
    assert!(!asks("GET", Version::HTTP_11, &[up, ("upgrade", "tcp")]));
    assert!(!asks("GET", Version::HTTP_11, &[("upgrade", "websocket")]));
    assert!(!asks(
        "POST",
        Version::HTTP_11,
        &[up, ("upgrade", "websocket")]
    ));
    assert!(!asks(
        "GET",
        Version::HTTP_10,
        &[up, ("upgrade", "websocket")]
    ));
}
