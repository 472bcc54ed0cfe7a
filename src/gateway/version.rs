//! Checks the protocol version on the first line of a connection. A major version other than 1 is
//! not served on such connections and gets status 505 (RFC 9110 §15.6.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use net::pass_writes;

/// Bytes in which the end of the first line is expected; longer lines are refused elsewhere.
const MAX_FIRST_LINE: usize = 8 * 1024;

const REFUSAL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 50\r\nconnection: close\r\n\r\n505 only HTTP/1.0, HTTP/1.1 and HTTP/2 are served\n";

/// A connection whose first line is checked before it is passed on.
pub(super) struct VersionGuard<S> {
    stream: S,
    state: State,
}

enum State {
    /// What has been read of the first line.
    First(Vec<u8>),
    /// Bytes that are still to be passed on, and the position in them.
    Rest(Vec<u8>, usize),
    Open,
    /// The rest of the refusal that is still to be written.
    Refused(&'static [u8]),
}

impl<S> VersionGuard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            state: State::First(vec![]),
        }
    }
}

/// Whether a connection begins with a request of an unsupported version; `None` while that is not
/// known.
fn is_unsupported_version(begun: &[u8]) -> Option<bool> {
    // Empty lines may come first.
    let start = begun.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    let line = start
        .and_then(|start| begun.get(start..))
        .unwrap_or_default();
    // The preface of HTTP/2.
    if line.starts_with(b"PRI ") {
        return Some(false);
    }
    let Some(end) = line.iter().position(|b| *b == b'\n') else {
        return if begun.len() < MAX_FIRST_LINE {
            None
        } else {
            Some(false)
        };
    };
    let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [_, _, version] = words[..] else {
        return Some(false);
    };
    let Some([major, b'.', minor]) = version.strip_prefix(b"HTTP/") else {
        return Some(false);
    };
    Some(major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1')
}

impl<S: AsyncRead + Unpin> AsyncRead for VersionGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Open => return Pin::new(&mut this.stream).poll_read(cx, into),
                // The reader sees the end; the refusal is written at shutdown.
                State::Refused(_) => return Poll::Ready(Ok(())),
                State::Rest(bytes, from) => {
                    let n = into.remaining().min(bytes.len() - *from);
                    into.put_slice(&bytes[*from..*from + n]);
                    *from += n;
                    if *from == bytes.len() {
                        this.state = State::Open;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::First(begun) => {
                    let mut part = [0; 1024];
                    let mut part = ReadBuf::new(&mut part);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                    begun.extend_from_slice(part.filled());
                    match is_unsupported_version(begun) {
                        Some(true) => this.state = State::Refused(REFUSAL),
                        None if !part.filled().is_empty() => {}
                        // The version is known, or the connection has ended.
                        _ if begun.is_empty() => this.state = State::Open,
                        _ => this.state = State::Rest(std::mem::take(begun), 0),
                    }
                    if part.filled().is_empty() && matches!(this.state, State::Open) {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for VersionGuard<S> {
    pass_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let State::Refused(left) = &mut this.state
            && !left.is_empty()
        {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *left = &left[n..],
            }
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn a_first_line_tells_its_version() {
        for (begun, want) in [
            (&b""[..], None),
            (b"GET /x HTTP/2.0", None),
            (b"\r\n\r\n", None),
            (b"GET /x HTTP/2.0\r\n", Some(true)),
            (b"\r\nGET /x HTTP/2.0\n", Some(true)),
            (b"GET /x HTTP/0.9\r\n", Some(true)),
            (b"GET /x HTTP/3.0\r\nHost: h\r\n", Some(true)),
            (b"GET /x HTTP/1.1\r\n", Some(false)),
            (b"GET /x HTTP/1.0\r\n", Some(false)),
            (b"GET /x\r\n", Some(false)),
            (b"GET /x HTTP/2\r\n", Some(false)),
            (b"GET /x y HTTP/2.0\r\n", Some(false)),
            (b"GET /HTTP/2.0\r\nx y HTTP/2.0\r\n", Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(false)),
            (&[b'x'; MAX_FIRST_LINE], Some(false)),
        ] {
            assert_eq!(
                is_unsupported_version(begun),
                want,
                "{}",
                begun.escape_ascii()
            );
        }
        let (head, body) =
            REFUSAL.split_at(REFUSAL.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4);
        let told = format!("content-length: {}\r\n", body.len());
        assert!(
            head.windows(told.len()).any(|w| w == told.as_bytes()),
            "{told}"
        );
    }

    #[tokio::test]
    async fn what_is_served_is_handed_over_whole_whichever_parts_it_comes_in() {
        for part in [1, 3, 1000] {
            let (mut client, stream) = duplex(8);
            let sent = b"\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\nmore".to_vec();
            let all = sent.clone();
            tokio::spawn(async move {
                for piece in all.chunks(part) {
                    client.write_all(piece).await.unwrap();
                }
            });
            let mut read = vec![];
            VersionGuard::new(stream)
                .read_to_end(&mut read)
                .await
                .unwrap();
            assert_eq!(read, sent);
        }
        let mut none = vec![];
        let (client, stream) = duplex(8);
        drop(client);
        assert_eq!(
            VersionGuard::new(stream)
                .read_to_end(&mut none)
                .await
                .unwrap(),
            0
        );
    }
}
