//! What is wanted of a running controller: a file, and the objects of the API beside it. The
//! controller's loop is the only one that changes it; the API sends it [`Command`]s.
//!
//! A change is checked ([`crate::config::objects`]), then made in the dataplane, then written to the
//! [`store`], and then acknowledged: what the store holds has worked once, and what was acknowledged is
//! in the store.

mod answer;
pub mod store;

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

pub use answer::{Answer, Cause, Command, Mistake, Order, Rejection, Reply};

use crate::{
    config::{
        Config, ConfigErrors,
        objects::{Change, Kind, Layers, ObjectChange, ObjectKey, Refusal, Source, difference},
    },
    error::{Error, Result},
    foresight::Effects,
    metadata::token::Key,
};
use store::{Delta, Saved, Store};

/// What a configuration is made to hold on.
pub trait Dataplane {
    /// Brings it to this configuration.
    ///
    /// # Errors
    ///
    /// Why it can't be.
    fn enforce(&mut self, config: &Config) -> Result<()>;

    /// What that would do to the sessions.
    ///
    /// # Errors
    ///
    /// Why it could not be done.
    fn foresee(&mut self, config: &Config) -> Result<Effects>;

    /// How often the policy was changed since the dataplane was made.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    fn generation(&self) -> Result<u64>;
}

/// What is wanted.
pub struct Desired {
    layers: Layers,
    revision: u64,
    store: Store,
    /// The file is in the store.
    is_saved: bool,
}

/// Why there is nothing to start with.
#[derive(Debug)]
pub enum NoStart {
    /// The store can't be used.
    Store(Error),
    /// File and objects are wrong.
    Config(ConfigErrors),
}

impl Desired {
    /// This file, or else the last one, with the objects of the store.
    ///
    /// # Errors
    ///
    /// Why it can't be.
    pub fn open(store: Store, source: Option<Source>) -> std::result::Result<Self, NoStart> {
        let Saved {
            revision,
            source: last,
            objects,
            gone,
        } = store.read().map_err(NoStart::Store)?;
        let Some(wanted) = source.or_else(|| last.clone()) else {
            return Err(NoStart::Store(Error::Usage(
                "the store holds no configuration yet: give --config FILE".to_owned(),
            )));
        };
        let layers = Layers::load(wanted, objects, gone).map_err(NoStart::Config)?;
        let is_saved = last.as_ref() == Some(layers.source());
        Ok(Self {
            layers,
            revision,
            store,
            is_saved,
        })
    }

    /// The dataplane has come up with it: from now on a start without a file goes on with this one.
    ///
    /// # Errors
    ///
    /// When the store can't be written.
    pub fn confirm(&mut self) -> Result<()> {
        if self.is_saved {
            return Ok(());
        }
        self.save_file()
    }

    /// All that is wanted.
    pub const fn config(&self) -> &Config {
        self.layers.config()
    }

    /// The key that metadata's tokens are made with, the same after every start with this store. A first
    /// one is made of `random` numbers.
    ///
    /// # Errors
    ///
    /// When the store can't be read or written.
    pub fn token_key(&self, random: &mut impl FnMut() -> u64) -> Result<Key> {
        self.store.token_key(random)
    }

    /// Answers an order.
    pub fn obey(&mut self, order: Order, dataplane: &mut impl Dataplane) {
        let answer = self.answer(order.command, order.expected, dataplane);
        // Who has hung up does not want to know.
        let _ = order.answer.send(answer);
    }

    /// Goes on with another file, or makes sure of this one.
    ///
    /// # Errors
    ///
    /// Why it was not taken over.
    pub fn reread(
        &mut self,
        source: Option<Source>,
        dataplane: &mut impl Dataplane,
    ) -> std::result::Result<(), Rejection> {
        match source {
            Some(source) => self.apply(source, dataplane).map(drop),
            None => Ok(dataplane.enforce(self.layers.config())?),
        }
    }

