//! Mounts as the command line has them: `-v` and `--mount`, read as Docker reads them.

use std::collections::BTreeMap;

use super::{MountError, VolumeWish, Wish};
use crate::bind::{self, Bind, clean_target};
use crate::size::parse_bytes;

/// Keys of `--mount` that are given once; the second form is what the first is kept as.
const KEYS: [(&str, &str); 20] = [
    ("type", "type"),
    ("source", "source"),
    ("src", "source"),
    ("target", "target"),
    ("dst", "target"),
    ("destination", "target"),
    ("readonly", "readonly"),
    ("ro", "readonly"),
    ("consistency", "consistency"),
    ("bind-propagation", "bind-propagation"),
    ("bind-nonrecursive", "bind-nonrecursive"),
    ("bind-recursive", "bind-recursive"),
    ("bind-create-src", "bind-create-src"),
    ("volume-nocopy", "volume-nocopy"),
    ("volume-driver", "volume-driver"),
    ("volume-subpath", "volume-subpath"),
    ("volume-label", "volume-label"),
    ("volume-opt", "volume-opt"),
    ("tmpfs-size", "tmpfs-size"),
    ("tmpfs-mode", "tmpfs-mode"),
];

/// Reads `-v [SOURCE:]PATH[:OPTIONS]`: a source with a slash or a dot at its beginning is the host's, relative to the working
/// directory, any other a volume's name. Answers the place in the container too.
///
/// # Errors
/// What cannot be read.
pub fn volume(text: &str) -> Result<(String, Wish), MountError> {
    let wrong = || MountError::Specification(text.to_owned());
    let (source, target, mode) = match text.split(':').collect::<Vec<_>>().as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, mode] => (Some(*source), *target, *mode),
        _ => return Err(wrong()),
    };
    if target.is_empty() || source.is_some_and(str::is_empty) {
        return Err(wrong());
    }
    if let Some(source) = source.filter(|source| source.starts_with(['/', '.'])) {
        let bind = Bind::new(source, target, bind::read_only(mode)?, true)?;
        return Ok((bind.target.clone(), Wish::Bind(bind)));
    }
    Ok((clean_target(target)?, Wish::Volume(VolumeWish::with_mode(source, mode)?)))
}

/// Reads `--mount type=…,source=…,target=…`. Answers the place in the container too.
///
/// # Errors
/// What cannot be read.
pub fn mount(text: &str) -> Result<(String, Wish), MountError> {
    let wrong = |why: String| MountError::Argument { text: text.to_owned(), why };
    let mut fields = Fields::read(text).map_err(wrong)?;
    let kind = fields.take("type").unwrap_or_else(|| "volume".to_owned());
    let target = fields.take("target").ok_or_else(|| wrong("target is required".to_owned()))?;
    let source = fields.take("source").filter(|source| !source.is_empty());
    let read_only = fields.truth("readonly").map_err(wrong)?;
    // Hints for hosts whose files come over a network.
    let _ = fields.take("consistency");
    let wish = match kind.as_str() {
        "bind" => {
            let source = source.ok_or_else(|| wrong("source is required".to_owned()))?;
            bind::check_propagation(&fields.take("bind-propagation").unwrap_or_default())?;
            let recursive = fields.take("bind-recursive").is_none_or(|value| value == "enabled");
            if fields.truth("bind-nonrecursive").map_err(wrong)? || !recursive {
                return Err(wrong("a bind without the mounts below it is not supported".to_owned()));
            }
            let create = fields.truth("bind-create-src").map_err(wrong)?;
            Wish::Bind(Bind::new(&source, &target, read_only, create)?)
        }
        "volume" => Wish::Volume(fields.volume(source, read_only).map_err(wrong)?),
        "tmpfs" if source.is_some() => return Err(wrong("a tmpfs has no source".to_owned())),
        "tmpfs" => Wish::Tmpfs(fields.tmpfs(read_only).map_err(wrong)?),
        other => return Err(wrong(format!("type={other} is not supported: write volume, bind or tmpfs"))),
    };
    match fields.first_left() {
        Some(left) => Err(wrong(format!("'{left}' means nothing with type={kind}"))),
        None => Ok((clean_target(&target)?, wish)),
    }
}

/// The fields of `--mount`.
struct Fields {
    once: BTreeMap<&'static str, String>,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl Fields {
    fn read(text: &str) -> Result<Self, String> {
        let mut fields = Self { once: BTreeMap::new(), labels: BTreeMap::new(), options: BTreeMap::new() };
        for field in split(text)? {
            let (name, value) = field.split_once('=').unwrap_or((&field, "true"));
            let Some((_, name)) = KEYS.iter().find(|(known, _)| *known == name) else {
                return Err(format!("unexpected key '{name}'"));
            };
            let pair = || {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                (name.to_owned(), value.to_owned())
            };
            match *name {
                "volume-label" => fields.labels.extend([pair()]),
                "volume-opt" => fields.options.extend([pair()]),
                name => {
                    fields.once.insert(name, value.to_owned());
                }
            }
        }
        Ok(fields)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.once.remove(name)
    }

