//! Forms: labelled fields that are edited in place, checked at every key, and turned into a question.

use std::collections::BTreeMap;

use tui_input::{Input, InputRequest};

use crate::api::LaneSpec;

mod apps;
pub mod build;
mod lane;
mod submit;

pub use submit::{Submitted, check, submit};

/// A form on the screen.
#[derive(Clone, Debug)]
pub struct Form {
    /// What it makes.
    pub kind: Kind,
    /// Over the fields.
    pub title: String,
    /// From top to bottom.
    pub fields: Vec<Field>,
    /// Which is edited.
    pub at: usize,
    /// What is wrong, or will change: worked out at every key.
    pub remarks: Vec<Remark>,
    /// Somebody wanted to go on with it: all that is wrong is shown.
    pub tried: bool,
}

/// What a form makes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Releases of these apps.
    Start {
        /// The Apps.
        apps: Vec<String>,
    },
    /// Apps from a template.
    Apps,
    /// A lane.
    Lane {
        /// Its name; none makes a new one.
        name: Option<String>,
        /// As it was when the form was opened.
        base: Box<LaneSpec>,
    },
    /// A probe of one's own.
    Probe,
    /// An environment's lock.
    Lock {
        /// The App.
        app: String,
        /// The environment.
        environment: String,
    },
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// How code finds it.
    pub id: String,
    /// Before it.
    pub label: String,
    /// What is in it.
    pub value: Value,
    /// Under it while it is edited.
    pub hint: String,
    /// What is wrong with it.
    pub error: Option<String>,
    /// It was edited, so what is wrong with it is shown.
    pub told: bool,
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A line of text.
    Text(Input),
    /// One of a few.
    Choice {
        /// All.
        options: Vec<String>,
        /// The chosen one.
        at: usize,
    },
}

/// One line beneath the fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Remark {
    /// Must be put right first.
    Wrong(String),
    /// Should be looked at.
    Doubt(String),
    /// Is so.
    Fact(String),
    /// A line that goes.
    Minus(String),
    /// A line that comes.
    Plus(String),
}

impl Field {
    /// A line of text.
    pub fn text(id: &str, label: &str, value: &str, hint: &str) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            value: Value::Text(Input::new(super::widget::harmless(value).into_owned())),
            hint: hint.into(),
            error: None,
            told: false,
        }
    }

    /// One of a few.
    pub fn choice(id: &str, label: &str, options: Vec<String>, at: usize, hint: &str) -> Self {
        let value = Value::Choice {
            at: at.min(options.len().saturating_sub(1)),
            options,
        };
        Self {
            id: id.into(),
            label: label.into(),
            value,
            hint: hint.into(),
            error: None,
            told: false,
        }
    }

    /// What it says now.
    pub fn value(&self) -> &str {
        match &self.value {
            Value::Text(input) => input.value().trim(),
            Value::Choice { options, at } => options.get(*at).map_or("", String::as_str),
        }
    }

    /// To the next or previous choice.
    pub fn turn(&mut self, back: bool) {
        if let Value::Choice { options, at } = &mut self.value {
            let n = options.len().max(1);
            *at = (*at + if back { n - 1 } else { 1 }) % n;
        }
    }
}

impl Form {
    /// What a field says.
    pub fn get(&self, id: &str) -> &str {
        self.fields
            .iter()
            .find(|f| f.id == id)
            .map_or("", Field::value)
    }

    /// The field under edit.
    pub fn field(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.at)
    }

    /// To another field.
    pub fn step(&mut self, back: bool) {
        let n = self.fields.len().max(1);
        self.at = (self.at + if back { n - 1 } else { 1 }) % n;
    }

    /// Edits the field in hand.
    pub fn edit(&mut self, request: InputRequest) {
        if let Some(field) = self.field() {
            field.told = true;
        }
        match self.field().map(|f| &mut f.value) {
            Some(Value::Text(input)) => {
                input.handle(request);
            }
            Some(Value::Choice { .. }) => match request {
                InputRequest::InsertChar(' ') | InputRequest::GoToNextChar => self.turn(false),
                InputRequest::GoToPrevChar => self.turn(true),
                _ => {}
            },
            None => {}
        }
    }

    fn turn(&mut self, back: bool) {
        if let Some(field) = self.field() {
            field.turn(back);
        }
    }

    /// Something must be put right first, and it is told.
    pub fn shows_wrong(&self) -> bool {
        self.fields
            .iter()
            .any(|f| f.error.is_some() && (f.told || self.tried))
            || self.remarks.iter().any(|r| matches!(r, Remark::Wrong(_)))
    }
}

/// The images that a start form names, by App and image; builds are left out.
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
