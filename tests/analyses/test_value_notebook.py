"""The notebook: the same as its script, and it runs from the panel to the ranking."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "analyses"
NOTEBOOK, SCRIPT = FOLDER / "value_of_instock.ipynb", FOLDER / "value_of_instock_notebook.py"


def cells(path: Path, kind: str) -> list[dict]:
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def pictures(path: Path) -> list[bytes]:
    data = (o.get("data", {}) for c in cells(path, "code") for o in c["outputs"])
    return [base64.b64decode(d["image/png"]) for d in data if "image/png" in d]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The notebook that the script makes, not run."""
    pytest.importorskip("jupytext")
    made = tmp_path_factory.mktemp("notebook") / "made.ipynb"
    words = ["-m", "jupytext", "--quiet", "--to", "ipynb", "--output", str(made), str(SCRIPT)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return made


def test_notebook_and_script_say_the_same(converted):
    for kind in ("markdown", "code"):
        kept, made = ([c["source"] for c in cells(p, kind)] for p in (NOTEBOOK, converted))
        assert kept == made, "run `make notebook`"


def test_the_kept_notebook_has_run_and_shows_three_figures():
    numbers = [c["execution_count"] for c in cells(NOTEBOOK, "code")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(pictures(NOTEBOOK)) == 3
    assert all(p.startswith(b"\x89PNG") and len(p) > 20_000 for p in pictures(NOTEBOOK))


def test_it_runs_from_panel_to_ranking(converted):
    pytest.importorskip("ipykernel")
    words = [
        "-c",
        "from nbclient.cli import main; main()",
        "--inplace",
        "--NotebookClient.record_timing=False",
    ]
    done = subprocess.run(
        [sys.executable, *words, str(converted)],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(pictures(converted)) == 3
    said = "".join(
        "".join(o.get("text", "")) for c in cells(converted, "code") for o in c["outputs"]
    )
    assert "lost in 91 days, in truth" in said
    assert "acting on the first 9 captures" in said
