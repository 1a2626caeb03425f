"""What is shipped: wheels built here, a lock of all other distributions, a manifest.

The only home of ``packaging``, pip-tools, pip and build back ends.
"""
