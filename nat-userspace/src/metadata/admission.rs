//! Who may connect, and ask how much. Time comes in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::Who;

/// What the service bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one instance at once. All that nobody knows count as one instance.
    pub connections_each: usize,
    /// Requests of one instance, in the long run.
    pub requests_per_second: u32,
    /// Requests of one instance after a time of rest, at once.
    pub burst: u32,
    /// How long the head of a request may take, and how long a connection may wait for one.
    pub head: Duration,
    /// How large the head of a request may be, in bytes; 8,192 at least.
    pub head_bytes: usize,
    /// How long a connection may last; a request under way is still answered.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_each: 32,
            // AWS takes 1024 packets a second from an interface, and a connection with one request is
            // about ten.
            requests_per_second: 100,
            burst: 200,
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            connection: Duration::from_secs(300),
        }
    }
}

/// Counts who is there.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
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
    fn left(&self, now: Instant, limits: &Limits) -> f64 {
        let since = now.saturating_duration_since(self.as_of).as_secs_f64();
        let more = since * f64::from(limits.requests_per_second);
        (self.left + more).min(limits.burst.into())
    }

    fn take(&mut self, now: Instant, limits: &Limits) -> bool {
        let left = self.left(now, limits);
        let is_enough = left >= 1.0;
        *self = Self {
            left: if is_enough { left - 1.0 } else { left },
            as_of: now.max(self.as_of),
        };
        is_enough
    }
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub struct Guest {
    admission: Arc<Admission>,
    who: Option<Who>,
}

impl Admission {
    /// With nobody there yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            visitors: Mutex::default(),
        })
    }

    /// Lets a connection in, unless there are too many.
    pub fn enter(self: &Arc<Self>, who: Option<Who>, now: Instant) -> Option<Guest> {
        let limits = &self.limits;
        let mut visitors = self.visitors();
        if visitors.connections >= limits.connections {
            return None;
        }
        if visitors.by_who.len() > visitors.most {
            visitors.by_who.retain(|_, visitor| {
                visitor.connections > 0 || visitor.bucket.left(now, limits) < limits.burst.into()
            });
            visitors.most = limits.connections.max(2 * visitors.by_who.len());
        }
        let new = || Visitor {
            connections: 0,
            bucket: Bucket {
                left: limits.burst.into(),
                as_of: now,
            },
        };
        let visitor = visitors.by_who.entry(who.clone()).or_insert_with(new);
        if visitor.connections >= limits.connections_each {
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

    /// What is in there is right at any time.
    fn visitors(&self) -> MutexGuard<'_, Visitors> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Whose connection it is.
    pub const fn who(&self) -> Option<&Who> {
        self.who.as_ref()
    }

    /// Whether one more request is within the limit; if so, it is counted.
    pub fn may_ask(&self, now: Instant) -> bool {
        let limits = &self.admission.limits;
        let mut visitors = self.admission.visitors();
        let visitor = visitors.by_who.get_mut(&self.who);
        visitor.is_some_and(|visitor| visitor.bucket.take(now, limits))
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
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 5,
        connections_each: 3,
        requests_per_second: 10,
        burst: 20,
        head: Duration::ZERO,
        head_bytes: 0,
        connection: Duration::ZERO,
    };

    fn who(last: u8) -> Option<Who> {
        Some(Who {
            vpc: "main".to_owned(),
            private_ip: [10, 20, 1, last].into(),
        })
    }

    #[test]
    fn connections_are_limited_for_each_and_for_all() {
        let admission = Admission::new(LIMITS);
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
        let admission = Admission::new(LIMITS);
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
        let admission = Admission::new(LIMITS);
        let start = Instant::now();
        let stays = admission.enter(who(0), start);
        for number in 1..=200u8 {
            let now = start + Duration::from_secs(number.into());
            let guest = admission.enter(who(number), now).expect("there is room");
            assert!(guest.may_ask(now));
            let there = admission.visitors().by_who.len();
            assert!(there <= 2 * LIMITS.connections, "{there}");
        }
        assert!(admission.visitors().by_who.contains_key(&who(0)));
        drop(stays);
        assert_eq!(admission.visitors().connections, 0);
    }
}
