"""The command lines of studies: their help is alike."""

from __future__ import annotations

import argparse


def command_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Give the parser of ``python -m fastvmt.<name>``, whose help ends with examples as they are written."""
    return argparse.ArgumentParser(
        prog=f"python -m fastvmt.{name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
