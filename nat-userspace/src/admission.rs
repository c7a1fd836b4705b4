//! Who may connect to a service of the node, and ask how much. Time comes in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rustc_hash::FxHashMap;

use crate::services::Who;

/// How much may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Places at once, such as connections.
    pub at_once: usize,
    /// Places of one host at once. All that nobody knows count as one host.
    pub at_once_each: usize,
    /// Requests of one host, in the long run.
    pub per_second: u32,
    /// Requests of one host after a time of rest, at once.
    pub burst: u32,
}

/// Counts who is there.
#[derive(Debug)]
pub struct Admission {
    quota: Quota,
    visitors: Mutex<Visitors>,
}

#[derive(Debug, Default)]
struct Visitors {
    connections: usize,
    /// `None` is for all that nobody knows.
    by_who: FxHashMap<Option<Who>, Visitor>,
    /// As soon as there are so many, those who are long gone are forgotten.
    most: usize,
}

#[derive(Debug)]
struct Visitor {
    connections: usize,
    bucket: Bucket,
}

/// Requests that may be made right now. It fills up with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    as_of: Instant,
}

impl Bucket {
    fn left(&self, now: Instant, quota: &Quota) -> f64 {
        let since = now.saturating_duration_since(self.as_of).as_secs_f64();
        let more = since * f64::from(quota.per_second);
        (self.left + more).min(quota.burst.into())
    }

    fn take(&mut self, now: Instant, quota: &Quota) -> bool {
        let left = self.left(now, quota);
        let is_enough = left >= 1.0;
        *self = Self {
            left: if is_enough { left - 1.0 } else { left },
            as_of: now.max(self.as_of),
        };
        is_enough
    }
}

impl Visitors {
    /// Always there; those who are long gone are forgotten.
    fn visitor(&mut self, who: &Option<Who>, now: Instant, quota: &Quota) -> Option<&mut Visitor> {
        if !self.by_who.contains_key(who) {
            if self.by_who.len() >= self.most {
                self.by_who.retain(|_, visitor| {
                    visitor.connections > 0 || visitor.bucket.left(now, quota) < quota.burst.into()
                });
                self.most = quota.at_once.max(2 * self.by_who.len());
            }
            let new = Visitor {
                connections: 0,
                bucket: Bucket {
                    left: quota.burst.into(),
                    as_of: now,
                },
            };
            self.by_who.insert(who.clone(), new);
        }
        self.by_who.get_mut(who)
    }
}

/// A place that counts until this is dropped.
#[derive(Debug)]
pub struct Guest {
    admission: Arc<Admission>,
    who: Option<Who>,
}

impl Admission {
    /// With nobody there yet.
    pub fn new(quota: Quota) -> Arc<Self> {
        Arc::new(Self {
            quota,
            visitors: Mutex::default(),
        })
    }

    /// Gives a place, unless too many are taken.
    pub fn enter(self: &Arc<Self>, who: Option<Who>, now: Instant) -> Option<Guest> {
        let quota = &self.quota;
        let mut visitors = self.visitors();
        if visitors.connections >= quota.at_once {
            return None;
        }
        let visitor = visitors.visitor(&who, now, quota)?;
        if visitor.connections >= quota.at_once_each {
            return None;
        }
        visitor.connections += 1;
        visitors.connections += 1;
        drop(visitors);
        Some(Guest {
            admission: Arc::clone(self),
            who,
        })
    }

    /// Whether one more request of this host is within the limit; if so, it is counted.
    pub fn may_ask(&self, who: &Option<Who>, now: Instant) -> bool {
        let mut visitors = self.visitors();
        let visitor = visitors.visitor(who, now, &self.quota);
        visitor.is_some_and(|visitor| visitor.bucket.take(now, &self.quota))
    }

    /// What is in there is right at any time.
    fn visitors(&self) -> MutexGuard<'_, Visitors> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Whose place it is.
    pub const fn who(&self) -> Option<&Who> {
        self.who.as_ref()
    }

    /// Whether one more request is within the limit; if so, it is counted.
    pub fn may_ask(&self, now: Instant) -> bool {
        self.admission.may_ask(&self.who, now)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut visitors = self.admission.visitors();
        visitors.connections -= 1;
        if let Some(visitor) = visitors.by_who.get_mut(&self.who) {
            visitor.connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUOTA: Quota = Quota {
        at_once: 5,
        at_once_each: 3,
        per_second: 10,
        burst: 20,
    };

    fn who(last: u8) -> Option<Who> {
        Some(Who {
            vpc: "main".to_owned(),
            private_ip: [10, 20, 1, last].into(),
        })
    }

    #[test]
    fn connections_are_limited_for_each_and_for_all() {
        let admission = Admission::new(QUOTA);
        let now = Instant::now();
        let enter = |last| admission.enter(who(last), now);
        let mut first: Vec<_> = (0..3).filter_map(|_| enter(1)).collect();
        assert_eq!(first.len(), 3);
        assert!(enter(1).is_none());
        let second = [enter(2), enter(2)];
        assert!(second.iter().all(Option::is_some));
        assert!(enter(2).is_none() && admission.enter(None, now).is_none());
        first.pop();
        assert!(enter(3).is_some());
        drop((first, second));
        let nobody: Vec<_> = (0..4).filter_map(|_| admission.enter(None, now)).collect();
        assert_eq!(nobody.len(), 3);
    }

    #[test]
    fn requests_are_limited_by_time_and_not_by_connection() {
        let admission = Admission::new(QUOTA);
        let start = Instant::now();
        let asked = |last, now| {
            let guest = admission.enter(who(last), now).expect("there is room");
            (0..100).filter(|_| guest.may_ask(now)).count()
        };
        assert_eq!(asked(1, start), 20);
        assert_eq!(asked(1, start), 0);
        assert_eq!(asked(2, start), 20);
        assert_eq!(asked(1, start + Duration::from_millis(500)), 5);
        // What was before counts for nothing.
        assert_eq!(asked(1, start), 0);
        assert_eq!(asked(1, start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn visitors_who_are_long_gone_are_forgotten() {
        let admission = Admission::new(QUOTA);
        let start = Instant::now();
        let stays = admission.enter(who(0), start);
        for number in 1..=200u8 {
            let now = start + Duration::from_secs(number.into());
            let guest = admission.enter(who(number), now).expect("there is room");
            assert!(guest.may_ask(now));
            let there = admission.visitors().by_who.len();
            assert!(there <= 2 * QUOTA.at_once, "{there}");
        }
        assert!(admission.visitors().by_who.contains_key(&who(0)));
        drop(stays);
        assert_eq!(admission.visitors().connections, 0);
    }
}