    fn answer(
        &mut self,
        command: Command,
        expected: Option<u64>,
        dataplane: &mut impl Dataplane,
    ) -> Answer {
        if expected.is_some_and(|expected| expected != self.revision) {
            return Err(Rejection::new(
                Cause::Outdated,
                format!(
                    "this is revision {}, and another was expected",
                    self.revision
                ),
                "If-Match",
                "read what has changed, and ask again",
            ));
        }
        let (made, body) = match command {
            Command::List(vpc, kind) => (false, self.list(vpc.as_deref(), kind)?),
            Command::Find(key) => (false, self.find(&key)?),
            Command::Put(key, spec) => {
                let change = self.layers.put(&key, spec);
                let change = change.map_err(|refusal| refused(&key, refusal))?;
                let made = change
                    .as_ref()
                    .is_some_and(|change| change.before.is_none());
                if let Some(change) = change {
                    self.establish(change, dataplane)?;
                }
                (made, self.find(&key)?)
            }
            Command::Delete(key) => {
                let change = self.layers.delete(&key);
                let change = change.map_err(|refusal| refused(&key, refusal))?;
                self.establish(change, dataplane)?;
                let blackholes = self.layers.routes_to(&key).into_iter();
                let blackholes: Vec<_> = blackholes.map(blackhole).collect();
                (
                    false,
                    json!({ "deleted": key.to_string(), "blackholes": blackholes }),
                )
            }
            Command::Apply(source) => (false, json!({ "changes": self.apply(source, dataplane)? })),
            Command::Diff(source) => (false, self.diff(source, dataplane)?),
            Command::Status => (false, self.status(dataplane)?),
        };
        Ok(Reply {
            made,
            revision: self.revision,
            body,
        })
    }

    /// Makes a change of the layers hold, or takes it back.
    fn establish(
        &mut self,
        change: Change,
        dataplane: &mut impl Dataplane,
    ) -> std::result::Result<(), Rejection> {
        let done = dataplane.enforce(self.layers.config()).and_then(|()| {
            self.store.write(&Delta {
                revision: self.revision + 1,
                object: Some((&change.key, change.after.as_deref())),
                gone: Some(self.layers.gone()),
                ..Delta::default()
            })
        });
        match done {
            Ok(()) => {
                self.revision += 1;
                let done = if change.after.is_some() {
                    "put"
                } else {
                    "deleted"
                };
                log::info!("revision {}: {} was {done}", self.revision, change.key);
                Ok(())
            }
            Err(error) => {
                self.layers.undo(change);
                Err(self.restore(error, dataplane))
            }
        }
    }

    /// The dataplane may have been changed halfway, or the store could not follow it.
    fn restore(&self, error: Error, dataplane: &mut impl Dataplane) -> Rejection {
        let rejection = Rejection::from(error);
        if rejection.is_failure()
            && let Err(also) = dataplane.enforce(self.layers.config())
        {
            log::error!("going back to what held before: {also}");
        }
        rejection
    }

    fn save_file(&mut self) -> Result<()> {
        self.store.write(&Delta {
            revision: self.revision + 1,
            source: Some(self.layers.source()),
            gone: Some(self.layers.gone()),
            ..Delta::default()
        })?;
        self.revision += 1;
        self.is_saved = true;
        let (name, revision) = (&self.layers.source().name, self.revision);
        log::info!("revision {revision}: the configuration is that of {name}");
        Ok(())
    }

    fn with_file(&self, source: Source) -> std::result::Result<Layers, Rejection> {
        let (objects, gone) = (self.layers.objects().clone(), self.layers.gone().clone());
        Layers::load(source, objects, gone)
            .map_err(|errors| Rejection::of_config(Cause::Invalid, errors))
    }

    fn apply(
        &mut self,
        source: Source,
        dataplane: &mut impl Dataplane,
    ) -> std::result::Result<Vec<ObjectChange>, Rejection> {
        let layers = self.with_file(source)?;
        let changes = difference(self.layers.file(), layers.file());
        if let Err(error) = dataplane.enforce(layers.config()) {
            return Err(self.restore(error, dataplane));
        }
        if layers.source() == self.layers.source() {
            self.layers = layers;
            return Ok(changes);
        }
        let before = std::mem::replace(&mut self.layers, layers);
        if let Err(error) = self.save_file() {
            self.layers = before;
            return Err(self.restore(error, dataplane));
        }
        Ok(changes)
    }

