//! One tensor as a record of a Debugger event file.
//!
//! Input: a name, a mode, a step and a [`HostTensor`]. Output: a framed `Event` message, byte for byte as Amazon's own writer
//! makes it; and back.

use protobuf::CodedInputStream;

use super::tensor::{HostTensor, ModeKey};
use crate::sinks::proto::Message;
use crate::sinks::tfrecord::masked_crc32c;

/// Amazon's writer puts the checksum of this text where TensorBoard's puts that of the payload.
const FOOTER_OF: &[u8] = b"0x12345678";
/// Length, its checksum, and the footer.
const FRAME_BYTES: usize = 8 + 4 + 4;

/// Where in the two counts of steps a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub mode: ModeKey,
    pub mode_step: usize,
    pub global_step: usize,
}

/// The record of a tensor; `wall_time` in seconds since 1970.
pub fn encode(name: &str, tensor: &HostTensor, position: Position, wall_time: f64) -> Vec<u8> {
    let mut shape = Message::new();
    for size in &tensor.shape {
        let dim = Message::new()
            .varint(1, *size as u64)
            .string(2, &format!("{name}_{size}"));
        shape = shape.message(2, &dim);
    }
    let proto = Message::new()
        .varint(1, tensor.dtype_code())
        .message(2, &shape)
        .bytes(4, &tensor.to_bytes());
    let plugin = |key: &str, value: String| Message::new().string(1, key).string(2, &value);
    let metadata = Message::new()
        .message(1, &plugin("mode_step", position.mode_step.to_string()))
        .message(1, &plugin("mode", position.mode.code().to_string()));
    let value = Message::new()
        .string(1, name)
        .message(8, &proto)
        .message(9, &metadata);
    let mut event = Message::new().double(1, wall_time);
    if position.global_step > 0 {
        event = event.varint(2, position.global_step as u64);
    }
    frame(
        event
            .message(5, &Message::new().message(1, &value))
            .as_bytes(),
    )
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + FRAME_BYTES);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    record.extend_from_slice(payload);
    record.extend_from_slice(&masked_crc32c(FOOTER_OF).to_le_bytes());
    record
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub name: String,
    pub tensor: HostTensor,
    /// Seconds since 1970.
    pub wall_time: f64,
}

/// The tensor in a record.
///
/// # Errors
/// What is wrong with the record, in words.
pub fn decode(record: &[u8]) -> Result<Decoded, String> {
    decode_event(payload(record)?)
}

fn payload(record: &[u8]) -> Result<&[u8], String> {
    let (Some(length), Some(sum)) = (record.first_chunk::<8>(), record.get(8..12)) else {
        return Err("the record is cut off".into());
    };
    if masked_crc32c(length).to_le_bytes() != sum {
        return Err("the checksum of the record's length is wrong".into());
    }
    let end = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .and_then(|length| length.checked_add(12));
    end.and_then(|end| record.get(12..end))
        .ok_or_else(|| "the record is shorter than it says".into())
}

fn decode_event(event: &[u8]) -> Result<Decoded, String> {
    let malformed = |error: protobuf::Error| format!("not an event: {error}");
    let (mut wall_time, mut summary) = (0.0, Vec::new());
    fields(event, |field, input| {
        match field {
            1 => wall_time = input.read_double()?,
            5 => summary = input.read_bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(malformed)?;
    let value = inner(&summary, 1).map_err(malformed)?;
    let (mut name, mut proto) = (String::new(), Vec::new());
    fields(&value, |field, input| {
        match field {
            1 => name = input.read_string()?,
            8 => proto = input.read_bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(malformed)?;
    let (mut code, mut shape, mut content) = (0, Vec::new(), Vec::new());
    fields(&proto, |field, input| {
        match field {
            1 => code = input.read_uint64()?,
            2 => shape = sides(&input.read_bytes()?)?,
            4 => content = input.read_bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(malformed)?;
    let tensor = HostTensor::of_bytes(code, shape, &content)
        .ok_or_else(|| format!("a tensor of type {code} whose values do not fill its shape"))?;
    Ok(Decoded {
        name,
        tensor,
        wall_time,
    })
}

/// The last message in the field of this number; empty where there is none.
fn inner(message: &[u8], number: u32) -> protobuf::Result<Vec<u8>> {
    let mut found = Vec::new();
    fields(message, |field, input| {
        if field == number {
            found = input.read_bytes()?;
        }
        Ok(field == number)
    })?;
    Ok(found)
}

/// The sizes of a `TensorShapeProto`.
fn sides(message: &[u8]) -> protobuf::Result<Vec<usize>> {
    let mut sides = Vec::new();
    fields(message, |field, input| {
        if field != 2 {
            return Ok(false);
        }
        let mut side = 0;
        fields(&input.read_bytes()?, |field, input| match field {
            1 => input.read_uint64().map(|size| {
                side = usize::try_from(size).unwrap_or(usize::MAX);
                true
            }),
            _ => Ok(false),
        })?;
        sides.push(side);
        Ok(true)
    })?;
    Ok(sides)
}

/// Shows `read` the number of each field; it says whether it took the value, which is skipped otherwise.
fn fields(
    message: &[u8],
    mut read: impl FnMut(u32, &mut CodedInputStream) -> protobuf::Result<bool>,
) -> protobuf::Result<()> {
    let mut input = CodedInputStream::from_bytes(message);
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        if !read(tag >> 3, &mut input)? {
            protobuf::rt::skip_field_for_tag(tag, &mut input)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What smdebug 1.0.34 writes for the tensor "a" = [1.0], step 1 of TRAIN, at the time 1.0.
    const GOLDEN: &str = "440000000000000043592e9a09000000000000f03f10012a370a350a016142130801120912070801\
        1203615f3122040000803f4a1b0a0e0a096d6f64655f737465701201310a090a046d6f6465120131b3c02d06";

    fn one() -> HostTensor {
        HostTensor::floats(vec![1.0], [1])
    }

    fn position(global_step: usize) -> Position {
        Position {
            mode: ModeKey::Train,
            mode_step: 1,
            global_step,
        }
    }

    #[test]
    fn the_record_is_that_of_amazons_writer() {
        let record = encode("a", &one(), position(1), 1.0);
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.replace(char::is_whitespace, ""));
        assert_eq!(record.len(), 84);
    }

    #[test]
    fn tensors_come_back() {
        for tensor in [
            one(),
            HostTensor::scalar(-3.5),
            HostTensor::integers(vec![5, -1]),
            HostTensor::floats((0..24).map(|x| x as f32).collect(), [2, 3, 4]),
        ] {
            let record = encode("gradient/x", &tensor, position(0), 12.5);
            let expected = Decoded {
                name: "gradient/x".into(),
                tensor,
                wall_time: 12.5,
            };
            assert_eq!(decode(&record), Ok(expected));
        }
    }

    #[test]
    fn broken_records_are_refused_in_words() {
        let record = encode("a", &one(), position(1), 1.0);
        for length in [0, 11, 40, 83 - 4] {
            assert!(decode(&record[..length]).is_err(), "{length}");
        }
        let mut other = record.clone();
        other[0] ^= 1;
        assert!(decode(&other).unwrap_err().contains("checksum"));
        let mut other = record;
        // The type of the tensor.
        let at = other.windows(2).position(|two| two == [8, 1]).unwrap();
        other[at + 1] = 14;
        assert!(decode(&other).unwrap_err().contains("type 14"));
    }
}
