"""Who this machine is: its board, processor and system, and a hash that tells it from others.

Knows where Linux states identities. Gives none of them away: the hash is salted. Changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid

from edgebench import __version__
from edgebench.device.affinity import clusters
from edgebench.device.conditions import l4t, power_mode, snapshot
from edgebench.device.system import available_bytes, compute_cores, cpu_model, read_text, root
from edgebench.records.device import DeviceInfo
from edgebench.records.formats import installed_runtimes
from edgebench.records.messages import Hello

_SALT = "edgebench machine 1"
# The first that a machine tells decides: a board's own number outlives a copied SD card, an
# installation's number does not tell two copies of it apart, so the network card's comes with it.
_NUMBERS = (
    "/proc/device-tree/serial-number", "/sys/class/dmi/id/product_uuid",
    "/sys/class/dmi/id/board_serial",
)  # fmt: skip


def hello() -> Hello:
    """Return all that a host is told of this machine."""
    return Hello(
        edgebench=__version__,
        device=this_device(),
        compute_cores=compute_cores(),
        logical_cores=len(os.sched_getaffinity(0)),
        clusters=clusters(),
        free_bytes=available_bytes(),
        nvidia=(root() / "dev/nvidiactl").exists(),
        runtimes=installed_runtimes(),
        conditions=snapshot(),
    )


def this_device() -> DeviceInfo:
    """Describe this machine; the host adds the name that its registry has for it."""
    import psutil

    return DeviceInfo(
        board=read_text("/proc/device-tree/model"),
        cpu=cpu_model(),
        memory_bytes=psutil.virtual_memory().total,
        os=os_name(),
        kernel=platform.release(),
        l4t=l4t(),
        power_mode=power_mode(),
        machine=machine_hash(),
    )


def machine_hash() -> str:
    """Return a salted hash of what tells this piece of hardware from others of its kind."""
    number = next((text for path in _NUMBERS if (text := read_text(path))), None)
    if number is None:
        number = f"{read_text('/etc/machine-id')} {uuid.getnode():x}"
    parts = [_SALT, number, cpu_model() or "", read_text("/proc/device-tree/model") or ""]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def os_name() -> str | None:
    """Return the system's own name for itself."""
    for line in (read_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()
