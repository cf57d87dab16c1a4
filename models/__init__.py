"""The models that ship with sgdvi: one file is one problem, its data and a text on what it teaches.

Every file that does not start with an underscore has a function ``problem(**options)`` which returns a
`sgdvi.Problem`; the first line of its docstring is the summary that ``sgdvi models`` prints. The data lie in ``data/``
with their sources and licences.
"""
