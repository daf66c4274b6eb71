//! The TFRecord framing of TensorBoard's event files.
//!
//! Input: a payload. Output: `u64 length | u32 masked crc of length | payload | u32 masked crc of payload`, little-endian.

/// The checksum of a record: CRC-32C, rotated and offset so that a checksum of checksums stays useful.
#[must_use]
pub fn masked_crc32c(data: &[u8]) -> u32 {
    const DELTA: u32 = 0xa282_ead8;
    crc32c::crc32c(data).rotate_right(15).wrapping_add(DELTA)
}

/// One record holding `payload`.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    record.extend_from_slice(payload);
    record.extend_from_slice(&masked_crc32c(payload).to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_sixty_eight_bytes_opens_as_elsewhere() {
        // The header of an 0x44-byte record as another writer of this framing wrote it.
        let record = frame(&[0; 0x44]);
        assert_eq!(
            record[..12],
            [0x44, 0, 0, 0, 0, 0, 0, 0, 0x43, 0x59, 0x2e, 0x9a]
        );
        assert_eq!(record.len(), 0x44 + 16);
    }

    #[test]
    fn the_payload_checksum_covers_the_payload() {
        // crc32c("123456789") = 0xe3069283 is the check value of the polynomial.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let expected = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(frame(b"123456789")[21..], expected.to_le_bytes());
    }
}
