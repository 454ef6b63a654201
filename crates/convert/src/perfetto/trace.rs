//! Writes packets: one sequence, with names and texts interned.

use super::proto::{
    CLEARED, Clock, ClockSnapshot, DebugAnnotation, InternedData, MONOTONIC, NEEDED, Name,
    REALTIME, TracePacket, TracePacketDefaults, TrackDescriptor, TrackEvent,
};
use crate::error::{Error, Result};
use crate::limits::{INTERNED_BYTES, TRACE_BUFFER_BYTES};
use crate::output::Out;
use prost::Message;
use std::collections::HashMap;
use std::io::{BufWriter, Write};

/// All packets are of one sequence.
const SEQUENCE: u32 = 1;
/// The tag of `Trace.packet`: field 1, with a length.
const PACKET: u8 = 0x0a;

/// The value of an annotation.
pub(super) enum Value<'a> {
    Flag(bool),
    Number(u64),
    /// A text that is likely to occur again: interned.
    Text(&'a str),
    /// A text that is not.
    Once(String),
}

/// Annotations of an event: names and values.
pub(super) type Facts<'a> = Vec<(&'static str, Value<'a>)>;

/// Writes a trace.
pub(super) struct Trace {
    out: BufWriter<Out>,
    packet: Vec<u8>,
    names: Interned,
    keys: Interned,
    texts: Interned,
    fresh: InternedData,
    /// The next packet must say that interned data was cleared.
    cleared: bool,
    first: bool,
}

#[derive(Default)]
struct Interned {
    ids: HashMap<String, u64>,
    bytes: usize,
}

impl Interned {
    /// The id of a text; new ones are added to `fresh`.
    fn id(&mut self, text: &str, fresh: &mut Vec<Name>) -> u64 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.ids.len() as u64 + 1;
        self.ids.insert(text.to_owned(), id);
        self.bytes += text.len();
        fresh.push(Name { iid: Some(id), name: Some(text.to_owned()) });
        id
    }
}

impl Trace {
    pub(super) fn new(out: Out) -> Self {
        Trace {
            out: BufWriter::with_capacity(TRACE_BUFFER_BYTES, out),
            packet: Vec::new(),
            names: Interned::default(),
            keys: Interned::default(),
            texts: Interned::default(),
            fresh: InternedData::default(),
            cleared: true,
            first: true,
        }
    }

    /// Writes the two clocks at one moment. The trace uses monotonic times.
    pub(super) fn clock(&mut self, monotonic: u64, realtime: u64) -> Result<()> {
        let clock = |id, ns| Clock { clock_id: Some(id), timestamp: Some(ns) };
        let snapshot = ClockSnapshot {
            clocks: vec![clock(MONOTONIC, monotonic), clock(REALTIME, realtime)],
            primary_trace_clock: Some(MONOTONIC),
        };
        self.write(TracePacket { clock_snapshot: Some(snapshot), ..TracePacket::default() })
    }

    pub(super) fn track(&mut self, track: TrackDescriptor) -> Result<()> {
        self.write(TracePacket { track_descriptor: Some(track), ..TracePacket::default() })
    }

    /// Writes an event on a track. The end of a slice has no name.
    pub(super) fn event(
        &mut self,
        (kind, name): (i32, Option<&str>),
        (track, ns): (u64, u64),
        facts: Facts<'_>,
    ) -> Result<()> {
        if self.texts.bytes > INTERNED_BYTES {
            self.forget();
        }
        let fresh = &mut self.fresh;
        let event = TrackEvent {
            r#type: Some(kind),
            track_uuid: Some(track),
            name_iid: name.map(|name| self.names.id(name, &mut fresh.event_names)),
            debug_annotations: facts.into_iter().map(|fact| self.annotation(fact)).collect(),
        };
        self.write(TracePacket {
            timestamp: Some(ns),
            track_event: Some(event),
            ..TracePacket::default()
        })
    }

    /// Writes the rest; the trace is whole.
    pub(super) fn finish(mut self) -> Result<()> {
        let name = self.out.get_ref().name();
        self.out.flush().map_err(|error| Error::writing(&name, &error))?;
        let out = self.out.into_inner();
        out.map_err(|error| Error::writing(&name, error.error()))?.finish()
    }

    fn annotation(&mut self, (key, value): (&str, Value<'_>)) -> DebugAnnotation {
        let fresh = &mut self.fresh;
        let key = self.keys.id(key, &mut fresh.debug_annotation_names);
        let mut annotation = DebugAnnotation { name_iid: Some(key), ..DebugAnnotation::default() };
        match value {
            Value::Flag(flag) => annotation.bool_value = Some(flag),
            Value::Number(number) => annotation.uint_value = Some(number),
            Value::Text(text) => {
                let id = self.texts.id(text, &mut fresh.debug_annotation_string_values);
                annotation.string_value_iid = Some(id);
            }
            Value::Once(text) => annotation.string_value = Some(text),
        }
        annotation
    }

    fn forget(&mut self) {
        (self.names, self.keys) = (Interned::default(), Interned::default());
        self.texts = Interned::default();
        self.cleared = true;
    }

    fn write(&mut self, mut packet: TracePacket) -> Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        packet.sequence_flags = Some(NEEDED);
        if std::mem::take(&mut self.cleared) {
            packet.sequence_flags = Some(CLEARED | NEEDED);
            let defaults = TracePacketDefaults { timestamp_clock_id: Some(MONOTONIC) };
            packet.trace_packet_defaults = Some(defaults);
        }
        if std::mem::take(&mut self.first) {
            packet.first_packet_on_sequence = Some(true);
        }
        if self.fresh != InternedData::default() {
            packet.interned_data = Some(std::mem::take(&mut self.fresh));
        }
        self.packet.clear();
        self.packet.push(PACKET);
        let encoded = packet.encode_length_delimited(&mut self.packet);
        encoded.map_err(|error| Error::new(format!("cannot encode the trace: {error}")))?;
        let written = self.out.write_all(&self.packet);
        written.map_err(|error| Error::writing(&self.out.get_ref().name(), &error))
    }
}
