"""A run or an evaluation as one page: an HTML file that opens anywhere, without a network. See `report.report`."""
