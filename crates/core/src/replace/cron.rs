//! Schedules as cron writes them: which days, and at which minutes of a day.
//!
//! Five fields as crontab(5) and Kubernetes' CronJobs have them, and of the common extensions those that change windows
//! need: `L` (last day of the month), `FRI#2` (second Friday), `FRIL` (last Friday). A schedule knows no time zone.

use jiff::civil::{Date, Weekday};
use serde_json::Value;

use crate::schema::validations;

/// What to write instead of a schedule that is none.
const FIELDS_MESSAGE: &str =
    "write five fields: minute, hour, day of month, month, day of week, such as 0 22 * * MON-FRI";
/// What to write instead of a range that goes down.
const ASCENDING_MESSAGE: &str = "write ranges upwards; one that goes over the end is two, such as FRI-SAT,SUN";

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Which days, and at which minutes of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Minutes after midnight, 0 to 1439, ascending, never empty.
    pub(super) minutes: Vec<u16>,
    /// Bits 1 to 12.
    months: u64,
    days_of_month: DaysOfMonth,
    days_of_week: DaysOfWeek,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DaysOfMonth {
    /// Bits 1 to 31.
    days: u64,
    last: bool,
    starts_with_asterisk: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DaysOfWeek {
    /// Bits 0 (Sunday) to 6.
    days: u64,
    /// The same, of the last such day of the month.
    last: u64,
    /// The same, of the first to the fifth such day of the month.
    nth: [u64; 5],
    starts_with_asterisk: bool,
}

/// One field of a schedule.
struct Field {
    least: u8,
    most: u8,
    names: &'static [&'static str],
    /// The value of the first name.
    first_name: u8,
}

const MINUTE: Field = Field { least: 0, most: 59, names: &[], first_name: 0 };
const HOUR: Field = Field { least: 0, most: 23, names: &[], first_name: 0 };
const DAY_OF_MONTH: Field = Field { least: 1, most: 31, names: &[], first_name: 0 };
const MONTH: Field = Field { least: 1, most: 12, names: &MONTHS, first_name: 1 };
/// 0 and 7 are Sunday.
const DAY_OF_WEEK: Field = Field { least: 0, most: 7, names: &WEEKDAYS, first_name: 0 };

impl Field {
    fn value(&self, text: &str) -> Option<u8> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u8::try_from(index).ok().map(|index| index + self.first_name);
        }
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| is_number && (self.least..=self.most).contains(value))
    }

    /// The bits of `*`, `1`, `1-5`, and each with a step, `*/2`, `1-5/2`, `1/2` (which goes on to the end).
    fn item(&self, text: &str) -> Result<u64, &'static str> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (first, last) = if range == "*" {
            // Seven is Sunday once more.
            (self.least, if self.most == 7 { 6 } else { self.most })
        } else if let Some((first, last)) = range.split_once('-') {
            let number = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
            let (Some(from), Some(to)) = (self.value(first), self.value(last)) else { return Err(FIELDS_MESSAGE) };
            if number(first) != number(last) {
                return Err(FIELDS_MESSAGE);
            }
            (from, to)
        } else {
            let value = self.value(range).ok_or(FIELDS_MESSAGE)?;
            (value, if step.is_some() { self.most } else { value })
        };
        if first > last {
            return Err(ASCENDING_MESSAGE);
        }
        let step = match step {
            Some(step)
                if !step.starts_with('0') && step.len() <= 2 && step.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                step.parse().map_err(|_| FIELDS_MESSAGE)?
            }
            Some(_) => return Err(FIELDS_MESSAGE),
            None => 1,
        };
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn bits(&self, text: &str) -> Result<u64, &'static str> {
        text.split(',').try_fold(0, |bits, item| Ok(bits | self.item(item)?))
    }

    /// A regular expression of one field, for the API server; `also` is one more kind of item.
    fn pattern(&self, numbers: &str, also: &str) -> String {
        let names = match self.names {
            [] => String::new(),
            names => format!("|({0})(-({0}))?", names.join("|")),
        };
        let also = if also.is_empty() { String::new() } else { format!("|{also}") };
        let item = format!(r"((\*|{numbers}(-{numbers})?{names})(/[1-9][0-9]?)?{also})");
        format!("{item}(,{item})*")
    }
}

