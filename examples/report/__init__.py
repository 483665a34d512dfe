"""What examples/model_report.py is made of: four problems, their metrics with intervals, tables and pictures."""
