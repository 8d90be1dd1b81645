"""Expectation suites: rules for the tables of a run, in files that users can extend.

Light modules (:mod:`suites`, :mod:`tables`, :mod:`results`, :mod:`words`) read and check the files; only
:mod:`evaluate` imports Great Expectations, which takes seconds, inside the functions that need it.
"""