    fn truth(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name).as_deref().unwrap_or("false") {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(format!("invalid value for {name}: {other}")),
        }
    }

    fn volume(&mut self, name: Option<String>, read_only: bool) -> Result<VolumeWish, String> {
        Ok(VolumeWish {
            name,
            subpath: self.take("volume-subpath").filter(|path| !path.is_empty()),
            no_copy: self.truth("volume-nocopy")?,
            read_only,
            untrusted: false,
            driver: self.take("volume-driver").filter(|driver| !driver.is_empty()),
            labels: std::mem::take(&mut self.labels),
            options: std::mem::take(&mut self.options),
        })
    }

    fn tmpfs(&mut self, read_only: bool) -> Result<String, String> {
        let mut options = Vec::new();
        if let Some(size) = self.take("tmpfs-size") {
            let size =
                parse_bytes(&size).map_err(|error| format!("invalid value for tmpfs-size: {error}"))?;
            options.push(format!("size={size}"));
        }
        if let Some(mode) = self.take("tmpfs-mode") {
            u32::from_str_radix(&mode, 8).map_err(|_| format!("invalid value for tmpfs-mode: {mode}"))?;
            options.push(format!("mode={mode}"));
        }
        if read_only {
            options.push("ro".to_owned());
        }
        Ok(options.join(","))
    }

    /// A key that was not asked for.
    fn first_left(&self) -> Option<&str> {
        let lists = [("volume-label", &self.labels), ("volume-opt", &self.options)];
        let list = lists.iter().find(|(_, list)| !list.is_empty()).map(|(name, _)| *name);
        self.once.keys().next().copied().or(list)
    }
}

/// Splits at commas; a field in double quotes may have some.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().into_iter().for_each(|field| field.push(c)),
        }
    }
    if quoted { Err("a quotation mark is not closed".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(wish: Wish) -> Bind {
        match wish {
            Wish::Bind(bind) => bind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let (target, wish) = volume("/srv//data:/data/:ro,Z").unwrap();
        let expected =
            Bind { source: "/srv/data".into(), target: "/data".to_owned(), read_only: true, create: true };
        assert_eq!((target.as_str(), wish), ("/data", Wish::Bind(expected)));
        assert!(!bind(volume("./x:/y:rw,z,rprivate,cached").unwrap().1).read_only);
        let named =
            VolumeWish { name: Some("data".into()), read_only: true, no_copy: true, ..Default::default() };
        assert_eq!(volume("data:/x//y:ro,nocopy").unwrap(), ("/x/y".to_owned(), Wish::Volume(named)));
        assert_eq!(volume("/x").unwrap(), ("/x".to_owned(), Wish::Volume(VolumeWish::default())));
        for (text, words) in [
            ("a:", "invalid volume specification"),
            (":/a", "invalid volume specification"),
            ("/a:/b:ro:x", "invalid volume specification"),
            ("/a:b", "must be absolute"),
            ("a:b", "must be absolute"),
            ("/a:/", "can't be '/'"),
            ("a:/", "can't be '/'"),
            ("/a:/x/../y", "invalid mount path"),
            ("/a:/b:bogus", "invalid mode: bogus"),
            ("a:/b:bogus", "invalid mode: bogus"),
            ("/a:/b:rshared", "propagation 'rshared'"),
            ("/a:/b:nocopy", "VolumeOptions must not be specified"),
        ] {
            let error = volume(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn mounts_are_read_as_docker_reads_them() {
        let (target, wish) = mount("type=bind,src=/srv,dst=/data,readonly").unwrap();
        let wish = bind(wish);
        assert_eq!((wish.read_only, wish.create, target.as_str()), (true, false, "/data"));
        assert!(!bind(mount("type=bind,source=/srv,target=/data,ro=false").unwrap().1).read_only);
        let (_, wish) = mount(
            "source=a,target=/b,volume-nocopy,volume-subpath=x/y,volume-driver=gfs,volume-label=k=v,\
             \"volume-opt=o=size=1g,x\",volume-opt=writers=many",
        )
        .unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = VolumeWish {
            name: Some("a".into()),
            subpath: Some("x/y".into()),
            no_copy: true,
            read_only: false,
            untrusted: false,
            driver: Some("gfs".into()),
            labels: BTreeMap::from([pair("k", "v")]),
            options: BTreeMap::from([pair("o", "size=1g,x"), pair("writers", "many")]),
        };
        assert_eq!(wish, Wish::Volume(expected));
        let (_, wish) = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700,ro").unwrap();
        assert_eq!(wish, Wish::Tmpfs("size=1048576,mode=0700,ro".into()));
    }

    #[test]
    fn mounts_that_mean_nothing_are_refused() {
        for (text, words) in [
            ("type=image,source=a,target=/b", "type=image is not supported"),
            ("type=bind,target=/b", "source is required"),
            ("type=bind,source=/a", "target is required"),
            ("type=bind,source=/a,target=/b,colour=red", "unexpected key 'colour'"),
            ("type=bind,source=/a,target=/b,bind-propagation=rslave", "propagation 'rslave'"),
            ("type=bind,source=/a,target=/b,bind-recursive=disabled", "without the mounts below"),
            ("type=bind,source=/a,target=/b,ro=maybe", "invalid value for readonly"),
            ("type=bind,source=/a,target=/b,volume-nocopy", "'volume-nocopy' means nothing with type=bind"),
            ("type=bind,source=/a,target=/b,volume-opt=x=y", "'volume-opt' means nothing with type=bind"),
            ("type=tmpfs,source=/a,target=/b", "has no source"),
            ("type=tmpfs,target=/b,tmpfs-mode=9", "invalid value for tmpfs-mode"),
            ("source=a,target=/b,tmpfs-size=1m", "'tmpfs-size' means nothing with type=volume"),
            ("source=a,target=b", "must be absolute"),
            ("source=\"a,target=/b", "not closed"),
        ] {
            let error = mount(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
