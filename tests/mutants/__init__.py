"""Deliberate breaks of the package, one for each thing that it promises, and the tests that must notice them.

A test that passes proves little until it was seen to fail. `make mutants` breaks a copy of the package in one place at
a time and demands that one of the named tests fails. Where none does, the tests have a hole.
"""
