//! `[masking]`: labels, keys, the inference budget, detectors of the operator.

use super::{Checked, DAY, MINUTE, Source};
use crate::engine::masking::{
    Category, JsonPath, TransformSettings, UserDetector, UserDetectorError, UserMatch, check_user_defined,
};
use crate::host::config::file;
use crate::host::config::resolve::{
    ColumnLabel, ColumnPattern, DiscoverySettings, Inference, Masking, MaskingKeys,
};
use std::path::Path;
use toml::Spanned;

impl Source<'_> {
    pub(super) fn masking(&self, written: file::Masking) -> Checked<Masking> {
        let mut columns = Vec::with_capacity(written.columns.len());
        for label in written.columns {
            let key = "masking.columns.column";
            let Some(column) = label.column else {
                let at = self.text.find("masking").unwrap_or(0);
                return Err(self.fail(at, key, "is missing: every label names a column"));
            };
            let category = label.category.unwrap_or(Category::Other);
            let path = label.path.map(|path| self.path(&path)).transpose()?;
            columns.push(ColumnLabel {
                column: self.column(&column, key)?,
                path,
                category,
                style: label.style,
            });
        }
        let clear = written.clear.iter().map(|c| self.column(c, "masking.clear")).collect::<Checked<_>>()?;
        let default = DiscoverySettings::default();
        let mask_from = self.count(
            written.discovery.mask_from,
            "masking.discovery.mask_from",
            usize::from(default.mask_from),
            0..=100,
        )?;
        let discovery = DiscoverySettings {
            enabled: written.discovery.enabled.unwrap_or(default.enabled),
            mask_from: u8::try_from(mask_from).unwrap_or(100),
        };
        let inference = self.inference(written.inference)?;
        let detectors = self.detectors(written.detectors)?;
        let d = TransformSettings::default();
        let days = self.count(written.shift_days, "masking.shift_days", d.shift_days.into(), 1..=3650)?;
        let width = usize::try_from(d.range_width).unwrap_or(usize::MAX);
        let width = self.count(written.range_width, "masking.range_width", width, 1..=1_000_000_000)?;
        Ok(Masking {
            columns,
            clear,
            detect_values: written.detect_values.unwrap_or(true),
            unknown_columns: written.unknown_columns.unwrap_or_default(),
            transforms: TransformSettings {
                shift_days: u16::try_from(days).unwrap_or(d.shift_days),
                range_width: u32::try_from(width).unwrap_or(d.range_width),
                range_dates: written.range_dates.unwrap_or_default(),
            },
            keys_per_column: written.keys_per_column.unwrap_or(false),
            compare_tokens: written.compare_tokens.unwrap_or(false),
            keys: self.masking_keys(written.keys)?,
            inference,
            discovery,
            detectors,
        })
    }

    fn masking_keys(&self, written: file::MaskingKeys) -> Checked<MaskingKeys> {
        match (written.directory, written.credential) {
            (None, None) => Ok(MaskingKeys::State),
            (Some(directory), None) if directory.get_ref().is_absolute() => {
                Ok(MaskingKeys::Directory(directory.into_inner()))
            }
            (Some(directory), None) => {
                Err(self.fail_at(directory.span(), "masking.keys.directory", "the path has to be absolute"))
            }
            (None, Some(name)) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if name.get_ref().is_empty()
                    || name.get_ref().starts_with('.')
                    || !name.get_ref().chars().all(plain)
                {
                    let reason = "a credential's name is letters, digits, '-', '_' and '.'";
                    return Err(self.fail_at(name.span(), "masking.keys.credential", reason));
                }
                Ok(MaskingKeys::Credential(name.into_inner()))
            }
            (Some(_), Some(name)) => {
                let reason = "keys come from a directory or from a credential, not from both";
                Err(self.fail_at(name.span(), "masking.keys.credential", reason))
            }
        }
    }

    fn inference(&self, written: file::Inference) -> Checked<Inference> {
        let default = Inference::default();
        let window =
            self.time(written.window, "masking.inference.window", default.window, MINUTE..=30 * DAY)?;
        Ok(Inference {
            classes: written.classes.unwrap_or(default.classes),
            window,
            warn_bits: written.warn_bits.unwrap_or(default.warn_bits),
            hold_bits: written.hold_bits.unwrap_or(default.hold_bits),
            deny_bits: written.deny_bits.unwrap_or(default.deny_bits),
            approvers: written.approvers.unwrap_or(default.approvers),
        })
    }

    fn detectors(&self, written: Vec<Spanned<file::MaskingDetector>>) -> Checked<Vec<UserDetector>> {
        let mut detectors = Vec::with_capacity(written.len());
        let mut places = Vec::with_capacity(written.len());
        for block in written {
            places.push(block.span());
            let (at, it) = (block.span(), block.into_inner());
            let missing = |key: &str, reason: &str| {
                self.fail_at(at.clone(), &format!("masking.detectors.{key}"), reason)
            };
            let matches = match (it.pattern, it.dictionary) {
                (Some(pattern), None) => UserMatch::Pattern(pattern),
                (None, Some(file::Dictionary::Words(words))) => UserMatch::Dictionary(words),
                (None, Some(file::Dictionary::File(name))) => {
                    let path = self.path.parent().unwrap_or(Path::new("/")).join(name);
                    let text = read_dictionary(&path)
                        .map_err(|reason| missing("dictionary", &format!("{}: {reason}", path.display())))?;
                    UserMatch::Dictionary(text.lines().map(str::to_owned).collect())
                }
                _ => return Err(missing("pattern", "give either a pattern or a dictionary")),
            };
            detectors.push(UserDetector {
                name: it.name.ok_or_else(|| missing("name", "is missing: every detector has a name"))?,
                category: it.category.unwrap_or(Category::Other),
                matches,
                checksum: it.checksum,
                confidence_percent: it.confidence.unwrap_or(DETECTOR_PERCENT),
                context: it.context,
            });
        }
        check_user_defined(&detectors).map_err(|(index, UserDetectorError { name, problem })| {
            let at = places.get(index).cloned().unwrap_or(0..0);
            self.fail_at(at, "masking.detectors", format!("{name:?}: {problem}"))
        })?;
        Ok(detectors)
    }

    fn path(&self, value: &Spanned<String>) -> Checked<JsonPath> {
        JsonPath::parse(value.get_ref()).ok_or_else(|| {
            let reason = format!("{:?} is no path of keys, such as $.customer.phone", value.get_ref());
            self.fail_at(value.span(), "masking.columns.path", reason)
        })
    }

    fn column(&self, value: &Spanned<String>, key: &str) -> Checked<ColumnPattern> {
        column_pattern(value.get_ref()).ok_or_else(|| {
            let reason = format!(
                "{:?} is no column; write schema.relation.column, with * for any name, and \"quotes\" around a name with a dot",
                value.get_ref()
            );
            self.fail_at(value.span(), key, reason)
        })
    }
}

fn read_dictionary(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() || size.len() > DICTIONARY_BYTES_MAX {
        return Err(format!("is no file of at most {DICTIONARY_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Three names with dots between; a name in double quotes may hold a dot.
fn column_pattern(text: &str) -> Option<ColumnPattern> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if c.is_control() || (c.is_whitespace() && !quoted) => return None,
            c => parts.last_mut()?.push(c),
        }
    }
    let names: [String; 3] = parts.try_into().ok()?;
    if quoted || names.iter().any(String::is_empty) {
        return None;
    }
    let [schema, relation, column] = names;
    Some(ColumnPattern { schema, relation, column })
}

/// Confidence of an operator's detector that names none.
const DETECTOR_PERCENT: u8 = 80;
const DICTIONARY_BYTES_MAX: u64 = 8 << 20;
