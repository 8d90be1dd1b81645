"""Expectation suites: what the tables of a run should look like, as files that users can add to.

Light modules (:mod:`suites`, :mod:`tables`, :mod:`results`, :mod:`words`) read and check the files; only
:mod:`evaluate` imports Great Expectations, which takes seconds, inside the functions that need it.
"""
