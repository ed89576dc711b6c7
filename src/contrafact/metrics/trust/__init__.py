"""Reliability checks beside every explanation."""
