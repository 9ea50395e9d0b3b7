//! Owns exporting as the official command does: its own evaluation, validation and writers.

use super::{Done, Session};
use crate::job::{Answer, Format};
use crate::request::Request;
use nickel_lang_core::error::{Error, ExportErrorKind, PointedExportErrorData};
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::serialize::{self, ExportFormat};
use provision_diagnostic::{Code, Failure};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io::{self, Write};

impl Session {
    pub(super) fn export(&mut self, request: &Request, format: Format) -> Done {
        let format = match format {
            Format::Json => ExportFormat::Json,
            Format::Yaml => ExportFormat::Yaml,
            Format::YamlDocuments => ExportFormat::YamlDocuments,
            Format::Toml => ExportFormat::Toml,
            Format::Text => ExportFormat::Text,
        };
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let field = self.field_path(request)?;
        let value = {
            let mut machine = VirtualMachine::new(&mut self.context);
            machine
                .extract_field_value_closure(Closure::from(prepared), &field)
                .and_then(|closure| machine.eval_full_for_export_closure(closure))
        };
        let value = value.map_err(|error| self.failure(request, Error::EvalError(error)))?;
        let mut text = Vec::new();
        serialize::validate(format, &value)
            .and_then(|()| match format {
                ExportFormat::Json => json(&mut text, &value),
                other => serialize::to_writer(&mut text, other, &value),
            })
            .map_err(|error| error.with_pos_table(self.context.pos_table.clone()))
            .map_err(|error| self.failure(request, Error::ExportError(Box::new(error))))?;
        // The official command ends the line itself where the writer does not.
        if format == ExportFormat::Json {
            text.push(b'\n');
        }
        let text = String::from_utf8(text)
            .map_err(|_| Failure::new(Code::NickelEvalNotSerializable, "the exported text is not UTF-8"))?;
        Ok((Answer::Text(text), vec![main]))
    }
}

/// The official command is released with a JSON writer that has `1e21` where newer ones have `1e+21`.
struct Official(PrettyFormatter<'static>);

impl Formatter for Official {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu::Buffer::new().format_finite(value).as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

fn json(out: &mut Vec<u8>, value: &NickelValue) -> Result<(), PointedExportErrorData> {
    let mut writer = serde_json::Serializer::with_formatter(out, Official(PrettyFormatter::new()));
    value.serialize(&mut writer).map_err(|error| ExportErrorKind::Other(error.to_string()).into())
}
