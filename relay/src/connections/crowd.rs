//! How many are in at once: in all, and of one network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts those that are in; clones count the same.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    most: usize,
    most_of_network: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// A place in the crowd; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    inside: Arc<Mutex<Inside>>,
    network: Option<IpAddr>,
}

impl Crowd {
    pub(crate) fn new(most: usize, most_of_network: usize) -> Self {
        Self { most, most_of_network, inside: Arc::default() }
    }

    /// A place, while there is one; without a network it counts towards no network's.
    pub(crate) fn enter(&self, network: Option<IpAddr>) -> Option<Place> {
        let mut inside = lock(&self.inside);
        if inside.all >= self.most {
            return None;
        }
        if let Some(network) = network {
            let of_network = inside.by_network.entry(network).or_default();
            if *of_network >= self.most_of_network {
                return None;
            }
            *of_network += 1;
        }
        inside.all += 1;
        Some(Place { inside: self.inside.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        inside.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(of_network) = inside.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                inside.by_network.remove(&network);
            }
        }
    }
}

/// Nothing panics while it is held, and the counts are right after each step.
fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}
