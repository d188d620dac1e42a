//! What goes to stdout: data, as a table for people or as JSON for scripts. Nothing else goes there.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

/// Columns of a terminal that most have, or can have.
const SENTENCES_WIDTH: u16 = 150;

/// Where data goes, and in which form.
pub(crate) struct Output<'a> {
    json: bool,
    to: &'a mut (dyn Write + Send),
}

impl<'a> Output<'a> {
    /// Writes JSON or text to `to`.
    pub(crate) fn new(json: bool, to: &'a mut (dyn Write + Send)) -> Self {
        Self { json, to }
    }

    /// Whether a script reads it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Several things: one JSON array, or a table of these fields of theirs.
    pub(crate) fn list<T: Serialize>(&mut self, columns: &[&str], rows: &[T]) -> anyhow::Result<()> {
        self.listed(table(), columns, rows)
    }

    /// The same of fields that are sentences: their lines are broken. Whoever looks for one word in a line has JSON.
    pub(crate) fn sentences<T: Serialize>(&mut self, columns: &[&str], rows: &[T]) -> anyhow::Result<()> {
        let mut table = table();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(SENTENCES_WIDTH);
        self.listed(table, columns, rows)
    }

    fn listed<T: Serialize>(&mut self, mut table: Table, columns: &[&str], rows: &[T]) -> anyhow::Result<()> {
        if self.json {
            return self.json(&rows);
        }
        table.set_header(columns.iter().map(|column| column.replace('_', " ").to_uppercase()));
        for row in rows {
            let row = serde_json::to_value(row)?;
            table.add_row(columns.iter().map(|column| cell(&row[column])));
        }
        self.text(&table.trim_fmt())
    }

    /// One thing: a JSON object, or a line for each of its fields.
    pub(crate) fn object<T: Serialize>(&mut self, object: &T) -> anyhow::Result<()> {
        if self.json {
            return self.json(object);
        }
        let mut table = table();
        if let Value::Object(fields) = serde_json::to_value(object)? {
            table.add_rows(fields.iter().map(|(name, value)| [name.replace('_', " "), cell(value)]));
        }
        if let Some(names) = table.column_mut(0) {
            names.set_cell_alignment(CellAlignment::Right);
        }
        self.text(&table.trim_fmt())
    }

    /// JSON, whatever the form asked for.
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.write(&text)
    }

    /// One JSON object on a line of its own: what comes one after the other.
    pub(crate) fn line<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.write(&text)
    }

    /// Text for people: without anything that a terminal would obey.
    pub(crate) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let text: String = text.chars().map(|char| if is_harmless(char) { char } else { '\u{fffd}' }).collect();
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        match writeln!(self.to, "{text}") {
            // Whoever reads has read enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn is_harmless(char: char) -> bool {
    !char.is_control() || matches!(char, '\n' | '\t')
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// On one line, whatever a provider sent.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace(['\n', '\t'], " "),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(json: bool, print: impl FnOnce(&mut Output<'_>) -> anyhow::Result<()>) -> String {
        let mut bytes = Vec::new();
        print(&mut Output::new(json, &mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_list_is_a_table_of_some_fields_for_people_and_one_array_of_all_for_scripts() {
        let rows = [json!({"id": "a", "event_types": ["x", "y"], "rest": null})];

        let table = printed(false, |out| out.list(&["id", "event_types"], &rows));
        let array = printed(true, |out| out.list(&["id", "event_types"], &rows));

        assert_eq!(table, " ID  EVENT TYPES\n a   x, y\n");
        assert_eq!(serde_json::from_str::<Value>(&array).unwrap(), json!(rows));
    }

    #[test]
    fn sentences_are_broken_into_lines_that_a_terminal_holds() {
        let rows = [json!({"id": "a", "says": "a word ".repeat(60)}), json!({"id": "b", "says": "short"})];

        let table = printed(false, |out| out.sentences(&["id", "says"], &rows));

        assert!(table.lines().all(|line| line.len() <= usize::from(SENTENCES_WIDTH)), "{table}");
        assert_eq!(table.matches("word").count(), 60);
    }

    #[test]
    fn what_a_provider_sent_cannot_command_the_terminal() {
        let rows = [json!({"kind": "\u{1b}[2Jtext\nnext"})];

        assert!(!printed(false, |out| out.list(&["kind"], &rows)).contains('\u{1b}'));
    }
}
