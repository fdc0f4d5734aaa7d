//! A client of the service: HTTP/1.1 over one connection, with a watchdog, and what it has seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Every request has an answer within this time.
const WATCHDOG: Duration = Duration::from_secs(10);

pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    pub seen: Seen,
}

#[derive(Default)]
pub struct Seen {
    /// How often which answer came.
    pub answers: BTreeMap<String, u64>,
    /// By path.
    pub slowest: BTreeMap<String, Duration>,
    pub wrong: Vec<String>,
}

impl Seen {
    pub fn add(&mut self, other: Seen) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        for (path, time) in other.slowest {
            let slowest = self.slowest.entry(path).or_default();
            *slowest = time.max(*slowest);
        }
        self.wrong.extend(other.wrong);
    }
}

/// A status and a body.
pub type Answer = (u16, String);

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, connection: None, seen: Seen::default() }
    }

    /// `None`: there was no answer, or one that the service must not give, which is noted.
    pub async fn ask(&mut self, method: &str, target: &str) -> Option<Answer> {
        let begin = Instant::now();
        let answer = tokio::time::timeout(WATCHDOG, self.exchange(method, target)).await;
        let path = target.split_once('?').map_or(target, |(path, _)| path).to_owned();
        let slowest = self.seen.slowest.entry(path.clone()).or_default();
        *slowest = begin.elapsed().max(*slowest);
        let wrong = match answer {
            Ok(Ok((status, body))) => {
                let mut key = format!("{path} {status}");
                if status != 200 {
                    // Which child and which process doesn't matter.
                    key.extend([' '].into_iter().chain(body.chars().filter(|c| !c.is_ascii_digit())));
                }
                *self.seen.answers.entry(key).or_default() += 1;
                if matches!(status, 200 | 502 | 503 | 504) {
                    return Some((status, body));
                }
                format!("{status} {body}")
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {WATCHDOG:?}"),
        };
        self.seen.wrong.push(format!("{method} {target}: {wrong}"));
        None
    }

    async fn exchange(&mut self, method: &str, target: &str) -> std::io::Result<Answer> {
        // Given back when the answer is whole.
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.address).await?),
        };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut line) = (None, 0, String::new());
        while stream.read_line(&mut line).await? > 0 && !line.trim().is_empty() {
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.split(' ').next().and_then(|status| status.parse().ok());
            } else if let Some(("content-length", value)) = line.split_once(": ") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            line.clear();
        }
        let status = status.ok_or(std::io::Error::other("the connection was closed"))?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        self.connection = Some(stream);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
