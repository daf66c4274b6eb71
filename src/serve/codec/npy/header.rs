//! The header of an NPY array: how its numbers are stored.
//!
//! Input: the first bytes of the array, format version 1, 2 or 3. Output: [`Header`]. The header is the text of a Python
//! dictionary; it is parsed strictly, with its keys in any order.

use std::io::Read;

use super::super::error::shorten;

/// What every NPY array begins with.
pub(in crate::serve::codec) const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself reads no longer headers of strangers.
const LONGEST: usize = 10_000;
const NUMBERS: &str = "u1, i1, u2, i2, u4, i4, u8, i8, f2, f4, f8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Signed,
    Unsigned,
}

/// The type of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dtype {
    pub kind: Kind,
    /// Bytes of a number: 1, 2, 4 or 8.
    pub size: usize,
    pub big_endian: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub dtype: Dtype,
    /// Whether the first index runs fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes before the numbers.
    pub length: usize,
}

/// Reads a header and nothing behind it.
pub(super) fn read(source: &mut impl Read) -> Result<Header, String> {
    let mut start = [0; 8];
    source.read_exact(&mut start).map_err(truncated)?;
    if !start.starts_with(MAGIC) {
        return Err("the body does not begin with the magic of an NPY array".into());
    }
    let (text_length, start_length) = match start[6] {
        1 => (u16::from_le_bytes(bytes(source)?) as usize, 10),
        2 | 3 => (u32::from_le_bytes(bytes(source)?) as usize, 12),
        version => {
            return Err(format!(
                "format version {version}.{}; versions 1 to 3 are read",
                start[7]
            ));
        }
    };
    if text_length > LONGEST {
        return Err(format!(
            "a header of {text_length} bytes; at most {LONGEST} are read"
        ));
    }
    let mut text = vec![0; text_length];
    source.read_exact(&mut text).map_err(truncated)?;
    let (dtype, fortran, shape) = Parser(&text).header()?;
    Ok(Header {
        dtype,
        fortran,
        shape,
        length: start_length + text_length,
    })
}

fn bytes<const N: usize>(source: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(truncated)?;
    Ok(bytes)
}

fn truncated(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the array ends within its header".into(),
        _ => error.to_string(),
    }
}

impl Dtype {
    /// Of a text such as `<f4`.
    fn parse(descr: &str) -> Result<Self, String> {
        let refused = |what: &str| {
            Err(format!(
                "{what} (dtype `{}`); accepted are numbers: {NUMBERS}",
                shorten(descr)
            ))
        };
        let mut characters = descr.chars();
        let (order, kind) = (characters.next(), characters.next());
        let kind = match kind {
            Some('f') => Kind::Float,
            Some('i') => Kind::Signed,
            Some('u') => Kind::Unsigned,
            Some('O') => return refused("an array of Python objects"),
            Some('U') => return refused("an array of unicode texts"),
            Some('S' | 'a') => return refused("an array of texts"),
            Some('V') => return refused("a structured array"),
            Some('b') => return refused("an array of booleans"),
            Some('c') => return refused("an array of complex numbers"),
            Some('M' | 'm') => return refused("an array of times"),
            _ => return refused("an unknown type"),
        };
        let size = match (kind, characters.as_str()) {
            (Kind::Signed | Kind::Unsigned, "1") => 1,
            (_, "2") => 2,
            (_, "4") => 4,
            (_, "8") => 8,
            _ => return refused("numbers of an unusual size"),
        };
        let big_endian = match order {
            Some('<') => false,
            Some('>') => true,
            Some('|') if size == 1 => false,
            _ => return refused("an unknown byte order"),
        };
        Ok(Dtype {
            kind,
            size,
            big_endian,
        })
    }
}

/// What is left of the text of a header.
struct Parser<'t>(&'t [u8]);

impl<'t> Parser<'t> {
    fn header(mut self) -> Result<(Dtype, bool, Vec<usize>), String> {
        let (mut dtype, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let key = self.text()?;
            self.expect(b':')?;
            let is_new = match key {
                "descr" => dtype.replace(self.dtype()?).is_none(),
                "fortran_order" => fortran.replace(self.boolean()?).is_none(),
                "shape" => shape.replace(self.shape()?).is_none(),
                other => return Err(format!("the header has the key `{}`", shorten(other))),
            };
            if !is_new {
                return Err(format!("the header has the key `{key}` twice"));
            }
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_space();
        if !self.0.is_empty() {
            return Err("the header goes on behind its dictionary".into());
        }
        match (dtype, fortran, shape) {
            (Some(dtype), Some(fortran), Some(shape)) => Ok((dtype, fortran, shape)),
            _ => Err("the header lacks one of `descr`, `fortran_order`, `shape`".into()),
        }
    }

    fn dtype(&mut self) -> Result<Dtype, String> {
        self.skip_space();
        if matches!(self.0.first(), Some(b'[' | b'(')) {
            return Err(format!(
                "a structured array; accepted are numbers: {NUMBERS}"
            ));
        }
        Dtype::parse(self.text()?)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err("`fortran_order` is neither True nor False".into())
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        /// More than NumPy has.
        const MOST: usize = 64;
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            if shape.len() == MOST {
                return Err(format!("an array of more than {MOST} dimensions"));
            }
            shape.push(self.number()?);
            if !self.take(b',') {
                self.expect(b')')?;
                if shape.len() == 1 {
                    return Err("`shape` is a number, not a tuple".into());
                }
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, String> {
        self.skip_space();
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let (digits, rest) = self.0.split_at(digits.count());
        self.0 = rest;
        // Python 2 wrote an L behind long numbers.
        self.0 = self.0.strip_prefix(b"L").unwrap_or(self.0);
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        digits
            .parse()
            .map_err(|_| format!("`shape` holds `{}`, which is no size", shorten(digits)))
    }

    fn text(&mut self) -> Result<&'t str, String> {
        self.skip_space();
        let not_a_text = || Err("the header is not a dictionary of the three usual keys".into());
        let Some((&quote @ (b'\'' | b'"'), rest)) = self.0.split_first() else {
            return not_a_text();
        };
        let Some(end) = rest.iter().position(|&byte| byte == quote) else {
            return not_a_text();
        };
        self.0 = &rest[end + 1..];
        // An escape would end up in no known key and no known type.
        std::str::from_utf8(&rest[..end]).or_else(|_| not_a_text())
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(format!(
                "the header is not a dictionary of the three usual keys: `{}` is missing",
                char::from(byte)
            )),
        }
    }

    /// Whether `byte` came next; it is gone then.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}
