"""Time and peak memory of the demand filter: both passes, the whole fit, many series, peers.

Run ``python analyses/benchmarks/demand_filter.py --path m5.zip``. The last line printed is a JSON
object:

- ``prepare``: series, days, share of stockout days; with every part the load of the machine before;
- ``layout``: from the panel's frame to what the passes read;
- ``passes``: given hyperparameters. ``grid``, ``log_likelihood`` (forward alone) and
  ``both_passes``, each with ``wall`` and ``cpu`` seconds and ``peak_gb``, the resident memory of the
  whole process at its highest in that stage; ``process_gb`` is the highest of the whole process;
- ``fit``: the same of ``fit`` (offsets and hyperparameters) and ``recover`` (means and bands of
  every day), the panel in memory, with the estimates of the whole;
- ``scale``: by number of series, mean length alike, ``wall_ms`` and ``cpu_ms`` per series of both
  passes, best of some runs; ``cpu_spread`` is the largest over the smallest;
- ``peers``, one thread each, on the same series. Seconds per series of the filter's passes and of
  its whole fit and recovery, of statsmodels' local level (fitted to each series, stockout days
  missing) and of statsforecast's AutoETS (sales as they are; 28 days ahead), and their ratios to
  the filter's; of the passes as the cheapest comparison, of fit and recovery as the fairest.
  ``nuts``: seconds per effective draw of the level's path, hyperparameters given, without the time to
  compile, against the filter's independent draws (``draw_ms``, passes included); by the smallest
  and by the median effective sample size over days, on a few of the series, one at a time.

Every part runs in a fresh process that reads the prepared panel from disk, so that memory is its
own; stages are warmed first, so that no compilation is timed. CPU seconds are those of all threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from civstats.schema import CivstatsError

PARTS = ("passes", "fit", "scale", "peers")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)


@app.command(hidden=True)
def child(part: str, folder: Path) -> None:
    """Do one part in this fresh process."""
    import _filter_peers
    import _filter_stages

    config = json.loads((folder / "config.json").read_text())
    todo = {**_filter_stages.STAGES, "peers": _filter_peers.peers}[part]
    found = {"load_before": round(os.getloadavg()[0], 2)} | todo(folder, config, console.print)
    (folder / f"{part}.json").write_text(json.dumps(found))


def in_its_own(part: str, folder: Path) -> dict[str, Any]:
    """Run a part in a process of its own and return what it found."""
    console.print(f"[bold]{part}")
    command = [sys.executable, __file__, "child", part, str(folder)]
    # What Arrow has read and freed goes back to the system: what is measured is what is needed.
    environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise typer.Exit(2)
    found: dict[str, Any] = json.loads((folder / f"{part}.json").read_text())
    return found


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Option(help="M5 zip or folder; without it a synthetic panel.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Which to run, comma-separated.")] = ",".join(PARTS),
    series: Annotated[int | None, typer.Option(help="Random series; all by default.")] = None,
    days: Annotated[int | None, typer.Option(help="The last days only.")] = None,
    rate: Annotated[float, typer.Option(help="Share of days out, inventory mechanism.")] = 0.15,
    threads: Annotated[int, typer.Option(help="Threads of all but the peers.")] = 2,
    peer_series: Annotated[int, typer.Option(help="Series of the peers (of CA_1 on M5).")] = 200,
    nuts_series: Annotated[int, typer.Option(help="Those that NUTS is run on; 0 for none.")] = 4,
    nuts_draws: Annotated[int, typer.Option(help="Draws of NUTS, each of two chains.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of samples and stockouts.")] = 0,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder that keeps the prepared panel for a next run.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
) -> None:
    """Prepare the panel, run the parts one after the other, print a JSON object."""
    if context.invoked_subcommand:
        return
    wanted = [p.strip() for p in parts.split(",")]
    unknown = [p for p in wanted if p not in PARTS]
    if unknown:
        console.print(f"error: --parts must be of {', '.join(PARTS)}, but got {unknown[0]}")
        raise typer.Exit(2)
    if path is not None:
        from civstats.data.m5.source import open_source

        try:
            open_source(path)
        except CivstatsError as error:
            console.print(f"error: {error}")
            raise typer.Exit(2) from error
    config = {
        "path": None if path is None else str(path),
        "series": series,
        "days": days,
        "rate": rate,
        "threads": threads,
        "peer_series": peer_series,
        "nuts_series": nuts_series,
        "nuts_draws": nuts_draws,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if prepared is None else prepared
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        found = {}
        for part, file in (("prepare", "panel.parquet"), ("layout", "days.npz")):
            needed = part == "prepare" or {"passes", "scale"} & set(wanted)
            if needed and not (folder / file).exists():
                found[part] = in_its_own(part, folder)
        found |= {part: in_its_own(part, folder) for part in wanted}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2) + "\n")
    typer.echo(json.dumps(found))


if __name__ == "__main__":
    app()
