//! Parses the chain that the sample services report in the body of a response, one line per chain:
//! `Agray[127.64.16.9][config=base] -> B[127.64.16.3] -> Cgray[127.64.16.8]`.

use std::fmt;

use crate::domain::text::Clean;

/// One service of a reported chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Letter of the service: `A`, `B` or `C`.
    pub letter: char,
    /// Lane tag of the pod; `None` for the baseline.
    pub tag: Option<Clean>,
    /// IP address of the pod.
    pub address: Clean,
    /// Value of `config=`, which only A reports.
    pub config: Option<Clean>,
}

/// Error for a body that contains no valid chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, link {link}: {:?} is not LETTER[address]", &**text)]
pub struct ChainError {
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the link in the line, from 1.
    pub link: usize,
    /// Text at that place.
    pub text: Clean,
}

/// Parses the chains of a body, one per line.
pub fn parse_chains(body: &str) -> Result<Vec<Vec<Link>>, ChainError> {
    let lines = body
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, l)| !l.is_empty());
    let chains: Vec<Vec<Link>> = lines
        .map(|(i, line)| {
            let links = line.split(" -> ").enumerate();
            let wrong = |j: usize, text: &str| ChainError {
                line: i + 1,
                link: j + 1,
                text: shorten_text(text),
            };
            links
                .map(|(j, text)| parse_link(text).ok_or_else(|| wrong(j, text)))
                .collect::<Result<_, _>>()
        })
        .collect::<Result<_, _>>()?;
    if chains.is_empty() {
        return Err(ChainError {
            line: 1,
            link: 1,
            text: Clean::default(),
        });
    }
    Ok(chains)
}

/// Parses `^(A|B|C)([^\[]*)\[([^\]]*)\](?:\[config=([^\]]*)\])?`; the rest of the text
/// (` sleepTime:5`) is ignored.
fn parse_link(text: &str) -> Option<Link> {
    let letter = text
        .chars()
        .next()
        .filter(|c| matches!(c, 'A' | 'B' | 'C'))?;
    let (tag, rest) = text[1..].split_once('[')?;
    let (address, rest) = rest.split_once(']')?;
    let config = rest
        .strip_prefix("[config=")
        .and_then(|r| r.split_once(']'))
        .map(|(config, _)| config);
    Some(Link {
        letter,
        tag: Some(tag)
            .filter(|t| !t.is_empty())
            .map(Clean::from_untrusted),
        address: Clean::from_untrusted(address),
        config: config.map(Clean::from_untrusted),
    })
}

fn shorten_text(text: &str) -> Clean {
    Clean::from_untrusted(&text.chars().take(80).collect::<String>())
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}[{}]",
            self.letter,
            self.tag.as_deref().unwrap_or_default(),
            &*self.address
        )?;
        self.config
            .as_ref()
            .map_or(Ok(()), |config| write!(f, "[config={}]", &**config))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(chains: &[Vec<Link>]) -> String {
        let line = |links: &Vec<Link>| {
            links
                .iter()
                .map(Link::to_string)
                .collect::<Vec<_>>()
                .join(" -> ")
        };
        chains.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn reads_the_samples_own_words() {
        let body = "Agray[1.2.3.4][config=base] -> B[1.2.3.5] -> Cgray[1.2.3.6] sleepTime:5\n";
        let chains = parse_chains(body).unwrap();
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[0][0].tag.as_deref(), Some("gray"));
        assert_eq!(chains[0][0].config.as_deref(), Some("base"));
        assert_eq!(
            (
                chains[0][1].letter,
                &chains[0][1].tag,
                &*chains[0][1].address
            ),
            ('B', &None, "1.2.3.5")
        );
        assert_eq!(
            parse_chains("A[x][config=] -> C[y]\nA[x][config=] -> B[z] -> C[y]").unwrap()[1].len(),
            3
        );
    }

    #[test]
    fn says_where_it_is_wrong() {
        let wrong = parse_chains("A[1] -> B[2]\nA[1] -> D[2]").unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "line 2, link 2: \"D[2]\" is not LETTER[address]"
        );
        for body in ["", "\n", "<html>", "A", "A[", "A1]", "é[1]"] {
            assert!(parse_chains(body).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(links in prop::collection::vec(
            ("[ABC]", "[a-z0-9-]{0,6}", "[0-9.:]{0,9}", prop::option::of("[a-z ]{0,5}")), 1..5,
        ), lines in 1..3_usize) {
            let link = |(l, t, a, c): &(String, String, String, Option<String>)| Link {
                letter: l.chars().next().unwrap(),
                tag: Some(t).filter(|t| !t.is_empty()).map(|t| Clean::from_untrusted(t)),
                address: Clean::from_untrusted(a),
                config: c.as_deref().map(Clean::from_untrusted),
            };
            let chains = vec![links.iter().map(link).collect::<Vec<_>>(); lines];
            prop_assert_eq!(parse_chains(&shown(&chains)).unwrap(), chains);
        }

        #[test]
        fn no_body_panics(body in "(?s).{0,80}") {
            let _ = parse_chains(&body);
        }
    }
}
