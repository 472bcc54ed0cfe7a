//! Requests of one version within the last five minutes, in slots of ten seconds.

use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::WindowStats;

/// Length of one slot in seconds.
pub const SLOT_SECONDS: i64 = 10;
/// Number of slots: five minutes, the current one, and one for a clock that runs ahead.
pub(super) const SLOT_COUNT: usize = 32;
/// Maximum latency in microseconds; longer ones count as this.
const MAX_LATENCY_MICROS: u64 = 60_000_000;
/// Significant digits of a latency: one digit is exact within 6 % and keeps a slot within a
/// kilobyte.
const SIGNIFICANT_DIGITS: u8 = 1;

/// One answered request, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSample {
    /// When it arrived.
    pub time: Timestamp,
    /// Microseconds until it was answered.
    pub micros: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Whether its source does not report every request.
    pub sampled: bool,
}

/// Time span to look back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last minute, for the current state.
    Minute,
    /// The last five minutes, enough for comparisons.
    FiveMinutes,
}

impl Window {
    const fn slot_count(self) -> i64 {
        match self {
            Self::Minute => 6,
            Self::FiveMinutes => 30,
        }
    }

    /// Seconds of the window in which hops were received: its slots up to now, or less if that
    /// began later.
    pub fn observed_seconds(self, since: Option<Timestamp>, now: Timestamp) -> f64 {
        let begun = (slot_number(now) - self.slot_count() + 1) * SLOT_SECONDS;
        let looked = now.as_millisecond() - begun * 1000;
        let listened = since.map_or(i64::MAX, |since| {
            now.as_millisecond() - since.as_millisecond()
        });
        // A rate cannot be computed from less than a second.
        looked.min(listened).max(1000) as f64 / 1000.0
    }
}

/// Requests of one slot, which is one column of a sparkline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Number of requests.
    pub requests: u64,
    /// Number of failed requests.
    pub failed: u64,
}

/// Requests by time, in a ring of slots that is never longer than the window.
#[derive(Clone, Debug, Default)]
pub struct Series {
    slots: Vec<Slot>,
    /// Newest slot with requests.
    newest: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Number of slots since 1970.
    number: i64,
    requests: u32,
    failed: u32,
    sampled: u32,
    /// `None` while the slot is empty.
    latency: Option<Box<Histogram<u16>>>,
}

/// Slot of a time.
pub(super) fn slot_number(time: Timestamp) -> i64 {
    time.as_second().div_euclid(SLOT_SECONDS)
}

/// Whether a request of that time is counted: neither too old nor too far ahead.
pub(super) fn is_within(time: Timestamp, now: Timestamp) -> bool {
    is_kept(slot_number(time), now)
}

fn is_kept(number: i64, now: Timestamp) -> bool {
    let newest = slot_number(now);
    number > newest - Window::FiveMinutes.slot_count() && number <= newest + 1
}

impl Series {
    /// Counts a request in the slot of its own time. Returns false if it is older than the window,
    /// or more than one slot ahead.
    pub fn add_request(&mut self, request: RequestSample, now: Timestamp) -> bool {
        let number = slot_number(request.time);
        if !is_kept(number, now) {
            return false;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOT_COUNT, Slot::default);
        }
        let Some(found) = slot_mut(&mut self.slots, number) else {
            return false;
        };
        if found.number != number {
            *found = Slot {
                number,
                ..Slot::default()
            };
        }
        self.newest = self.newest.max(Some(number));
        found.requests = found.requests.saturating_add(1);
        found.failed = found.failed.saturating_add(u32::from(request.failed));
        found.sampled = found.sampled.saturating_add(u32::from(request.sampled));
        if found.latency.is_none() {
            found.latency = Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, SIGNIFICANT_DIGITS)
                .ok()
                .map(Box::new);
        }
        if let Some(latency) = &mut found.latency {
            latency.saturating_record(request.micros.clamp(1, MAX_LATENCY_MICROS));
        }
        true
    }

    /// Removes a counted request, because more is known about it now.
    pub fn remove_request(&mut self, request: RequestSample) {
        let number = slot_number(request.time);
        let found =
            slot_mut(&mut self.slots, number).filter(|s| s.number == number && s.requests > 0);
        let Some(found) = found else { return };
        found.requests -= 1;
        found.failed = found.failed.saturating_sub(u32::from(request.failed));
        found.sampled = found.sampled.saturating_sub(u32::from(request.sampled));
        if let Some(latency) = &mut found.latency
            && let Ok(mut one) =
                Histogram::<u16>::new_with_bounds(1, MAX_LATENCY_MICROS, SIGNIFICANT_DIGITS)
        {
            one.saturating_record(request.micros.clamp(1, MAX_LATENCY_MICROS));
            // It fails only for a value that is not recorded; then there is nothing to remove.
            let _ = latency.subtract(&one);
        }
    }

    /// Adds the requests within the window to a reading.
    pub fn add_to_stats(&self, reading: &mut WindowStats, window: Window, now: Timestamp) {
        let newest = slot_number(now);
        let within = |s: &&Slot| s.number > newest - window.slot_count() && s.number <= newest;
        for slot in self.slots.iter().filter(within) {
            reading.requests += u64::from(slot.requests);
            reading.failed += u64::from(slot.failed);
            reading.sampled |= slot.sampled > 0;
            let Some(told) = &slot.latency else { continue };
            if reading.latency.is_none() {
                reading.latency =
                    Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, SIGNIFICANT_DIGITS).ok();
            }
            if let Some(latency) = &mut reading.latency {
                for value in told.iter_recorded() {
                    latency.saturating_record_n(
                        value.value_iterated_to().min(MAX_LATENCY_MICROS),
                        value.count_at_value().into(),
                    );
                }
            }
        }
    }

    /// Adds the requests of the last complete slots to `columns`, oldest first. The result stays
    /// the same until the next slot is complete.
    pub fn add_to_columns(&self, columns: &mut [Column], now: Timestamp) {
        let first = slot_number(now) - i64::try_from(columns.len()).unwrap_or(i64::MAX);
        for slot in &self.slots {
            let at = usize::try_from(slot.number - first).ok();
            if let Some(column) = at.and_then(|at| columns.get_mut(at)) {
                column.requests += u64::from(slot.requests);
                column.failed += u64::from(slot.failed);
            }
        }
    }

    /// Whether there were requests within the window.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.slots
            .iter()
            .any(|s| s.requests > 0 && is_kept(s.number, now))
    }

    /// Newest slot with requests.
    pub(super) const fn newest_slot(&self) -> Option<i64> {
        self.newest
    }

    /// Approximate size in bytes.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let histogram = |h: &Histogram<u16>| {
            size_of::<Histogram<u16>>() + h.distinct_values() * size_of::<u16>()
        };
        let histograms = self
            .slots
            .iter()
            .filter_map(|s| s.latency.as_deref())
            .map(histogram);
        self.slots.capacity() * size_of::<Slot>() + histograms.sum::<usize>()
    }
}

fn slot_mut(slots: &mut [Slot], number: i64) -> Option<&mut Slot> {
    let at = usize::try_from(number.rem_euclid(SLOT_COUNT as i64)).ok()?;
    slots.get_mut(at)
}
