"""Metrics of faithfulness: how well a map shows what the prediction depends on."""
