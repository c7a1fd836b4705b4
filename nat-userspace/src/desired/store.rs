//! What must outlive the controller: the API's objects, the last file, how often both changed, and what
//! tokens are made with. An embedded database; a change is on the disk before it is acknowledged.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    mem::ManuallyDrop,
    os::unix::fs::OpenOptionsExt as _,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process,
    sync::Once,
};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend as _,
    TableDefinition, TableError,
    backends::{FileBackend, InMemoryBackend},
};

use crate::{
    config::objects::{ObjectKey, Objects, Source},
    error::{Error, Result},
    metadata::token::Key,
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
/// Names to random bytes. Stores of before have none, and earlier versions pass it over.
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
/// Of the key in there that metadata's tokens are made with.
const TOKEN_KEY: &str = "metadata_token_key";

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
        if !path.exists() {
            return Self::make(path);
        }
        let unusable = |error: io::Error| unusable(path, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(unusable)?;
        // The database does so, too, but what another one writes meanwhile looks damaged.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(of_database(path, DatabaseError::DatabaseAlreadyOpen));
        }
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).map_err(unusable)?;
        verify(path, bytes)?;
        let backend = FileBackend::new(file).map_err(|error| of_database(path, error))?;
        let opened = quietly(|| Database::builder().create_with_backend(backend));
        let database = opened.map_err(|panic| damaged(path, &panic))?;
        Ok(Self {
            path: path.to_owned(),
            database: database.map_err(|error| of_database(path, error))?,
        })
    }

    /// Under another name until it is whole, so that a start that is killed leaves no half of one.
    fn make(path: &Path) -> Result<Self> {
        let unusable = |error: io::Error| unusable(path, &error);
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unusable)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.new", process::id()));
        let unfinished = PathBuf::from(unfinished);
        let made = || -> Result<Self> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)
                .map_err(unusable)?;
            let store = Self {
                path: path.to_owned(),
                database: FileBackend::new(file)
                    .and_then(|file| Database::builder().create_with_backend(file))
                    .map_err(|error| of_database(path, error))?,
            };
            store.write(&Delta::default())?;
            // Fails when another controller was faster.
            fs::hard_link(&unfinished, path).map_err(unusable)?;
            Ok(store)
        };
        let store = made();
        let removed = fs::remove_file(&unfinished);
        let store = store?;
        // The file's name is on the disk, too.
        removed
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(unusable)?;
        Ok(store)
    }

    /// All that is in it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], also when something in it is of no meaning to this version.
    pub fn read(&self) -> Result<Saved> {
        quietly(|| self.try_read())
            .map_err(|panic| damaged(&self.path, &panic))?
            .map_err(|error| self.broken(&error))?
    }

    fn try_read(&self) -> Result<Result<Saved>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut saved = Saved::default();
        let numbers = transaction.open_table(NUMBERS)?;
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
        // The database falls back to the commit before the last when that is damaged, or when the one bit
        // is that says which is the last. So the one before has to have the change, too.
        let again = Delta {
            revision: delta.revision,
            ..Delta::default()
        };
        self.try_write(delta)
            .and_then(|()| self.try_write(&again))
            .map_err(|error| self.broken(&error))
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

    /// The key of metadata's tokens; when there is none yet, one is made of `random` numbers and kept.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub fn token_key(&self, random: &mut impl FnMut() -> u64) -> Result<Key> {
        let kept = quietly(|| self.try_token_key())
            .map_err(|panic| damaged(&self.path, &panic))?
            .map_err(|error| self.broken(&error))?;
        if let Some(key) = kept {
            return Ok(Key::new(key));
        }
        let key = Key::random(random);
        // Twice, as each change is written.
        self.try_write_token_key(&key)
            .and_then(|()| self.try_write_token_key(&key))
            .map_err(|error| self.broken(&error))?;
        Ok(key)
    }

    /// `None` also when it is of another length, which is another version's.
    fn try_token_key(&self) -> Result<Option<[u8; Key::BYTES]>, redb::Error> {
        let secrets = match self.database.begin_read()?.open_table(SECRETS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            secrets => secrets?,
        };
        let key = secrets.get(TOKEN_KEY)?;
        Ok(key.and_then(|key| key.value().try_into().ok()))
    }

    fn try_write_token_key(&self, key: &Key) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let bytes = key.bytes().as_slice();
        transaction.open_table(SECRETS)?.insert(TOKEN_KEY, bytes)?;
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

/// Checks every checksum and reads all, or refuses. It is done with a copy, because the database mends
/// what it opens.
fn verify(path: &Path, bytes: Vec<u8>) -> Result<Saved> {
    if bytes.is_empty() {
        return Err(Error::Store {
            path: path.to_owned(),
            what: "is damaged: it is empty".to_owned(),
            remedy: "restore a copy of it, or remove it to begin anew without the API's objects",
        });
    }
    let opened = quietly(|| {
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64)?;
        copy.write(0, &bytes)?;
        drop(bytes);
        // What panics is not closed: that would be one panic too many.
        let mut builder = Database::builder();
        let copy = builder
            .set_check_integrity_on_open(true)
            .create_with_backend(copy)?;
        let copy = ManuallyDrop::new(Store {
            path: path.to_owned(),
            database: copy,
        });
        let saved = copy.try_read();
        drop(ManuallyDrop::into_inner(copy));
        Ok::<_, DatabaseError>(saved)
    });
    match opened {
        Err(panic) => Err(damaged(path, &panic)),
        Ok(Err(error)) => Err(of_database(path, error)),
        Ok(Ok(Err(error))) => Err(damaged(path, &error.to_string())),
        Ok(Ok(Ok(saved))) => saved,
    }
}

