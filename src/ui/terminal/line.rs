//! How much the line to the terminal takes. Between the program and the terminal lie buffers that
//! take everything at once and deliver it much later (the kernel's, sshd's), so what they accept
//! tells nothing. The terminal itself is asked: after each piece for its state, which it reports
//! when it has come that far.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Least and most bytes of a piece.
const LEAST_PIECE: usize = 256;
const MOST_PIECE: usize = 64 * 1024;
/// Size of the first piece, when nothing is known of the line.
const FIRST_PIECE: usize = 2048;
/// How long the line may be busy with one piece: a key waits for so long.
const PIECE_TIME: Duration = Duration::from_millis(120);
/// A delay beyond the quickest answer that is more than chance.
const NOTABLE_DELAY: Duration = Duration::from_millis(60);
/// How long what follows the first frame waits for the first answer, which tells whether there are
/// any.
const FIRST_ANSWER: Duration = Duration::from_millis(300);
/// Longest rest between two frames that only time asked for.
const MOST_REST: Duration = Duration::from_secs(1);
/// A terminal that has not answered for so long is taken for one that never does.
const SILENCE: Duration = Duration::from_secs(5);
/// What a line is assumed to take in a second when the terminal does not answer: as little as a bad
/// one does.
const SILENT_RATE: f64 = 2_000.0;
/// Bytes that such a terminal is given at once.
const SILENT_BURST: f64 = 4096.0;

/// A piece on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    bytes: usize,
    sent: Instant,
}

/// What is known of the line. Pure: every call says what time it is.
#[derive(Debug)]
pub(super) struct Line {
    flights: VecDeque<Flight>,
    answers: bool,
    quickest: Option<Duration>,
    window: usize,
    /// The last answer was late.
    was_late: bool,
    /// Bytes that are assumed to be under way at a time, without answers.
    backlog: (f64, Instant),
    /// Since when pieces have been under way without a rest.
    busy_since: Instant,
    /// When the line has rested from them.
    rested: Instant,
    /// Until when the first answer is waited for.
    first_answer: Instant,
}

