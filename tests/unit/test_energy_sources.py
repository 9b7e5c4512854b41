"""Which source of energy a run and a comparison show, and what stored sources include."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.builders import make_energy

from edgebench.figures.energy import common_source, of_source, reason_without, source_for
from edgebench.records.energy import Boundary, Calibration, Energy, Kind


def source(
    name: str,
    boundary: Boundary | None,
    kind: Kind = "measured",
    value: float | None = 1.0,
    **more: Any,
) -> Energy:
    """A source with one figure, or with none."""
    decode = make_energy(value).decode if value is not None else None
    return Energy(
        source=name,
        rails=("r",),
        kind=kind,
        boundary=boundary,
        period_s=0.1,
        decode=decode,
        reason=None if decode else "stuck",
        **more,
    )


RAPL = source("rapl", "package", value=0.4, covers="cpu")
NVML = source("nvml", "package", value=3.0, covers="gpu")
STATED = source("estimate", "wall", "estimated", 15.0)


@pytest.mark.parametrize(
    ("sources", "provider", "chosen"),
    [
        ([RAPL, NVML], "cuda", "nvml"),
        ([RAPL, NVML], "gpu", "nvml"),
        ([NVML, RAPL], "cpu", "rapl"),
        ([NVML], "cpu", None),
        ([NVML], "xnnpack", None),
        ([RAPL, source("battery", "board")], "cpu", "battery"),
        ([RAPL, source("battery", "board", value=None)], "cpu", "rapl"),
        ([RAPL, NVML, source("plug", "wall")], "cuda", "plug"),
        ([source("pmic", "board"), source("fit", "wall", "derived")], "cpu", "pmic"),
        ([STATED, RAPL], "cpu", "rapl"),
        ([STATED], "cpu", "estimate"),
        ([], "cpu", None),
    ],
)
def test_the_source_fits_what_worked(
    sources: list[Energy], provider: str, chosen: str | None
) -> None:
    """Never an idle GPU's for a CPU run; the whole before a part; stated watts last."""
    found = source_for(sources, provider)
    assert (found.source if found else None) == chosen
    if not chosen or not (found and found.decode):
        assert reason_without(sources, provider)


def test_a_calibrated_source_is_preferred_to_what_it_was_fitted_from() -> None:
    """The wall by the person's own meter, before the board."""
    fit = Calibration(gain=1.2, offset_w=0.5, gain_sd=0.01, offset_sd=0.05, n=5)
    wall = source("pmic calibrated", "wall", "derived", calibration=fit)
    assert source_for([source("pmic", "board"), wall], "cpu") == wall


def test_a_comparison_uses_one_source_for_all_its_rows() -> None:
    """The one that most rows have; a row that lacks it has none, with the reason."""
    plug = source("plug", "wall")
    rows = [[RAPL, plug], [RAPL], [RAPL, source("plug", "wall", value=None)]]
    assert common_source(rows, "cpu") == "rapl"
    assert common_source([[RAPL, plug], [RAPL, plug], [plug]], "cpu") == "plug"
    assert common_source([[STATED], [STATED], [RAPL]], "cpu") == "rapl"
    assert common_source([[NVML], [NVML]], "cpu") is None
    assert of_source([STATED], "rapl") is None
    assert reason_without([STATED], "cpu", "rapl") == "not measured by rapl, as the other rows are"
    assert "nvml doesn't show" in reason_without([NVML], "cpu")


def test_runs_of_0_1_0_get_the_boundaries_that_their_sources_had() -> None:
    """Stored before joules had one."""
    folder = Path(__file__).parents[1] / "data"
    for path in folder.rglob("*.jsonl"):
        for row in path.read_text().splitlines():
            for stored in json.loads(row).get("energy", []):
                Energy.model_validate(stored)
    raw = RAPL.model_dump(exclude={"boundary", "covers"})
    again = Energy.model_validate(raw)
    assert (again.boundary, again.covers) == ("package", "cpu")
