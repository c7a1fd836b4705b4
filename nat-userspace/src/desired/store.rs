//! What must outlive the controller: the API's objects, the last file, and how often both changed. An
//! embedded database; a change is on the disk before it is acknowledged.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    TableError, backends::FileBackend,
};

use crate::{
    config::objects::{ObjectKey, Objects, Source},
    error::{Error, Result},
};

/// Where it is when nobody says otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/nat/state.redb";

/// Of the tables below. Another one is refused.
const FORMAT: u64 = 1;
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");
/// `vpc/kind/name` to JSON.
const OBJECTS: TableDefinition<'_, &str, &str> = TableDefinition::new("objects");
/// `vpc/kind/name` of what the API has deleted while routes led to it.
const GONE: TableDefinition<'_, &str, ()> = TableDefinition::new("gone");

/// An open store; no other process can open it meanwhile.
pub struct Store {
    path: PathBuf,
    database: Database,
}

/// What is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// How often something changed.
    pub revision: u64,
    /// The last file.
    pub source: Option<Source>,
    /// The API's objects.
    pub objects: Objects,
    /// Deleted while routes led to them.
    pub gone: BTreeSet<ObjectKey>,
}

/// What changes at once.
#[derive(Default)]
pub struct Delta<'a> {
    /// The revision that it makes.
    pub revision: u64,
    /// Another file.
    pub source: Option<&'a Source>,
    /// An object's new value, or that it goes.
    pub object: Option<(&'a ObjectKey, Option<&'a str>)>,
    /// All that is gone.
    pub gone: Option<&'a BTreeSet<ObjectKey>>,
}

