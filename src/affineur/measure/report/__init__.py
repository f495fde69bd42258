"""``report.html``: is the model good enough, what did it cost, where does it fail; one file, no script."""

from affineur.measure.report.answers import verdict
from affineur.measure.report.contents import Report
from affineur.measure.report.page import report_html

__all__ = ["Report", "report_html", "verdict"]
