//! How many items a body holds, counted in another way than the splitter counts them: over the whole body, parsed.

use serde_json::Value;

/// As many as serde_json itself reads of a body without being told how.
const FEW: usize = 10_000;

/// How many items a body holds; `None` where it cannot be parsed as a whole, or is too long to say.
pub(super) fn items_in(body: &[u8]) -> Option<usize> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let items = of_list(body.get("entry"), |entry| of_list(entry.get("changes"), of_change));
    (items < FEW).then_some(items)
}

/// What is no list where one must be is one item: a rejection.
fn of_list(list: Option<&Value>, of_element: impl Fn(&Value) -> usize) -> usize {
    list.and_then(Value::as_array).map_or(1, |elements| elements.iter().map(of_element).sum())
}

fn of_change(change: &Value) -> usize {
    let Some(field) = change.get("field").and_then(Value::as_str) else { return 1 };
    if !matches!(field, "messages" | "smb_message_echoes" | "calls" | "automatic_events" | "history" | "standby") {
        return 1;
    }
    let Some(value) = change.get("value").and_then(Value::as_object) else { return 1 };
    let lists = value.iter().map(|(name, list)| match name.as_str() {
        _ if list.is_null() => 0,
        "history" => of_list(Some(list), of_chunk),
        "messages" | "statuses" | "errors" | "user_actions" | "message_echoes" | "calls" | "automatic_events" => {
            of_list(Some(list), |_| 1)
        }
        "contacts" => 0,
        _ => list.as_array().map_or(0, Vec::len),
    });
    // A change without items is one itself.
    lists.sum::<usize>().max(1)
}

/// Its messages, and that it has come.
fn of_chunk(chunk: &Value) -> usize {
    if !chunk.is_object() {
        return 1;
    }
    let of_thread = |thread: &Value| match thread.get("messages") {
        None | Some(Value::Null) => usize::from(!thread.is_object()),
        messages => of_list(messages, |_| 1),
    };
    match chunk.get("threads") {
        None | Some(Value::Null) => 1,
        threads => 1 + of_list(threads, of_thread),
    }
}
