"""Processes that do one work together."""

import os


def process_place() -> tuple[int, int]:
    """This process's number, from 0, and how many ``torchrun`` started together; (0, 1) for one that is alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def wait_for_all(device: str) -> None:
    """Go on when the other processes that ``torchrun`` started have come here, too."""
    from accelerate import PartialState

    PartialState(cpu=device == "cpu").wait_for_everyone()
