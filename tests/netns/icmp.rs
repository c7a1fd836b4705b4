//! ICMP echo over raw sockets: requests with a chosen identifier, and what arrives at either end.
//! The kernel of the node asked gives the answer.
use std::{
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use super::{EXCHANGE, Namespace};

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// A raw socket: it sees every ICMP message its node receives.
#[derive(Debug)]
pub struct Pinger(Socket);

/// An echo message as it arrived. Identifier and sequence number are in host order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    pub is_request: bool,
    pub source: Ipv4Addr,
    pub identifier: u16,
    pub sequence: u16,
    pub payload: Vec<u8>,
}

impl Namespace {
    pub fn pinger(&self) -> Result<Pinger> {
        self.run(|| {
            Ok(Pinger(Socket::new(
                Domain::IPV4,
                Type::RAW,
                Some(Protocol::ICMPV4),
            )?))
        })
        .context("a raw ICMP socket")
    }
}

impl Pinger {
    /// Sends an echo request.
    pub fn ask(&self, to: Ipv4Addr, identifier: u16, sequence: u16, payload: &[u8]) -> Result<()> {
        let mut message = vec![ECHO_REQUEST, 0, 0, 0];
        message.extend(identifier.to_be_bytes());
        message.extend(sequence.to_be_bytes());
        message.extend(payload);
        let sum = checksum(&message).to_be_bytes();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
        self.0
            .send_to(&message, &SocketAddrV4::new(to, 0).into())
            .with_context(|| format!("echo request to {to}"))?;
        Ok(())
    }

    /// The answer that carries this identifier and payload, waited for at most `limit`.
    pub fn answer(&self, identifier: u16, payload: &[u8], limit: Duration) -> Result<Option<Echo>> {
        self.find(limit, |echo| {
            !echo.is_request && echo.identifier == identifier && echo.payload == payload
        })
    }

    /// A request that carries this payload, waited for at most `limit`.
    pub fn request(&self, payload: &[u8], limit: Duration) -> Result<Option<Echo>> {
        self.find(limit, |echo| echo.is_request && echo.payload == payload)
    }

    /// One request and its answer; the address that answered.
    pub fn ping(&self, to: Ipv4Addr, identifier: u16, payload: &[u8]) -> Result<Ipv4Addr> {
        self.ask(to, identifier, 1, payload)?;
        match self.answer(identifier, payload, EXCHANGE)? {
            Some(echo) => Ok(echo.source),
            None => bail!("no answer from {to} within {} s", EXCHANGE.as_secs()),
        }
    }

    fn find(&self, limit: Duration, wanted: impl Fn(&Echo) -> bool) -> Result<Option<Echo>> {
        let end = Instant::now() + limit;
        let mut packet = vec![0; 1 << 16];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Zero would mean to wait for ever.
            self.0
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match (&self.0).read(&mut packet) {
                Ok(length) => {
                    if let Some(echo) = packet.get(..length).and_then(parse).filter(&wanted) {
                        return Ok(Some(echo));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && left.is_zero() => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An IPv4 packet as a raw socket delivers it, if it holds an echo message.
fn parse(packet: &[u8]) -> Option<Echo> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let message = packet.get(header..)?;
    let field = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let is_request = match *message.first()? {
        ECHO_REQUEST => true,
        ECHO_REPLY => false,
        _ => return None,
    };
    Some(Echo {
        is_request,
        source,
        identifier: field(4)?,
        sequence: field(6)?,
        payload: message.get(8..)?.to_vec(),
    })
}

/// RFC 1071, over a message whose checksum field is zero; host order.
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = message
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair.first().copied().unwrap_or(0),
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_a_known_request() {
        // An echo request with identifier 1, sequence 1 and no payload.
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 1]), 0xf7fd);
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 1, 0xff]), 0xf8fc);
    }
}
