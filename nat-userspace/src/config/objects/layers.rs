//! A file's objects and the API's, checked as one configuration.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::{
    File, Found, Kind, ObjectKey, Objects, Refusal, Source,
    exchange::{self, Step},
    file::parsed,
    follow, json,
    parts::{self, Part},
};
use crate::config::{
    self, Config, ConfigErrors, Vpc,
    draft::{Draft, RouteTableDraft, VpcDraft},
    place::Report,
    validate::{self, Scope},
};

/// The configuration by its owners.
pub struct Layers {
    source: Source,
    file: File,
    objects: Objects,
    /// Deleted by the API while routes led to them.
    gone: BTreeSet<ObjectKey>,
    draft: Draft,
    config: Config,
}

/// A change that can still be undone.
pub struct Change {
    /// What was changed.
    pub key: ObjectKey,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
    part: Option<Part>,
    gone_before: BTreeSet<ObjectKey>,
}

impl Layers {
    /// Reads and checks all together.
    ///
    /// # Errors
    ///
    /// Every mistake at once; those of the API's objects, also of one that the file declares too, are
    /// named by their keys.
    pub fn load(
        source: Source,
        objects: Objects,
        mut gone: BTreeSet<ObjectKey>,
    ) -> Result<Self, ConfigErrors> {
        let mut report = Report::new(&source.name, &source.text);
        let document = config::document(&source.text, &mut report)?;
        let mut draft = config::parse::document(&document, &mut report);
        let file = File::of(&document, &report);
        drop(document);
        for (key, spec) in &objects {
            // Each on its own, so that one mistake does not hide those of others.
            let mut own = Report::new(&source.name, "");
            if let Some(written) = file.objects.get(key) {
                own.error(
                    &key.place(),
                    format!("{}:{} declares it, too", source.name, written.line),
                    format!("delete {key} by the API, or take it out of the file"),
                );
            } else if let Some(part) = read(key, &parsed(spec), &mut own) {
                exchange::exchange(&mut draft, key, Some(part), &mut own);
            }
            report.append(&mut own);
        }
        gone.retain(|key| !objects.contains_key(key) && !file.objects.contains_key(key));
        forget(&draft, &mut gone);
        for vpc in &mut draft.vpcs {
            vpc.gone = gone_of(vpc, &gone);
        }
        validate::check(&draft, &mut report);
        if report.has_errors() {
            return Err(report.finish());
        }
        let Some(config) = draft.clone().build() else {
            return Err(config::incomplete(report));
        };
        Ok(Self {
            source,
            file,
            objects,
            gone,
            draft,
            config,
        })
    }

    /// All together.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The file.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The file taken apart.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The API's.
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Deleted by the API while routes led to them, and not there again.
    pub const fn gone(&self) -> &BTreeSet<ObjectKey> {
        &self.gone
    }

