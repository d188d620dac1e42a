//! `--max-body`: the largest body that a source takes.

use producer::BODY_LIMITS;

const UNITS: [(&str, u64); 5] = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a size: bytes, or so many KiB or MiB, in whole numbers. KB and MB are read by nobody in the same way.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()));
    let bytes = unit.and_then(|(_, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes));
    let bytes = bytes.ok_or("it is no size: write 512KiB, 3MiB (units of 1024), or a number of bytes")?;
    u32::try_from(bytes).ok().filter(|bytes| BODY_LIMITS.contains(bytes)).ok_or_else(|| out_of_bounds(bytes))
}

fn out_of_bounds(bytes: u64) -> String {
    let (least, most) = (BODY_LIMITS.start(), BODY_LIMITS.end());
    format!(
        "a body may have {least} bytes (1KiB) to {most} ({}MiB), not {bytes}: a producer holds {} on their way to Redis, and \
         one body may take half of that",
        most >> 20,
        most * 2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_bytes_or_of_units_of_1024() {
        let sizes = [
            ("1024", 1024),
            ("1025B", 1025),
            ("1KiB", 1024),
            ("512KiB", 524_288),
            ("512 kib", 524_288),
            (" 3MiB ", 3_145_728),
            ("32MiB", 33_554_432),
        ];

        for (text, bytes) in sizes {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_how_to_write_one() {
        for text in
            ["", "MiB", "1.5MiB", "-1", "+1024", "1e6", "512KB", "3MB", "3M", "1 024", "1_024", "3MiB3", "１MiB"]
        {
            assert!(parse(text).unwrap_err().starts_with("it is no size: write 512KiB, 3MiB"), "{text}");
        }
        assert!(parse("18446744073709551615KiB").is_err(), "more than there are numbers for");
    }

    #[test]
    fn what_no_door_could_take_is_refused_with_the_numbers() {
        for (text, bytes) in [("0", "0"), ("1023", "1023"), ("33554433", "33554433"), ("1GiB", "1073741824")] {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.contains("1024 bytes (1KiB) to 33554432 (32MiB)"), "{refusal}");
            assert!(refusal.contains(&format!("not {bytes}: a producer holds 67108864 on")), "{refusal}");
        }
    }
}
