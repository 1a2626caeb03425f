"""What makes a host ready for a site, as pieces of shell.

Text in, text out: nothing here connects to a host or runs anything. What ``deploy_setup --plan`` prints is
the very script that ``deploy_setup`` runs.
"""
