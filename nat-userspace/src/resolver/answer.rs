//! Which query gets which answer.

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use super::{
    message::{Asked, Transport},
    names::{Found, Names, TTL_SECONDS, soa},
};
use crate::services::Who;

/// What to do with a query.
#[derive(Debug)]
pub enum Decision {
    /// Nothing.
    Ignore,
    /// To send this.
    Answer(Vec<u8>),
    /// To ask somebody else.
    Forward(Asked),
}

impl From<Option<Vec<u8>>> for Decision {
    fn from(answer: Option<Vec<u8>>) -> Self {
        answer.map_or(Self::Ignore, Self::Answer)
    }
}

/// What to do with what `who` has sent.
pub fn decide(bytes: &[u8], transport: Transport, names: &Names, who: Option<&Who>) -> Decision {
    let asked = match Asked::read(bytes, transport) {
        Ok(asked) => asked,
        Err(answer) => return answer.into(),
    };
    let (of_class, of_type) = (asked.query.query_class(), asked.query.query_type());
    if of_class != DNSClass::IN || is_of_no_name(of_type) {
        return asked.error(ResponseCode::Refused).into();
    }
    let found = who.and_then(|who| names.find(&who.vpc, asked.query.name(), of_type));
    match found {
        None => asked.error(ResponseCode::Refused).into(),
        Some(Found::Name { zone, data }) => own(&asked, ResponseCode::NoError, &zone, data).into(),
        Some(Found::Nothing { zone }) => {
            own(&asked, ResponseCode::NXDomain, &zone, Vec::new()).into()
        }
        Some(Found::Foreign) if asked.recursion_desired => Decision::Forward(asked),
        Some(Found::Foreign) => asked.error(ResponseCode::Refused).into(),
    }
}

/// Types that a question may have and no record of a name has: zone transfers, and what secures messages.
fn is_of_no_name(of_type: RecordType) -> bool {
    (249..=254).contains(&u16::from(of_type)) || of_type == RecordType::OPT
}

/// An answer of the own zones; one without data says for how long (RFC 2308 3).
fn own(asked: &Asked, code: ResponseCode, zone: &Name, data: Vec<RData>) -> Option<Vec<u8>> {
    let mut message = asked.response(code);
    message.metadata.authoritative = true;
    if data.is_empty() {
        let soa = RData::SOA(soa(zone));
        message.add_authority(Record::from_rdata(zone.clone(), TTL_SECONDS, soa));
    }
    let name = asked.query.name();
    message.add_answers(
        data.into_iter()
            .map(|data| Record::from_rdata(name.clone(), TTL_SECONDS, data)),
    );
    asked.written(&message)
}
