//! The corpus as a file: one value a line, with its column's id, both names and label (RFC 4180).

use super::Column;
use std::fmt::Write as _;

/// First line of every such file.
pub const HEADER: [&str; 5] = ["column_id", "column_name_clear", "column_name_opaque", "label", "value"];

pub fn write(columns: &[Column]) -> String {
    let mut text = HEADER.join(",") + "\n";
    for column in columns {
        for value in &column.values {
            let fields = [&column.id, &column.name_clear, &column.name_opaque, &column.label, value];
            let quoted: Vec<String> =
                fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let _ = writeln!(text, "{}", quoted.join(","));
        }
    }
    text
}

/// Values of one id are one column, wherever they stand; ids that have several labels are one column for each.
pub fn read(text: &str) -> Result<Vec<Column>, String> {
    let mut rows = records(text).into_iter();
    let head = rows.next().ok_or("the file is empty")?;
    let place = |name: &str| {
        head.iter().position(|field| field == name).ok_or_else(|| format!("the first line names no {name}"))
    };
    let [id, clear, opaque, label, value] = HEADER.map(place);
    let [id, clear, opaque, label, value] = [id?, clear?, opaque?, label?, value?];
    let mut columns: Vec<Column> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (number, row) in rows.enumerate() {
        let field =
            |at: usize| row.get(at).cloned().ok_or_else(|| format!("line {} is too short", number + 2));
        let at = *known.entry((field(id)?, field(label)?)).or_insert(columns.len());
        if at == columns.len() {
            columns.push(Column {
                id: field(id)?,
                name_clear: field(clear)?,
                name_opaque: field(opaque)?,
                label: field(label)?,
                values: vec![],
            });
        }
        if let Some(column) = columns.get_mut(at) {
            column.values.push(field(value)?);
        }
    }
    Ok(columns)
}

fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let (mut record, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}
