"""The demo: two weeks of one sequence in about a minute, with people who answer."""
