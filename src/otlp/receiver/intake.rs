//! What both protocols do with a body: decompress, decode, choose, hand over.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Instant,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{
    body::{Budget, HeldBytes},
    inflate::inflate,
    refusal::Refusal,
};
use crate::{
    domain::pods::PodIndex,
    otlp::{
        decode::{AttributeKeys, Decoded, Decoder, ReadLine},
        filter::{Filter, Limits},
        metrics::Metrics,
        sink::Sink,
    },
};

/// Requests that are decoded at once; the engine has other work.
const WORKERS: usize = 2;

/// What a receiver needs to know about the cluster; kept up to date.
#[derive(Debug, Default)]
pub struct ClusterView {
    /// The attributes that may hold the lane tag.
    pub keys: ArcSwap<AttributeKeys>,
    /// Pods of Apps.
    pub pods: RwLock<PodIndex>,
}

/// What a request contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
}

impl Signal {
    pub(super) const fn label_value(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

/// A body, and how to read it.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) signal: Signal,
    pub(super) form: Form,
    pub(super) gzip: bool,
    pub(super) bytes: Bytes,
    pub(super) held: HeldBytes,
}

/// Accepts requests over both protocols.
pub struct Intake {
    known: Arc<ClusterView>,
    filter: Mutex<Filter>,
    sink: Sink,
    line: Box<ReadLine<'static>>,
    workers: Arc<Semaphore>,
    pub(super) metrics: Metrics,
    pub(super) budget: Budget,
}

impl Intake {
    /// `line` reads the access log lines in log records.
    pub fn new(
        known: Arc<ClusterView>,
        limits: Limits,
        sink: Sink,
        line: Box<ReadLine<'static>>,
        metrics: Metrics,
    ) -> Self {
        let filter = Mutex::new(Filter::new(limits, Instant::now()));
        let workers = Arc::new(Semaphore::new(WORKERS));
        Self {
            known,
            filter,
            sink,
            line,
            workers,
            metrics,
            budget: Budget::default(),
        }
    }

    /// Accepts a request; returns how many of its spans were left out.
    pub(super) async fn take_payload(self: &Arc<Self>, payload: Payload) -> Result<u64, Refusal> {
        if self.sink.is_full() {
            return Err(Refusal::Busy);
        }
        let Ok(worker) = self.workers.clone().acquire_owned().await else {
            return Err(Refusal::Fault);
        };
        let this = self.clone();
        // Decompressing 4 MiB takes tens of milliseconds, which would block this thread for others.
        let taken = tokio::task::spawn_blocking(move || {
            let _worker = worker;
            this.process_payload(payload)
        });
        taken.await.unwrap_or(Err(Refusal::Fault))
    }

    fn process_payload(&self, payload: Payload) -> Result<u64, Refusal> {
        let Payload {
            signal,
            form,
            gzip,
            bytes,
            held,
        } = payload;
        let inflated = gzip.then(|| inflate(&bytes, &self.budget)).transpose()?;
        let bytes = inflated.as_ref().map_or(&bytes[..], |(bytes, _)| bytes);
        let keys = self.known.keys.load();
        let decoder = Decoder::new(&keys);
        let decoded = match (signal, form) {
            (Signal::Traces, Form::Protobuf) => decoder.decode_traces(bytes),
            (Signal::Traces, Form::Json) => decoder.decode_traces_json(bytes),
            (Signal::Logs, Form::Protobuf) => decoder.decode_logs(bytes, &*self.line),
            (Signal::Logs, Form::Json) => decoder.decode_logs_json(bytes, &*self.line),
        }?;
        // The spans own their strings, so the buffers can go.
        drop((inflated, held));
        let Decoded { spans, dropped } = decoded;
        self.metrics.count_decoded(spans.len(), dropped);
        let pods = self
            .known
            .pods
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut filter = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let (chosen, skipped) = filter.choose_spans(spans, &pods, Instant::now());
        drop((filter, pods));
        self.metrics.count_skipped(skipped);
        self.sink.dropped_before(skipped.rate + dropped.rejected());
        chosen.into_iter().for_each(|span| self.sink.send(span));
        Ok(dropped.rejected())
    }
}