impl Schedule {
    /// Reads five fields, parted by blanks.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else { return Err(FIELDS_MESSAGE) };
        let (minutes, hours) = (MINUTE.bits(minute)?, HOUR.bits(hour)?);
        Ok(Self {
            minutes: (0..1440).filter(|of_day| has(hours, of_day / 60) && has(minutes, of_day % 60)).collect(),
            months: MONTH.bits(month)?,
            days_of_month: DaysOfMonth::parse(day_of_month)?,
            days_of_week: DaysOfWeek::parse(day_of_week)?,
        })
    }

    /// Whether it starts on this day. As in crontab(5): where both days are restricted, either suffices; a field that
    /// starts with an asterisk restricts together with the other one.
    pub(super) fn is_day(&self, date: Date) -> bool {
        if !has(self.months, date.month().unsigned_abs()) {
            return false;
        }
        let (of_month, of_week) = (self.days_of_month.has(date), self.days_of_week.has(date));
        if self.days_of_month.starts_with_asterisk || self.days_of_week.starts_with_asterisk {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }
}

impl DaysOfMonth {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parsed = Self { days: 0, last: false, starts_with_asterisk: text.starts_with('*') };
        for item in text.split(',') {
            match item {
                "L" | "l" => parsed.last = true,
                item => parsed.days |= DAY_OF_MONTH.item(item)?,
            }
        }
        Ok(parsed)
    }

    fn has(&self, date: Date) -> bool {
        has(self.days, date.day().unsigned_abs()) || self.last && date.day() == date.days_in_month()
    }
}

impl DaysOfWeek {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parsed = Self { days: 0, last: 0, nth: [0; 5], starts_with_asterisk: text.starts_with('*') };
        for item in text.split(',') {
            if let Some((day, nth)) = item.split_once('#') {
                let index = match nth {
                    "1" => 0,
                    "2" => 1,
                    "3" => 2,
                    "4" => 3,
                    "5" => 4,
                    _ => return Err(FIELDS_MESSAGE),
                };
                parsed.nth[index] |= 1 << DAY_OF_WEEK.value(day).ok_or(FIELDS_MESSAGE)?;
            } else if let Some(day) = item.strip_suffix(['L', 'l']) {
                parsed.last |= 1 << DAY_OF_WEEK.value(day).ok_or(FIELDS_MESSAGE)?;
            } else {
                parsed.days |= DAY_OF_WEEK.item(item)?;
            }
        }
        for bits in [&mut parsed.days, &mut parsed.last].into_iter().chain(&mut parsed.nth) {
            *bits |= u64::from(has(*bits, 7_u8));
        }
        Ok(parsed)
    }

    fn has(&self, date: Date) -> bool {
        let day = match date.weekday() {
            Weekday::Sunday => 0,
            Weekday::Monday => 1,
            Weekday::Tuesday => 2,
            Weekday::Wednesday => 3,
            Weekday::Thursday => 4,
            Weekday::Friday => 5,
            Weekday::Saturday => 6_u8,
        };
        let nth = usize::from((date.day() - 1).unsigned_abs() / 7);
        has(self.days, day)
            || has(self.last, day) && date.day() + 7 > date.days_in_month()
            || self.nth.get(nth).is_some_and(|days| has(*days, day))
    }
}

fn has(bits: u64, value: impl Into<u32>) -> bool {
    bits.checked_shr(value.into()).is_some_and(|bits| bits & 1 == 1)
}

/// Regular expressions of the ranges that go down, of numbers up to 59 and of names. CEL that compares the ends costs more
/// than a CRD may.
fn descending() -> Vec<String> {
    let mut ranges = Vec::new();
    for tens in 0..=5 {
        let zero = if tens == 0 { "?" } else { "" };
        for units in 1..=9 {
            ranges.push(format!("{tens}{zero}{units}-{tens}{zero}[0-{}]", units - 1));
        }
        if tens > 0 {
            ranges.push(format!("[{tens}-5][0-9]-{}{}[0-9]", tens - 1, if tens == 1 { "?" } else { "" }));
        }
    }
    for names in [&WEEKDAYS[..], &MONTHS[..]] {
        ranges.extend((1..names.len()).map(|index| format!("{}-({})", names[index], names[..index].join("|"))));
    }
    ranges
}

/// The same for the API server: the grammar, and that ranges go up.
pub(super) fn schedule_validations() -> Value {
    let fields = [
        MINUTE.pattern("[0-5]?[0-9]", ""),
        HOUR.pattern("([01]?[0-9]|2[0-3])", ""),
        DAY_OF_MONTH.pattern("(0?[1-9]|[12][0-9]|3[01])", "L"),
        MONTH.pattern("(0?[1-9]|1[0-2])", ""),
        DAY_OF_WEEK.pattern("0?[0-7]", "(0?[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(#[1-5]|L)"),
    ];
    let grammar = format!("self.matches(r'(?i)^{}$')", fields.join(" +"));
    let ascending = format!("!self.matches(r'(?i)(^|[ ,])({})(/|,| |$)')", descending().join("|"));
    validations(&[(&grammar, FIELDS_MESSAGE), (&ascending, ASCENDING_MESSAGE)])
}

#[cfg(test)]
mod tests;
