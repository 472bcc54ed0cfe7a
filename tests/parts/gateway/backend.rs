//! A backend of raw bytes: answers as the path says, keeps exactly what it received.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::rig::Upstream;

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// `GET /x HTTP/1.1`.
    pub line: String,
    /// As written, without the line's end.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    pub trailers: Vec<String>,
    /// What cannot be read as a request.
    pub wrong: Option<String>,
}

impl Got {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of = |line: &'_ str| {
            line.split_once(':')
                .is_some_and(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let lines = self.headers.iter().map(String::as_str).filter(|l| of(l));
        lines
            .map(|l| l.split_once(':').map_or("", |(_, v)| v.trim()))
            .collect()
    }
}

pub type Seen = Arc<Mutex<Vec<Got>>>;

/// A backend that answers a path with these bytes; any other is told back whole. An answer that ends with
/// `<close>` or `<reset>` ends the connection so.
pub async fn start(
    name: &str,
    answers: &'static [(&'static str, &'static [u8])],
) -> (Upstream, Seen) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let all = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = all.clone();
            tokio::spawn(async move { drop(serve(stream, answers, &seen).await) });
        }
    });
    (Upstream::at(name, address), seen)
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = vec![];
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let text: String = line.iter().map(|b| char::from(*b)).collect();
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn lines(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let mut all = vec![];
    loop {
        match line(stream).await? {
            l if l.is_empty() => return Ok(all),
            l => all.push(l),
        }
    }
}

async fn serve(
    stream: TcpStream,
    answers: &[(&'static str, &'static [u8])],
    seen: &Mutex<Vec<Got>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut got = Got {
            line: line(&mut stream).await?,
            ..Got::default()
        };
        got.headers = lines(&mut stream).await?;
        let path = got.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (coded, length) = (
            got.all("transfer-encoding").concat(),
            got.all("content-length").join(","),
        );
        let found = answers
            .iter()
            .find(|(p, _)| path.split('?').next() == Some(p));
        let body = body(&mut stream, &coded, &length, &mut got).await;
        if let Err(e) = &body {
            got.wrong = Some(e.to_string());
        }
        let head = got.line.clone();
        seen.lock().unwrap().push(got.clone());
        body?;
        let Some((_, answer)) = found else {
            let text = format!(
                "{head}\n{}\n\n{}",
                got.headers.join("\n"),
                String::from_utf8_lossy(&got.body)
            );
            let length = if head.starts_with("HEAD ") {
                0
            } else {
                text.len()
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                text.len(),
                &text[..length]
            );
            stream.get_mut().write_all(answer.as_bytes()).await?;
            continue;
        };
        for end in ["<close>", "<reset>"] {
            if let Some(rest) = answer.strip_suffix(end.as_bytes()) {
                stream.get_mut().write_all(rest).await?;
                if end == "<reset>" {
                    // What was written must be read before it is lost with the connection.
                    let _ = tokio::time::timeout(
                        std::time::Duration::from_millis(200),
                        stream.read_u8(),
                    )
                    .await;
                    stream.get_ref().set_zero_linger()?;
                }
                return Ok(());
            }
        }
        stream.get_mut().write_all(answer).await?;
    }
}

async fn body(
    stream: &mut BufReader<TcpStream>,
    coded: &str,
    length: &str,
    got: &mut Got,
) -> std::io::Result<()> {
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    match (coded, length) {
        ("", "") => {}
        ("", n) => {
            let mut body = vec![0; n.parse().map_err(|_| wrong("content-length"))?];
            stream.read_exact(&mut body).await?;
            got.body = body;
        }
        ("chunked", "") => loop {
            let size = line(stream).await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| wrong("chunk size"))?;
            if size == 0 {
                got.trailers = lines(stream).await?;
                break;
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
            got.body.extend_from_slice(&chunk[..size]);
        },
        _ => {
            return Err(wrong(
                "transfer-encoding beside content-length, or no chunked",
            ));
        }
    }
    Ok(())
}
