//! Bodies that were valid before something happened to them.

use std::collections::HashMap;

use super::{Array, LIMITS, golden, png, unhex};
use crate::serve::codec::{Picture, Request, RequestError, decode};

/// Numbers as random as a test needs them, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }
}

/// Changes a few places of a body.
fn mutate(body: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    const TOKENS: [&[u8]; 16] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"[[",
        b"]",
        b"{\"",
        b"\"b64\":",
        b"\"url\":\"",
        b"1e38",
        b"-0",
        b"NaN",
        b"99999999999999999999",
        b"'descr': '|O'",
        b"(3, 1)",
        b"True",
        b",",
        b"\r\n",
    ];
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(body.len());
        let end = (at + dice.below(16)).min(body.len());
        match dice.below(7) {
            0 if !body.is_empty() => body[at] ^= 1 << dice.below(8),
            1 if !body.is_empty() => body[at] = dice.below(256) as u8,
            2 => drop(body.drain(at..end)),
            3 => {
                let copy = body[at..end].to_vec();
                let to = dice.below(body.len());
                body.splice(to..to, copy);
            }
            4 => drop(body.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
            5 => {
                let from = dice.below(other.len());
                body.splice(at.., other[from..].iter().copied());
            }
            _ => body.truncate(at),
        }
    }
}

/// Valid bodies of each content type.
fn valid_bodies() -> HashMap<&'static str, Vec<Vec<u8>>> {
    let golden = golden();
    let files = |arrays: &[Array]| arrays.iter().map(|array| unhex(&array.file)).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let tensor = "[[[0.5,1],[2,3]],[[0,1],[2,3]],[[0,1],[2,3]]]";
    let gif = "R0lGODlhAQABAIAAAAAAAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";
    let object = format!("{{\"image_b64\": \"{gif}\"}}");
    let instances = format!("{{\"instances\": [\"{gif}\", {object}, [[1, 2], [3, 4]], {tensor}]}}");
    let lines = format!("{object}\n{tensor}\n[[[1,2,3]]]\n");
    let csv = "0.5,1,2,3,4,5,6,7,8,9,10,-1e3\n0,1,2,3,4,5,6,7,8,9,10,255\r\n";
    HashMap::from([
        ("application/x-npy", files(&golden.npy)),
        ("application/x-npz", files(&golden.npz)),
        (
            "application/octet-stream",
            vec![
                png(),
                unhex(&golden.npy[0].file),
                unhex(&golden.npz[0].file),
            ],
        ),
        (
            "application/json",
            texts(&[tensor, &instances, &object, "[[[[1,2,3]]],[[[4,5,6]]]]"]),
        ),
        ("application/jsonlines", texts(&[&lines])),
        ("text/csv", texts(&[csv])),
    ])
}

fn check(result: Result<Request, RequestError>) -> bool {
    match &result {
        Ok(request) => {
            assert!((1..=LIMITS.max_pictures).contains(&request.pictures.len()));
            for picture in &request.pictures {
                match picture {
                    Picture::Encoded(bytes) => assert!(!bytes.is_empty()),
                    Picture::Pixels(image) => {
                        let (width, height) = image.dimensions();
                        assert!(
                            (1..=LIMITS.max_pixels)
                                .contains(&(u64::from(width) * u64::from(height)))
                        );
                    }
                    Picture::Tensor(values) => {
                        assert!(values.len() == 12 && values.iter().all(|value| value.is_finite()));
                    }
                }
            }
        }
        Err(error) => {
            assert!(matches!(error.status(), 400 | 413 | 415));
            assert!(error.to_string().len() < 1500, "{error}");
        }
    }
    result.is_ok()
}

#[test]
fn mutated_bodies_are_read_or_refused() {
    let rounds = if cfg!(debug_assertions) {
        3_000
    } else {
        100_000
    };
    for (content_type, bodies) in valid_bodies() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for body in &bodies {
            assert!(
                check(decode(Some(content_type), body, &LIMITS)),
                "{content_type}"
            );
        }
        let mut read = 0;
        for _ in 0..rounds {
            let mut body = bodies[dice.below(bodies.len())].clone();
            let other = &bodies[dice.below(bodies.len())];
            mutate(&mut body, other, &mut dice);
            read += usize::from(check(decode(Some(content_type), &body, &LIMITS)));
        }
        println!("{content_type}: {read} of {rounds} are still requests");
        // Mutations have to reach what is behind the first check.
        assert!(read > rounds / 100, "{content_type}: {read} of {rounds}");
    }
}
