//! A look at the raw bytes before they are parsed.
//!
//! Input: the bytes of a file. Output: nothing, or the reason to refuse it. A parsed message takes up
//! to a hundred times the memory of its bytes, so what isn't weights must be small, and the parts
//! that a ResNet never has (subgraphs, functions, training graphs) are refused here.

use super::error::OnnxErrorKind;

/// Bytes that are not weights: names, attributes, shapes.
const MAX_STRUCTURE_BYTES: u64 = 4 << 20;
/// Messages, names and values down to the entries of a tensor.
const MAX_FIELDS: u64 = 100_000;

/// The messages that are looked into, and what they are called in an error.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

/// Checks that the bytes are whole and that parsing them takes little memory besides the weights.
///
/// # Errors
/// `Truncated`, `Parse`, `TooLarge` or `Unsupported`.
pub(super) fn check(bytes: &[u8]) -> Result<(), OnnxErrorKind> {
    let mut scan = Scan {
        structure_bytes: bytes.len() as u64,
        fields: 0,
    };
    scan.message(bytes, Message::Model)?;
    match scan.structure_bytes {
        found if found > MAX_STRUCTURE_BYTES => Err(OnnxErrorKind::TooLarge {
            what: "the number of bytes that are not weights",
            found,
            limit: MAX_STRUCTURE_BYTES,
        }),
        _ => Ok(()),
    }
}

struct Scan {
    structure_bytes: u64,
    fields: u64,
}

impl Scan {
    /// Walks over the fields of one message; the depth is bounded by the kinds of message.
    fn message(&mut self, bytes: &[u8], message: Message) -> Result<(), OnnxErrorKind> {
        let mut reader = Reader { bytes, message };
        while !reader.bytes.is_empty() {
            let (field, payload) = reader.field()?;
            // Numbers stored one by one are weights in an unusual encoding; they don't grow.
            let Some(payload) = payload else { continue };
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(OnnxErrorKind::TooLarge {
                    what: "the number of nodes and weights",
                    found: self.fields,
                    limit: MAX_FIELDS,
                });
            }
            self.payload(field, payload, message)?;
        }
        Ok(())
    }

    fn payload(
        &mut self,
        field: u64,
        payload: &[u8],
        message: Message,
    ) -> Result<(), OnnxErrorKind> {
        match (message, field) {
            (Message::Model, 7) => self.message(payload, Message::Graph),
            (Message::Graph, 1) => self.message(payload, Message::Node),
            (Message::Graph, 5) => self.message(payload, Message::Tensor),
            (Message::Node, 5) => self.message(payload, Message::Attribute),
            (Message::Attribute, 5) => self.message(payload, Message::Tensor),
            // float, int32 (half precision), raw and double data.
            (Message::Tensor, 4 | 5 | 9 | 10) => {
                self.structure_bytes -= payload.len() as u64;
                Ok(())
            }
            (Message::Model, 20) => Err(refused("a training graph")),
            (Message::Model, 25) => Err(refused("a function of its own")),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Err(refused("sparse weights")),
            (Message::Attribute, 6 | 11) => Err(refused("a subgraph")),
            (Message::Attribute, 10) => Err(refused("a list of tensors")),
            _ => Ok(()),
        }
    }
}

fn refused(what: &str) -> OnnxErrorKind {
    OnnxErrorKind::NotAResNet(format!("the graph has {what}"))
}

/// Reads fields of the protobuf wire format.
struct Reader<'a> {
    bytes: &'a [u8],
    message: Message,
}

impl<'a> Reader<'a> {
    /// The number of the next field, and its bytes where it is not a number.
    fn field(&mut self) -> Result<(u64, Option<&'a [u8]>), OnnxErrorKind> {
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            kind => {
                let place = self.name();
                return Err(OnnxErrorKind::Parse(format!("wire type {kind} in {place}")));
            }
        };
        Ok((tag >> 3, payload))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], OnnxErrorKind> {
        let split = usize::try_from(length).ok();
        let (head, tail) = split
            .and_then(|n| self.bytes.split_at_checked(n))
            .ok_or(OnnxErrorKind::Truncated(self.name()))?;
        self.bytes = tail;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, OnnxErrorKind> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, tail) = self
                .bytes
                .split_first()
                .ok_or(OnnxErrorKind::Truncated(self.name()))?;
            self.bytes = tail;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        let place = self.name();
        Err(OnnxErrorKind::Parse(format!("endless number in {place}")))
    }

    fn name(&self) -> &'static str {
        match self.message {
            Message::Model => "the model",
            Message::Graph => "the graph",
            Message::Node => "a node",
            Message::Attribute => "an attribute",
            Message::Tensor => "a tensor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = payload.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn refuses_a_million_empty_nodes() {
        let nodes = [0x0a, 0].repeat(1_000_000);
        let error = check(&field(7, &nodes)).unwrap_err();
        assert!(matches!(error, OnnxErrorKind::TooLarge { .. }), "{error}");
    }

    #[test]
    fn refuses_much_that_is_not_weights_but_not_many_weights() {
        let megabytes = vec![0; 5 << 20];
        let name = field(7, &field(2, &megabytes));
        let error = check(&name).unwrap_err();
        assert!(matches!(error, OnnxErrorKind::TooLarge { .. }), "{error}");
        check(&field(7, &field(5, &field(9, &megabytes)))).unwrap();
    }

    #[test]
    fn refuses_subgraphs_and_training_graphs() {
        let subgraph = field(7, &field(1, &field(5, &field(6, &[]))));
        let training = [0xa2, 0x01, 0];
        for bytes in [&subgraph[..], &training] {
            let error = check(bytes).unwrap_err();
            assert!(matches!(error, OnnxErrorKind::NotAResNet(_)), "{error}");
        }
    }

    #[test]
    fn names_the_place_where_a_file_is_cut_off() {
        let mut bytes = field(7, &field(1, b"\x0a\x03abc"));
        bytes.pop();
        let error = check(&bytes).unwrap_err();
        assert!(
            matches!(error, OnnxErrorKind::Truncated("the model")),
            "{error}"
        );
        let error = check(b"<html>").unwrap_err();
        assert!(matches!(error, OnnxErrorKind::Parse(_)), "{error}");
    }
}
