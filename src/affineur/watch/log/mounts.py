"""Whether a file is on a network drive, where SQLite's locks and shared memory do not work.

https://www.sqlite.org/wal.html: "WAL does not work over a network filesystem".
"""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "glusterfs",
        "ocfs2",
        "gfs2",
        "davfs",
    ]
)
#: What programs mount by FUSE is as a rule elsewhere; these are not.
_LOCAL_FUSE = frozenset(
    ["fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.bindfs", "fuse.gocryptfs", "fuse.ntfs-3g"]
)


def network_file_system(path: Path) -> str | None:
    """Return the kind of network drive that a file is on; ``None`` where it is on none, or nobody knows."""
    try:
        lines = MOUNTS.read_text("utf-8", "replace").splitlines()
        folder = path.absolute().parent.resolve()
    except OSError:
        return None
    mounted: dict[Path, str] = {}
    for line in lines:  # the last one at a place hides those before
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and after:
            place = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), fields[4])
            mounted[Path(place)] = after.split()[0]
    kind = next((mounted[each] for each in (folder, *folder.parents) if each in mounted), "")
    is_fuse = kind.startswith("fuse.") and kind not in _LOCAL_FUSE
    return kind if kind in _NETWORK or is_fuse else None
