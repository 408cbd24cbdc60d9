//! Files that hold secrets, and who else may read them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::error::ConfigError;

/// The file's text without the ends of its last line.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })
}

/// Whether everybody on this machine may read the file, or others than its owner change it. One on a read-only mount is
/// left alone: that is how Docker and Kubernetes hand secrets to a container, whose users they know nothing of. So is what
/// a group may read, as systemd and packages set it up.
pub(super) fn is_open(path: &Path) -> bool {
    const OTHERS_READ_OR_ANY_WRITE: u32 = 0o026;
    let is_wide = std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.mode() & OTHERS_READ_OR_ANY_WRITE != 0);
    let is_handed_in = || statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    is_wide && !is_handed_in()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_open_when_others_read_it_or_a_group_writes_it() {
        let path = std::env::temp_dir().join(format!("tidemark-secret-{:016x}", rand::random::<u64>()));
        write(&path, "p@ss \r\n").unwrap();
        for (mode, open) in [
            (0o400, false),
            (0o600, false),
            (0o440, false),
            (0o640, false),
            (0o644, true),
            (0o444, true),
            (0o660, true),
            (0o602, true),
        ] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(&path), open, "{mode:o}");
        }
        assert_eq!(read(&path).unwrap(), "p@ss ");
        std::fs::remove_file(&path).unwrap();
        assert!(!is_open(&path), "a file that is not there");
    }
}