    fn diff(&self, source: Source, dataplane: &mut impl Dataplane) -> Outcome<Json> {
        let layers = self.with_file(source)?;
        let changes = difference(self.layers.file(), layers.file());
        let (effects, refused) = match dataplane.foresee(layers.config()) {
            Ok(effects) => (effects, None),
            Err(error) => match Rejection::from(error) {
                rejection if rejection.is_failure() => return Err(rejection),
                rejection => (Effects::default(), Some(rejection.errors)),
            },
        };
        Ok(json!({ "changes": changes, "refused": refused, "sessions": effects }))
    }

    fn status(&self, dataplane: &impl Dataplane) -> Outcome<Json> {
        Ok(json!({
            "revision": self.revision,
            "generation": dataplane.generation()?,
            "file": self.layers.source().name,
            "region": self.config().node.region,
            "file_objects": self.layers.file().objects.len(),
            "api_objects": self.layers.objects().len(),
            "gone": self.layers.gone().iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))
    }

    fn list(&self, vpc: Option<&str>, kind: Option<Kind>) -> Outcome<Json> {
        if let Some(vpc) = vpc
            && self.layers.find(&ObjectKey::vpc(vpc)).is_none()
        {
            return Err(refused(&ObjectKey::vpc(vpc), Refusal::Missing));
        }
        let wanted = |key: &&ObjectKey| {
            vpc.is_none_or(|vpc| key.vpc == vpc) && kind.is_none_or(|kind| key.kind == kind)
        };
        let keys: BTreeSet<_> = self.layers.keys().filter(wanted).collect();
        let blackholes = self.blackholes();
        let objects = keys
            .into_iter()
            .filter_map(|key| self.show(key, &blackholes));
        Ok(json!({ "objects": objects.collect::<Vec<_>>() }))
    }

    fn find(&self, key: &ObjectKey) -> Outcome<Json> {
        self.show(key, &self.blackholes())
            .ok_or_else(|| refused(key, Refusal::Missing))
    }

    fn show(&self, key: &ObjectKey, blackholes: &[Blackhole]) -> Option<Json> {
        let found = self.layers.find(key)?;
        let spec: Json = serde_json::from_str(found.spec).unwrap_or_default();
        let mut object = json!({
            "vpc": key.vpc,
            "kind": key.kind.name(),
            "name": key.name,
            "owner": if found.line.is_some() { "file" } else { "api" },
            "spec": spec,
        });
        if let Some(line) = found.line {
            object["where"] = format!("{}:{line}", self.layers.source().name).into();
        }
        let is_its = |hole: &&Blackhole| {
            hole.vpc == key.vpc
                && match key.kind {
                    Kind::RouteTable => hole.table == key.name,
                    Kind::Route => {
                        spec["route_table"] == hole.table.as_str()
                            && spec["destination"] == hole.destination.as_str()
                    }
                    _ => false,
                }
        };
        let its: Vec<_> = blackholes.iter().filter(is_its).collect();
        if !its.is_empty() {
            let destinations = its.iter().map(|hole| hole.destination.as_str());
            object["blackholes"] = destinations.collect();
        }
        Some(object)
    }

    /// Routes whose target is gone.
    fn blackholes(&self) -> Vec<Blackhole> {
        let of = |key: &ObjectKey| {
            let vpc = key.vpc.clone();
            let routes = self.layers.routes_to(key).into_iter();
            routes.map(move |(table, destination)| Blackhole {
                vpc: vpc.clone(),
                table,
                destination,
            })
        };
        self.layers.gone().iter().flat_map(of).collect()
    }
}

type Outcome<T> = std::result::Result<T, Rejection>;

struct Blackhole {
    vpc: String,
    table: String,
    destination: String,
}

fn blackhole((table, destination): (String, String)) -> Json {
    json!({ "route_table": table, "destination": destination })
}

fn refused(key: &ObjectKey, refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::Invalid(errors) => Rejection::of_config(Cause::Invalid, errors),
        Refusal::Needed(errors) => Rejection::of_config(Cause::Conflict, errors),
        Refusal::OfTheFile { file, line } => Rejection::new(
            Cause::Conflict,
            format!("{key} is the file's, and changes with it only"),
            format!("{file}:{line}"),
            "change the file and apply it, or take the object out of it first",
        ),
        Refusal::Missing => Rejection::new(
            Cause::Missing,
            format!("there is no {key}"),
            key.to_string(),
            "see which there are with `nat get`",
        ),
    }
}
