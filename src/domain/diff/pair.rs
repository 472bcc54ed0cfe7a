//! Both answers to one request, which can be compared again with more or less left out.

use super::{Answer, Comparison, Ignored, ReportLine, Sides, compare_answers, report_lines};

/// Both answers to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerPair {
    /// What is shown of each: status, latency in milliseconds, lane, verdict and chain.
    pub cells: Sides<[String; 5]>,
    /// The answers as received.
    pub answers: Sides<Answer>,
}

impl AnswerPair {
    /// Compares them, except for what is ignored.
    pub fn compare(&self, ignored: &Ignored) -> Comparison {
        compare_answers(&self.answers.base, &self.answers.gray, ignored)
    }

    /// The comparison as lines for people.
    pub fn report_lines(&self, ignored: &Ignored) -> Vec<ReportLine> {
        report_lines(self.cells.clone(), &self.compare(ignored))
    }
}
