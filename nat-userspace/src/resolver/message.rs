//! Messages (RFC 1035 4): queries as they come, and answers that fit.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// What a datagram may have without EDNS, in bytes (RFC 1035 4.2.1).
const PLAIN_BYTES: u16 = 512;
/// What one may have at most: it reaches everywhere unfragmented (<https://www.dnsflagday.net/2020/>).
pub const DATAGRAM_BYTES: u16 = 1232;

/// How a query has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An answer has limits, and is cut off there.
    Udp,
    /// It has none.
    Tcp,
}

/// A query of one question.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question.
    pub query: Query,
    /// Others may be asked.
    pub recursion_desired: bool,
    id: u16,
    checking_disabled: bool,
    authentic_data: bool,
    /// The flag DO (RFC 3225), if there is EDNS at all.
    edns: Option<bool>,
    /// Bytes that an answer may have.
    limit: usize,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// The answer to one that gets no other; `None`: it gets none at all, lest two servers answer each
    /// other's answers for ever.
    pub fn read(bytes: &[u8], transport: Transport) -> Result<Self, Option<Vec<u8>>> {
        let header = Header::read(&mut BinDecoder::new(bytes)).map_err(|_| None)?;
        if header.message_type == MessageType::Response {
            return Err(None);
        }
        let failed = |code| {
            let mut message = Message::error_msg(header.id, header.op_code, code);
            message.metadata.recursion_desired = header.recursion_desired;
            Err(message.to_vec().ok())
        };
        if header.op_code != OpCode::Query {
            return failed(ResponseCode::NotImp);
        }
        if header.counts.queries != 1 {
            return failed(ResponseCode::FormErr);
        }
        let Ok(mut message) = Message::from_vec(bytes) else {
            return failed(ResponseCode::FormErr);
        };
        let Some(query) = message.queries.pop() else {
            return failed(ResponseCode::FormErr);
        };
        let asked = Self {
            query,
            recursion_desired: header.recursion_desired,
            id: header.id,
            checking_disabled: header.checking_disabled,
            authentic_data: header.authentic_data,
            edns: message.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
            limit: match transport {
                Transport::Udp => message.max_payload().clamp(PLAIN_BYTES, DATAGRAM_BYTES),
                Transport::Tcp => u16::MAX,
            }
            .into(),
        };
        if message.version() != 0 {
            return Err(asked.error(ResponseCode::BADVERS));
        }
        Ok(asked)
    }

    /// An answer without records as yet.
    pub fn response(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        message.edns = self.edns.map(edns);
        message
    }

    /// The answer of this code, without records. `None`: as of [`Self::written`].
    pub fn error(&self, code: ResponseCode) -> Option<Vec<u8>> {
        self.written(&self.response(code))
    }

    /// The bytes of an answer; when they are too many, those of the same one without records (RFC 2181 9).
    /// `None` when it can't be written, which does not occur.
    pub fn written(&self, message: &Message) -> Option<Vec<u8>> {
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= self.limit {
            return Some(bytes);
        }
        message.truncate().to_vec().ok()
    }

    /// The same question, for another server. What EDNS says holds from one hop to the next (RFC 6891 6.2.6),
    /// so nothing of the client's options is in it. Its id is a random one.
    pub fn onward(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(self.query.clone());
        message.edns = self.edns.map(edns);
        message
    }

    /// What another server has said, as the answer to this query: unchanged but for the id, so that nothing
    /// gets lost that only client and server know.
    pub fn passed_on(&self, code: ResponseCode, mut answer: Vec<u8>) -> Option<Vec<u8>> {
        if answer.len() > self.limit {
            return self.response(code).truncate().to_vec().ok();
        }
        answer.get_mut(..2)?.copy_from_slice(&self.id.to_be_bytes());
        Some(answer)
    }
}

fn edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_BYTES);
    edns.set_dnssec_ok(dnssec_ok);
    edns
}

/// What another server says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Its lower four bits.
    pub code: ResponseCode,
    /// There is more than a datagram holds.
    pub is_truncated: bool,
}

/// Reads what came in answer to `asked`; `None`: it is something else (RFC 5452 9.1).
pub fn said(bytes: &[u8], asked: &Message) -> Option<Said> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let is_answer = header.message_type == MessageType::Response
        && header.op_code == OpCode::Query
        && header.id == asked.id
        && header.counts.queries == 1;
    if !is_answer || asked.queries.first() != Some(&Query::read(&mut decoder).ok()?) {
        return None;
    }
    Some(Said {
        code: header.response_code,
        is_truncated: header.truncation,
    })
}