    /// The object of this name.
    pub fn find(&self, key: &ObjectKey) -> Option<Found<'_>> {
        let of_api = self.objects.get(key).map(|spec| Found { line: None, spec });
        of_api.or_else(|| {
            let written = self.file.objects.get(key)?;
            Some(Found {
                line: Some(written.line),
                spec: &written.spec,
            })
        })
    }

    /// Every object, the file's first.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.file.objects.keys().chain(self.objects.keys())
    }

    /// Puts an object of the API in its place; `None` when it is there already.
    ///
    /// # Errors
    ///
    /// Nothing was changed then.
    pub fn put(
        &mut self,
        key: &ObjectKey,
        mut spec: Map<String, Json>,
    ) -> Result<Option<Change>, Refusal> {
        self.refuse_files_own(key)?;
        let mut report = Report::new(&self.source.name, "");
        match spec.remove("name") {
            Some(name) if name != key.name.as_str() => report.error(
                &key.place().child("name"),
                "it has another name in the path",
                "leave name out",
            ),
            _ => {}
        }
        let text = Json::Object(spec.clone()).to_string();
        if self.objects.get(key) == Some(&text) && !report.has_errors() {
            return Ok(None);
        }
        let part = read(key, &spec, &mut report);
        let (Some(part), false) = (part, report.has_errors()) else {
            return Err(Refusal::Invalid(report.finish()));
        };
        let mut gone = self.gone.clone();
        gone.remove(key);
        let change = self.change(key, Some((part, text)), gone);
        change.map(Some).map_err(Refusal::Invalid)
    }

    /// Takes an object of the API away. Routes to a gateway, an instance or an endpoint keep their
    /// target, and are compiled as routes to what is gone.
    ///
    /// # Errors
    ///
    /// Nothing was changed then.
    pub fn delete(&mut self, key: &ObjectKey) -> Result<Change, Refusal> {
        self.refuse_files_own(key)?;
        if !self.objects.contains_key(key) {
            return Err(Refusal::Missing);
        }
        self.refuse_filled(key)?;
        let mut gone = self.gone.clone();
        if key.target().is_some() {
            gone.insert(key.clone());
        }
        self.change(key, None, gone).map_err(|mut errors| {
            for error in &mut errors.0 {
                error.message = format!("without {key} {}", error.message);
                "change or delete what is here first".clone_into(&mut error.remedy);
            }
            Refusal::Needed(errors)
        })
    }

    /// Takes a change back.
    pub fn undo(&mut self, change: Change) {
        let Change {
            key,
            before,
            part,
            gone_before,
            ..
        } = change;
        self.remember(&key, before);
        // The draft was valid before.
        let followed = self
            .exchange(&key, part, gone_before)
            .is_ok_and(|(_, steps)| {
                follow::follow(&mut self.config, &self.draft, &steps).is_some()
            });
        debug_assert!(followed);
    }

    /// The routes to an object, as table and destination.
    pub fn routes_to(&self, key: &ObjectKey) -> Vec<(String, String)> {
        let Some(target) = key.target() else {
            return Vec::new();
        };
        let tables = exchange::tables_to(&self.draft, &key.vpc, &target).into_iter();
        tables
            .flat_map(|(_, table)| {
                let routes = table.routes.iter();
                let routes = routes.filter(|route| route.target.value() == Some(&target));
                routes.filter_map(|route| {
                    let destination = route.destination.value()?.to_string();
                    Some((table.name.value()?.clone(), destination))
                })
            })
            .collect()
    }

    fn refuse_files_own(&self, key: &ObjectKey) -> Result<(), Refusal> {
        match self.file.objects.get(key) {
            Some(written) => Err(Refusal::OfTheFile {
                file: self.source.name.clone(),
                line: written.line,
            }),
            None => Ok(()),
        }
    }

    /// A VPC goes last, and so does a table: what is in them has owners of its own.
    fn refuse_filled(&self, key: &ObjectKey) -> Result<(), Refusal> {
        let is_in_it = |other: &&ObjectKey| match key.kind {
            Kind::Vpc => other.vpc == key.vpc && *other != key,
            Kind::RouteTable => {
                let in_table = || {
                    let spec = self.objects.get(*other).map(|spec| parsed(spec));
                    spec.is_some_and(|spec| {
                        spec.get("route_table") == Some(&key.name.as_str().into())
                    })
                };
                other.vpc == key.vpc && other.kind == Kind::Route && in_table()
            }
            _ => false,
        };
        let mut report = Report::new("", "");
        if let Some(other) = self.objects.keys().find(is_in_it) {
            report.error(
                &key.place(),
                format!("{other} is in it"),
                "delete what is in it first",
            );
            return Err(Refusal::Needed(report.finish()));
        }
        Ok(())
    }

    fn change(
        &mut self,
        key: &ObjectKey,
        new: Option<(Part, String)>,
        gone: BTreeSet<ObjectKey>,
    ) -> Result<Change, ConfigErrors> {
        let (part, after) = new.unzip();
        let gone_before = self.gone.clone();
        // Otherwise no route leads to it, as that would have been a mistake.
        let is_known = self.objects.contains_key(key) || self.gone.contains(key);
        let (part, steps) = self.exchange(key, part, gone)?;
        if let Some(errors) = self.mistakes(key, is_known) {
            // The configuration has not followed yet.
            self.exchange(key, part, gone_before)?;
            return Err(errors);
        }
        let change = Change {
            key: key.clone(),
            before: self.objects.get(key).cloned(),
            after,
            part,
            gone_before,
        };
        self.remember(key, change.after.clone());
        if follow::follow(&mut self.config, &self.draft, &steps).is_none() {
            self.undo(change);
            return Err(config::incomplete(Report::new(&self.source.name, "")));
        }
        Ok(change)
    }

    fn remember(&mut self, key: &ObjectKey, spec: Option<String>) {
        match spec {
            Some(spec) => self.objects.insert(key.clone(), spec),
            None => self.objects.remove(key),
        };
    }

    /// What the changed draft has of mistakes. They are found without the file's text, which is only
    /// looked through for lines when there are some.
    fn mistakes(&self, key: &ObjectKey, is_known: bool) -> Option<ConfigErrors> {
        let target = key.target().filter(|_| is_known);
        let tables = |table: &RouteTableDraft| match key.kind {
            Kind::Vpc => true,
            Kind::RouteTable => table.name.value() == Some(&key.name),
            Kind::Route => {
                let mut routes = table.routes.iter();
                routes.any(|route| route.object.as_ref() == Some(&key.name))
            }
            // A route may lead a part of a list to an endpoint.
            Kind::PrefixList => {
                exchange::names_list(table, &key.name) || exchange::leads_to_endpoint(table)
            }
            _ => {
                let leads_to = |target| exchange::leads_to(table, target);
                target.as_ref().is_some_and(leads_to)
            }
        };
        // Who is filtered how, where instances are, and who answers for a service, makes no way for others.
        let no_ways = [
            Kind::Instance,
            Kind::SecurityGroup,
            Kind::NetworkAcl,
            Kind::Rack,
            Kind::Host,
            Kind::PlacementGroup,
            Kind::TargetGroup,
            Kind::LoadBalancer,
            Kind::EndpointService,
            Kind::EndpointAcceptance,
            Kind::Endpoint,
            Kind::Proxy,
        ];
        let scope = Scope {
            vpc: Some(&key.vpc),
            ways: !no_ways.contains(&key.kind),
            tables: &tables,
            newest: (key.kind == Kind::Instance).then_some(key.name.as_str()),
        };
        let mut report = Report::new(&self.source.name, "");
        validate::check_again(&self.draft, &mut report, &scope);
        if !report.has_errors() {
            return None;
        }
        let mut report = Report::new(&self.source.name, &self.source.text);
        validate::check_again(&self.draft, &mut report, &scope);
        Some(report.finish())
    }

    /// The draft with another part and other targets gone; what was there, and the steps to follow.
    fn exchange(
        &mut self,
        key: &ObjectKey,
        part: Option<Part>,
        mut gone: BTreeSet<ObjectKey>,
    ) -> Result<(Option<Part>, Vec<Step>), ConfigErrors> {
        let mut report = Report::new(&self.source.name, "");
        let (old, steps) = exchange::exchange(&mut self.draft, key, part, &mut report);
        if report.has_errors() {
            return Err(report.finish());
        }
        forget(&self.draft, &mut gone);
        if gone != self.gone {
            self.gone = gone;
            for vpc in &mut self.draft.vpcs {
                vpc.gone = gone_of(vpc, &self.gone);
            }
        }
        Ok((old, steps))
    }
}

