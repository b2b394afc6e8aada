"""Snakemake that asks Slurm for its jobs' states every half second; the plugin alone waits 11 s and longer."""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 0.5, lambda self, value: None)
sys.exit(main())
