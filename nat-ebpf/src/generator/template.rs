//! Putting a frame back as it was before the last run.

use crate::plan::{TEMPLATE_WORDS, Template};

/// Writes the template over the frame, which must be as long at least.
#[inline(always)]
pub fn put(template: &Template, start: usize, end: usize) -> Option<()> {
    if start + size_of::<Template>() > end {
        return None;
    }
    let words = start as *mut u64;
    for index in 0..TEMPLATE_WORDS {
        // SAFETY: within the frame, as was just seen.
        unsafe {
            words
                .add(index)
                .write_unaligned(*template.words.get(index)?)
        };
    }
    Some(())
}