/// The VPCs that objects make up, whoever owns them, as a controller lists them. It has checked them.
///
/// # Errors
///
/// What can't be read.
pub fn vpcs(objects: &Objects) -> Result<Vec<Vpc>, ConfigErrors> {
    let mut report = Report::new("", "");
    let mut draft = Draft::default();
    for (key, spec) in objects {
        if let Some(part) = read(key, &parsed(spec), &mut report) {
            exchange::exchange(&mut draft, key, Some(part), &mut report);
        }
    }
    if report.has_errors() {
        return Err(report.finish());
    }
    let built = draft.vpcs.into_iter().map(VpcDraft::build);
    built
        .collect::<Option<_>>()
        .ok_or_else(|| config::incomplete(report))
}

/// Of what is gone, only what a route still leads to is remembered: a route that is made later must not
/// lead to what is not there.
fn forget(draft: &Draft, gone: &mut BTreeSet<ObjectKey>) {
    gone.retain(|key| {
        let target = key.target();
        target.is_some_and(|target| !exchange::tables_to(draft, &key.vpc, &target).is_empty())
    });
}

fn gone_of(vpc: &VpcDraft, gone: &BTreeSet<ObjectKey>) -> Vec<config::Target> {
    let gone = gone.iter().filter(|key| vpc.name.value() == Some(&key.vpc));
    gone.filter_map(ObjectKey::target).collect()
}

/// The object under the name that its key gives it.
fn read(key: &ObjectKey, spec: &Map<String, Json>, report: &mut Report<'_>) -> Option<Part> {
    let place = key.place();
    if key.kind == Kind::Vpc
        && let Some(part) = Kind::ALL
            .map(Kind::name)
            .iter()
            .find(|part| spec.contains_key(**part))
    {
        report.error(
            &place,
            format!("{part} is no part of this object, as it is in the VPC"),
            format!("put each as an object of its own, under {part}/NAME"),
        );
        return None;
    }
    match json::table(&key.name, spec) {
        Ok(table) => parts::read(key, &table, report),
        Err(unsayable) => {
            report.error(
                &place,
                format!("{}: {}", unsayable.key, unsayable.what),
                "leave the key out, or give it another value",
            );
            None
        }
    }
}
