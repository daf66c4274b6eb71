//! Just enough Protocol Buffers to write TensorBoard's messages.
//!
//! Input: field numbers and values. Output: the wire format, fields in the order in which they are added.

/// Wire types of the format.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// A message under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    encoded: Vec<u8>,
}

impl Message {
    /// A message without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The message in wire format.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Adds an integer, enum or bool. Negative numbers are passed as `value as u64` (`int64`, ten bytes).
    #[must_use]
    pub fn varint(mut self, field: u32, value: u64) -> Self {
        self.key(field, VARINT);
        self.push_varint(value);
        self
    }

    /// Adds a `double`.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, FIXED64);
        self.encoded.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds a `float`.
    #[must_use]
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, FIXED32);
        self.encoded.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds a `string`.
    #[must_use]
    pub fn string(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a `bytes` field.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, LENGTH_DELIMITED);
        self.push_varint(value.len() as u64);
        self.encoded.extend_from_slice(value);
        self
    }

    /// Adds a message.
    #[must_use]
    pub fn message(self, field: u32, value: &Message) -> Self {
        self.bytes(field, &value.encoded)
    }

    fn key(&mut self, field: u32, wire_type: u64) {
        self.push_varint(u64::from(field) << 3 | wire_type);
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.encoded.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.encoded.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Bytes as in the encoding chapter of the format's documentation: field 1 = 150, field 2 = "testing".
    #[test]
    fn integers_and_strings() {
        assert_eq!(Message::new().varint(1, 150).as_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(
            Message::new().string(2, "testing").as_bytes(),
            b"\x12\x07testing"
        );
    }

    #[test]
    fn nested_messages() {
        let inner = Message::new().varint(1, 150);
        assert_eq!(
            Message::new().message(3, &inner).as_bytes(),
            [0x1a, 0x03, 0x08, 0x96, 0x01]
        );
    }

    #[test]
    fn fixed_width_numbers() {
        assert_eq!(
            Message::new().double(1, 1.0).as_bytes(),
            [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]
        );
        assert_eq!(
            Message::new().float(2, 1.0).as_bytes(),
            [0x15, 0, 0, 0x80, 0x3f]
        );
    }

    #[test]
    fn wide_field_numbers_and_negative_integers() {
        assert_eq!(Message::new().varint(16, 0).as_bytes(), [0x80, 0x01, 0x00]);
        let minus_one = Message::new().varint(1, -1_i64 as u64);
        assert_eq!(
            minus_one.as_bytes(),
            [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]
        );
    }
}
