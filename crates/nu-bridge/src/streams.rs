//! Owns rows in and rows out, one at a time in both directions.

use nu_protocol::{ListStream, PipelineData, ShellError, Signals, Span, Value};

/// The rows of what is on the pipeline: of a stream or a table each, of a record the one, of nothing none. A stream is
/// not collected.
pub fn rows(input: PipelineData, span: Span) -> Result<Box<dyn Iterator<Item = Value> + Send>, ShellError> {
    match input {
        PipelineData::Empty | PipelineData::Value(Value::Nothing { .. }, _) => Ok(Box::new(std::iter::empty())),
        PipelineData::Value(record @ Value::Record { .. }, _) => Ok(Box::new(std::iter::once(record))),
        PipelineData::Value(Value::List { vals, .. }, _) => Ok(Box::new(vals.into_owned().into_iter())),
        PipelineData::Value(Value::Error { error, .. }, _) => Err(*error),
        PipelineData::ListStream(stream, _) => Ok(Box::new(stream.into_iter())),
        PipelineData::Value(other, _) => Err(unsupported(other.get_type().to_string(), other.span(), span)),
        PipelineData::ByteStream(stream, _) => Err(unsupported("bytes".to_owned(), stream.span(), span)),
    }
}

fn unsupported(wrong_type: String, src_span: Span, dst_span: Span) -> ShellError {
    ShellError::OnlySupportsThisInputType {
        exp_input_type: "record, table, or stream of records".to_owned(),
        wrong_type,
        dst_span,
        src_span,
    }
}

/// A stream of rows that ends at Ctrl-C.
pub fn stream(rows: impl Iterator<Item = Value> + Send + 'static, span: Span, signals: Signals) -> PipelineData {
    PipelineData::list_stream(ListStream::new(rows, span, signals), None)
}

/// The rows up to the first error and with it: what came after would be read as if nothing had happened.
pub fn until_error(rows: impl Iterator<Item = Value>) -> impl Iterator<Item = Value> {
    let mut stopped = false;
    rows.take_while(move |row| !std::mem::replace(&mut stopped, matches!(row, Value::Error { .. })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_stream_is_taken_row_by_row_both_ways() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let endless = std::iter::repeat_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Value::test_int(1)
        });
        let span = Span::test_data();
        let through = rows(stream(endless, span, Signals::empty()), span).unwrap();
        let out = stream(through, span, Signals::empty());
        assert_eq!(rows(out, span).unwrap().take(3).count(), 3);
        assert!(made.load(Ordering::Relaxed) <= 4);
    }

    #[test]
    fn a_record_is_one_row_nothing_is_none_and_text_is_refused() {
        let span = Span::test_data();
        let count = |value: Value| rows(PipelineData::value(value, None), span).map(Iterator::count);
        assert_eq!(count(Value::test_record(Default::default())).unwrap(), 1);
        assert_eq!(count(Value::test_nothing()).unwrap(), 0);
        assert!(count(Value::test_string("x")).is_err());
    }
}
