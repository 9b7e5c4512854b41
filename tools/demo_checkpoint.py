"""Make a Hugging Face folder of the bundled SmolLM2-135M-Instruct, to try exports without a hub.

    python tools/demo_checkpoint.py FOLDER

Needs the extras demo and export; about a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lib.demo_checkpoint import write_checkpoint

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_checkpoint(parser.parse_args().folder)
