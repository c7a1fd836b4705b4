//! Bytes as hexadecimal digits.

/// Two lower-case digits for each byte.
pub fn digits(bytes: impl IntoIterator<Item = u8>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xf)]);
    let bytes = bytes.into_iter();
    bytes
        .flat_map(|byte| [digit(byte >> 4), digit(byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(digits([0x00, 0x0f, 0xf0, 0xa9]), "000ff0a9");
    }
}
