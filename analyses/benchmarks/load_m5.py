"""Time and peak memory of loading M5, beside a straightforward melt and merge in pandas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import psutil
import typer

from civstats.data import load_m5
from civstats.data.m5.source import open_source
from civstats.schema import CivstatsError, validate_panel

ROWS_OF_M5 = 46_881_677
STATIC = ["item_id", "dept_id", "cat_id", "store_id", "state_id"]
EVENTS = ["event_name_1", "event_type_1", "event_name_2", "event_type_2"]

app = typer.Typer(add_completion=False)


def melt_and_merge(path: Path, state: str) -> pd.DataFrame:
    """Build the panel of one state as a pandas tutorial would: melt, merge, drop, sort."""
    source = open_source(path)

    def read(name: str) -> pd.DataFrame:
        with tempfile.TemporaryFile() as file:
            file.write(source.read(name))
            file.seek(0)
            return pd.read_csv(file)

    sales, calendar, prices = read(source.sales), read("calendar.csv"), read("sell_prices.csv")
    sales = sales[sales["state_id"] == state]
    frame = sales.melt(id_vars=["id", *STATIC], var_name="d", value_name="y")
    days = calendar[["d", "date", "wm_yr_wk", *EVENTS, f"snap_{state}"]]
    frame = frame.merge(days, on="d", how="left")
    # M5 has a price in every week from the launch on, so an inner merge drops the days before it.
    frame = frame.merge(prices, on=["store_id", "item_id", "wm_yr_wk"])
    frame["unique_id"] = frame["item_id"] + "_" + frame["store_id"]
    frame["ds"] = pd.to_datetime(frame["date"])
    frame[EVENTS] = frame[EVENTS].fillna("none")
    frame = frame.rename(columns={"sell_price": "price", f"snap_{state}": "snap"})
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    kinds = {"y": "float32", "price": "float32", "snap": "bool"}
    kinds |= dict.fromkeys(["unique_id", *EVENTS, *STATIC], "category")
    return frame[["unique_id", "ds", "y", "price", *EVENTS, "snap", *STATIC]].astype(kinds)


@app.command(hidden=True)
def child(what: str, path: Path, result: Path, state: str = "", keep: Path | None = None) -> None:
    """Do one load in this fresh process; report when the timed part is over."""
    wall, cpu = time.perf_counter(), time.process_time()
    peer = what == "peer"
    panel = melt_and_merge(path, state) if peer else load_m5(path, states=state or None)
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    draft = result.with_suffix(".draft")
    draft.write_text(json.dumps(seconds | {"rows": len(panel)}))
    draft.replace(result)
    if keep is not None:
        panel.to_parquet(keep)


def measure(what: str, path: Path, folder: Path, state: str = "", keep: bool = False) -> dict:
    """Run a load in a fresh process and watch the memory of its whole process tree."""
    result = folder / f"{what}-{state}.json"
    command = [sys.executable, __file__, "child", what, str(path), str(result)]
    command += ["--state", state] if state else []
    command += ["--keep", str(folder / f"{what}.parquet")] if keep else []
    process = subprocess.Popen(command)
    tree, peak = psutil.Process(process.pid), 0
    while process.poll() is None and not result.exists():
        total = 0
        try:
            for member in [tree, *tree.children(recursive=True)]:
                total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, total)
        time.sleep(0.02)
    if process.wait() or not result.exists():
        raise typer.Exit(2)
    out: dict[str, Any] = json.loads(result.read_text())
    out |= {"peak_gb": peak / 1e9, "rows_per_second": out["rows"] / out["wall"]}
    name = f"{what} {state or 'all of M5'}"
    typer.echo(
        f"{name:24s} {out['rows']:>12,} rows  {out['wall']:7.1f} s  {out['cpu']:7.1f} s of CPU  "
        f"{out['peak_gb']:5.2f} GB  {out['rows_per_second']:>12,.0f} rows/s"
    )
    return out


def same(folder: Path) -> bool:
    """Compare what both loads left, column by column, category by category."""
    ours, theirs = (pd.read_parquet(folder / f"{x}.parquet") for x in ("load_m5", "peer"))
    if list(ours.columns) != list(theirs.columns) or len(ours) != len(theirs):
        return False
    theirs = validate_panel(theirs, copy=False)
    for column in ours.columns:
        a, b = ours[column], theirs[column]
        if isinstance(a.dtype, pd.CategoricalDtype):
            # Events that a state's days never saw are categories of ours alone.
            b = b.cat.set_categories(a.cat.categories)
            equal = np.array_equal(a.cat.codes, b.cat.codes)
        else:
            equal = np.array_equal(a.to_numpy(), b.to_numpy())
        if not equal:
            typer.echo(f"{column} differs")
            return False
    return True


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    path: Annotated[Path | None, typer.Option(help="M5 zip or folder.")] = None,
    state: Annotated[str, typer.Option(help="The state that the peer loads too.")] = "WI",
    peer: Annotated[bool, typer.Option(help="Run the pandas peer.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
) -> None:
    """Load all of M5, then one state in both ways."""
    if context.invoked_subcommand:
        return
    data = os.environ.get("CIVSTATS_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
    path = Path(data) / "m5" if path is None else path
    try:
        open_source(path)
    except CivstatsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = {"all": measure("load_m5", path, folder)}
        complete = figures["all"]["rows"] == ROWS_OF_M5
        typer.echo(f"rows of M5 after launch: {'all there' if complete else f'not {ROWS_OF_M5:,}'}")
        equal = True
        if peer:
            figures["state"] = measure("load_m5", path, folder, state, keep=True)
            figures["peer"] = measure("peer", path, folder, state, keep=True)
            ratio = figures["state"]["rows_per_second"] / figures["peer"]["rows_per_second"]
            equal = same(folder)
            typer.echo(f"same frame: {'yes' if equal else 'NO'}; {ratio:.1f} times the rows/s")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n")
    if not (complete and equal):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
