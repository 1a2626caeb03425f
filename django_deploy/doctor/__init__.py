"""``deploy_doctor``: one function a check, with its remedy. ``diagnosis.py`` has their order."""
