"""Runs notebooks in place, each in an empty folder; an output too large to be committed is left out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

LARGEST = 200_000  # characters of an output
LEFT_OUT = "An output of {:,} KB is not stored in this file. Run the cell to see it."

os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm, where no widgets are installed
for path in map(Path, sys.argv[1:]):
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False, resources=resources).execute()
    for output in (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs):
        if (size := len(str(output))) > LARGEST:
            output.data = {"text/plain": LEFT_OUT.format(size // 1000)}
    nbformat.write(notebook, path)
