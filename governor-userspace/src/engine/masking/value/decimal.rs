//! `numeric`: a sign, up to 38 digits, and where the point stands.

/// A number with a fixed number of decimals. What has more digits is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::masking) struct Decimal {
    pub negative: bool,
    /// All digits, the point left out.
    pub digits: u128,
    /// How many of them stand behind the point.
    pub scale: u32,
}

impl Decimal {
    pub fn whole(number: i128) -> Self {
        Self { negative: number < 0, digits: number.unsigned_abs(), scale: 0 }
    }

    /// The largest whole number that is not above this one.
    pub fn floor(self) -> Option<i128> {
        let unit = 10_u128.checked_pow(self.scale)?;
        let number = i128::try_from(self.digits).ok()?;
        let number = if self.negative { -number } else { number };
        Some(number.div_euclid(i128::try_from(unit).ok()?))
    }

    /// Without zeros at the end of the decimals: equal numbers are equal.
    pub fn plain(self) -> Self {
        let mut plain = self;
        while plain.scale > 0 && plain.digits.is_multiple_of(10) {
            plain.digits /= 10;
            plain.scale -= 1;
        }
        plain.negative &= plain.digits != 0;
        plain
    }

    /// How many digits there are, the point left out.
    pub fn count(self) -> u32 {
        self.digits.checked_ilog10().map_or(0, |log| log + 1)
    }

    pub fn integer_digits(self) -> u32 {
        self.count().saturating_sub(self.scale)
    }

    pub fn of_text(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let all = || whole.bytes().chain(decimals.bytes());
        if all().next().is_none() || all().any(|b| !b.is_ascii_digit()) {
            return None;
        }
        let digits = all().try_fold(0_u128, |sum, b| push(sum, u128::from(b - b'0'), 10))?;
        Some(Self { negative, digits, scale: scale(decimals.len())? })
    }

    pub fn of_binary(bytes: &[u8]) -> Option<Self> {
        let (head, groups) = bytes.split_first_chunk::<8>()?;
        let [n1, n2, w1, w2, s1, s2, d1, d2] = *head;
        let count = usize::from(u16::from_be_bytes([n1, n2]));
        let weight = i64::from(i16::from_be_bytes([w1, w2]));
        let negative = match u16::from_be_bytes([s1, s2]) {
            POSITIVE => false,
            NEGATIVE => true,
            // Not a number, or infinite.
            _ => return None,
        };
        let wanted = scale(usize::from(u16::from_be_bytes([d1, d2])))?;
        if groups.len() != count * 2 {
            return None;
        }
        // The last group counts units of 10⁴ to this power.
        let power = if count == 0 { 0 } else { weight - i64::try_from(count).ok()? + 1 };
        let shift = i64::from(wanted) + 4 * power;
        // A last group may be longer than the decimals: zeros that fill it up.
        let filling =
            10_u128.checked_pow(u32::try_from(-shift).unwrap_or(0)).filter(|unit| *unit < 10_000)?;
        let mut digits = 0_u128;
        for (at, group) in groups.chunks_exact(2).enumerate() {
            let group = u128::from(u16::from_be_bytes(group.try_into().ok()?));
            let unit = if at + 1 == count { filling } else { 1 };
            digits = (group < 10_000).then(|| push(digits, group / unit, 10_000 / unit))??;
        }
        let unit = 10_u128.checked_pow(u32::try_from(shift).unwrap_or(0))?;
        let digits = push(digits, 0, unit)?;
        Some(Self { negative, digits, scale: wanted })
    }

    pub fn to_text(self) -> String {
        let width = self.scale as usize + 1;
        let digits = format!("{:0>width$}", self.digits);
        let (whole, decimals) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.negative && self.digits != 0 { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{decimals}")
    }

    pub fn to_binary(self) -> Vec<u8> {
        let text = Self { negative: false, ..self }.to_text();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let mut digits = "0".repeat((4 - whole.len() % 4) % 4);
        digits.push_str(whole);
        let whole_groups = digits.len() / 4;
        digits.push_str(decimals);
        digits.push_str(&"0".repeat((4 - decimals.len() % 4) % 4));
        let mut groups: Vec<u16> = digits
            .as_bytes()
            .chunks(4)
            .map(|group| group.iter().fold(0, |sum, b| sum * 10 + u16::from(b - b'0')))
            .collect();
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let weight = if groups.is_empty() { 0 } else { number(whole_groups) - 1 - number(leading) };
        let sign = if self.negative && !groups.is_empty() { NEGATIVE } else { POSITIVE };
        let mut out = Vec::with_capacity(8 + 2 * groups.len());
        out.extend_from_slice(&number(groups.len()).to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&u16::try_from(self.scale).unwrap_or(0).to_be_bytes());
        out.extend(groups.into_iter().flat_map(u16::to_be_bytes));
        out
    }
}

fn push(sum: u128, digit: u128, base: u128) -> Option<u128> {
    sum.checked_mul(base)?.checked_add(digit).filter(|sum| *sum < DIGITS_MAX)
}

fn scale(count: usize) -> Option<u32> {
    u32::try_from(count).ok().filter(|scale| *scale <= 38)
}

/// At most 38 digits make 20 groups.
fn number(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(0)
}

const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;
const DIGITS_MAX: u128 = 10_u128.pow(38);
