//! Colouring at the entry: a client's own tag goes, the lane's comes.

use http::{HeaderMap, HeaderValue, request::Parts};

use super::table::{Colour, Seen};

impl Colour {
    /// Sets, keeps or takes away the tag of a request.
    pub(super) fn apply(&self, parts: &mut Parts, trace: &str) {
        let tag = self.rules.decide(&Seen { parts, trace }).and_then(|d| HeaderValue::from_str(d.tag).ok());
        match tag {
            Some(tag) => {
                if let Some(member) = &self.baggage {
                    set_member(&mut parts.headers, member, Some(&tag));
                }
                parts.headers.insert(&self.header, tag);
            }
            None if self.client_may_tag => {}
            None => {
                parts.headers.remove(&self.header);
                if let Some(member) = &self.baggage {
                    set_member(&mut parts.headers, member, None);
                }
            }
        }
    }
}

/// Sets or removes one member of W3C `baggage`, and keeps the others as they are.
fn set_member(headers: &mut HeaderMap, member: &str, value: Option<&HeaderValue>) {
    let name = |entry: &str| entry.split(['=', ';']).next().unwrap_or_default().trim().to_owned();
    let mut entries: Vec<String> = headers
        .get_all("baggage")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|e| e.trim().to_owned()))
        .filter(|e| !e.is_empty() && name(e) != member)
        .collect();
    entries.extend(value.and_then(|v| v.to_str().ok()).map(|v| format!("{member}={v}")));
    headers.remove("baggage");
    if let Ok(value) = HeaderValue::from_str(&entries.join(","))
        && !entries.is_empty()
    {
        headers.insert("baggage", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baggage_keeps_its_other_members() {
        let mut headers = HeaderMap::new();
        headers.append("baggage", HeaderValue::from_static("a=1;p=x, lane=old;q"));
        headers.append("baggage", HeaderValue::from_static("b=2"));
        set_member(&mut headers, "lane", Some(&HeaderValue::from_static("gray")));
        assert_eq!(headers["baggage"], "a=1;p=x,b=2,lane=gray");
        set_member(&mut headers, "lane", None);
        assert_eq!(headers["baggage"], "a=1;p=x,b=2");
        let mut headers = HeaderMap::new();
        headers.append("baggage", HeaderValue::from_static("lane=old"));
        set_member(&mut headers, "lane", None);
        assert!(headers.get("baggage").is_none());
    }
}
