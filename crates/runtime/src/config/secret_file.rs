//! Secret files: their content, and whether others may read or change them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::error::ConfigError;

/// The file's text without trailing line breaks.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })
}

/// Whether everybody on this machine may read the file, or others than its owner may change it. Files on a read-only mount
/// do not count, because Docker and Kubernetes mount secrets this way without knowing the container's users. Files that a
/// group may read do not count, because systemd and packages create such files.
pub(super) fn is_exposed(path: &Path) -> bool {
    const OTHERS_READ_OR_ANY_WRITE: u32 = 0o026;
    let is_wide = std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.mode() & OTHERS_READ_OR_ANY_WRITE != 0);
    let is_mounted_read_only =
        || statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    is_wide && !is_mounted_read_only()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_exposed_when_others_read_it_or_a_group_writes_it() {
        let path = std::env::temp_dir().join(format!("tidemark-secret-{:016x}", rand::random::<u64>()));
        write(&path, "p@ss \r\n").unwrap();
        for (mode, exposed) in [
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
            assert_eq!(is_exposed(&path), exposed, "{mode:o}");
        }
        assert_eq!(read(&path).unwrap(), "p@ss ");
        std::fs::remove_file(&path).unwrap();
        assert!(!is_exposed(&path), "a missing file");
    }
}
