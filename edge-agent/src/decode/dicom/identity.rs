//! Which image it is and when it was made.

use dicom_dictionary_std::tags;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use super::attributes::Attributes;

/// Acquisition DateTime (0008,002A), else Acquisition Date (0008,0022) and Time (0008,0032). Without an offset
/// of its own or in Timezone Offset From UTC (0008,0201) it is taken in the device's time zone: the unit stands
/// beside it.
pub(super) fn acquired_at(attributes: &Attributes<'_>) -> Option<Timestamp> {
    let fallback = attributes.text(tags::TIMEZONE_OFFSET_FROM_UTC).and_then(|text| offset(&text));
    if let Some(text) = attributes.text(tags::ACQUISITION_DATE_TIME) {
        let split = text.find(['+', '-']).unwrap_or(text.len());
        let own = offset(&text[split..]);
        return timestamp(text.get(..8)?, text.get(8..split)?, own.or(fallback));
    }
    let date = attributes.text(tags::ACQUISITION_DATE)?;
    let time = attributes.text(tags::ACQUISITION_TIME)?;
    timestamp(&date, &time, fallback)
}

/// `date` is YYYYMMDD, `time` is HH[MM[SS[.F…]]] (PS3.5 section 6.2, DA and TM).
fn timestamp(date: &str, time: &str, offset: Option<Offset>) -> Option<Timestamp> {
    if date.len() != 8 {
        return None;
    }
    let date = Date::new(number(date, 0..4)?, number(date, 4..6)?, number(date, 6..8)?).ok()?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    if !matches!(whole.len(), 2 | 4 | 6) || fraction.len() > 6 {
        return None;
    }
    let part = |at: usize| if whole.len() > at { number(whole, at..at + 2) } else { Some(0) };
    // A leap second is written as 60.
    let second = part(4)?.min(59);
    let nanoseconds = if fraction.is_empty() { 0 } else { number::<i32>(&format!("{fraction:0<9}"), 0..9)? };
    let time = Time::new(part(0)?, part(2)?, second, nanoseconds).ok()?;
    let zone = offset.map_or_else(TimeZone::system, TimeZone::fixed);
    zone.to_timestamp(DateTime::from_parts(date, time)).ok()
}

/// &ZZXX: sign, hours, minutes.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (number(digits, 0..2)?, number(digits, 2..4)?);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn number<T: std::str::FromStr>(text: &str, range: std::ops::Range<usize>) -> Option<T> {
    let digits = text.get(range)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(date: &str, time: &str, zone: &str) -> Option<String> {
        timestamp(date, time, offset(zone)).map(|t| t.to_string())
    }

    #[test]
    fn times_of_every_precision_parse() {
        assert_eq!(at("20261123", "140507.25", "+0100").unwrap(), "2026-11-23T13:05:07.25Z");
        assert_eq!(at("20261123", "1405", "-0330").unwrap(), "2026-11-23T17:35:00Z");
        assert_eq!(at("20261123", "14", "+0000").unwrap(), "2026-11-23T14:00:00Z");
        assert_eq!(at("20161231", "235960", "+0000").unwrap(), "2016-12-31T23:59:59Z");
    }

    #[test]
    fn nonsense_is_no_time() {
        for (date, time) in [
            ("20261323", "14"),
            ("2026.11.23", "14"),
            ("20261123", "2"),
            ("20261123", "25"),
            ("20261123", "1405é"),
            ("20261123", "14:05"),
            ("é0261123", "14"),
        ] {
            assert_eq!(at(date, time, "+0000"), None, "{date} {time}");
        }
        for zone in ["", "0100", "+1", "+99999", "x0100"] {
            assert!(offset(zone).is_none(), "{zone}");
        }
    }
}
