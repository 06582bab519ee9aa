"""The report of runs: one page that needs nothing else, and the same figures and tables as files for a paper."""

from samaritan.evaluate.report.writing import write_report

__all__ = ["write_report"]
