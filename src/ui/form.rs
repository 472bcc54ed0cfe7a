//! Forms: labelled fields that are edited in place, validated on every key press, and turned into a
//! question.

use std::collections::BTreeMap;

use tui_input::{Input, InputRequest};

use crate::api::LaneSpec;

mod apps;
pub mod build;
mod lane;
mod submit;

pub use submit::{Submitted, check_form, submit_form};

/// An open form.
#[derive(Clone, Debug)]
pub struct Form {
    /// What the form creates or changes.
    pub kind: FormKind,
    /// Title above the fields.
    pub title: String,
    /// Fields from top to bottom.
    pub fields: Vec<FormField>,
    /// Index of the focused field.
    pub at: usize,
    /// Errors, warnings and a preview; recomputed on every key press.
    pub remarks: Vec<Remark>,
    /// The form was submitted once, so all errors are shown.
    pub tried: bool,
}

/// What a form creates or changes.
#[derive(Clone, Debug, PartialEq)]
pub enum FormKind {
    /// Starts releases.
    Start {
        /// Names of the Apps to release.
        apps: Vec<String>,
    },
    /// Creates Apps from a template.
    Apps,
    /// Creates or edits a lane.
    Lane {
        /// Name of the lane to edit; `None` creates a new one.
        name: Option<String>,
        /// The spec when the form was opened.
        base: Box<LaneSpec>,
    },
    /// Sends a custom probe.
    Probe,
    /// Names what may differ in comparisons.
    Ignore,
    /// Locks an environment.
    Lock {
        /// Name of the App.
        app: String,
        /// Name of the environment.
        environment: String,
    },
}

impl FormKind {
    /// What submitting the form does, in one word: most forms lead to a question.
    pub const fn submit_word(&self) -> &'static str {
        match self {
            Self::Probe => "send",
            Self::Ignore => "apply",
            Self::Start { .. } | Self::Apps | Self::Lane { .. } | Self::Lock { .. } => "review",
        }
    }
}

/// One field of a form.
#[derive(Clone, Debug)]
pub struct FormField {
    /// Identifier used in code.
    pub id: String,
    /// Label before the field.
    pub label: String,
    /// Current value.
    pub value: FieldValue,
    /// Hint shown while the field has the focus.
    pub hint: String,
    /// Validation error.
    pub error: Option<String>,
    /// The field was edited, so its error is shown.
    pub touched: bool,
}

/// Value of a field.
#[derive(Clone, Debug)]
pub enum FieldValue {
    /// A line of text.
    Text(Input),
    /// One of several options.
    Choice {
        /// All options.
        options: Vec<String>,
        /// Index of the chosen option.
        at: usize,
    },
}

/// One line below the fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Remark {
    /// Error that blocks the form.
    Wrong(String),
    /// Warning.
    Doubt(String),
    /// Information.
    Fact(String),
    /// Removed line of a diff.
    Minus(String),
    /// Added line of a diff.
    Plus(String),
}

impl FormField {
    /// A text field.
    pub fn text(id: &str, label: &str, value: &str, hint: &str) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            value: FieldValue::Text(Input::new(super::widget::sanitize_text(value).into_owned())),
            hint: hint.into(),
            error: None,
            touched: false,
        }
    }

    /// A field that offers several options.
    pub fn choice(id: &str, label: &str, options: Vec<String>, at: usize, hint: &str) -> Self {
        let value = FieldValue::Choice {
            at: at.min(options.len().saturating_sub(1)),
            options,
        };
        Self {
            id: id.into(),
            label: label.into(),
            value,
            hint: hint.into(),
            error: None,
            touched: false,
        }
    }

    /// The current text, trimmed, or the chosen option.
    pub fn value(&self) -> &str {
        match &self.value {
            FieldValue::Text(input) => input.value().trim(),
            FieldValue::Choice { options, at } => options.get(*at).map_or("", String::as_str),
        }
    }

    /// Selects the next or previous option.
    pub fn cycle_choice(&mut self, back: bool) {
        if let FieldValue::Choice { options, at } = &mut self.value {
            let n = options.len().max(1);
            *at = (*at + if back { n - 1 } else { 1 }) % n;
        }
    }
}

impl Form {
    /// Value of the field with this id; empty when there is none.
    pub fn get(&self, id: &str) -> &str {
        self.fields
            .iter()
            .find(|f| f.id == id)
            .map_or("", FormField::value)
    }

    /// The focused field.
    pub fn current_field(&mut self) -> Option<&mut FormField> {
        self.fields.get_mut(self.at)
    }

    /// Text of the focused field, if it is one to type.
    pub fn current_input(&mut self) -> Option<&mut Input> {
        match &mut self.current_field()?.value {
            FieldValue::Text(input) => Some(input),
            FieldValue::Choice { .. } => None,
        }
    }

    /// Focuses a field and chooses one of its options.
    pub fn choose_option(&mut self, field: usize, option: usize) {
        self.at = field;
        if let Some(field) = self.current_field()
            && let FieldValue::Choice { options, at } = &mut field.value
        {
            *at = option.min(options.len().saturating_sub(1));
            field.touched = true;
        }
    }

    /// Moves the focus to the next or previous field.
    pub fn move_focus(&mut self, back: bool) {
        let n = self.fields.len().max(1);
        self.at = (self.at + if back { n - 1 } else { 1 }) % n;
    }

    /// Applies an edit to the focused field.
    pub fn edit_field(&mut self, request: InputRequest) {
        if let Some(field) = self.current_field() {
            field.touched = true;
        }
        match self.current_field().map(|f| &mut f.value) {
            Some(FieldValue::Text(input)) => {
                input.handle(request);
            }
            Some(FieldValue::Choice { .. }) => match request {
                InputRequest::InsertChar(' ') | InputRequest::GoToNextChar => {
                    self.cycle_choice(false);
                }
                InputRequest::GoToPrevChar => self.cycle_choice(true),
                _ => {}
            },
            None => {}
        }
    }

    fn cycle_choice(&mut self, back: bool) {
        if let Some(field) = self.current_field() {
            field.cycle_choice(back);
        }
    }

    /// Whether an error is shown.
    pub fn shows_error(&self) -> bool {
        self.fields
            .iter()
            .any(|f| f.error.is_some() && (f.touched || self.tried))
            || self.remarks.iter().any(|r| matches!(r, Remark::Wrong(_)))
    }
}

/// The image references chosen in a start form, by App and image; images to build are left out.
pub fn chosen_images(form: &Form, apps: &[String]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut images: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for field in &form.fields {
        let Some(rest) = field.id.strip_prefix("image ") else {
            continue;
        };
        let Some((app, image)) = rest.split_once(' ') else {
            continue;
        };
        let value = field.value();
        if apps.iter().any(|a| a == app) && !value.is_empty() && value != "build" {
            images
                .entry(app.into())
                .or_default()
                .insert(image.into(), value.into());
        }
    }
    images
}
