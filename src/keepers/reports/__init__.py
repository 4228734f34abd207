"""Reports: what a person reads after a run, as one HTML file or in the terminal."""

from keepers.reports.compare import compare_report
from keepers.reports.coreset import report
from keepers.reports.terminal import compare_table, coreset_summary, online_table

__all__ = ["compare_report", "compare_table", "coreset_summary", "online_table", "report"]
