"""NVIDIA GPUs through NVML: the energy counter where it answers, else the power reading.

On a Jetson NVML initialises and then answers NotSupported, so a real reading is what counts. GPUs
are known by their UUIDs. Source: NVML's reference; the counter exists since Volta, and the power is
a mean of one second on Ampere and later, GA100 excepted.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.records.energy import Total

# The data sheets' +-5 % of the power; Yang et al., "Part-time power measurements" (2024), found it.
ERROR_SHARE = 0.05
MEAN_OF_S, INSTANT_S = 1.0, 0.1
LAST_INSTANT = (8, 0)  # GA100's compute capability


@dataclass(frozen=True)
class Gpu:
    """One GPU that answered, by which reading, and over how long that is a mean."""

    handle: Any
    uuid: str
    unit: Literal["W", "J"]
    averaging_s: float


class Nvml:
    """Reads every GPU that this process may use."""

    nominal_s = 0.1  # the counter moves every 20 to 100 ms
    lag_s = 0.0

    def __init__(self, api: Any, gpus: list[Gpu]) -> None:
        self._api, self._gpus = api, gpus
        self.averaging_s = max(gpu.averaging_s for gpu in gpus)
        self.rails = {gpu.uuid: Rail(unit=gpu.unit, kind="measured") for gpu in gpus}
        self.totals = (
            Total(
                source="nvml",
                rails=tuple(self.rails),
                kind="measured",
                boundary="package",
                covers="gpu",
                error_share=ERROR_SHARE,
            ),
        )

    def sample(self) -> list[Reading]:
        """Read all GPUs; raise OSError where one is lost."""
        readings = []
        for gpu in self._gpus:
            try:
                value = _read(self._api, gpu.handle, gpu.unit)
            except self._api.NVMLError as error:
                raise OSError(f"NVML: {error}") from None
            readings.append(Reading(time.perf_counter_ns(), gpu.uuid, value))
        return readings

    def close(self) -> None:
        """Let NVML go."""
        self._api.nvmlShutdown()


def find() -> Meter | str:
    """Return a meter over the GPUs that answer, or why there is none."""
    try:
        import pynvml as api
    except ImportError:
        return "no NVML: nvidia-ml-py is not installed"
    try:
        api.nvmlInit()
    except api.NVMLError:
        return "no NVIDIA GPU"
    try:
        gpus, reasons = _answering(api)
    except api.NVMLError as error:
        reasons, gpus = [str(error)], []
    if not gpus:
        api.nvmlShutdown()
        return f"NVML: {'; '.join(reasons) or 'it lists no GPU'}"
    return Nvml(api, gpus)


def _answering(api: Any) -> tuple[list[Gpu], list[str]]:
    gpus: list[Gpu] = []
    reasons: list[str] = []
    wanted = visible_uuids()
    for index in range(api.nvmlDeviceGetCount()):
        handle = api.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(api.nvmlDeviceGetUUID(handle))
        if wanted is not None and not any(uuid.startswith(name) for name in wanted):
            continue
        unit, reason = _probe(api, handle)
        if unit:
            gpus.append(Gpu(handle, uuid, unit, _averaging_s(api, handle, unit)))
        else:
            reasons.append(f"{uuid[:12]} {reason}")
    return gpus, reasons


def _probe(api: Any, handle: Any) -> tuple[Literal["W", "J"] | None, str]:
    """Return the unit of the first reading that answers."""
    reason = ""
    units: tuple[Literal["J", "W"], ...] = ("J", "W")
    for unit in units:
        try:
            _read(api, handle, unit)
            return unit, ""
        except api.NVMLError as error:
            reason = f"answers: {error}"
    return None, reason


def _averaging_s(api: Any, handle: Any, unit: str) -> float:
    """Return over how long a reading is the mean; a GPU that tells no age is taken as new."""
    if unit == "J":
        return 0.0
    try:
        capability = tuple(api.nvmlDeviceGetCudaComputeCapability(handle))
    except (api.NVMLError, AttributeError, TypeError):
        return MEAN_OF_S
    return INSTANT_S if capability <= LAST_INSTANT else MEAN_OF_S


def _read(api: Any, handle: Any, unit: str) -> float:
    if unit == "J":
        return float(api.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
    return float(api.nvmlDeviceGetPowerUsage(handle)) / 1e3


def visible_uuids() -> list[str] | None:
    """Return the UUIDs that CUDA_VISIBLE_DEVICES names; None where it names none.

    Plain numbers count as CUDA does, which is not NVML's order: they restrict nothing here.
    """
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    uuids = [name.strip() for name in names if name.strip().startswith(("GPU-", "MIG-"))]
    return uuids or None


def process_vram_bytes() -> int | None:
    """Return the GPU memory of this process as NVML counts it; None where it does not tell."""
    try:
        import pynvml as api

        api.nvmlInit()
    except Exception:  # noqa: BLE001 - no NVML at all
        return None
    used, told = 0, False
    try:
        for index in range(api.nvmlDeviceGetCount()):
            handle = api.nvmlDeviceGetHandleByIndex(index)
            for process in api.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    used, told = used + int(process.usedGpuMemory), True
    except api.NVMLError:
        return None  # a Jetson shares its memory and does not say whose it is
    finally:
        api.nvmlShutdown()
    return used if told else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