/// The database panics at some of what is damaged: its message, and nothing on the standard error.
fn quietly<T>(action: impl FnOnce() -> T) -> std::result::Result<T, String> {
    thread_local! {
        static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                loud(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(action));
    IS_QUIET.set(false);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("it can't be read").to_owned()
    })
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::Store {
        path: path.to_owned(),
        what: format!("cannot be opened: {error}"),
        remedy: "name another one with --store, or do without the API with --no-api",
    }
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::Store {
        path: path.to_owned(),
        what: format!("is damaged, or no store: {why}"),
        remedy: "nothing of it was thrown away; restore a copy of it, or name another store with --store",
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
        other => return damaged(path, &other.to_string()),
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
        time::Duration,
    };

    use super::*;
    use crate::metadata::token::{Holder, issue};

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
    fn the_key_of_tokens_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        // Keys are not shown: what they come to is.
        let token = |key: &Key| {
            let holder = Holder {
                vpc: "main",
                id: "i-1",
                private_ip: [10, 0, 0, 4].into(),
            };
            issue(key, &holder, Duration::from_secs(1))
        };
        let store = Store::open(&path).expect("a store");
        let mut next = 0;
        let mut random = || {
            next += 1;
            next
        };
        let made = token(&store.token_key(&mut random).expect("a key"));
        // No part of it is left out.
        assert_ne!(made, token(&Key::random(&mut || 1)));
        let changed = key(1);
        store
            .write(&delta(1, &changed, Some("{}")))
            .expect("written");
        drop(store);
        let store = Store::open(&path).expect("a store");
        let kept = store.token_key(&mut random).expect("a key");
        assert_eq!(token(&kept), made);
        assert_eq!(random(), 5, "four numbers make a key");
        let saved = store.read().expect("a store");
        assert_eq!((saved.revision, saved.objects.len()), (1, 1));
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

    /// Closed, and as a kill leaves it.
    fn closed_and_killed() -> [Vec<u8>; 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        let store = Store::open(&path).expect("a store");
        for number in 1..=4 {
            let spec = format!("{{\"number\":{number}}}");
            let gone = BTreeSet::from([key(100 + number)]);
            let key = key(number);
            let change = Delta {
                gone: Some(&gone),
                ..delta(number, &key, Some(&spec))
            };
            store.write(&change).expect("written");
        }
        let killed = fs::read(&path).expect("its bytes");
        drop(store);
        [fs::read(&path).expect("its bytes"), killed]
    }

    #[test]
    fn a_flipped_bit_is_harmless_or_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        for whole in closed_and_killed() {
            let expected = verify(&path, whole.clone()).expect("whole");
            assert_eq!((expected.revision, expected.objects.len()), (4, 4));
            // Of the head's first bytes every bit; of the rest what is not empty: all of it takes minutes.
            let written = |at: &usize| whole.get(*at).is_some_and(|byte| *byte != 0);
            let rest = (64..whole.len()).filter(written).step_by(31);
            let rest = rest.enumerate().map(|(number, at)| (at, number % 8));
            let head = (0..12).flat_map(|at| (0..8).map(move |bit| (at, bit)));
            let slots = (64..320).step_by(3).map(|at| (at, at % 8));
            let mut refused = 0;
            for (at, bit) in head.chain(slots).chain(rest) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                match verify(&path, bytes.clone()) {
                    Ok(saved) => assert_eq!(saved, expected, "bit {bit} of byte {at}"),
                    Err(error) => {
                        refused += 1;
                        let text = error.to_string();
                        // Of the number of its format, one bit makes another one.
                        let whys = ["is damaged, or no store", "was made by another version"];
                        assert!(whys.iter().any(|why| text.contains(why)), "{text}");
                        if refused % 16 == 1 {
                            fs::write(&path, &bytes).expect("written");
                            assert!(Store::open(&path).is_err(), "bit {bit} of byte {at}");
                            assert_eq!(fs::read(&path).expect("its bytes"), bytes);
                        }
                    }
                }
            }
            assert!(refused > 0);
            fs::write(&path, &whole).expect("written");
            let saved = Store::open(&path).and_then(|store| store.read());
            assert_eq!(saved.expect("whole"), expected);
        }
    }

    #[test]
    fn an_empty_file_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        fs::write(&path, "").expect("written");
        let text = Store::open(&path).err().expect("refused").to_string();
        assert!(text.contains("remove it to begin anew"), "{text}");
        assert_eq!(fs::read(&path).expect("its bytes"), b"");
        fs::remove_file(&path).expect("removed");
        drop(Store::open(&path).expect("a store"));
        let files = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "nothing unfinished is left");
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
