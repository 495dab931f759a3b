/// What a context keeps of each source, by its SSRC.
///
/// A sorted list: most sessions have few sources, and a search among many touches few cache lines.
#[derive(Debug)]
pub(crate) struct Sources<S> {
    list: Vec<(u32, Box<S>)>,
}

impl<S> Default for Sources<S> {
    fn default() -> Self {
        Self { list: Vec::new() }
    }
}

impl<S> Sources<S> {
    pub(crate) fn get_mut(&mut self, ssrc: u32) -> Option<&mut S> {
        let at = self.find(ssrc).ok()?;
        self.list.get_mut(at).map(|(_, source)| &mut **source)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the search found it there, or it was put there"
    )]
    pub(crate) fn get_or_insert_default(&mut self, ssrc: u32) -> &mut S
    where
        S: Default,
    {
        let at = self.find(ssrc).unwrap_or_else(|at| {
            self.list.insert(at, (ssrc, Box::default()));
            at
        });
        &mut self.list[at].1
    }

    pub(crate) fn remove(&mut self, ssrc: u32) {
        if let Ok(at) = self.find(ssrc) {
            self.list.remove(at);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Removes the source with the smallest key.
    pub(crate) fn evict_by_key(&mut self, key: impl Fn(&S) -> u64) {
        let at =
            (0..self.list.len()).min_by_key(|&at| self.list.get(at).map(|(_, source)| key(source)));
        if let Some(at) = at {
            self.list.remove(at);
        }
    }

    fn find(&self, ssrc: u32) -> Result<usize, usize> {
        self.list.binary_search_by_key(&ssrc, |&(ssrc, _)| ssrc)
    }
}
