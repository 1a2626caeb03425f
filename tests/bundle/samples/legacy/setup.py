from setuptools import setup

setup(name="Acme.Legacy", version="1.0", packages=["acme_legacy"], package_dir={"": "lib"})
