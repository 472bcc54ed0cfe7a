//! Divides room by need: minimum sizes first, then up to what each can use.

/// Sizes that one part needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Minimum useful size.
    pub(crate) least: usize,
    /// Size beyond which nothing more is shown.
    pub(crate) most: usize,
}

impl Need {
    pub(crate) const fn new(least: usize, most: usize) -> Self {
        Self { least, most }
    }
}

/// Divides `room`. When the minimum sizes do not all fit, earlier parts win; beyond that the
/// smallest part grows first, so that one long list does not starve the others. Room that nobody
/// needs is left over.
pub(crate) fn share_room(room: usize, needs: &[Need]) -> Vec<usize> {
    let mut left = room;
    let mut shares: Vec<usize> = vec![];
    for need in needs {
        let got = need.least.min(need.most).min(left);
        left -= got;
        shares.push(got);
    }
    while left > 0 {
        let wants = shares
            .iter()
            .zip(needs)
            .enumerate()
            .filter(|(_, (got, need))| **got < need.most);
        let Some(poorest) = wants.min_by_key(|(_, (got, _))| **got).map(|(i, _)| i) else {
            break;
        };
        if let Some(got) = shares.get_mut(poorest) {
            *got += 1;
            left -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn the_long_list_does_not_starve_the_others() {
        let needs = [Need::new(4, 6), Need::new(4, 8), Need::new(4, 90)];
        assert_eq!(share_room(21, &needs), [6, 8, 7]);
        assert_eq!(share_room(40, &needs), [6, 8, 26]);
        assert_eq!(share_room(200, &needs), [6, 8, 90]);
        assert_eq!(share_room(10, &needs), [4, 4, 2]);
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice_or_kept_back(room in 0usize..200, needs in vec((0usize..30, 0usize..60), 0..6)) {
            let needs: Vec<Need> = needs.into_iter().map(|(least, more)| Need::new(least, least + more)).collect();
            let shares = share_room(room, &needs);
            let wanted: usize = needs.iter().map(|n| n.most).sum();
            prop_assert_eq!(shares.iter().sum::<usize>(), room.min(wanted));
            let least: usize = needs.iter().map(|n| n.least).sum();
            for (got, need) in shares.iter().zip(&needs) {
                prop_assert!(*got <= need.most);
                prop_assert!(*got >= need.least || room < least);
            }
        }
    }
}
