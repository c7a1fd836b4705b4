//! The tokens of version 2. A token is its expiry and a code that only the holder of the key can make of
//! that and of the instance, so nothing is kept of it here, and it holds as long as the key is the same.

use std::{fmt, net::Ipv4Addr, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::hex;

/// Seconds that a token may hold, at least and at most.
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 1..=21_600;

const EXPIRY: usize = size_of::<u64>();
const CODE: usize = 32;

/// What tokens are made and checked with: 32 random bytes.
#[derive(Clone)]
pub struct Key([u8; Self::BYTES]);

impl Key {
    /// How long it is.
    pub const BYTES: usize = 32;

    /// Of these bytes, which nobody can guess.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// A new one of random numbers.
    pub fn random(random: &mut impl FnMut() -> u64) -> Self {
        let mut bytes = [0; Self::BYTES];
        for part in bytes.chunks_exact_mut(size_of::<u64>()) {
            part.copy_from_slice(&random().to_ne_bytes());
        }
        Self(bytes)
    }

    /// To be kept where nobody else reads it.
    pub(crate) const fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Without what is secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Whose a token is: all of it has to be the same when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The name of its VPC.
    pub vpc: &'a str,
    /// The instance's id.
    pub id: &'a str,
    /// Its private address.
    pub private_ip: Ipv4Addr,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such token was made for this instance, with this key.
    #[error("the token is not valid for this instance")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// A token that holds until `expiry`, a time since the Unix epoch, in whole milliseconds. It is 80
/// hexadecimal digits.
pub fn issue(key: &Key, holder: &Holder<'_>, expiry: Duration) -> String {
    let expiry = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
    let expiry = expiry.to_be_bytes();
    let code = coder(key, holder, expiry).finalize().into_bytes();
    hex::digits(expiry.into_iter().chain(code))
}

/// Whether a token is `holder`'s and holds at `now`, a time since the Unix epoch. How long that takes
/// tells nothing about the right code.
///
/// # Errors
///
/// Why it is not accepted.
pub fn verify(key: &Key, holder: &Holder<'_>, token: &[u8], now: Duration) -> Result<(), Refused> {
    let (expiry, code) = parts(token).ok_or(Refused::Invalid)?;
    coder(key, holder, expiry)
        .verify_slice(&code)
        .map_err(|_| Refused::Invalid)?;
    if now < Duration::from_millis(u64::from_be_bytes(expiry)) {
        Ok(())
    } else {
        Err(Refused::Expired)
    }
}

/// Every field of fixed length or preceded by it, so that two holders never come to the same bytes.
fn coder(key: &Key, holder: &Holder<'_>, expiry: [u8; EXPIRY]) -> Hmac<Sha256> {
    let key: &hmac::digest::Key<Hmac<Sha256>> = &padded(key).into();
    let mut coder = Hmac::<Sha256>::new(key);
    coder.update(b"metadata token 1");
    coder.update(&expiry);
    coder.update(&holder.private_ip.octets());
    coder.update(&(holder.vpc.len() as u64).to_be_bytes());
    coder.update(holder.vpc.as_bytes());
    coder.update(holder.id.as_bytes());
    coder
}

/// RFC 2104 2: a key that is shorter than the hash's block is filled up with zeros.
fn padded(Key(bytes): &Key) -> [u8; 64] {
    let mut block = [0; 64];
    block[..Key::BYTES].copy_from_slice(bytes);
    block
}

fn parts(token: &[u8]) -> Option<([u8; EXPIRY], [u8; CODE])> {
    if token.len() != 2 * (EXPIRY + CODE) {
        return None;
    }
    // One way to write each token: what was altered in any way is another one.
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = token
        .chunks_exact(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
    let mut take = |into: &mut [u8]| {
        into.iter_mut().try_for_each(|byte| {
            *byte = bytes.next()??;
            Some(())
        })
    };
    let (mut expiry, mut code) = ([0; EXPIRY], [0; CODE]);
    take(&mut expiry)?;
    take(&mut code)?;
    Some((expiry, code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key::new([7; Key::BYTES]);
    const WEB: Holder<'_> = Holder {
        vpc: "main",
        id: "i-0123456789abcdef0",
        private_ip: Ipv4Addr::new(10, 20, 1, 10),
    };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_holds_until_its_expiry_and_not_at_it() {
        let token = issue(&KEY, &WEB, at(100));
        let verify = |now| verify(&KEY, &WEB, token.as_bytes(), now);
        assert_eq!(verify(at(0)), Ok(()));
        assert_eq!(verify(at(100) - Duration::from_millis(1)), Ok(()));
        assert_eq!(verify(at(100)), Err(Refused::Expired));
        assert_eq!(verify(at(101)), Err(Refused::Expired));
    }

    #[test]
    fn a_token_is_of_one_instance_address_vpc_and_key() {
        let token = issue(&KEY, &WEB, at(100));
        let refused = |key: &Key, holder: Holder<'_>| {
            assert_eq!(
                verify(key, &holder, token.as_bytes(), at(0)),
                Err(Refused::Invalid)
            );
        };
        refused(&Key::new([8; Key::BYTES]), WEB);
        refused(&KEY, Holder { vpc: "dev", ..WEB });
        let id = "i-0123456789abcdef1";
        refused(&KEY, Holder { id, ..WEB });
        let private_ip = Ipv4Addr::new(10, 20, 1, 11);
        refused(&KEY, Holder { private_ip, ..WEB });
        // The same letters, parted elsewhere.
        refused(
            &KEY,
            Holder {
                vpc: "maini",
                id: "-0123456789abcdef0",
                ..WEB
            },
        );
    }

    /// RFC 4231 4.2 says what HMAC-SHA-256 comes to: the key has to go in as a whole.
    #[test]
    fn a_code_is_an_hmac_of_the_whole_key() {
        let code = |bytes: [u8; Key::BYTES]| issue(&Key::new(bytes), &WEB, at(1));
        let mut last = [7; Key::BYTES];
        last[Key::BYTES - 1] = 8;
        assert_ne!(code([7; Key::BYTES]), code(last));
        // Computed by Python's hmac.
        assert_eq!(
            code([7; Key::BYTES]),
            "00000000000003e8b5cff03b9b1fc3f0d03ed516afd23bb18142651b0d854f38004b38b5519567d5"
        );
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9.-]{1,12}"
    }

    proptest! {
        #[test]
        fn whatever_is_issued_is_accepted_by_its_holder_only(
            key in any::<[u8; 32]>(), vpc in name(), id in name(), other in name(),
            ip in any::<u32>(), other_ip in any::<u32>(), expiry in 1u64..1 << 50, now in 0u64..1 << 50,
        ) {
            let key = Key::new(key);
            let holder = Holder { vpc: &vpc, id: &id, private_ip: ip.into() };
            let token = issue(&key, &holder, Duration::from_millis(expiry));
            let expected = if now < expiry { Ok(()) } else { Err(Refused::Expired) };
            let now = Duration::from_millis(now);
            prop_assert_eq!(verify(&key, &holder, token.as_bytes(), now), expected);
            for stranger in [
                Holder { vpc: &other, ..holder },
                Holder { id: &other, ..holder },
                Holder { private_ip: other_ip.into(), ..holder },
            ] {
                if stranger != holder {
                    let refused = verify(&key, &stranger, token.as_bytes(), Duration::ZERO);
                    prop_assert_eq!(refused, Err(Refused::Invalid));
                }
            }
        }

        #[test]
        fn a_token_that_was_altered_is_invalid(at in 0usize..80, to in any::<u8>(), expiry in any::<u64>()) {
            let token = issue(&KEY, &WEB, Duration::from_millis(expiry));
            let mut bytes = token.clone().into_bytes();
            bytes[at] = to;
            if bytes != token.as_bytes() {
                prop_assert_eq!(verify(&KEY, &WEB, &bytes, Duration::ZERO), Err(Refused::Invalid));
            }
        }

        #[test]
        fn what_is_no_token_is_invalid(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(verify(&KEY, &WEB, &bytes, Duration::ZERO), Err(Refused::Invalid));
        }
    }
}
