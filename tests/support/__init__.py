"""Helpers of the tests: waiting, real servers, faults, data."""
