SECRET_KEY = "for tests"
