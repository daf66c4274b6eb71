//! Natural order of file names: runs of digits compare as numbers, so `9.x` comes before `10.x`.
//!
//! Input: two names as the system stores them (any bytes). Output: a total order.

use std::cmp::Ordering;
use std::ffi::OsStr;

/// Compares two file names. Names that differ only in leading zeros are ordered by their bytes.
pub fn compare(a: &OsStr, b: &OsStr) -> Ordering {
    let (a, b) = (a.as_encoded_bytes(), b.as_encoded_bytes());
    compare_numeric(a, b).then_with(|| a.cmp(b))
}

fn compare_numeric(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(&x), Some(&y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            // No parsing into an integer: a name may hold more digits than any integer type.
            let (m, n) = (take_number(&mut a), take_number(&mut b));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Cuts the leading run of digits off `name` and returns it without leading zeros.
fn take_number<'a>(name: &mut &'a [u8]) -> &'a [u8] {
    let end = name
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(name.len());
    let (digits, rest) = name.split_at(end);
    *name = rest;
    let zeros = digits.iter().take_while(|&&b| b == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&'static str]) -> Vec<&'static str> {
        let mut names = names.to_vec();
        names.sort_by(|a, b| compare(OsStr::new(a), OsStr::new(b)));
        names
    }

    #[test]
    fn digits_compare_as_numbers() {
        assert_eq!(
            sorted(&["10.b", "9.a", "100.c", "a2", "a10", "a"]),
            ["9.a", "10.b", "100.c", "a", "a2", "a10"]
        );
    }

    #[test]
    fn leading_zeros_do_not_change_the_number_and_ties_are_total() {
        assert_eq!(
            sorted(&["1", "01", "2", "001", "010"]),
            ["001", "01", "1", "2", "010"]
        );
    }

    #[test]
    fn numbers_longer_than_any_integer_type() {
        let (small, large) = (
            "99999999999999999999999999999999999999999",
            "100000000000000000000000000000000000000000",
        );
        assert_eq!(sorted(&[large, small]), [small, large]);
    }
}