impl Store {
    /// Opens it, or makes an empty one, which only its owner can read.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: it is damaged, of another version, or in use. It is left as it is.
    pub fn open(path: &Path) -> Result<Self> {
        let is_new = !path.exists();
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let unusable = |error: io::Error| Error::Store {
            path: path.to_owned(),
            what: format!("cannot be opened: {error}"),
            remedy: "name another one with --store, or do without the API with --no-api",
        };
        if is_new {
            fs::create_dir_all(folder).map_err(unusable)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        let database = FileBackend::new(file)
            .and_then(|file| Database::builder().create_with_backend(file))
            .map_err(|error| of_database(path, error))?;
        let store = Self {
            path: path.to_owned(),
            database,
        };
        if is_new {
            store.write(&Delta::default())?;
            // The file's name is on the disk, too.
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(unusable)?;
        }
        Ok(store)
    }

    /// All that is in it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], also when something in it is of no meaning to this version.
    pub fn read(&self) -> Result<Saved> {
        self.try_read().map_err(|error| self.broken(&error))?
    }

    fn try_read(&self) -> Result<Result<Saved>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut saved = Saved::default();
        let numbers = match transaction.open_table(NUMBERS) {
            // A start that was killed has made the file and nothing in it.
            Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(saved)),
            other => other?,
        };
        let format = numbers.get("format")?.map_or(0, |format| format.value());
        if format != FORMAT {
            return Ok(Err(self.error(
                format!("is of format {format}, and this version reads {FORMAT}"),
                "run the version that made it, or name another store with --store",
            )));
        }
        saved.revision = numbers.get("revision")?.map_or(0, |number| number.value());
        let texts = transaction.open_table(TEXTS)?;
        if let (Some(name), Some(text)) = (texts.get("name")?, texts.get("text")?) {
            saved.source = Some(Source {
                name: name.value().to_owned(),
                text: text.value().to_owned(),
            });
        }
        let unknown = |key: &str| {
            self.error(
                format!("holds {key:?}, which this version does not know"),
                "run the version that made it, or name another store with --store",
            )
        };
        for entry in transaction.open_table(OBJECTS)?.iter()? {
            let (key, spec) = entry?;
            let Ok(parsed) = key.value().parse() else {
                return Ok(Err(unknown(key.value())));
            };
            saved.objects.insert(parsed, spec.value().to_owned());
        }
        for entry in transaction.open_table(GONE)?.iter()? {
            let (key, _) = entry?;
            let Ok(parsed) = key.value().parse() else {
                return Ok(Err(unknown(key.value())));
            };
            saved.gone.insert(parsed);
        }
        Ok(Ok(saved))
    }

    /// Makes a change; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; all of the change or none of it is there then.
    pub fn write(&self, delta: &Delta<'_>) -> Result<()> {
        self.try_write(delta).map_err(|error| self.broken(&error))
    }

    fn try_write(&self, delta: &Delta<'_>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut numbers = transaction.open_table(NUMBERS)?;
            numbers.insert("format", FORMAT)?;
            numbers.insert("revision", delta.revision)?;
            let mut texts = transaction.open_table(TEXTS)?;
            if let Some(source) = delta.source {
                texts.insert("name", source.name.as_str())?;
                texts.insert("text", source.text.as_str())?;
            }
            let mut objects = transaction.open_table(OBJECTS)?;
            match delta.object {
                Some((key, Some(spec))) => drop(objects.insert(key.to_string().as_str(), spec)?),
                Some((key, None)) => drop(objects.remove(key.to_string().as_str())?),
                None => {}
            }
            let mut gone = transaction.open_table(GONE)?;
            if let Some(all) = delta.gone {
                gone.retain(|key, ()| key.parse().is_ok_and(|key| all.contains(&key)))?;
                for key in all {
                    gone.insert(key.to_string().as_str(), ())?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn error(&self, what: String, remedy: &'static str) -> Error {
        Error::Store {
            path: self.path.clone(),
            what,
            remedy,
        }
    }

    fn broken(&self, error: &redb::Error) -> Error {
        self.error(
            format!("cannot be used: {error}"),
            "nothing of it was thrown away; see to its disk, or restore a copy of it",
        )
    }
}

fn of_database(path: &Path, error: DatabaseError) -> Error {
    let (what, remedy) = match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => (
            "is in use by another controller".to_owned(),
            "stop that one first, or name another store with --store",
        ),
        DatabaseError::UpgradeRequired(_) => (
            format!("was made by another version: {error}"),
            "run the version that made it, or name another store with --store",
        ),
        other => (
            format!("is damaged, or no store: {other}"),
            "nothing of it was thrown away; restore a copy of it, or name another store with --store",
        ),
    };
    Error::Store {
        path: path.to_owned(),
        what,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        process::{Command, Stdio},
    };

    use super::*;

    fn delta<'a>(revision: u64, key: &'a ObjectKey, spec: Option<&'a str>) -> Delta<'a> {
        Delta {
            revision,
            object: Some((key, spec)),
            ..Delta::default()
        }
    }

    fn key(number: u64) -> ObjectKey {
        format!("main/instance/i{number}").parse().expect("a key")
    }

    #[test]
    fn what_is_written_is_there_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deeper/state.redb");
        let store = Store::open(&path).expect("a store");
        assert_eq!(store.read().expect("empty"), Saved::default());
        let source = Source {
            name: "file.toml".to_owned(),
            text: "[node]".to_owned(),
        };
        let (kept, removed) = (key(1), key(2));
        store.write(&delta(1, &kept, Some("{}"))).expect("written");
        store
            .write(&delta(2, &removed, Some("{}")))
            .expect("written");
        let gone = BTreeSet::from([key(9)]);
        let last = Delta {
            source: Some(&source),
            gone: Some(&gone),
            ..delta(3, &removed, None)
        };
        store.write(&last).expect("written");
        assert!(matches!(Store::open(&path), Err(Error::Store { .. })));
        drop(store);
        let saved = Store::open(&path).and_then(|store| store.read());
        let expected = Saved {
            revision: 3,
            source: Some(source),
            objects: Objects::from([(kept, "{}".to_owned())]),
            gone,
        };
        assert_eq!(saved.expect("a store"), expected);
    }

    #[test]
    fn a_store_that_is_not_ours_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        drop(Store::open(&path).expect("a store"));
        let good = fs::read(&path).expect("its bytes");
        let mut damaged = good.clone();
        damaged[..64].fill(0xff);
        for bytes in [
            damaged,
            b"not a database at all".to_vec(),
            good[..100].to_vec(),
        ] {
            fs::write(&path, &bytes).expect("written");
            let refused = Store::open(&path).and_then(|store| store.read()).err();
            let text = refused.expect("refused").to_string();
            assert!(text.contains("state.redb"), "{text}");
            assert!(text.contains("nothing of it was thrown away"), "{text}");
            assert_eq!(fs::read(&path).expect("its bytes"), bytes);
        }
        fs::write(&path, good).expect("written");
        let newer = Store::open(&path).expect("a store");
        let transaction = newer.database.begin_write().expect("begun");
        transaction
            .open_table(NUMBERS)
            .and_then(|mut numbers| Ok(numbers.insert("format", 2).map(drop)?))
            .expect("written");
        transaction.commit().expect("committed");
        let text = newer.read().expect_err("refused").to_string();
        assert!(text.contains("is of format 2"), "{text}");
    }

    const CHILD: &str = "NAT_TEST_STORE";

    /// Not a test of its own: what [`what_is_acknowledged_survives_kill_nine`] kills.
    #[test]
    fn writer_that_is_killed() {
        let Some(path) = std::env::var_os(CHILD) else {
            return;
        };
        let store = Store::open(Path::new(&path)).expect("a store");
        let first = store.read().expect("read").revision;
        for number in first + 1.. {
            store
                .write(&delta(number, &key(number), Some("{}")))
                .expect("written");
            let mut out = io::stdout().lock();
            writeln!(out, "\nacknowledged {number}").expect("said");
            out.flush().expect("said");
        }
    }

    #[test]
    fn what_is_acknowledged_survives_kill_nine() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        let mut acknowledged = 0;
        for round in 1..6 {
            let mut child = Command::new(std::env::current_exe().expect("this program"))
                .args([
                    "--nocapture",
                    "--exact",
                    "desired::store::tests::writer_that_is_killed",
                ])
                .env(CHILD, &path)
                .stdout(Stdio::piped())
                .spawn()
                .expect("a child");
            let out = child.stdout.take().expect("its output");
            let numbers = BufReader::new(out).lines().map_while(|line| line.ok());
            let mut numbers =
                numbers.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
            for _ in 0..7 * round {
                acknowledged = numbers.next().expect("acknowledged");
            }
            child.kill().expect("killed");
            child.wait().expect("ended");
            acknowledged = numbers.last().unwrap_or(acknowledged);
            let saved = Store::open(&path)
                .and_then(|store| store.read())
                .expect("a store");
            let count = saved.objects.len() as u64;
            assert_eq!(count, saved.revision);
            assert!(
                count == acknowledged || count == acknowledged + 1,
                "{count} of {acknowledged}"
            );
            acknowledged = count;
        }
    }
}
