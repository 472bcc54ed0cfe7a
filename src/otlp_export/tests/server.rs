//! A small HTTP server that answers what it is told and keeps what it gets.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;

/// For a machine that is far slower than any.
const LIMIT: Duration = Duration::from_mins(2);

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn decode(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*self.body).unwrap()
    }
}

pub(super) struct Server {
    address: SocketAddr,
    answers: usize,
    received: Receiver<Received>,
}

impl Server {
    /// Answers one request after the other with these statuses.
    pub(super) fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        thread::spawn(move || {
            for status in statuses {
                let (stream, _) = listener.accept().unwrap();
                answer(stream, *status, &sender);
            }
        });
        Self {
            address,
            answers: statuses.len(),
            received,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As many requests as there are answers.
    pub(super) fn wait_for_requests(&self) -> Vec<Received> {
        let requests = (0..self.answers).map(|_| self.received.recv_timeout(LIMIT));
        requests.collect::<Result<_, _>>().unwrap()
    }
}

/// Reads one request of a connection, answers, and closes it.
fn answer(mut stream: TcpStream, status: u16, sender: &Sender<Received>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let request_line = line();
    let mut headers = HashMap::new();
    loop {
        let header = line();
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let received = Received {
        line: request_line,
        headers,
        body,
    };
    // Nobody waits any more when the test has failed.
    let _ = sender.send(received);
}

/// The attributes that are text.
pub(super) fn texts(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let pairs = attributes
        .iter()
        .filter_map(|pair| match pair.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some((pair.key.as_str(), text.clone())),
            _ => None,
        });
    pairs.collect()
}