impl Line {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            flights: VecDeque::new(),
            answers: false,
            quickest: None,
            window: FIRST_PIECE,
            was_late: false,
            // The first frame delays nothing.
            backlog: (-SILENT_BURST, now),
            busy_since: now,
            rested: now,
            first_answer: now + FIRST_ANSWER,
        }
    }

    /// Bytes that can be written now.
    pub(super) fn room(&self, now: Instant) -> usize {
        let room = if !self.answers && now < self.first_answer {
            // The first frame waits for nobody: it is sent while the answer is under way.
            (-self.backlog_at(now)).max(0.0) as usize
        } else if !self.answers {
            (SILENT_BURST - self.backlog_at(now)).max(0.0) as usize
        } else if self.flights.is_empty() {
            self.window
        } else {
            0
        };
        if room < LEAST_PIECE { 0 } else { room }
    }

    /// Whether nothing is under way and the line has rested, so that what only time changed can be
    /// drawn. So at least half of the line is left to keys.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        let is_idle = if self.answers {
            self.flights.is_empty()
        } else {
            self.backlog_at(now) <= 0.0
        };
        is_idle && now >= self.rested
    }

    /// The next moment at which `room` or `is_at_rest` can change by itself.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        let after =
            |bytes: f64| now + Duration::from_secs_f64((bytes / SILENT_RATE).max(0.0) + 0.001);
        let backlog = self.backlog_at(now);
        let mut moments = vec![self.rested];
        moments.extend(self.flights.front().map(|f| f.sent + self.patience()));
        if !self.answers {
            let full = SILENT_BURST - LEAST_PIECE as f64;
            let owed = [backlog, backlog - full].into_iter();
            moments.extend(owed.filter(|bytes| *bytes > 0.0).map(after));
            moments.push(self.first_answer);
        }
        moments.into_iter().filter(|at| *at > now).min()
    }

    /// A piece was written.
    pub(super) fn note_sent(&mut self, bytes: usize, now: Instant) {
        if self.is_at_rest(now) {
            self.busy_since = now;
        }
        self.backlog = (self.backlog_at(now) + bytes as f64, now);
        self.flights.push_back(Flight { bytes, sent: now });
        if !self.answers {
            let taken = Duration::from_secs_f64((self.backlog.0 / SILENT_RATE).max(0.0));
            self.rested = now + taken + taken.min(MOST_REST);
        }
    }

    /// The terminal reported its state: it has come to the end of the oldest piece.
    pub(super) fn note_answer(&mut self, now: Instant) {
        let was_alone = self.flights.len() == 1;
        self.answers = true;
        let Some(flight) = self.flights.pop_front() else {
            return;
        };
        let took = now.duration_since(flight.sent);
        let quickest = self.quickest.map_or(took, |before| before.min(took));
        self.quickest = Some(quickest);
        self.rested = now + now.duration_since(self.busy_since).min(MOST_REST);
        if !was_alone {
            return;
        }
        let delay = took.checked_sub(quickest).unwrap();
        let was_late = std::mem::replace(&mut self.was_late, delay > NOTABLE_DELAY);
        if delay > NOTABLE_DELAY {
            // A few bytes may be late once by chance.
            if !was_late && flight.bytes < FIRST_PIECE {
                return;
            }
            let share = PIECE_TIME.as_secs_f64() / delay.as_secs_f64();
            let carried = (flight.bytes as f64 * share) as usize;
            self.window = carried.clamp(LEAST_PIECE, self.window.max(LEAST_PIECE));
        } else if flight.bytes * 2 >= self.window {
            self.window = (self.window * 2).min(MOST_PIECE);
        }
    }

    /// Lets time pass: a terminal that has not answered for long is no longer waited for.
    pub(super) fn check_silence(&mut self, now: Instant) {
        let late = self
            .flights
            .front()
            .is_some_and(|f| now.duration_since(f.sent) >= self.patience());
        if late {
            self.flights.clear();
            if self.answers {
                (self.answers, self.backlog) = (false, (0.0, now));
            }
        }
    }

    /// Whether an answer is expected.
    pub(super) fn awaits_answer(&self) -> bool {
        self.answers && !self.flights.is_empty()
    }

    /// How long an answer is waited for: on a slow line many times as long as it should take.
    fn patience(&self) -> Duration {
        let bytes: usize = self.flights.iter().map(|f| f.bytes).sum();
        SILENCE + PIECE_TIME * (4 * bytes / self.window.max(1)) as u32
    }

    fn backlog_at(&self, now: Instant) -> f64 {
        let (bytes, at) = self.backlog;
        let drained = now.duration_since(at).as_secs_f64() * SILENT_RATE;
        // A credit from the start is kept, a debt is worked off.
        if bytes <= 0.0 {
            bytes
        } else {
            (bytes - drained).max(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line with a terminal at its end, on a clock of its own.
    struct Simulated {
        rate: f64,
        round_trip: Duration,
        line: Line,
        now: Instant,
        /// When the line has delivered all that was written.
        free: Instant,
    }

    impl Simulated {
        fn new(rate: f64, round_trip: Duration) -> Self {
            let now = Instant::now();
            let mut simulated = Self {
                rate,
                round_trip,
                line: Line::new(now),
                now,
                free: now,
            };
            simulated.send(0);
            simulated.answer();
            simulated
        }

        fn send(&mut self, bytes: usize) {
            self.line.note_sent(bytes, self.now);
            let takes = Duration::from_secs_f64(bytes as f64 / self.rate);
            self.free = self.free.max(self.now) + takes;
        }

        /// Lets time pass until the terminal has answered.
        fn answer(&mut self) {
            self.now = self.free + self.round_trip;
            self.line.note_answer(self.now);
        }

        /// Writes a piece as large as there is room for; its size.
        fn send_piece(&mut self) -> usize {
            let room = self.line.room(self.now);
            self.send(room);
            self.answer();
            room
        }
    }

    proptest! {
        /// On any line a key waits for no more than one piece, which is soon as large as the line
        /// takes in a moment, and no smaller than that.
        #[test]
        fn any_line_is_given_what_it_takes(
            rate in prop::sample::select(vec![500.0, 2_000.0, 9_600.0, 100_000.0, 1e7, 1e9]),
            round_trip in 0..300u64,
        ) {
            let mut simulated = Simulated::new(rate, Duration::from_millis(round_trip));
            for _ in 0..20 {
                prop_assert!(simulated.send_piece() > 0);
            }
            let piece = simulated.line.window as f64;
            let longest = rate * PIECE_TIME.as_secs_f64() * 2.1;
            prop_assert!(piece <= longest.max(LEAST_PIECE as f64), "{piece} at {rate}");
            let fair = rate * NOTABLE_DELAY.as_secs_f64() / 2.0;
            prop_assert!(piece >= fair.min(MOST_PIECE as f64), "{piece} at {rate}");
        }

        /// While a piece is under way nothing else is written, and what only time changed leaves
        /// half of the line to keys.
        #[test]
        fn any_frame_of_time_is_followed_by_a_rest(
            rate in 500.0..100_000.0,
            frames in prop::collection::vec(1..2_000usize, 1..20),
        ) {
            let mut simulated = Simulated::new(rate, Duration::from_millis(20));
            for bytes in frames {
                while !simulated.line.is_at_rest(simulated.now) {
                    simulated.now = simulated.line.next_change(simulated.now).unwrap();
                }
                let begun = simulated.now;
                simulated.send(bytes);
                prop_assert_eq!(simulated.line.room(simulated.now), 0);
                prop_assert!(!simulated.line.is_at_rest(simulated.now));
                simulated.answer();
                let took = (simulated.now - begun).min(MOST_REST);
                prop_assert!(!simulated.line.is_at_rest(simulated.now + took / 2));
                prop_assert!(simulated.line.is_at_rest(simulated.now + took));
            }
        }

        /// A terminal that never answers is given a burst, and then what a bad line takes.
        #[test]
        fn any_silent_terminal_is_taken_for_a_slow_one(wishes in prop::collection::vec(1..9_000usize, 1..40)) {
            let begun = Instant::now();
            let (mut line, mut now, mut sent) = (Line::new(begun), begun, 0);
            for wish in wishes {
                let mut room = line.room(now);
                while room == 0 {
                    now = line.next_change(now).unwrap();
                    line.check_silence(now);
                    room = line.room(now);
                }
                let bytes = wish.min(room);
                line.note_sent(bytes, now);
                sent += bytes;
                let most = 2.0 * SILENT_BURST + SILENT_RATE * (now - begun).as_secs_f64();
                prop_assert!(sent as f64 <= most + 1.0, "{sent} of {most}");
            }
        }
    }

    /// The first frame is sent at once, whether or not the terminal will answer; the next one waits
    /// for a moment.
    #[test]
    fn the_first_frame_waits_for_no_answer() {
        let begun = Instant::now();
        let mut line = Line::new(begun);
        line.note_sent(0, begun);
        let first = line.room(begun);
        assert!(first >= FIRST_PIECE, "{first}");
        line.note_sent(first, begun);
        assert_eq!(line.room(begun), 0);
        assert_eq!(line.next_change(begun), Some(begun + FIRST_ANSWER));
        assert!(line.room(begun + FIRST_ANSWER) > 0);
    }

    /// A terminal that stops to answer stops nothing, and one that begins to is listened to.
    #[test]
    fn a_terminal_that_falls_silent_is_not_waited_for() {
        let mut simulated = Simulated::new(2_000.0, Duration::ZERO);
        simulated.send_piece();
        simulated.line.note_sent(100, simulated.now);
        while simulated.line.room(simulated.now) == 0 {
            simulated.now = simulated.line.next_change(simulated.now).unwrap();
            simulated.line.check_silence(simulated.now);
        }
        assert!(!simulated.line.awaits_answer());
        simulated.line.note_answer(simulated.now);
        simulated.line.note_sent(100, simulated.now);
        assert!(simulated.line.awaits_answer() && simulated.line.room(simulated.now) == 0);
    }
}
